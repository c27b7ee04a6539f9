//! Kernels for the quantised types with blocks of 32 weights: `Q4_0`, `Q4_1`, `Q5_0`, `Q5_1`, `Q8_0`.
//!
//! A block's weights are `scale * (byte - offset) + min`. The products of bytes are added exactly,
//! as integers; the blocks of a row are added in order, in eight lanes.
//! Source: ggml's block formats (`ggml-common.h`).

use std::{marker::PhantomData, ops::Range, sync::Arc};

use candle_core::{
    Result, bail,
    quantized::{GgmlDType, QTensor},
};
use half::f16;

use super::{
    activations::{Activations, ByteBlock, Form},
    cpu::Kernel,
    tile::{Tile, fill},
};
use crate::simd::{Bytes32, F32x8, Signed32, mul_add};

/// A block format of `LEN` bytes for 32 weights.
pub(super) trait Format<const LEN: usize>: Send + Sync + 'static {
    /// The unpacked bytes.
    type Bytes: Copy;

    fn scale(block: &[u8; LEN]) -> f32 {
        f16::from_le_bytes([block[0], block[1]]).to_f32()
    }

    /// What is added to each weight, for the formats that have it.
    const MIN: Option<fn(&[u8; LEN]) -> f32>;

    fn unpack(block: &[u8; LEN]) -> Self::Bytes;

    /// Sum of the products, without the scales.
    fn dot(bytes: Self::Bytes, input: &ByteBlock) -> F32x8;
}

fn second_half<const LEN: usize>(block: &[u8; LEN]) -> f32 {
    f16::from_le_bytes([block[2], block[3]]).to_f32()
}

/// The `N` bytes of `block` from `START` on.
#[inline(always)]
fn part<const START: usize, const N: usize, const LEN: usize>(block: &[u8; LEN]) -> &[u8; N] {
    const { assert!(START + N <= LEN) };
    let Some(part) = block[START..].first_chunk() else { unreachable!("asserted above") };
    part
}

struct Q4_0;

impl Format<18> for Q4_0 {
    type Bytes = Bytes32;
    const MIN: Option<fn(&[u8; 18]) -> f32> = None;

    #[inline(always)]
    fn unpack(block: &[u8; 18]) -> Bytes32 {
        Bytes32::nibbles(part::<2, 16, 18>(block))
    }

    #[inline(always)]
    fn dot(bytes: Bytes32, input: &ByteBlock) -> F32x8 {
        // Each of the eight lanes starts with an eighth of `-8 * sum`, the offset's part.
        bytes.dot(&input.values, -input.sum)
    }
}

struct Q4_1;

impl Format<20> for Q4_1 {
    type Bytes = Bytes32;
    const MIN: Option<fn(&[u8; 20]) -> f32> = Some(second_half);

    #[inline(always)]
    fn unpack(block: &[u8; 20]) -> Bytes32 {
        Bytes32::nibbles(part::<4, 16, 20>(block))
    }

    #[inline(always)]
    fn dot(bytes: Bytes32, input: &ByteBlock) -> F32x8 {
        bytes.dot(&input.values, 0)
    }
}

struct Q5_0;

impl Format<22> for Q5_0 {
    type Bytes = Bytes32;
    const MIN: Option<fn(&[u8; 22]) -> f32> = None;

    #[inline(always)]
    fn unpack(block: &[u8; 22]) -> Bytes32 {
        let fifth_bits = u32::from_le_bytes(*part::<2, 4, 22>(block));
        Bytes32::nibbles(part::<6, 16, 22>(block)).with_fifth_bits(fifth_bits)
    }

    #[inline(always)]
    fn dot(bytes: Bytes32, input: &ByteBlock) -> F32x8 {
        bytes.dot(&input.values, -2 * input.sum)
    }
}

struct Q5_1;

impl Format<24> for Q5_1 {
    type Bytes = Bytes32;
    const MIN: Option<fn(&[u8; 24]) -> f32> = Some(second_half);

    #[inline(always)]
    fn unpack(block: &[u8; 24]) -> Bytes32 {
        let fifth_bits = u32::from_le_bytes(*part::<4, 4, 24>(block));
        Bytes32::nibbles(part::<8, 16, 24>(block)).with_fifth_bits(fifth_bits)
    }

    #[inline(always)]
    fn dot(bytes: Bytes32, input: &ByteBlock) -> F32x8 {
        bytes.dot(&input.values, 0)
    }
}

struct Q8_0;

