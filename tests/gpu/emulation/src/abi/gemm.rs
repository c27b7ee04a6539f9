//! The arguments of a product of cuBLAS: what it refuses, and what there is to do.

use std::ffi::{c_int, c_longlong, c_uint, c_void};

use half::f16;

use crate::{
    error::{Code, Failure, Outcome},
    product::{Matrices, Number, Precision, Product},
};

/// Source: `library_types.h`, `cudaDataType_t`.
pub(super) const F64: c_uint = 1;
/// Source: `cublas_api.h`, `cublasComputeType_t`.
pub(super) const COMPUTE_F64: c_uint = 70;

/// All arguments, as they come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gemm {
    /// `m`, `n` and `k`.
    pub(super) size: [c_int; 3],
    pub(super) batch: c_int,
    /// `alpha` and `beta`.
    pub(super) scales: [*const c_void; 2],
    pub(super) a: Operand,
    pub(super) b: Operand,
    pub(super) c: Operand,
    pub(super) computation: c_uint,
}

/// The arguments about one of the matrices.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operand {
    address: u64,
    kind: c_uint,
    leading: c_int,
    stride: c_longlong,
    operation: c_uint,
}

impl Operand {
    pub(super) fn new(
        address: u64,
        kind: c_uint,
        (leading, stride): (c_int, c_longlong),
        operation: c_uint,
    ) -> Self {
        Self { address, kind, leading, stride, operation }
    }

    /// Matrices of so many rows, or columns where they are transposed.
    fn matrices(self, name: &str, [rows, columns]: [usize; 2]) -> Outcome<Matrices> {
        let Self { address, kind, leading, stride, operation } = self;
        // Of real numbers the conjugate is the number.
        let is_transposed = match operation {
            0 => false,
            1 | 2 => true,
            operation => return Err(invalid(format!("operation {operation} on `{name}`"))),
        };
        let least = if is_transposed { columns } else { rows }.max(1);
        let given = usize::try_from(leading).ok().filter(|leading| *leading >= least);
        let leading = given.ok_or_else(|| {
            invalid(format!("a leading dimension of {leading} for `{name}`, wanted {least}"))
        })?;
        let stride = usize::try_from(stride)
            .map_err(|_| unsupported(format!("a stride of {stride} for `{name}`")))?;
        Ok(Matrices { address, number: number(kind)?, leading, stride, is_transposed })
    }
}

impl Gemm {
    /// What is to be computed; nothing where the results are none.
    ///
    /// Source: cuBLAS, gemm, `CUBLAS_STATUS_INVALID_VALUE`: "If m, n, k < 0 … or if lda < max(1, m)
    /// if transa == `CUBLAS_OP_N` and lda < max(1, k) otherwise or if ldb < max(1, k) if transb ==
    /// `CUBLAS_OP_N` and ldb < max(1, n) otherwise or if ldc < max(1, m) or if alpha, beta == NULL".
    ///
    /// # Safety
    /// The scales are null or numbers of the type that products are summed in.
    pub(super) unsafe fn product(&self) -> Outcome<Option<Product>> {
        let [m, n, k] = self.size;
        let size = [size("m", m)?, size("n", n)?, size("k", k)?];
        let [m, n, k] = size;
        let batch = self::size("the batch", self.batch)?;
        let a = self.a.matrices("a", [m, k])?;
        let b = self.b.matrices("b", [k, n])?;
        let c = self.c.matrices("c", [m, n])?;
        let precision = precision(self.computation)?;
        let mut scales = [0.0; 2];
        for (scale, pointer) in scales.iter_mut().zip(self.scales) {
            if pointer.is_null() {
                return Err(invalid("a scale at a null pointer".to_owned()));
            }
            // SAFETY: the caller vouches for what is not null.
            *scale = unsafe { self::scale(precision, pointer) };
        }
        let product = Product { size, batch, scales, a, b, c, precision };
        Ok((m > 0 && n > 0 && batch > 0).then_some(product))
    }
}

fn number(kind: c_uint) -> Outcome<Number> {
    match kind {
        0 => Ok(Number::F32),
        F64 => Ok(Number::F64),
        2 => Ok(Number::F16),
        14 => Ok(Number::Bf16),
        kind => Err(unsupported(format!("numbers of type {kind}"))),
    }
}

