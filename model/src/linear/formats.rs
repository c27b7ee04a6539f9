//! Formats with blocks of 32 weights: `Q4_0`, `Q4_1`, `Q5_0`, `Q5_1`, `Q8_0`.
//!
//! Source: ggml's block formats (`ggml-common.h`).

use super::{
    activations::Form,
    blocks::{Format, Run},
};
use crate::simd::{Range, Words};

/// The low halves of a word's bytes.
pub(super) const LOW: u32 = 0x0F0F_0F0F;

/// Returns the `N` bytes of `block` from `START` on.
#[inline(always)]
pub(super) fn part<const START: usize, const N: usize, const LEN: usize>(
    block: &[u8; LEN],
) -> &[u8; N] {
    const { assert!(START + N <= LEN) };
    let Some(part) = block[START..].first_chunk() else { unreachable!("asserted above") };
    part
}

/// Returns the 32 bytes from `START` on of eight rows, one row per lane.
#[inline(always)]
pub(super) fn words<const START: usize, const LEN: usize>(rows: [&[u8; LEN]; 8]) -> [Words; 8] {
    const { assert!(START + 32 <= LEN) };
    let half = |start: usize| Words::transpose(rows.map(|row| array(&row[start..])));
    let halves = [half(START), half(START + 16)];
    std::array::from_fn(|i| halves[i / 4][i % 4])
}

#[inline(always)]
fn array(bytes: &[u8]) -> &[u8; 16] {
    let Some(array) = bytes.first_chunk() else { unreachable!("asserted by the callers") };
    array
}

/// Returns the four bytes from `START` on of eight blocks.
#[inline(always)]
fn head<const START: usize, const LEN: usize>(rows: [&[u8; LEN]; 8]) -> Words {
    Words::gather(rows.map(part::<START, 4, LEN>))
}

/// Returns the low halves of the 16 bytes from `START` on, then their high halves.
#[inline(always)]
fn nibbles<const START: usize, const LEN: usize>(rows: [&[u8; LEN]; 8]) -> [Words; 8] {
    let [a, b, c, d] = Words::transpose(rows.map(part::<START, 16, LEN>));
    let high = |words: Words| words >> 4 & LOW;
    [a & LOW, b & LOW, c & LOW, d & LOW, high(a), high(b), high(c), high(d)]
}

/// Adds 16 to byte `i` of a row where bit `i` of its word in `bits` is set.
#[inline(always)]
fn with_fifth_bits(nibbles: [Words; 8], bits: Words) -> [Words; 8] {
    std::array::from_fn(|i| nibbles[i] | bits.bits_to_bytes(4 * i) & 0x1010_1010)
}

pub(super) struct Q4_0;

impl Format<18, 1> for Q4_0 {
    const FORM: Form = Form::Bytes;
    const RANGE: Range = Range::UpTo(15);
    const OFFSET: f32 = 8.0;

    type Unpacked = Run;

    #[inline(always)]
    fn unpack(rows: [&[u8; 18]; 8]) -> Run {
        let scale = head::<0, 18>(rows).low_half();
        Run { words: nibbles::<2, 18>(rows), scales: [scale; 2], ..Run::ZERO }
    }

    #[inline(always)]
    fn run(unpacked: &Run, _: usize) -> Run {
        *unpacked
    }
}

pub(super) struct Q4_1;

impl Format<20, 1> for Q4_1 {
    const FORM: Form = Form::Bytes;
    const RANGE: Range = Range::UpTo(15);
    const MINS: bool = true;

    type Unpacked = Run;

    #[inline(always)]
    fn unpack(rows: [&[u8; 20]; 8]) -> Run {
        let head = head::<0, 20>(rows);
        let words = nibbles::<4, 20>(rows);
        Run { words, scales: [head.low_half(); 2], mins: [head.high_half(); 2] }
    }

    #[inline(always)]
    fn run(unpacked: &Run, _: usize) -> Run {
        *unpacked
    }
}

pub(super) struct Q5_0;

impl Format<22, 1> for Q5_0 {
    const FORM: Form = Form::Bytes;
    const RANGE: Range = Range::UpTo(31);
    const OFFSET: f32 = 16.0;

    type Unpacked = Run;

    #[inline(always)]
    fn unpack(rows: [&[u8; 22]; 8]) -> Run {
        let scale = head::<0, 22>(rows).low_half();
        let words = with_fifth_bits(nibbles::<6, 22>(rows), head::<2, 22>(rows));
        Run { words, scales: [scale; 2], ..Run::ZERO }
    }

    #[inline(always)]
    fn run(unpacked: &Run, _: usize) -> Run {
        *unpacked
    }
}

pub(super) struct Q5_1;

impl Format<24, 1> for Q5_1 {
    const FORM: Form = Form::Bytes;
    const RANGE: Range = Range::UpTo(31);
    const MINS: bool = true;

    type Unpacked = Run;

    #[inline(always)]
    fn unpack(rows: [&[u8; 24]; 8]) -> Run {
        let first = head::<0, 24>(rows);
        let words = with_fifth_bits(nibbles::<8, 24>(rows), head::<4, 24>(rows));
        Run { words, scales: [first.low_half(); 2], mins: [first.high_half(); 2] }
    }

    #[inline(always)]
    fn run(unpacked: &Run, _: usize) -> Run {
        *unpacked
    }
}

pub(super) struct Q8_0;

impl Format<34, 1> for Q8_0 {
    const FORM: Form = Form::Bytes;
    const RANGE: Range = Range::Signed;

    type Unpacked = Run;

    #[inline(always)]
    fn unpack(rows: [&[u8; 34]; 8]) -> Run {
        let scale = head::<0, 34>(rows).low_half();
        let words = words::<2, 34>(rows).map(|words| words.prepare(Range::Signed));
        Run { words, scales: [scale; 2], ..Run::ZERO }
    }

    #[inline(always)]
    fn run(unpacked: &Run, _: usize) -> Run {
        *unpacked
    }
}
