//! cuBLAS: products of batches of matrices.

use std::{
    collections::HashMap,
    ffi::{c_int, c_longlong, c_uint, c_void},
    sync::{Mutex, PoisonError},
};

use half::f16;

use super::{SUCCESS, call, check_context, current, current_stream, put};
use crate::{
    error::{Code, Failure, Outcome},
    product::{Matrices, Number, Precision, Product},
    work::Work,
    world::{ContextId, World},
};

/// Source: `cublas_api.h`, `cublasStatus_t`.
const INVALID_VALUE: c_int = 7;
const EXECUTION_FAILED: c_int = 13;
const NOT_SUPPORTED: c_int = 15;

/// The context and the stream of each handle.
static HANDLES: Mutex<Option<HashMap<u64, (ContextId, u64)>>> = Mutex::new(None);

fn handles<T>(change: impl FnOnce(&mut HashMap<u64, (ContextId, u64)>) -> T) -> T {
    let mut handles = HANDLES.lock().unwrap_or_else(PoisonError::into_inner);
    change(handles.get_or_insert_default())
}

/// The driver's result as cuBLAS reports it.
fn status(result: c_int) -> c_int {
    match result {
        SUCCESS => SUCCESS,
        result if result == Code::InvalidValue as c_int => INVALID_VALUE,
        result if result == Code::NotSupported as c_int => NOT_SUPPORTED,
        _ => EXECUTION_FAILED,
    }
}

/// # Safety
/// As cuBLAS: `target` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn cublasCreate_v2(target: *mut u64) -> c_int {
    status(call("cublasCreate", |world| {
        let context = world.context(current(world)?);
        let handle = handles(|it| {
            let handle = it.keys().max().map_or(1, |last| last + 1);
            it.insert(handle, (context, 0));
            handle
        });
        // SAFETY: the caller's pointer.
        unsafe { put(target, handle) }
    }))
}

#[unsafe(no_mangle)]
extern "C" fn cublasDestroy_v2(handle: u64) -> c_int {
    status(call("cublasDestroy", |_| {
        handles(|it| it.remove(&handle)).map(drop).ok_or_else(|| unknown(handle))
    }))
}

#[unsafe(no_mangle)]
extern "C" fn cublasSetStream_v2(handle: u64, stream: u64) -> c_int {
    status(call("cublasSetStream", |_| {
        handles(|it| it.get_mut(&handle).map(|it| it.1 = stream)).ok_or_else(|| unknown(handle))
    }))
}

fn unknown(handle: u64) -> Failure {
    Failure::new(Code::InvalidValue, format!("there is no cuBLAS handle {handle:#x}"))
}

/// # Safety
/// As cuBLAS: `alpha` and `beta` are numbers of the type that products are summed in.
#[unsafe(no_mangle)]
unsafe extern "C" fn cublasGemmStridedBatchedEx(
    handle: u64,
    transposes_a: c_uint,
    transposes_b: c_uint,
    m: c_int,
    n: c_int,
    k: c_int,
    alpha: *const c_void,
    a: u64,
    a_type: c_uint,
    a_leading: c_int,
    a_stride: c_longlong,
    b: u64,
    b_type: c_uint,
    b_leading: c_int,
    b_stride: c_longlong,
    beta: *const c_void,
    c: u64,
    c_type: c_uint,
    c_leading: c_int,
    c_stride: c_longlong,
    batch: c_int,
    computation: c_uint,
    _algorithm: c_int,
) -> c_int {
    status(call("cublasGemmStridedBatchedEx", |world| {
        let precision = precision(computation)?;
        // SAFETY: the caller vouches for the scales.
        let scales = unsafe { [scale(precision, alpha), scale(precision, beta)] };
        let product = Product {
            size: sizes([m, n, k])?,
            batch: size(batch)?,
            scales,
            a: matrices(a, a_type, (a_leading, a_stride), transposes_a)?,
            b: matrices(b, b_type, (b_leading, b_stride), transposes_b)?,
            c: matrices(c, c_type, (c_leading, c_stride), 0)?,
            precision,
        };
        multiply(world, handle, product)
    }))
}

/// # Safety
/// As cuBLAS: `alpha` and `beta` can be read.
#[unsafe(no_mangle)]
unsafe extern "C" fn cublasDgemmStridedBatched(
    handle: u64,
    transposes_a: c_uint,
    transposes_b: c_uint,
    m: c_int,
    n: c_int,
    k: c_int,
    alpha: *const f64,
    a: u64,
    a_leading: c_int,
    a_stride: c_longlong,
    b: u64,
    b_leading: c_int,
    b_stride: c_longlong,
    beta: *const f64,
    c: u64,
    c_leading: c_int,
    c_stride: c_longlong,
    batch: c_int,
) -> c_int {
    status(call("cublasDgemmStridedBatched", |world| {
        let product = Product {
            size: sizes([m, n, k])?,
            batch: size(batch)?,
            // SAFETY: the caller's pointers.
            scales: unsafe { [alpha.read(), beta.read()] },
            a: matrices(a, F64, (a_leading, a_stride), transposes_a)?,
            b: matrices(b, F64, (b_leading, b_stride), transposes_b)?,
            c: matrices(c, F64, (c_leading, c_stride), 0)?,
            precision: Precision::F64,
        };
        multiply(world, handle, product)
    }))
}

fn multiply(world: &mut World, handle: u64, product: Product) -> Outcome {
    let found = handles(|it| it.get(&handle).copied());
    let (context, stream) = found.ok_or_else(|| unknown(handle))?;
    check_context("a handle", context, world.context(current(world)?))?;
    let (device, stream) = current_stream(world, stream)?;
    world.enqueue(device, stream, Work::Product(product)).map(drop)
}

/// Source: `library_types.h`, `cudaDataType_t`.
const F64: c_uint = 1;

fn number(kind: c_uint) -> Outcome<Number> {
    match kind {
        0 => Ok(Number::F32),
        F64 => Ok(Number::F64),
        2 => Ok(Number::F16),
        14 => Ok(Number::Bf16),
        kind => Err(unsupported(format!("numbers of type {kind}"))),
    }
}

/// Source: `cublas_api.h`, `cublasComputeType_t`.
fn precision(computation: c_uint) -> Outcome<Precision> {
    match computation {
        64 | 65 => Ok(Precision::F16),
        68 | 69 => Ok(Precision::F32),
        77 => Ok(Precision::Tf32),
        70 | 71 => Ok(Precision::F64),
        computation => Err(unsupported(format!("computations of type {computation}"))),
    }
}

fn unsupported(detail: String) -> Failure {
    Failure::new(Code::NotSupported, detail)
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

fn matrices(
    address: u64,
    kind: c_uint,
    (leading, stride): (c_int, c_longlong),
    operation: c_uint,
) -> Outcome<Matrices> {
    if operation > 1 {
        return Err(unsupported(format!("operation {operation} on a factor")));
    }
    let stride = usize::try_from(stride)
        .map_err(|_| Failure::new(Code::InvalidValue, format!("a stride of {stride}")))?;
    let (number, leading) = (number(kind)?, size(leading)?);
    Ok(Matrices { address, number, leading, stride, is_transposed: operation == 1 })
}

fn sizes(sizes: [c_int; 3]) -> Outcome<[usize; 3]> {
    let [m, n, k] = sizes;
    Ok([size(m)?, size(n)?, size(k)?])
}

fn size(size: c_int) -> Outcome<usize> {
    let found = usize::try_from(size).ok().filter(|size| *size > 0);
    found.ok_or_else(|| Failure::new(Code::InvalidValue, format!("a size of {size}")))
}
