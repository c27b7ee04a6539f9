//! cuBLAS: products of batches of matrices.

use std::{
    collections::HashMap,
    ffi::{c_int, c_longlong, c_uint, c_void},
    sync::{Mutex, PoisonError},
};

use super::{
    SUCCESS, call, check_context, current, current_stream,
    gemm::{COMPUTE_F64, F64, Gemm, Operand},
    put,
};
use crate::{
    error::{Code, Failure},
    work::Work,
    world::ContextId,
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
    let gemm = Gemm {
        size: [m, n, k],
        batch,
        scales: [alpha, beta],
        a: Operand::new(a, a_type, (a_leading, a_stride), transposes_a),
        b: Operand::new(b, b_type, (b_leading, b_stride), transposes_b),
        c: Operand::new(c, c_type, (c_leading, c_stride), 0),
        computation,
    };
    // SAFETY: the caller vouches for the scales.
    unsafe { multiply("cublasGemmStridedBatchedEx", handle, &gemm) }
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
    let gemm = Gemm {
        size: [m, n, k],
        batch,
        scales: [alpha.cast(), beta.cast()],
        a: Operand::new(a, F64, (a_leading, a_stride), transposes_a),
        b: Operand::new(b, F64, (b_leading, b_stride), transposes_b),
        c: Operand::new(c, F64, (c_leading, c_stride), 0),
        computation: COMPUTE_F64,
    };
    // SAFETY: the caller vouches for the scales.
    unsafe { multiply("cublasDgemmStridedBatched", handle, &gemm) }
}

/// # Safety
/// The scales are null or numbers of the type that products are summed in.
unsafe fn multiply(function: &'static str, handle: u64, gemm: &Gemm) -> c_int {
    status(call(function, |world| {
        let found = handles(|it| it.get(&handle).copied());
        let (context, stream) = found.ok_or_else(|| unknown(handle))?;
        check_context("a handle", context, world.context(current(world)?))?;
        let (device, stream) = current_stream(world, stream)?;
        // SAFETY: the caller vouches for the scales.
        let Some(product) = (unsafe { gemm.product()? }) else { return Ok(()) };
        world.enqueue(device, stream, Work::Product(product)).map(drop)
    }))
}
