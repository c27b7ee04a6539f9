//! Each instruction against the host's arithmetic, on edges and on random operands.

use std::cmp::Ordering;

use half::{bf16, f16};
use proptest::{
    prelude::any,
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};

use crate::support::{Arg, Device, by_thread, kernel, run};

/// Values at which something changes, of any width.
const EDGES: [u64; 27] = [
    0,
    1,
    2,
    3,
    31,
    32,
    63,
    64,
    0x7f,
    0x80,
    0xff,
    0x3c00,
    0x7bff,
    0x7c00,
    0x7fff,
    0x8000,
    0xffff,
    0x3f80_0000,
    0x7f7f_ffff,
    0x7f80_0000,
    0x7fc0_0000,
    0x8000_0000,
    0xffff_ffff,
    0x3ff0_0000_0000_0000,
    0x7ff0_0000_0000_0000,
    0x8000_0000_0000_0000,
    0xffff_ffff_ffff_ffff,
];

/// Pairs of edges, and random triples.
pub(crate) fn operands() -> Vec<[u64; 3]> {
    let mut runner = TestRunner::deterministic();
    let mut all: Vec<[u64; 3]> =
        EDGES.iter().flat_map(|a| EDGES.map(|b| [*a, b, a.rotate_left(8) ^ b])).collect();
    let float = |exponent: i32| f32::from_bits(0x3f80_0000).powi(exponent);
    for _ in 0..1_000 {
        all.push(any::<[u64; 3]>().new_tree(&mut runner).unwrap().current());
        // Floats of like sizes, so that sums are not one of their parts.
        let near = [(); 3].map(|()| (-4.0_f32..4.0).new_tree(&mut runner).unwrap().current());
        all.push(near.map(|it| (it * float(1)).to_bits().into()));
        all.push(near.map(|it| f64::from(it).to_bits()));
        all.push(near.map(|it| f16::from_f32(it).to_bits().into()));
        all.push(near.map(|it| bf16::from_f32(it).to_bits().into()));
    }
    all
}

/// The names of registers of so many bits.
fn register(bits: u32) -> &'static str {
    match bits {
        16 => "%rs",
        32 => "%r",
        _ => "%rd",
    }
}

/// What an instruction gives: `bits` are those of its result and of its operands.
pub(crate) fn results(
    name: &str,
    (to, from): (u32, u32),
    num_operands: usize,
    of: &[[u64; 3]],
) -> Vec<u64> {
    let mut device = Device::default();
    let flat: Vec<u64> = of.iter().flatten().copied().collect();
    let input = device.place(&flat);
    let out = device.place(&vec![0_u64; of.len()]);
    let (target, source) = (register(to), register(from));
    // A fourth is the third once more.
    let loads = (0..num_operands).map(|operand| {
        let (number, at) = (operand + 1, 8 * operand.min(2));
        format!("ld.global.b{from} {source}{number}, [%rd20+{at}];\n")
    });
    let listed: Vec<String> = (1..=num_operands).map(|it| format!("{source}{it}")).collect();
    let body = by_thread(24)
        + &format!(
            "add.s64 %rd20, %rd0, %rd31;\nmov.u64 %rd25, %rd1;\nsetp.ge.u32 %p9, %r31, {};\n\
             @%p9 ret;\n{}{name} {target}10, {};\nmul.wide.u32 %rd21, %r31, 8;\n\
             add.s64 %rd21, %rd25, %rd21;\nst.global.b{to} [%rd21], {target}10;",
            of.len(),
            loads.collect::<String>(),
            listed.join(", ")
        );
    let blocks = u32::try_from(of.len().div_ceil(256)).unwrap();
    let args = [Arg::U64(input), Arg::U64(out)];
    run(&kernel(2, &body), "test", (blocks, 256), &args, &mut device).unwrap();
    device.values(out, of.len())
}

