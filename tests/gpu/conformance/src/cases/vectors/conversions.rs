//! Conversions, to the bit.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a conversion is what is looked at: the host's clamps to the range, and makes NaN zero"
)]

use super::{
    numbers::{BF16, F16, F32, Format, Rounding},
    vectors,
    wanted::{Wanted, exact, number},
};

vectors! {
    "cvt.rn.f16.f32",
        "PTX ISA 9.7.9.21, \"cvt\": .rn, \"rounding to nearest, with ties to even\"",
        Float * 1 => F16, |it| narrow(it, F16, Rounding::Nearest);
    "cvt.rz.f16.f32",
        "PTX ISA 9.7.9.21, \"cvt\": .rz, \"rounding toward zero\"",
        Float * 1 => F16, |it| narrow(it, F16, Rounding::Zero);
    "cvt.rm.f16.f32",
        "PTX ISA 9.7.9.21, \"cvt\": .rm, \"rounding toward negative infinity\"",
        Float * 1 => F16, |it| narrow(it, F16, Rounding::Down);
    "cvt.rp.f16.f32",
        "PTX ISA 9.7.9.21, \"cvt\": .rp, \"rounding toward positive infinity\"",
        Float * 1 => F16, |it| narrow(it, F16, Rounding::Up);
    "cvt.rn.bf16.f32",
        "PTX ISA 9.7.9.21, \"cvt\": .rn, \"rounding to nearest, with ties to even\"",
        Float * 1 => Bf16, |it| narrow(it, BF16, Rounding::Nearest);
    "cvt.rz.bf16.f32",
        "PTX ISA 9.7.9.21, \"cvt\": .rz, \"rounding toward zero\"",
        Float * 1 => Bf16, |it| narrow(it, BF16, Rounding::Zero);
    "cvt.f32.f16",
        "PTX ISA 9.7.9.21, \"cvt\": nothing is lost, so nothing is rounded",
        F16 * 1 => Float, |it| exact(F16.value(it[0] & 0xFFFF) as f32);
    "cvt.f32.bf16",
        "PTX ISA 9.7.9.21, \"cvt\": nothing is lost, so nothing is rounded; \"NaN input yields \
         unspecified NaN.\"",
        Bf16 * 1 => Float, |it| exact(BF16.value(it[0] & 0xFFFF) as f32);
    "cvt.rn.f16x2.f32",
        "PTX ISA 9.7.9.21, \"cvt\": \"d[31:16] = convert(a); d[15:0] = convert(b)\"",
        Float * 2 => F16x2, |it| pair(it, F16, Rounding::Nearest);
    "cvt.rn.bf16x2.f32",
        "PTX ISA 9.7.9.21, \"cvt\": \"d[31:16] = convert(a); d[15:0] = convert(b)\"",
        Float * 2 => Bf16x2, |it| pair(it, BF16, Rounding::Nearest);

    "cvt.rni.s32.f32",
        "PTX ISA 9.7.9.21, \"cvt\": .rni, \"round to nearest integer, choosing even integer if \
         source is equidistant between two integers\"; \"the result is clamped to the \
         destination range by default\"",
        Float * 1 => Word, |it| signed(of(it).round_ties_even() as i32);
    "cvt.rzi.s32.f32",
        "PTX ISA 9.7.9.21, \"cvt\": .rzi, \"round to nearest integer in the direction of zero\"; \
         NaN results in zero \"if source is not .f64 and destination is not .s64, .u64\"",
        Float * 1 => Word, |it| signed(of(it).trunc() as i32);
    "cvt.rmi.s32.f32",
        "PTX ISA 9.7.9.21, \"cvt\": .rmi, \"round to nearest integer in direction of negative \
         infinity\"",
        Float * 1 => Word, |it| signed(of(it).floor() as i32);
    "cvt.rpi.s32.f32",
        "PTX ISA 9.7.9.21, \"cvt\": .rpi, \"round to nearest integer in direction of positive \
         infinity\"",
        Float * 1 => Word, |it| signed(of(it).ceil() as i32);
    "cvt.rzi.u32.f32",
        "PTX ISA 9.7.9.21, \"cvt\": \"the result is clamped to the destination range by \
         default\"",
        Float * 1 => Word, |it| Wanted::Bits(of(it) as u32);
    "cvt.rzi.u8.f32",
        "PTX ISA 9.7.9.21, \"cvt\": \"the result is clamped to the destination range by \
         default\"; \"A destination register wider than the specified type may be used\"",
        Float * 1 => Word, |it| Wanted::Bits((of(it) as u8).into());
    "cvt.rni.s8.f32",
        "PTX ISA 9.7.9.21, \"cvt\": \"the result is clamped to the destination range by \
         default\"; PTX ISA 9.4.1: the result is extended by its sign to the width of the \
         register",
        Float * 1 => Word, |it| signed((of(it).round_ties_even() as i8).into());
    "cvt.rni.f32.f32",
        "PTX ISA 9.7.9.21, \"cvt\": \"A floating-point value may be rounded to an integral value \
         using the integer rounding modifiers.\"",
        Float * 1 => Float, |it| exact(of(it).round_ties_even());

    "cvt.rn.f32.s32",
        "PTX ISA 9.7.9.21, \"cvt\": .rn, \"rounding to nearest, with ties to even\"",
        Word * 1 => Float, |it| from_signed(it, F32, Rounding::Nearest);
    "cvt.rz.f32.s32",
        "PTX ISA 9.7.9.21, \"cvt\": .rz, \"rounding toward zero\"",
        Word * 1 => Float, |it| from_signed(it, F32, Rounding::Zero);
    "cvt.rm.f32.s32",
        "PTX ISA 9.7.9.21, \"cvt\": .rm, \"rounding toward negative infinity\"",
        Word * 1 => Float, |it| from_signed(it, F32, Rounding::Down);
    "cvt.rp.f32.s32",
        "PTX ISA 9.7.9.21, \"cvt\": .rp, \"rounding toward positive infinity\"",
        Word * 1 => Float, |it| from_signed(it, F32, Rounding::Up);
    "cvt.rn.f32.u32",
        "PTX ISA 9.7.9.21, \"cvt\": .rn, \"rounding to nearest, with ties to even\"",
        Word * 1 => Float, |it| number(F32.of(it[0].into(), Rounding::Nearest), F32);
    "cvt.rn.f32.u8",
        "PTX ISA 9.7.9.21, \"cvt\": \"A source register wider than the specified type may be \
         used\"",
        Word * 1 => Float, |it| exact((it[0] & 0xFF) as f32);
    "cvt.rn.f16.s32",
        "PTX ISA 9.7.9.21, \"cvt\": .rn, \"rounding to nearest, with ties to even\"",
        Word * 1 => F16, |it| from_signed(it, F16, Rounding::Nearest);
    "cvt.sat.u8.s32",
        "PTX ISA 9.7.9.21, \"cvt\": \".sat limits the result to MININT..MAXINT for the size of \
         the operation\"",
        Word * 1 => Word, |it| signed(it[0].cast_signed().clamp(0, 255));
}

fn of(it: &[u32]) -> f32 {
    f32::from_bits(it[0])
}

fn signed(value: i32) -> Wanted {
    Wanted::Bits(value.cast_unsigned())
}

fn narrow(it: &[u32], format: Format, rounding: Rounding) -> Wanted {
    number(format.of(of(it).into(), rounding), format)
}

/// The first operand goes above.
fn pair(it: &[u32], format: Format, rounding: Rounding) -> Wanted {
    let [high, low] = [it[0], it[1]].map(|bits| format.of(f32::from_bits(bits).into(), rounding));
    Wanted::Pair([low, high], format)
}

fn from_signed(it: &[u32], format: Format, rounding: Rounding) -> Wanted {
    number(format.of(it[0].cast_signed().into(), rounding), format)
}
