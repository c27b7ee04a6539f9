//! The loop nest over weight rows and tokens that the kernels share.
//!
//! Decides only the order in which products are computed, never how one is computed: each product
//! of a row and a token has the same bits in every tile.

use std::ops::Range;

/// Computes small blocks of products of weight rows and tokens.
pub(super) trait Tile {
    /// Products of rows `row..row + R` with tokens `token..token + T`.
    fn tile<const R: usize, const T: usize>(&self, row: usize, token: usize) -> [[f32; T]; R];
}

/// Tokens whose activations stay in the first-level cache while the weight rows pass.
const TOKEN_BLOCK: usize = 32;

/// Fills `output`, `[rows, tokens]`, with the products of `rows` and all tokens.
pub(super) fn fill(tile: &impl Tile, rows: Range<usize>, num_tokens: usize, output: &mut [f32]) {
    let mut sink = Sink { first_row: rows.start, num_tokens, output };
    for start in (0..num_tokens).step_by(TOKEN_BLOCK) {
        let end = num_tokens.min(start + TOKEN_BLOCK);
        let wide = start..start + (end - start) / 4 * 4;
        let narrow = wide.end..end;
        if !wide.is_empty() {
            let pairs = rows.start..rows.start + rows.len() / 2 * 2;
            pairs.clone().step_by(2).for_each(|row| sink.row::<2, 4>(tile, row, wide.clone()));
            (pairs.end..rows.end).for_each(|row| sink.row::<1, 4>(tile, row, wide.clone()));
        }
        if !narrow.is_empty() {
            let quads = rows.start..rows.start + rows.len() / 4 * 4;
            quads.clone().step_by(4).for_each(|row| sink.row::<4, 1>(tile, row, narrow.clone()));
            (quads.end..rows.end).for_each(|row| sink.row::<1, 1>(tile, row, narrow.clone()));
        }
    }
}

struct Sink<'a> {
    first_row: usize,
    num_tokens: usize,
    output: &'a mut [f32],
}

impl Sink<'_> {
    fn row<const R: usize, const T: usize>(
        &mut self,
        tile: &impl Tile,
        row: usize,
        tokens: Range<usize>,
    ) {
        for token in tokens.step_by(T) {
            for (i, products) in tile.tile::<R, T>(row, token).iter().enumerate() {
                let at = (row - self.first_row + i) * self.num_tokens + token;
                self.output[at..at + T].copy_from_slice(products);
            }
        }
    }
}
