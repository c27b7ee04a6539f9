//! Products of f32 rows, in tiles of a few weight rows and a few tokens.
//!
//! A tile only decides the order in which products are computed, never how one is computed: each
//! product of a row and a token has the same bits in every tile.

use std::ops::Range;

use crate::{
    simd::{F32x8, mul_add},
    threads::Columns,
};

/// Bytes of tokens that stay in the first-level cache while the weight rows pass.
const BLOCK_BYTES: usize = 24 * 1024;

/// Weight rows and tokens of equal width.
pub(super) struct Product<'a> {
    /// `[rows, width]`.
    pub(super) rows: &'a [f32],
    /// `[tokens, width]`.
    pub(super) input: &'a [f32],
    pub(super) width: usize,
}

impl Product<'_> {
    /// Fills `output`, `[tokens, rows]`.
    pub(super) fn fill(&self, output: &mut Columns<'_, f32>) {
        let num_rows = self.rows.len().checked_div(self.width).unwrap_or(0);
        let num_tokens = self.input.len().checked_div(self.width).unwrap_or(0);
        let block = (BLOCK_BYTES / 4 / self.width.max(1)).max(1).next_multiple_of(4);
        for start in (0..num_tokens).step_by(block) {
            let end = num_tokens.min(start + block);
            let middle = start + (end - start) / 4 * 4;
            self.rows::<4>(num_rows, start..middle, output);
            self.rows::<1>(num_rows, middle..end, output);
        }
    }

    /// Multiplies all rows with some tokens, `T` at a time.
    fn rows<const T: usize>(
        &self,
        num_rows: usize,
        tokens: Range<usize>,
        output: &mut Columns<'_, f32>,
    ) {
        if tokens.is_empty() {
            return;
        }
        let middle = num_rows / 3 * 3;
        (0..middle).step_by(3).for_each(|row| self.tokens::<3, T>(row, tokens.clone(), output));
        (middle..num_rows).for_each(|row| self.tokens::<1, T>(row, tokens.clone(), output));
    }

    fn tokens<const R: usize, const T: usize>(
        &self,
        row: usize,
        tokens: Range<usize>,
        output: &mut Columns<'_, f32>,
    ) {
        for token in tokens.step_by(T) {
            for (t, products) in self.tile::<R, T>(row, token).iter().enumerate() {
                output.row(token + t)[row..row + R].copy_from_slice(products);
            }
        }
    }

    /// Returns the products of tokens `token..token + T` with rows `row..row + R`.
    #[inline(always)]
    fn tile<const R: usize, const T: usize>(&self, row: usize, token: usize) -> [[f32; R]; T] {
        let width = self.width;
        let rows: [&[f32]; R] = std::array::from_fn(|r| &self.rows[(row + r) * width..][..width]);
        let tokens: [&[f32]; T] =
            std::array::from_fn(|t| &self.input[(token + t) * width..][..width]);
        let (row_lanes, token_lanes) =
            (rows.map(|row| row.as_chunks().0), tokens.map(|token| token.as_chunks().0));
        let mut sums = [[F32x8::ZERO; R]; T];
        for i in 0..width / 8 {
            let weights: [F32x8; R] = std::array::from_fn(|r| F32x8::load(&row_lanes[r][i]));
            for t in 0..T {
                let input = F32x8::load(&token_lanes[t][i]);
                for r in 0..R {
                    sums[t][r] = weights[r].mul_add(input, sums[t][r]);
                }
            }
        }
        // By value: borrowing the sums would keep them in memory throughout the loop above.
        let mut totals = sums.map(|sums| sums.map(F32x8::sum));
        for (token, totals) in tokens.iter().zip(&mut totals) {
            for (row, total) in rows.iter().zip(totals) {
                let rest = width / 8 * 8..;
                *total = row[rest.clone()]
                    .iter()
                    .zip(&token[rest])
                    .fold(*total, |sum, (weight, input)| mul_add(*weight, *input, sum));
            }
        }
        totals
    }
}
