//! Formats with blocks of 256 weights: `Q2_K` to `Q6_K`.
//!
//! Source: ggml's block formats (`ggml-common.h`) and their `dequantize_row` functions
//! (`ggml-quants.c`).

use super::{
    activations::Form,
    blocks::{Format, Run},
    formats::{LOW, part, words},
};
use crate::simd::{F32x8, Range, Words};

/// The two lowest bits of a word's bytes.
const PAIR: u32 = 0x0303_0303;

/// A block of each of eight rows, one row per lane.
pub(super) struct Block<const N: usize> {
    /// The bytes with the weights, in groups of 32.
    words: [[Words; 8]; N],
    /// One byte per scale, and per minimum where there is room.
    scales: [Words; 4],
    /// The factor of the scales.
    scale: F32x8,
    /// The factor of the minima.
    min: F32x8,
}

/// Moves bit `source` of each byte to bit `target`, together with its neighbours.
#[inline(always)]
fn moved(words: Words, source: usize, target: usize) -> Words {
    words >> source << target
}

/// Reads the start of a block of `Q4_K` or `Q5_K`: the factors of scales and minima, and twelve
/// bytes with eight of each in 6 bits.
#[inline(always)]
fn block_with_mins<const N: usize, const LEN: usize>(
    rows: [&[u8; LEN]; 8],
    words: [[Words; 8]; N],
) -> Block<N> {
    let [factors, scales, mins, rest] = Words::transpose(rows.map(part::<0, 16, LEN>));
    let top = |words: Words| (words >> 6 & PAIR) << 4;
    Block {
        words,
        scales: [
            scales & 0x3F3F_3F3F,
            rest & LOW | top(scales),
            mins & 0x3F3F_3F3F,
            rest >> 4 & LOW | top(mins),
        ],
        scale: factors.low_half(),
        min: factors.high_half().mul(F32x8::splat(-1.0)),
    }
}

impl<const N: usize> Block<N> {
    /// Makes a run from the `words` of a [`block_with_mins`].
    #[inline(always)]
    fn run_with_min(&self, run_idx: usize, words: [Words; 8]) -> Run {
        let (word, byte) = (run_idx / 4, run_idx % 4);
        Run {
            words,
            scales: [self.scales[word].byte(byte).mul(self.scale); 2],
            mins: [self.scales[2 + word].byte(byte).mul(self.min); 2],
        }
    }
}

pub(super) struct Q4K;

impl Format<144, 8> for Q4K {
    const FORM: Form = Form::WideBytes;
    const RANGE: Range = Range::UpTo(15);
    const MINS: bool = true;

    type Unpacked = Block<4>;

    #[inline(always)]
    fn unpack(rows: [&[u8; 144]; 8]) -> Block<4> {
        let words = [
            words::<16, 144>(rows),
            words::<48, 144>(rows),
            words::<80, 144>(rows),
            words::<112, 144>(rows),
        ];
        block_with_mins(rows, words)
    }

    #[inline(always)]
    fn run(block: &Block<4>, run_idx: usize) -> Run {
        let words = block.words[run_idx / 2];
        block.run_with_min(run_idx, words.map(|words| words >> (run_idx % 2 * 4) & LOW))
    }
}

pub(super) struct Q5K;

impl Format<176, 8> for Q5K {
    const FORM: Form = Form::WideBytes;
    const RANGE: Range = Range::UpTo(31);
    const MINS: bool = true;

    type Unpacked = Block<5>;

    #[inline(always)]
    fn unpack(rows: [&[u8; 176]; 8]) -> Block<5> {
        let words = [
            words::<48, 176>(rows),
            words::<80, 176>(rows),
            words::<112, 176>(rows),
            words::<144, 176>(rows),
            words::<16, 176>(rows),
        ];
        block_with_mins(rows, words)
    }

    #[inline(always)]
    fn run(block: &Block<5>, run_idx: usize) -> Run {
        let (nibbles, fifth_bits) = (block.words[run_idx / 2], block.words[4]);
        let words = std::array::from_fn(|i| {
            let fifth_bit = moved(fifth_bits[i], run_idx, 4) & 0x1010_1010;
            nibbles[i] >> (run_idx % 2 * 4) & LOW | fifth_bit
        });
        block.run_with_min(run_idx, words)
    }
}

pub(super) struct Q2K;

impl Format<84, 8> for Q2K {
    const FORM: Form = Form::WideBytes;
    const RANGE: Range = Range::UpTo(3);
    const MINS: bool = true;
    const SPLIT: bool = true;