/// The lowest bits of a value, and one value for all that is no number.
fn comparable(value: u64, ty: &str) -> u64 {
    let nan = u64::MAX - 1;
    match ty {
        "f16" if f16::from_bits(value as u16).is_nan() => nan,
        "bf16" if bf16::from_bits(value as u16).is_nan() => nan,
        "f32" if f32::from_bits(value as u32).is_nan() => nan,
        "f64" if f64::from_bits(value).is_nan() => nan,
        "u16" | "s16" | "b16" | "f16" | "bf16" => value & 0xffff,
        "u32" | "s32" | "b32" | "f32" => value & 0xffff_ffff,
        _ => value,
    }
}

fn bits(ty: &str) -> u32 {
    ty.trim_start_matches(|letter: char| !letter.is_ascii_digit()).parse().unwrap()
}

#[track_caller]
pub(crate) fn check(name: &str, to: &str, num_operands: usize, want: impl Fn([u64; 3]) -> u64) {
    let from = name.rsplit('.').next().unwrap();
    let operands = operands();
    // All operands are as wide as the type, a shift's distance as well: both have 32 bits.
    let found = results(name, (bits(to), bits(from)), num_operands, &operands);
    for (found, operands) in found.into_iter().zip(operands) {
        let (found, want) = (comparable(found, to), comparable(want(operands), to));
        assert_eq!(found, want, "{name} {operands:x?}: found {found:x}, wanted {want:x}");
    }
}

macro_rules! whole {
    ($($name:literal $ty:ty: $f:expr;)*) => {$(
        let f: fn($ty, $ty) -> $ty = $f;
        let to = $name.rsplit('.').next().unwrap();
        check($name, to, 2, |[a, b, _]| f(a as $ty, b as $ty) as u64);
    )*};
}

#[test]
fn whole_numbers_are_computed() {
    whole! {
        "add.s32" i32: i32::wrapping_add;
        "add.u64" u64: u64::wrapping_add;
        "add.s16" i16: i16::wrapping_add;
        "sub.s32" i32: i32::wrapping_sub;
        "sub.s64" i64: i64::wrapping_sub;
        "mul.lo.s32" i32: i32::wrapping_mul;
        "mul.lo.s64" i64: i64::wrapping_mul;
        "mul.lo.u16" u16: u16::wrapping_mul;
        "mul.hi.u32" u32: |a, b| ((u64::from(a) * u64::from(b)) >> 32) as u32;
        "mul.hi.s32" i32: |a, b| ((i64::from(a) * i64::from(b)) >> 32) as i32;
        "mul.hi.u64" u64: |a, b| ((u128::from(a) * u128::from(b)) >> 64) as u64;
        "div.u32" u32: |a, b| a.checked_div(b).unwrap_or(u32::MAX);
        "div.s32" i32: |a, b| if b == 0 { -1 } else { a.wrapping_div(b) };
        "div.u64" u64: |a, b| a.checked_div(b).unwrap_or(u64::MAX);
        "rem.u32" u32: |a, b| a.checked_rem(b).unwrap_or(a);
        "rem.s64" i64: |a, b| if b == 0 { a } else { a.wrapping_rem(b) };
        "min.s32" i32: i32::min;
        "min.u32" u32: u32::min;
        "max.s64" i64: i64::max;
        "max.u16" u16: u16::max;
        "and.b32" u32: |a, b| a & b;
        "or.b64" u64: |a, b| a | b;
        "xor.b16" u16: |a, b| a ^ b;
        "shl.b32" u32: |a, b| a.checked_shl(b).unwrap_or(0);
        "shr.u32" u32: |a, b| a.checked_shr(b).unwrap_or(0);
        "shr.s32" i32: |a, b| a >> b.cast_unsigned().min(31);
    }
    check("mul.wide.u32", "u64", 2, |[a, b, _]| u64::from(a as u32) * u64::from(b as u32));
    check("mul.wide.s32", "s64", 2, |[a, b, _]| {
        (i64::from(a as i32) * i64::from(b as i32)).cast_unsigned()
    });
    check("mad.lo.s32", "s32", 3, |[a, b, c]| {
        u64::from((a as u32).wrapping_mul(b as u32).wrapping_add(c as u32))
    });
    check("neg.s32", "s32", 1, |[a, ..]| u64::from((a as u32).wrapping_neg()));
    check("abs.s32", "s32", 1, |[a, ..]| u64::from((a as i32).unsigned_abs()));
    check("not.b64", "b64", 1, |[a, ..]| !a);
    check("clz.b32", "u32", 1, |[a, ..]| u64::from((a as u32).leading_zeros()));
    check("popc.b32", "u32", 1, |[a, ..]| u64::from((a as u32).count_ones()));
    check("bfi.b32", "b32", 4, |[a, b, c]| {
        // Where it starts is the third operand, and so is how long it is.
        let (start, length) = (c as u32 & 0xff, c as u32 & 0xff);
        let ones = 1_u64.checked_shl(length).unwrap_or(0).wrapping_sub(1);
        let placed = |it: u64| it.checked_shl(start).unwrap_or(0) as u32;
        u64::from(b as u32 & !placed(ones) | placed(a & ones))
    });
    check("brev.b32", "b32", 1, |[a, ..]| u64::from((a as u32).reverse_bits()));
}

