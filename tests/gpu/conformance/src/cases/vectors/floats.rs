//! Arithmetic of 32 bits that is exact but for one rounding.

use super::{
    numbers::{F32, Rounding},
    vectors,
    wanted::{Wanted, exact, number},
};

vectors! {
    "add.rn.f32",
        "PTX ISA 9.7.3, \"Instructions that support rounding modifiers are IEEE-754 compliant.\"",
        Float * 2 => Float, |it| exact(of(it[0]) + of(it[1]));
    "mul.rn.f32",
        "PTX ISA 9.7.3, \"Instructions that support rounding modifiers are IEEE-754 compliant.\"",
        Float * 2 => Float, |it| exact(of(it[0]) * of(it[1]));
    "div.rn.f32",
        "PTX ISA 9.7.3.8, \"div\": IEEE 754 compliant rounding",
        Float * 2 => Float, |it| exact(of(it[0]) / of(it[1]));
    "rcp.rn.f32",
        "PTX ISA 9.7.3.13, \"rcp\": IEEE 754 compliant rounding",
        Float * 1 => Float, |it| exact(1.0 / of(it[0]));
    "sqrt.rn.f32",
        "PTX ISA 9.7.3.15, \"sqrt\": IEEE 754 compliant rounding",
        Float * 1 => Float, |it| exact(of(it[0]).sqrt());
    "fma.rn.f32",
        "PTX ISA 9.7.3.6, \"fma\": \"computes the product of a and b to infinite precision and \
         then adds c to this product, again in infinite precision. The resulting value is then \
         rounded to single precision\"",
        Float * 3 => Float, |it| exact(of(it[0]).mul_add(of(it[1]), of(it[2])));
    "fma.rz.f32",
        "PTX ISA 9.7.3.6, \"fma\": .rz, \"rounds towards zero\"",
        Float * 3 => Float, |it| fma(it, Rounding::Zero);
    "fma.rm.f32",
        "PTX ISA 9.7.3.6, \"fma\": .rm, \"rounds towards negative infinity\"",
        Float * 3 => Float, |it| fma(it, Rounding::Down);
    "fma.rp.f32",
        "PTX ISA 9.7.3.6, \"fma\": .rp, \"rounds towards positive infinity\"",
        Float * 3 => Float, |it| fma(it, Rounding::Up);
    "min.f32",
        "PTX ISA 9.7.3.11, \"min\": of a number and a NaN, the number; \"If values of both \
         inputs are 0.0, then +0.0 > -0.0.\"",
        Float * 2 => Float, |it| chosen(it, true);
    "max.f32",
        "PTX ISA 9.7.3.12, \"max\": of a number and a NaN, the number; \"If values of both \
         inputs are 0.0, then +0.0 > -0.0.\"",
        Float * 2 => Float, |it| chosen(it, false);
}

fn of(bits: u32) -> f32 {
    f32::from_bits(bits)
}

fn fma(it: &[u32], rounding: Rounding) -> Wanted {
    number(F32.fma([it[0], it[1], it[2]], rounding), F32)
}

/// The least or the greatest of two.
fn chosen(it: &[u32], least: bool) -> Wanted {
    let [a, b] = [of(it[0]), of(it[1])];
    if a.is_nan() || b.is_nan() {
        return exact(if a.is_nan() { b } else { a });
    }
    // This order puts -0 before 0.
    let takes_a = a.total_cmp(&b).is_lt() == least;
    exact(if takes_a { a } else { b })
}
