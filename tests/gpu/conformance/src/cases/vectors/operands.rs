//! Operands for kernels: edges, and then a sequence that is the same each time.

use super::numbers::{Format, Rounding};

/// How many operands a kernel gets.
pub(super) const COUNT: usize = 256;

/// Edges of numbers of 32 bits: zeros, subnormals, ones, the largest, infinities, NaN, and what
/// lies around the limits of f16 and of whole numbers.
const EDGES: [u32; 40] = [
    0x0000_0000,
    0x8000_0000,
    0x0000_0001,
    0x8000_0001,
    0x007F_FFFF,
    0x0080_0000,
    0x3F80_0000,
    0xBF80_0000,
    0x3F7F_FFFF,
    0x3F80_0001,
    0x7F7F_FFFF,
    0xFF7F_FFFF,
    0x7F80_0000,
    0xFF80_0000,
    0x7FC0_0000,
    0xFFC0_0001,
    0x3F00_0000,
    0x3FC0_0000,
    0x4020_0000,
    0xBF00_0000,
    0xBFC0_0000,
    0x477F_E000,
    0x477F_EFFF,
    0x477F_F000,
    0x4780_0000,
    0x3880_0000,
    0x387F_C000,
    0x3380_0000,
    0x3300_0000,
    0x3300_0001,
    0x4EFF_FFFF,
    0x4F00_0000,
    0xCF00_0000,
    0xCF00_0001,
    0x4B00_0001,
    0x42FE_0000,
    0xC2FC_0000,
    0xC316_0000,
    0x7F7F_8000,
    0x3F80_8000,
];

/// Edges of whole numbers, and of four bytes.
const WHOLE: [u32; 20] = [
    0,
    1,
    u32::MAX,
    0x7FFF_FFFF,
    0x8000_0000,
    0x8000_0001,
    0x00FF_FFFF,
    0x0100_0000,
    0x0100_0001,
    0x0100_0003,
    0xFEFF_FFFF,
    0x0000_007F,
    0x0000_0080,
    0x0000_00FF,
    0x0000_0100,
    0xFFFF_FF80,
    0x8080_8080,
    0x7F7F_7F7F,
    0x0000_FFE0,
    0x7FFF_FF80,
];

/// Numbers of 32 bits; every second one of an everyday size.
pub(super) fn floats(seed: u64) -> Vec<u32> {
    // Exponents from -16 to 15.
    let everyday = |(index, word): (usize, u32)| match index % 2 {
        0 => word,
        _ => word & 0x807F_FFFF | ((word >> 23 & 31) + 111) << 23,
    };
    let words = random(seed).enumerate().map(everyday);
    edges(&EDGES, seed).chain(words).take(COUNT).collect()
}

/// Whole numbers, of all sizes.
pub(super) fn words(seed: u64) -> Vec<u32> {
    let sized = |(index, word): (usize, u32)| match index % 3 {
        0 => word,
        1 => word >> (word % 32),
        _ => (word.cast_signed() >> (word % 32)).cast_unsigned(),
    };
    let words = random(seed).enumerate().map(sized);
    edges(&WHOLE, seed).chain(words).take(COUNT).collect()
}

/// Two numbers of 16 bits in each word, every second one of an everyday size.
pub(super) fn halves(seed: u64, format: Format) -> Vec<u32> {
    let infinity = format.infinity();
    let one = format.of(1.0, Rounding::Nearest).unwrap_or(0);
    let least_normal = infinity & infinity.wrapping_neg();
    let sizes = [
        0,
        1,
        least_normal - 1,
        least_normal,
        one - 1,
        one,
        one + 1,
        one + least_normal / 2,
        infinity - 1,
        infinity,
        infinity + 1,
        0x7FFF,
    ];
    let sixteen: Vec<u32> = sizes.into_iter().flat_map(|it| [it, it | 0x8000]).collect();
    // Every edge below meets another one above.
    let count = sixteen.len();
    let pairs = (0..count).map(|it| sixteen[it] | sixteen[(it * 7 + 5) % count] << 16);
    let pairs: Vec<u32> = pairs.collect();
    // The sign and fraction as they are, and an exponent from -4 to 3.
    let near_one = |half: u32| {
        let exponent = one / least_normal - 4 + (half / least_normal) % 8;
        (half & (0x8000 | (least_normal - 1))) | (exponent * least_normal)
    };
    let everyday = |(index, word): (usize, u32)| match index % 2 {
        0 => word,
        _ => near_one(word & 0xFFFF) | near_one(word >> 16) << 16,
    };
    let words = random(seed).enumerate().map(everyday);
    edges(&pairs, seed).chain(words).take(COUNT).collect()
}

/// Edges in another order for each operand, so that they meet other ones.
fn edges(all: &[u32], seed: u64) -> impl Iterator<Item = u32> {
    let by = usize::try_from(seed).unwrap_or(0) * 7 % all.len();
    all.iter().cycle().skip(by).take(all.len()).copied()
}

/// Source: `SplitMix64` of Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators".
fn random(seed: u64) -> impl Iterator<Item = u32> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 32) as u32
    })
}