macro_rules! floats {
    ($($name:literal: $f:expr;)*) => {$(
        let f: fn(f32, f32, f32) -> f32 = $f;
        let num_operands = if $name.starts_with("fma") { 3 } else { 2 };
        check($name, "f32", num_operands, |values| {
            let [a, b, c] = values.map(|it| f32::from_bits(it as u32));
            f(a, b, c).to_bits().into()
        });
    )*};
}

/// By the rule of IEEE 754 for the lesser or the greater of two.
fn least(a: f32, b: f32) -> f32 {
    match (a.is_nan(), b.is_nan()) {
        (true, _) => b,
        (_, true) => a,
        _ if a.total_cmp(&b).is_lt() => a,
        _ => b,
    }
}

#[test]
fn floats_are_computed() {
    floats! {
        "add.f32": |a, b, _| a + b;
        "sub.rn.f32": |a, b, _| a - b;
        "mul.f32": |a, b, _| a * b;
        "div.rn.f32": |a, b, _| a / b;
        "fma.rn.f32": f32::mul_add;
        "min.f32": |a, b, _| least(a, b);
        "max.f32": |a, b, _| -least(-a, -b);
        "copysign.f32": |a, b, _| b.copysign(a);
    }
    check("add.f64", "f64", 2, |[a, b, _]| (f64::from_bits(a) + f64::from_bits(b)).to_bits());
    check("fma.rn.f64", "f64", 3, |values| {
        let [a, b, c] = values.map(f64::from_bits);
        a.mul_add(b, c).to_bits()
    });
    check("neg.f32", "f32", 1, |[a, ..]| (a as u32 ^ 1 << 31).into());
    check("sqrt.rn.f32", "f32", 1, |[a, ..]| f32::from_bits(a as u32).sqrt().to_bits().into());
    check("rcp.rn.f32", "f32", 1, |[a, ..]| (1.0 / f32::from_bits(a as u32)).to_bits().into());
    check("mul.f16", "f16", 2, |[a, b, _]| {
        let of = |it: u64| f16::from_bits(it as u16).to_f64();
        f16::from_f64(of(a) * of(b)).to_bits().into()
    });
    check("add.bf16", "bf16", 2, |[a, b, _]| {
        let of = |it: u64| f64::from(bf16::from_bits(it as u16));
        // A sum of two is exact in 64 bits, or one of them is too small to matter but for a tie.
        bf16::from_f64(of(a) + of(b)).to_bits().into()
    });
}

/// Rounding towards a side, by trying the neighbours of the nearest.
fn directed(nearest: f32, is_beyond: impl Fn(f32) -> bool, down: bool) -> f32 {
    let next = if down { nearest.next_down() } else { nearest.next_up() };
    if is_beyond(nearest) { next } else { nearest }
}

