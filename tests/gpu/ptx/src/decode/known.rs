//! The modifiers that each instruction may have. All others are refused: to ignore one would silently
//! change what is computed.

use super::modifiers::Name;
use crate::{error::ParseError, types::Type};

const ROUNDINGS: &[&str] = &["rn", "rz", "rm", "rp"];
const WHOLE: &[&str] = &["rni", "rzi", "rmi", "rpi"];
const SPACES: &[&str] = &["global", "shared", "local"];
const SCOPES: &[&str] = &["cta", "cluster", "gpu", "sys"];
const VECTORS: &[&str] = &["v2", "v4"];
const CARRY: &[&str] = &["cc"];
const PARTS: &[&str] = &["lo", "hi", "wide"];
const LOADS: &[&str] = &["weak", "relaxed", "acquire", "volatile", "param", "const", "nc"];
const LOAD_CACHES: &[&str] = &["ca", "cg", "cs", "lu", "cv"];
const STORES: &[&str] = &["weak", "relaxed", "release", "volatile", "param"];
const STORE_CACHES: &[&str] = &["wb", "cg", "cs", "wt"];
const ORDERS: &[&str] = &["sc", "relaxed", "acquire", "release", "acq_rel"];
const ATOMICS: &[&str] = &["add", "min", "max", "and", "or", "exch", "cas", "noftz"];
const COMPARISONS: &[&str] = &[
    "eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs", "equ", "neu", "ltu", "leu", "gtu",
    "geu",
];

/// Types of two floats in a word, and the instructions that have them.
pub(super) const PACKED: [&str; 2] = ["f16x2", "bf16x2"];
const PAIRWISE: [&str; 8] = ["add", "sub", "mul", "fma", "min", "max", "neg", "abs"];

/// Instructions that have no type.
const CONTROL: [&str; 9] =
    ["bra", "call", "ret", "exit", "trap", "bar", "barrier", "membar", "fence"];

/// What may follow this name besides types.
fn modifiers(name: &str) -> Option<&'static [&'static [&'static str]]> {
    Some(match name {
        "bra" | "call" | "ret" => &[&["uni"]],
        "bar" => &[&["sync", "warp"]],
        "barrier" => &[&["sync", "aligned"]],
        "membar" => &[&["gl", "cta", "sys"]],
        "fence" => &[ORDERS, SCOPES],
        "ld" | "ldu" => &[LOADS, SPACES, SCOPES, LOAD_CACHES, VECTORS],
        "st" => &[STORES, SPACES, SCOPES, STORE_CACHES, VECTORS],
        "atom" | "red" => &[ORDERS, SPACES, SCOPES, ATOMICS],
        "shfl" => &[&["sync", "up", "down", "bfly", "idx"]],
        "ldmatrix" => &[&["sync", "aligned", "m8n8", "x1", "x2", "x4", "trans", "shared"]],
        "mma" => &[&["sync", "aligned", "m16n8k16", "m16n8k32", "row", "col"]],
        "cvta" => &[&["to", "const"], SPACES],
        "cvt" => &[ROUNDINGS, WHOLE, &["sat"]],
        "setp" | "set" => &[COMPARISONS],
        "add" | "sub" => &[ROUNDINGS, CARRY],
        "fma" => &[ROUNDINGS],
        "mul" => &[PARTS, ROUNDINGS],
        "mad" => &[PARTS, ROUNDINGS, CARRY],
        "addc" | "subc" => &[CARRY],
        "madc" => &[PARTS, CARRY],
        "div" => &[&["approx", "full"], ROUNDINGS],
        "min" | "max" => &[&["NaN"]],
        "neg" | "abs" => &[&["ftz"]],
        // Their other roundings are not computed.
        "rcp" | "sqrt" => &[&["approx", "rn", "ftz"]],
        "rsqrt" | "ex2" | "lg2" => &[&["approx", "ftz"]],
        "exit" | "trap" | "mov" | "selp" | "bfi" | "rem" | "and" | "or" | "xor" | "shl" | "shr"
        | "dp4a" | "prmt" | "copysign" | "not" | "clz" | "popc" | "brev" => &[],
        _ => return None,
    })
}

/// Refuses an instruction or a modifier that is not known.
pub(super) fn check(name: &Name<'_>) -> Result<(), ParseError> {
    let groups = modifiers(name.first()).ok_or_else(|| name.unknown())?;
    let takes_types = !CONTROL.contains(&name.first());
    let is_known = |part: &&str| {
        groups.iter().any(|group| group.contains(part))
            || PACKED.contains(part) && PAIRWISE.contains(&name.first())
            || takes_types && Type::named(part).is_some()
    };
    if name.modifiers().iter().all(is_known) { Ok(()) } else { Err(name.unknown()) }
}
