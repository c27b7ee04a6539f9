//! Instructions on several numbers in a word, to the bit.

use super::{
    numbers::{BF16, F16, Format, Rounding},
    vectors,
    wanted::Wanted,
};

vectors! {
    "fma.rn.f16x2",
        "PTX ISA 9.7.4.4, \"fma\": \"no loss of precision in the intermediate product and \
         addition\"; \"By default, subnormal numbers are supported.\"",
        F16x2 * 3 => F16x2, |it| fma([it[0], it[1], it[2]], F16);
    "fma.rn.bf16x2",
        "PTX ISA 9.7.4.4, \"fma\": \"no loss of precision in the intermediate product and \
         addition\"; \"By default, subnormal numbers are supported.\"",
        Bf16x2 * 3 => Bf16x2, |it| fma([it[0], it[1], it[2]], BF16);
    "add.rn.f16x2",
        "PTX ISA 9.7.4.1, \"add\": \".rn — mantissa LSB rounds to nearest even\"; \"By default, \
         subnormal numbers are supported.\"",
        F16x2 * 2 => F16x2, |it| each(F16, |half| half(it[0]) + half(it[1]));
    "mul.rn.f16x2",
        "PTX ISA 9.7.4.3, \"mul\": \".rn — mantissa LSB rounds to nearest even\"; \"By default, \
         subnormal numbers are supported.\"",
        F16x2 * 2 => F16x2, |it| each(F16, |half| half(it[0]) * half(it[1]));
    "dp4a.s32.s32",
        "PTX ISA 9.7.1.23, \"dp4a\": \"d += Va[i] * Vb[i]\"",
        Word * 3 => Word, |it| dot(it, [true, true]);
    "dp4a.u32.u32",
        "PTX ISA 9.7.1.23, \"dp4a\": \"d += Va[i] * Vb[i]\"",
        Word * 3 => Word, |it| dot(it, [false, false]);
    "dp4a.u32.s32",
        "PTX ISA 9.7.1.23, \"dp4a\": \"d += Va[i] * Vb[i]\"",
        Word * 3 => Word, |it| dot(it, [false, true]);
    "prmt.b32",
        "PTX ISA 9.7.9.7, \"prmt\": \"The 3 lsbs of the selection value specify which of the 8 \
         source bytes should be moved into the target position.\"; \"msb=0 means copy the \
         literal value; msb=1 means replicate the sign.\"",
        Word * 3 => Word, |it| permute(it);
}

/// What becomes of the low and of the high numbers, of which each sum and product is exact in 64
/// bits.
fn each(format: Format, f: impl Fn(&dyn Fn(u32) -> f64) -> f64) -> Wanted {
    let of = |shift: u32| {
        let value = f(&|word| format.value(word >> shift & 0xFFFF));
        format.of(value, Rounding::Nearest)
    };
    Wanted::Pair([of(0), of(16)], format)
}

fn fma(words: [u32; 3], format: Format) -> Wanted {
    let of = |shift: u32| format.fma(words.map(|it| it >> shift & 0xFFFF), Rounding::Nearest);
    Wanted::Pair([of(0), of(16)], format)
}

fn dot(it: &[u32], is_signed: [bool; 2]) -> Wanted {
    let number = |byte: u8, is_signed| {
        if is_signed { i32::from(byte.cast_signed()) } else { i32::from(byte) }
    };
    let pairs = it[0].to_le_bytes().into_iter().zip(it[1].to_le_bytes());
    let products = pairs.map(|(a, b)| number(a, is_signed[0]) * number(b, is_signed[1]));
    Wanted::Bits(products.fold(it[2], |sum, it| sum.wrapping_add(it.cast_unsigned())))
}

fn permute(it: &[u32]) -> Wanted {
    let bytes = [it[0].to_le_bytes(), it[1].to_le_bytes()].concat();
    let chosen = std::array::from_fn(|index| {
        let selection = it[2] >> (4 * index) & 0xF;
        let byte = bytes[selection as usize & 7];
        let replicated = if byte & 0x80 == 0 { 0 } else { 0xFF };
        if selection & 8 == 0 { byte } else { replicated }
    });
    Wanted::Bits(u32::from_le_bytes(chosen))
}