#[test]
fn floats_are_rounded_towards_a_side() {
    // Sums and products of two are exact in 64 bits where their sizes are alike.
    let operands: Vec<[u64; 3]> = operands()
        .into_iter()
        .filter(|values| {
            values[..2].iter().all(|it| {
                let value = f32::from_bits(*it as u32).abs();
                (1e-3..1e3).contains(&value)
            })
        })
        .collect();
    assert!(operands.len() > 500);
    for (name, is_sum, down) in [
        ("add.rm.f32", true, true),
        ("add.rp.f32", true, false),
        ("mul.rm.f32", false, true),
        ("mul.rp.f32", false, false),
    ] {
        let found = results(name, (32, 32), 2, &operands);
        for (found, [a, b, _]) in found.into_iter().zip(&operands) {
            let [a, b] = [a, b].map(|it| f64::from(f32::from_bits(*it as u32)));
            let exact = if is_sum { a + b } else { a * b };
            let is_beyond =
                |it: f32| if down { f64::from(it) > exact } else { f64::from(it) < exact };
            // Rounded down, what cancels out has a sign.
            let cancels = is_sum && down && exact == 0.0;
            let nearest = if cancels { -0.0 } else { exact as f32 };
            let want = directed(nearest, is_beyond, down);
            let found = f32::from_bits(found as u32);
            assert_eq!(found.to_bits(), want.to_bits(), "{name} {a} {b}: {found}, wanted {want}");
        }
    }
}

#[test]
fn approximations_are_near() {
    let near = |name: &str, f: fn(f32) -> f32| {
        let operands: Vec<[u64; 3]> =
            (1..2_000_u16).map(|it| [(f32::from(it) / 100.0).to_bits().into(), 0, 0]).collect();
        let found = results(name, (32, 32), 1, &operands);
        for (found, [a, ..]) in found.into_iter().zip(operands) {
            let (a, found) = (f32::from_bits(a as u32), f32::from_bits(found as u32));
            let want = f(a);
            assert!((found - want).abs() <= want.abs() * 1e-6 + 1e-6, "{name} {a}: {found} {want}");
        }
    };
    near("ex2.approx.ftz.f32", f32::exp2);
    near("lg2.approx.ftz.f32", f32::log2);
    near("rsqrt.approx.f32", |a| 1.0 / a.sqrt());
    near("rcp.approx.ftz.f32", |a| 1.0 / a);
}

#[test]
fn numbers_are_converted() {
    let float = |it: u64| f32::from_bits(it as u32);
    let to_f32 = |it: f32| u64::from(it.to_bits());
    check("cvt.u64.u32", "u64", 1, |[a, ..]| u64::from(a as u32));
    check("cvt.s64.s32", "s64", 1, |[a, ..]| i64::from(a as i32).cast_unsigned());
    check("cvt.u32.u64", "u32", 1, |[a, ..]| u64::from(a as u32));
    check("cvt.u32.u16", "u32", 1, |[a, ..]| u64::from(a as u16));
    check("cvt.rn.f32.s32", "f32", 1, |[a, ..]| to_f32(a as i32 as f32));
    check("cvt.rn.f32.u64", "f32", 1, |[a, ..]| to_f32(a as f32));
    check("cvt.rn.f32.s64", "f32", 1, |[a, ..]| to_f32(a as i64 as f32));
    check("cvt.rn.f64.s64", "f64", 1, |[a, ..]| (a as i64 as f64).to_bits());
    check("cvt.rzi.s32.f32", "s32", 1, |[a, ..]| u64::from((float(a) as i32).cast_unsigned()));
    check("cvt.rzi.u32.f32", "u32", 1, |[a, ..]| u64::from(float(a) as u32));
    check("cvt.rni.s32.f32", "s32", 1, |[a, ..]| {
        u64::from((float(a).round_ties_even() as i32).cast_unsigned())
    });
    check("cvt.rmi.f32.f32", "f32", 1, |[a, ..]| to_f32(float(a).floor()));
    check("cvt.rpi.f32.f32", "f32", 1, |[a, ..]| to_f32(float(a).ceil()));
    check("cvt.sat.f32.f32", "f32", 1, |[a, ..]| {
        to_f32(if float(a) > 0.0 { float(a).min(1.0) } else { 0.0 })
    });
    check("cvt.f64.f32", "f64", 1, |[a, ..]| f64::from(float(a)).to_bits());
    check("cvt.rn.f32.f64", "f32", 1, |[a, ..]| to_f32(f64::from_bits(a) as f32));
    check("cvt.f32.f16", "f32", 1, |[a, ..]| to_f32(f16::from_bits(a as u16).to_f32()));
    check("cvt.rn.f16.f32", "f16", 1, |[a, ..]| f16::from_f32(float(a)).to_bits().into());
    check("cvt.rn.bf16.f32", "bf16", 1, |[a, ..]| bf16::from_f32(float(a)).to_bits().into());
}

