//! Matrices whose parts the lanes of a warp have.

use crate::{
    error::Fault,
    inst::{MatrixLoad, MatrixProduct},
    lanes::{Mask, WARP, lanes_of},
    memory::{Buffer, LaneFault, Lined, MAX_BYTES, Memory, Reach},
    warp::Warp,
};

/// Rows of an 8 by 8 matrix of 16 bits.
const ROWS: usize = 8;
/// Rows and columns of a product of bytes, and the most that are summed up.
const M: usize = 16;
const N: usize = 8;
const MAX_K: usize = 32;

impl Warp<'_> {
    /// Reads matrices, a row of 16 bytes for each lane that gives an address.
    ///
    /// Source: PTX ISA 9.0, section 9.7.14.5, `ldmatrix`: lanes 8m to 8m + 7 give the addresses of
    /// matrix m. Lane t gets elements 2 (t % 4) and 2 (t % 4) + 1 of row t / 4, or of that column.
    pub(crate) fn load_matrix<S: Memory>(
        &mut self,
        op: &MatrixLoad,
        active: Mask,
        reach: &mut Reach<'_, S>,
    ) -> Result<(), LaneFault> {
        are_all(active)?;
        let offset = op.address.offset;
        let addresses = self.value(op.address.base).map(|base| base.wrapping_add(offset));
        let giving = Mask::MAX >> (WARP - ROWS * op.dsts.len());
        let mut buffer: Buffer = [0; WARP * MAX_BYTES];
        let (space, bytes) = (op.space, MAX_BYTES);
        reach.gather(Lined { space, addresses: &addresses, active: giving, bytes }, &mut buffer)?;
        let element = |matrix: usize, row: usize, column: usize| {
            let at = (matrix * ROWS + row) * MAX_BYTES + 2 * column;
            u64::from(u16::from_le_bytes([buffer[at], buffer[at + 1]]))
        };
        for (matrix, dst) in op.dsts.iter().enumerate() {
            let values = std::array::from_fn(|lane| {
                let [low, high] = [0, 1].map(|it| {
                    let (one, other) = (lane / 4, 2 * (lane % 4) + it);
                    let (row, column) = if op.is_transposed { (other, one) } else { (one, other) };
                    element(matrix, row, column)
                });
                low | high << 16
            });
            self.set(*dst, &values, active);
            // Rows of which a lane has a part; a column has parts of two.
            let was_written = |row: usize| !reach.unwritten >> (matrix * ROWS + row) & 1 == 1;
            let is_known = |lane: &usize| {
                let [one, other] = [2 * (lane % 4), 2 * (lane % 4) + 1];
                let columns = was_written(one) && was_written(other);
                if op.is_transposed { columns } else { was_written(lane / 4) }
            };
            let is_known = (0..WARP).filter(is_known).fold(0, |mask, lane| mask | 1 << lane);
            self.learn(*dst, is_known, active);
        }
        Ok(())
    }

    /// Multiplies matrices of bytes with a sign, `[16, K]` by `[K, 8]`, and adds a third.
    ///
    /// Source: PTX ISA 9.0, section 9.7.14.5, matrix fragments for `mma.m16n8k16` with integer type
    /// and for `mma.m16n8k32`. A sum that is too large loses its carry, without `.satfinite`.
    pub(crate) fn multiply(&mut self, op: &MatrixProduct, active: Mask) -> Result<(), LaneFault> {
        are_all(active)?;
        let mut left = [[0_i8; MAX_K]; M];
        for (register, a) in op.a.iter().enumerate() {
            for (lane, word) in self.value(*a).into_iter().enumerate() {
                let (row, k) =
                    (lane / 4 + 8 * (register % 2), 4 * (lane % 4) + 16 * (register / 2));
                left[row][k..k + 4].copy_from_slice(&numbers(word));
            }
        }
        let mut right = [[0_i8; MAX_K]; N];
        for (register, b) in op.b.iter().enumerate() {
            for (lane, word) in self.value(*b).into_iter().enumerate() {
                let k = 4 * (lane % 4) + 16 * register;
                right[lane / 4][k..k + 4].copy_from_slice(&numbers(word));
            }
        }
        // All are read before one is written, which may be the same register.
        let sums = op.c.map(|c| self.value(c));
        let known = self.known_elements(op);
        for (register, (dst, sums)) in op.dsts.iter().zip(&sums).enumerate() {
            let values = std::array::from_fn(|lane| {
                let (row, column) = (lane / 4 + 8 * (register / 2), 2 * (lane % 4) + register % 2);
                let products = left[row].iter().zip(&right[column]);
                let sum: i32 = products.map(|(a, b)| i32::from(*a) * i32::from(*b)).sum();
                (sums[lane] as u32).wrapping_add(sum.cast_unsigned()).into()
            });
            self.set(*dst, &values, active);
            self.learn(*dst, known[register], active);
        }
        Ok(())
    }

    /// The lanes in which each register of a product is made from what was written: its row, its
    /// column, and what they are added to.
    fn known_elements(&self, op: &MatrixProduct) -> [Mask; 4] {
        let (mut rows, mut columns) = ([true; M], [true; N]);
        for (register, a) in op.a.iter().enumerate() {
            for lane in lanes_of(!self.known(*a)) {
                rows[lane / 4 + 8 * (register % 2)] = false;
            }
        }
        for lane in op.b.iter().flat_map(|b| lanes_of(!self.known(*b))) {
            columns[lane / 4] = false;
        }
        std::array::from_fn(|register| {
            let of_row = |lane: usize| {
                rows[lane / 4 + 8 * (register / 2)] && columns[2 * (lane % 4) + register % 2]
            };
            lanes_of(self.known(op.c[register]))
                .filter(|lane| of_row(*lane))
                .fold(0, |mask, lane| mask | 1 << lane)
        })
    }
}

/// The bytes of a word.
fn numbers(word: u64) -> [i8; 4] {
    (word as u32).to_le_bytes().map(u8::cast_signed)
}

/// Matrices are of all lanes together.
fn are_all(active: Mask) -> Result<(), LaneFault> {
    if active == Mask::MAX {
        return Ok(());
    }
    let lane = lanes_of(active).next().unwrap_or(0);
    let source_lane = (!active).trailing_zeros() as usize;
    Err((active, Fault::Shuffle { lane, source_lane }))
}
