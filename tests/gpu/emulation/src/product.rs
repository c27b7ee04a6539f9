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
            for column in 0..n {
                let span = self.c.column(index, column, m)?;
                memory.reach(device, span)?;
                let before = match beta {
                    0.0 => vec![0.0; m],
                    _ => self.c.number.read(memory.read(device, span)?.0),
                };
                let b = &b[column * k..][..k];
                let sums = (0..m).map(|row| self.precision.dot(&a[row * k..][..k], b));
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
    /// Where a column lies, if there are addresses so high.
    fn column(&self, index: usize, column: usize, rows: usize) -> Result<Span, String> {
        let width = self.number.bytes();
        let start = || {
            let element =
                index.checked_mul(self.stride)?.checked_add(column.checked_mul(self.leading)?)?;
            self.address.checked_add(element.checked_mul(width)? as u64)
        };
        let too_high = || format!("no address is so high as column {column} of matrix {index}");
        let address = start().ok_or_else(too_high)?;
        Ok(Span { address, bytes: rows.checked_mul(width).ok_or_else(too_high)? })
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
        let mut values = Vec::new();
        // Where there are no rows nothing is read.
        for column in 0..if rows > 0 { columns } else { 0 } {
            let span = self.column(index, column, rows)?;
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
            Self::F32 | Self::Tf32 => sum_of_products(a, b).into(),
        }
    }
}

/// Sums in f32, several at a time. cuBLAS does not say in which order it does.
fn sum_of_products(a: &[f64], b: &[f64]) -> f32 {
    const AT_ONCE: usize = 8;
    let (a, a_rest) = a.as_chunks::<AT_ONCE>();
    let (b, b_rest) = b.as_chunks::<AT_ONCE>();
    let mut sums = [0.0_f32; AT_ONCE];
    for (a, b) in a.iter().zip(b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += *a as f32 * *b as f32;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| *a as f32 * *b as f32).sum();
    sums.iter().sum::<f32>() + rest
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;

    /// Multiplies two matrices of counted numbers, `[m, k]` and `[k, n]`, kept as `number`.
    #[track_caller]
    fn check([m, n, k]: [usize; 3], number: Number, transposed: [bool; 2]) {
        let mut memory = Memory::of(&Machine::parse("1MiB").unwrap());
        let mut matrices = |[rows, columns]: [usize; 2],
                            is_transposed,
                            values: &dyn Fn(usize, usize) -> f64| {
            let bytes = 2 * rows * columns * number.bytes();
            let address = memory.allocate(0, bytes).unwrap();
            let [lines, leading] = if is_transposed { [rows, columns] } else { [columns, rows] };
            let at = |index: usize| {
                let (line, place) = (index / leading % lines, index % leading);
                let matrix = (index / leading / lines + 1) as f64;
                matrix * if is_transposed { values(line, place) } else { values(place, line) }
            };
            let (place, _) = memory.write(0, Span { address, bytes }).unwrap();
            number.write((0..2 * rows * columns).map(at), place);
            Matrices { address, number, leading, stride: rows * columns, is_transposed }
        };
        let (left, right) =
            (|row, column| (row + 2 * column) as f64, |row, column| row as f64 - column as f64);
        let a = matrices([m, k], transposed[0], &left);
        let b = matrices([k, n], transposed[1], &right);
        let c = matrices([m, n], false, &|_, _| 1.0);
        let scales = [0.5, 2.0];
        let product =
            Product { size: [m, n, k], batch: 2, scales, a, b, c, precision: Precision::F32 };
        product.run(0, &mut memory).unwrap();
        for index in 0..2 {
            let matrix = (index + 1) as f64;
            for column in 0..n {
                let span = product.c.column(index, column, m).unwrap();
                let found = number.read(memory.read(0, span).unwrap().0);
                for (row, found) in found.iter().enumerate() {
                    let sum: f64 = (0..k).map(|at| left(row, at) * right(at, column)).sum();
                    let want = 0.5 * matrix * matrix * sum + 2.0 * matrix;
                    assert!((found - want).abs() <= 1e-2 * want.abs(), "{found} is not {want}");
                }
            }
        }
    }

    #[test]
    fn products_are_those_of_their_matrices() {
        for number in [Number::F16, Number::Bf16, Number::F32, Number::F64] {
            for transposed in [[false, false], [true, false], [false, true], [true, true]] {
                check([3, 4, 5], number, transposed);
                check([1, 2, 19], number, transposed);
            }
        }
    }

    /// Two columns of 1.0 that begin a memory, and a product of them into themselves.
    fn ones(change: impl FnOnce(&mut Product)) -> Result<Vec<f64>, String> {
        let mut memory = Memory::of(&Machine::parse("1MiB").unwrap());
        let address = memory.allocate(0, 32).unwrap();
        let span = Span { address, bytes: 32 };
        Number::F64.write([1.0; 4].into_iter(), memory.write(0, span).unwrap().0);
        let matrices =
            Matrices { address, number: Number::F64, leading: 2, stride: 0, is_transposed: false };
        let mut product = Product {
            size: [2; 3],
            batch: 1,
            scales: [1.0, 3.0],
            a: matrices,
            b: matrices,
            c: matrices,
            precision: Precision::F64,
        };
        change(&mut product);
        product.run(0, &mut memory)?;
        Ok(Number::F64.read(memory.read(0, span).unwrap().0))
    }

    #[test]
    fn a_sum_of_nothing_is_zero() {
        assert_eq!(ones(|_| {}).unwrap(), [5.0; 4]);
        assert_eq!(ones(|it| it.size[2] = 0).unwrap(), [3.0; 4]);
    }

    #[test]
    fn what_lies_too_high_is_told() {
        let too_high = |column, index| {
            Err(format!("no address is so high as column {column} of matrix {index}"))
        };
        assert_eq!(ones(|it| it.a.leading = usize::MAX), too_high(1, 0));
        assert_eq!(ones(|it| (it.batch, it.b.stride) = (3, usize::MAX)), too_high(0, 1));
        let nothing = || Err("nothing is allocated there".to_owned());
        assert_eq!(ones(|it| it.c.address = u64::MAX - 8), nothing());
        // Its sizes alone are more than any memory.
        let far = 1 << 31;
        assert_eq!(ones(|it| (it.size, it.a.leading) = ([far, 1, far], far)), nothing());
    }

    #[test]
    fn tf32_keeps_ten_bits() {
        // In units of the eleventh bit behind the point.
        let kept =
            |units: f64| (Precision::Tf32.rounded(vec![1.0 + units / 2048.0])[0] - 1.0) * 2048.0;
        let found = [0.0, 1.0, 2.0, 3.0].map(|units| kept(units).round() as i32);
        assert_eq!(found, [0, 0, 2, 4], "of two the even one");
    }
}