    type Unpacked = Block<2>;

    #[inline(always)]
    fn unpack(rows: [&[u8; 84]; 8]) -> Block<2> {
        let factors = Words::gather(rows.map(part::<80, 4, 84>));
        Block {
            words: [words::<16, 84>(rows), words::<48, 84>(rows)],
            scales: Words::transpose(rows.map(part::<0, 16, 84>)),
            scale: factors.low_half(),
            min: factors.high_half().mul(F32x8::splat(-1.0)),
        }
    }

    #[inline(always)]
    fn run(block: &Block<2>, run_idx: usize) -> Run {
        let scales = block.scales[run_idx / 2] >> (run_idx % 2 * 16);
        Run {
            words: block.words[run_idx / 4].map(|words| words >> (run_idx % 4 * 2) & PAIR),
            scales: [0, 1].map(|half| (scales & LOW).byte(half).mul(block.scale)),
            mins: [0, 1].map(|half| (scales >> 4 & LOW).byte(half).mul(block.min)),
        }
    }
}

pub(super) struct Q3K;

impl Format<110, 8> for Q3K {
    const FORM: Form = Form::WideBytes;
    const RANGE: Range = Range::UpTo(7);
    const OFFSET: f32 = 4.0;
    const SPLIT: bool = true;

    type Unpacked = Block<3>;

    #[inline(always)]
    fn unpack(rows: [&[u8; 110]; 8]) -> Block<3> {
        // The block's end: two bytes of weights, twelve of scales, and the factor of the scales.
        let [a, b, c, d] = Words::transpose(rows.map(part::<94, 16, 110>));
        let joined = |low: Words, high: Words| low >> 16 | high << 16;
        let (low, high, top) = (joined(a, b), joined(b, c), joined(c, d));
        let scale = d.high_half();
        Block {
            words: [words::<32, 110>(rows), words::<64, 110>(rows), words::<0, 110>(rows)],
            scales: [
                low & LOW | (top & PAIR) << 4,
                high & LOW | (top >> 2 & PAIR) << 4,
                low >> 4 & LOW | (top >> 4 & PAIR) << 4,
                high >> 4 & LOW | (top >> 6 & PAIR) << 4,
            ],
            scale,
            // The scales are stored with an offset of 32.
            min: scale.mul(F32x8::splat(-32.0)),
        }
    }

    #[inline(always)]
    fn run(block: &Block<3>, run_idx: usize) -> Run {
        let (pairs, third_bits) = (block.words[run_idx / 4], block.words[2]);
        let scales = block.scales[run_idx / 2] >> (run_idx % 2 * 16);
        Run {
            words: std::array::from_fn(|i| {
                let third_bit = moved(third_bits[i], run_idx, 2) & 0x0404_0404;
                pairs[i] >> (run_idx % 4 * 2) & PAIR | third_bit
            }),
            scales: [0, 1].map(|half| scales.byte(half).mul_add(block.scale, block.min)),
            ..Run::ZERO
        }
    }
}

pub(super) struct Q6K;

impl Format<210, 8> for Q6K {
    const FORM: Form = Form::WideBytes;
    const RANGE: Range = Range::UpTo(63);
    const OFFSET: f32 = 32.0;
    const SPLIT: bool = true;

    type Unpacked = Block<6>;

    #[inline(always)]
    fn unpack(rows: [&[u8; 210]; 8]) -> Block<6> {
        Block {
            words: [
                words::<0, 210>(rows),
                words::<32, 210>(rows),
                words::<64, 210>(rows),
                words::<96, 210>(rows),
                words::<128, 210>(rows),
                words::<160, 210>(rows),
            ],
            scales: Words::transpose(rows.map(part::<192, 16, 210>)),
            scale: Words::gather(rows.map(part::<206, 4, 210>)).high_half(),
            min: F32x8::ZERO,
        }
    }

    #[inline(always)]
    fn run(block: &Block<6>, run_idx: usize) -> Run {
        let (half, quarter) = (run_idx / 4, run_idx % 4);
        let (nibbles, pairs) = (block.words[2 * half + quarter % 2], block.words[4 + half]);
        let scales = block.scales[run_idx / 2] >> (run_idx % 2 * 16);
        Run {
            words: std::array::from_fn(|i| {
                let top = moved(pairs[i], quarter * 2, 4) & 0x3030_3030;
                nibbles[i] >> (quarter / 2 * 4) & LOW | top
            }),
            scales: [0, 1].map(|place| scales.signed_byte(place).mul(block.scale)),
            ..Run::ZERO
        }
    }
}