#[test]
fn numbers_are_compared() {
    #[track_caller]
    fn check_test(name: &str, want: impl Fn(u64, u64) -> bool) {
        let ty = name.rsplit('.').next().unwrap();
        let operands = operands();
        // A predicate cannot be stored: it chooses one of two numbers.
        let chosen = format!("setp.{name} %p1");
        let found = chosen_by(&chosen, bits(ty), &operands);
        for (is_so, [a, b, _]) in found.into_iter().zip(operands) {
            assert_eq!(is_so, want(a, b), "{name} {a:x} {b:x}");
        }
    }
    let f = |it: u64| f32::from_bits(it as u32);
    check_test("lt.s32", |a, b| (a as i32) < (b as i32));
    check_test("lt.u32", |a, b| (a as u32) < (b as u32));
    check_test("ge.s64", |a, b| (a as i64) >= (b as i64));
    check_test("le.u64", |a, b| a <= b);
    check_test("gt.s16", |a, b| (a as i16) > (b as i16));
    check_test("ne.s32", |a, b| a as u32 != b as u32);
    check_test("lt.f32", |a, b| f(a) < f(b));
    check_test("geu.f32", |a, b| f(a) >= f(b) || f(a).is_nan() || f(b).is_nan());
    check_test("neu.f32", |a, b| f(a).partial_cmp(&f(b)) != Some(Ordering::Equal));
    check_test("gt.f16", |a, b| f16::from_bits(a as u16) > f16::from_bits(b as u16));
}

/// In which threads a comparison is so.
fn chosen_by(comparison: &str, bits: u32, of: &[[u64; 3]]) -> Vec<bool> {
    let mut device = Device::default();
    let flat: Vec<u64> = of.iter().flatten().copied().collect();
    let input = device.place(&flat);
    let out = device.place(&vec![0_u32; of.len()]);
    let source = register(bits);
    let body = by_thread(24)
        + &format!(
            "add.s64 %rd20, %rd0, %rd31;\nmov.u64 %rd25, %rd1;\nsetp.ge.u32 %p9, %r31, {};\n@%p9 ret;\n\
             ld.global.b{bits} {source}1, [%rd20];\nld.global.b{bits} {source}2, [%rd20+8];\n\
             {comparison}, {source}1, {source}2;\nselp.u32 %r10, 1, 0, %p1;\n\
             mul.wide.u32 %rd21, %r31, 4;\nadd.s64 %rd21, %rd25, %rd21;\n\
             st.global.u32 [%rd21], %r10;",
            of.len()
        );
    let blocks = u32::try_from(of.len().div_ceil(256)).unwrap();
    let args = [Arg::U64(input), Arg::U64(out)];
    run(&kernel(2, &body), "test", (blocks, 256), &args, &mut device).unwrap();
    device.values::<u32>(out, of.len()).into_iter().map(|it| it == 1).collect()
}