fn precision(computation: c_uint) -> Outcome<Precision> {
    match computation {
        64 | 65 => Ok(Precision::F16),
        68 | 69 => Ok(Precision::F32),
        77 => Ok(Precision::Tf32),
        COMPUTE_F64 | 71 => Ok(Precision::F64),
        computation => Err(unsupported(format!("computations of type {computation}"))),
    }
}

/// # Safety
/// `value` is a number of the type that is summed in.
unsafe fn scale(precision: Precision, value: *const c_void) -> f64 {
    // SAFETY: the caller vouches for it.
    unsafe {
        match precision {
            Precision::F16 => value.cast::<f16>().read().into(),
            Precision::F32 | Precision::Tf32 => value.cast::<f32>().read().into(),
            Precision::F64 => value.cast::<f64>().read(),
        }
    }
}

fn size(name: &str, size: c_int) -> Outcome<usize> {
    usize::try_from(size).map_err(|_| invalid(format!("{name} is {size}")))
}

fn invalid(detail: String) -> Failure {
    Failure::new(Code::InvalidValue, detail)
}

fn unsupported(detail: String) -> Failure {
    Failure::new(Code::NotSupported, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    static ONE: f64 = 1.0;

    /// `[2, 5]` by `[5, 3]`, neither transposed, each as close as can be.
    fn gemm() -> Gemm {
        let operand = |leading| Operand::new(512, F64, (leading, 0), 0);
        Gemm {
            size: [2, 3, 5],
            batch: 1,
            scales: [(&raw const ONE).cast(); 2],
            a: operand(2),
            b: operand(5),
            c: operand(2),
            computation: COMPUTE_F64,
        }
    }

    fn outcome(change: impl FnOnce(&mut Gemm)) -> Outcome<bool> {
        let mut gemm = gemm();
        change(&mut gemm);
        // SAFETY: the scales are numbers or null.
        unsafe { gemm.product() }.map(|product| product.is_some())
    }

    #[track_caller]
    fn check_refused(change: impl FnOnce(&mut Gemm), words: &str) {
        assert_eq!(outcome(change), Err(Failure::new(Code::InvalidValue, words)));
    }

    #[test]
    fn wrong_arguments_are_refused() {
        assert_eq!(outcome(|_| {}), Ok(true));
        check_refused(|it| it.size[0] = -1, "m is -1");
        check_refused(|it| it.size[1] = -2, "n is -2");
        check_refused(|it| it.size[2] = -3, "k is -3");
        check_refused(|it| it.batch = -4, "the batch is -4");
        check_refused(|it| it.scales[0] = std::ptr::null(), "a scale at a null pointer");
        check_refused(|it| it.scales[1] = std::ptr::null(), "a scale at a null pointer");
        check_refused(|it| it.a.operation = 3, "operation 3 on `a`");
        let leading = |name, found, least| {
            format!("a leading dimension of {found} for `{name}`, wanted {least}")
        };
        check_refused(|it| it.a.leading = 1, &leading("a", 1, 2));
        check_refused(|it| it.b.leading = 4, &leading("b", 4, 5));
        check_refused(|it| it.c.leading = -1, &leading("c", -1, 2));
    }

    #[test]
    fn rows_of_what_is_transposed_are_its_columns() {
        for operation in [1, 2] {
            let change = |it: &mut Gemm| (it.a.operation, it.b.operation) = (operation, operation);
            let words = "a leading dimension of 2 for `a`, wanted 5";
            check_refused(change, words);
            let both = |it: &mut Gemm, leading| {
                change(it);
                (it.a.leading, it.b.leading) = leading;
            };
            assert_eq!(outcome(|it| both(it, (5, 3))), Ok(true));
            check_refused(|it| both(it, (5, 2)), "a leading dimension of 2 for `b`, wanted 3");
        }
    }

    #[test]
    fn where_there_are_no_results_there_is_nothing_to_do() {
        assert_eq!(outcome(|it| it.size[0] = 0), Ok(false));
        assert_eq!(outcome(|it| it.size[1] = 0), Ok(false));
        assert_eq!(outcome(|it| it.batch = 0), Ok(false));
        // The results are still scaled.
        assert_eq!(outcome(|it| it.size[2] = 0), Ok(true));
        check_refused(
            |it| (it.size[0], it.c.leading) = (0, 0),
            "a leading dimension of 0 for `c`, wanted 1",
        );
    }
}
