//! Matrix products as cuBLAS computes them.

use half::{bf16, f16};

use crate::memory::{Memory, Span, Touched};

/// A type of numbers, as cuBLAS names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number {
    F16,
    Bf16,
    F32,
    F64,
}

/// What products are summed in, and what factors are rounded to before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Precision {
    F16,
    F32,
    /// Factors have 10 bits behind the point.
    Tf32,
    F64,
}

/// Matrices of one operand, column by column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrices {
    pub(crate) address: u64,
    pub(crate) number: Number,
    /// Elements from a column to the next.
    pub(crate) leading: usize,
    /// Elements from a matrix to the next.
    pub(crate) stride: usize,
    pub(crate) is_transposed: bool,
}

/// `c = alpha * a * b + beta * c`, for each matrix of a batch: `[m, k]`, `[k, n]` and `[m, n]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Product {
    pub(crate) size: [usize; 3],
    pub(crate) batch: usize,
    pub(crate) scales: [f64; 2],
    pub(crate) a: Matrices,
    pub(crate) b: Matrices,
    pub(crate) c: Matrices,
    pub(crate) precision: Precision,
}

impl Product {
    /// Computes it. Returns the memory that it has used.
    pub(crate) fn run(&self, device: usize, memory: &mut Memory) -> Result<Vec<Touched>, String> {
        let [m, n, k] = self.size;
        let mut touched = Vec::new();
        let [alpha, beta] = self.scales;
        for index in 0..self.batch {
            // Rows of `a` and columns of `b`, one after the other.
            let a = self.a.lines((memory, device), index, ([m, k], true), &mut touched)?;
            let b = self.b.lines((memory, device), index, ([k, n], false), &mut touched)?;
            let [a, b] = [a, b].map(|values| self.precision.rounded(values));
            for (column, b) in b.chunks_exact(k.max(1)).take(n).enumerate() {
                let span = self.c.column(index, column, m);
                let before = match beta {
                    0.0 => vec![0.0; m],
                    _ => self.c.number.read(memory.read(device, span)?.0),
                };
                let sums = a.chunks_exact(k.max(1)).take(m).map(|a| self.precision.dot(a, b));
                let values = sums.zip(before).map(|(sum, before)| alpha * sum + beta * before);
                let (bytes, written) = memory.write(device, span)?;
                self.c.number.write(values, bytes);
                note(&mut touched, written);
            }
        }
        Ok(touched)
    }
}

impl Matrices {
    fn column(&self, index: usize, column: usize, rows: usize) -> Span {
        let element = index * self.stride + column * self.leading;
        let width = self.number.bytes();
        Span { address: self.address + (element * width) as u64, bytes: rows * width }
    }

    /// The rows of a `[rows, columns]` matrix one after the other, or its columns.
    fn lines(
        &self,
        (memory, device): (&Memory, usize),
        index: usize,
        ([rows, columns], by_row): ([usize; 2], bool),
        touched: &mut Vec<Touched>,
    ) -> Result<Vec<f64>, String> {
        let [rows, columns] = if self.is_transposed { [columns, rows] } else { [rows, columns] };
        let mut values = Vec::with_capacity(rows * columns);
        for column in 0..columns {
            let span = self.column(index, column, rows);
            let (bytes, read) = memory.read(device, span)?;
            values.extend(self.number.read(bytes));
            note(touched, read);
        }
        if by_row == self.is_transposed {
            return Ok(values);
        }
        let at = |index: usize| values[index % columns * rows + index / columns];
        Ok((0..values.len()).map(at).collect())
    }
}

/// Adds a use to those of the same allocation.
fn note(touched: &mut Vec<Touched>, more: Touched) {
    match touched.iter_mut().find(|it| it.slot == more.slot) {
        Some(known) => known.join(&more),
        None => touched.push(more),
    }
}

impl Precision {
    fn rounded(self, mut values: Vec<f64>) -> Vec<f64> {
        if self == Self::Tf32 {
            for value in &mut values {
                // To the nearest, of two to the even one, as tensor cores do.
                let bits = (*value as f32).to_bits();
                let half = 0xfff + (bits >> 13 & 1);
                *value = f32::from_bits(bits.wrapping_add(half) & !0x1fff).into();
            }
        }
        values
    }

    fn dot(self, a: &[f64], b: &[f64]) -> f64 {
        let products = a.iter().zip(b);
        match self {
            Self::F64 => products.map(|(a, b)| a * b).sum(),
            Self::F16 => {
                products.fold(f16::ZERO, |sum, (a, b)| f16::from_f64(a * b + f64::from(sum))).into()
            }
            Self::F32 | Self::Tf32 => {
                // A factor has 24 bits at most, so their product is exact in 53.
                products.fold(0.0_f32, |sum, (a, b)| (f64::from(sum) + a * b) as f32).into()
            }
        }
    }
}

impl Number {
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    fn read(self, bytes: &[u8]) -> Vec<f64> {
        let numbers = bytes.chunks_exact(self.bytes());
        match self {
            Self::F16 => numbers.map(|it| f16::from_le_bytes([it[0], it[1]]).into()).collect(),
            Self::Bf16 => numbers.map(|it| bf16::from_le_bytes([it[0], it[1]]).into()).collect(),
            Self::F32 => numbers
                .map(|it| f32::from_le_bytes(it.try_into().expect("four bytes")).into())
                .collect(),
            Self::F64 => {
                numbers.map(|it| f64::from_le_bytes(it.try_into().expect("eight bytes"))).collect()
            }
        }
    }

    pub(crate) fn write(self, values: impl Iterator<Item = f64>, bytes: &mut [u8]) {
        for (value, bytes) in values.zip(bytes.chunks_exact_mut(self.bytes())) {
            match self {
                Self::F16 => bytes.copy_from_slice(&f16::from_f64(value).to_le_bytes()),
                Self::Bf16 => bytes.copy_from_slice(&bf16::from_f64(value).to_le_bytes()),
                Self::F32 => bytes.copy_from_slice(&(value as f32).to_le_bytes()),
                Self::F64 => bytes.copy_from_slice(&value.to_le_bytes()),
            }
        }
    }
}