impl Format<34> for Q8_0 {
    type Bytes = Signed32;
    const MIN: Option<fn(&[u8; 34]) -> f32> = None;

    #[inline(always)]
    fn unpack(block: &[u8; 34]) -> Signed32 {
        Signed32::load(part::<2, 32, 34>(block))
    }

    #[inline(always)]
    fn dot(bytes: Signed32, input: &ByteBlock) -> F32x8 {
        bytes.dot(&input.values)
    }
}

/// Chooses the kernel for a matrix of 32-weight blocks.
pub(super) fn kernel(matrix: Arc<QTensor>) -> Result<Box<dyn Kernel>> {
    Ok(match matrix.dtype() {
        GgmlDType::Q4_0 => Box::new(Blocks::<Q4_0, 18>::new(matrix)?),
        GgmlDType::Q4_1 => Box::new(Blocks::<Q4_1, 20>::new(matrix)?),
        GgmlDType::Q5_0 => Box::new(Blocks::<Q5_0, 22>::new(matrix)?),
        GgmlDType::Q5_1 => Box::new(Blocks::<Q5_1, 24>::new(matrix)?),
        GgmlDType::Q8_0 => Box::new(Blocks::<Q8_0, 34>::new(matrix)?),
        other => bail!("no kernel for blocks of type {other:?}"),
    })
}

struct Blocks<F, const LEN: usize> {
    matrix: Arc<QTensor>,
    num_rows: usize,
    /// Blocks per row.
    num_blocks: usize,
    format: PhantomData<F>,
}

impl<F: Format<LEN>, const LEN: usize> Blocks<F, LEN> {
    fn new(matrix: Arc<QTensor>) -> Result<Self> {
        let (num_rows, width) = matrix.shape().dims2()?;
        let num_blocks = width / 32;
        let found = matrix.data()?.len();
        if found != num_rows * num_blocks * LEN {
            bail!("matrix holds {found} bytes, wanted {num_rows} x {num_blocks} blocks of {LEN}");
        }
        Ok(Self { matrix, num_rows, num_blocks, format: PhantomData })
    }
}

impl<F: Format<LEN>, const LEN: usize> Kernel for Blocks<F, LEN> {
    fn num_rows(&self) -> usize {
        self.num_rows
    }

    fn form(&self) -> Form {
        Form::Bytes
    }

    fn fill(&self, rows: Range<usize>, input: &Activations<'_>, output: &mut [f32]) -> Result<()> {
        let data = self.matrix.data()?;
        let (blocks, _) = data.as_chunks::<LEN>();
        let product = Product::<F, LEN> {
            blocks,
            input: &input.bytes,
            num_blocks: self.num_blocks,
            format: PhantomData,
        };
        fill(&product, rows, input.num_tokens, output);
        Ok(())
    }
}

struct Product<'a, F, const LEN: usize> {
    /// `[rows, num_blocks]`.
    blocks: &'a [[u8; LEN]],
    /// `[tokens, num_blocks]`.
    input: &'a [ByteBlock],
    num_blocks: usize,
    format: PhantomData<F>,
}

impl<F: Format<LEN>, const LEN: usize> Tile for Product<'_, F, LEN> {
    #[inline(always)]
    fn tile<const R: usize, const T: usize>(&self, row: usize, token: usize) -> [[f32; T]; R] {
        let num_blocks = self.num_blocks;
        let rows: [&[[u8; LEN]]; R] =
            std::array::from_fn(|r| &self.blocks[(row + r) * num_blocks..][..num_blocks]);
        let tokens: [&[ByteBlock]; T] =
            std::array::from_fn(|t| &self.input[(token + t) * num_blocks..][..num_blocks]);
        let mut sums = [[F32x8::ZERO; T]; R];
        let mut mins = [[0.0_f32; T]; R];
        for block_idx in 0..num_blocks {
            for r in 0..R {
                let block = &rows[r][block_idx];
                let scale = F::scale(block);
                let bytes = F::unpack(block);
                for t in 0..T {
                    let input = &tokens[t][block_idx];
                    let factor = F32x8::splat(scale * input.scale);
                    sums[r][t] = factor.mul_add(F::dot(bytes, input), sums[r][t]);
                    if let Some(min) = F::MIN {
                        mins[r][t] = mul_add(min(block), input.scaled_sum, mins[r][t]);
                    }
                }
            }
        }
        std::array::from_fn(|r| std::array::from_fn(|t| sums[r][t].sum() + mins[r][t]))
    }
}
