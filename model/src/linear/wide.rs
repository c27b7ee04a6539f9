//! Products on a GPU of activations with weights of 16 bits.
//!
//! candle writes such a product in 16 bits too: those of f16 overflow, and logits of bf16 tie. Here
//! factors have 16 bits, and sums and results 32.

use std::ffi::c_int;

use candle_core::{
    CpuStorage, CudaDevice, CudaStorage, CustomOp2, Error, Layout, Result, Shape,
    backend::BackendStorage,
    bail,
    cuda_backend::{
        CudaStorageSlice, WrapErr,
        cudarc::{
            cublas::{result::gemm_strided_batched_ex, sys},
            driver::{CudaSlice, DevicePtr, DevicePtrMut, DeviceRepr},
        },
    },
};

/// `[tokens, in]` and `[out, in]`, both f16 or both bf16, to `[tokens, out]` in f32.
pub(super) struct WideProduct;

impl CustomOp2 for WideProduct {
    fn name(&self) -> &'static str {
        "wide-product"
    }

    fn cpu_fwd(
        &self,
        _input: &CpuStorage,
        _: &Layout,
        _weights: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        bail!("CPUs have kernels of their own")
    }

    fn cuda_fwd(
        &self,
        input: &CudaStorage,
        input_layout: &Layout,
        weights: &CudaStorage,
        weights_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (tokens, width) = input_layout.shape().dims2()?;
        let (rows, weights_width) = weights_layout.shape().dims2()?;
        let is_whole = input_layout.is_contiguous() && weights_layout.is_contiguous();
        if width != weights_width || !is_whole {
            bail!(
                "wanted two whole matrices of equal width, found {input_layout:?} and {weights_layout:?}"
            );
        }
        let device = input.device();
        let sizes = Sizes { tokens, rows, width };
        let starts = (input_layout.start_offset(), weights_layout.start_offset());
        let product = match (&input.slice, &weights.slice) {
            (CudaStorageSlice::F16(input), CudaStorageSlice::F16(weights)) => {
                multiply(device, sizes, (input, weights), (starts, sys::cudaDataType_t::CUDA_R_16F))
            }
            (CudaStorageSlice::BF16(input), CudaStorageSlice::BF16(weights)) => multiply(
                device,
                sizes,
                (input, weights),
                (starts, sys::cudaDataType_t::CUDA_R_16BF),
            ),
            _ => bail!("wanted f16 or bf16, found {:?} and {:?}", input.dtype(), weights.dtype()),
        }?;
        Ok((CudaStorage::wrap_cuda_slice(product, device.clone()), Shape::from((tokens, rows))))
    }
}

#[derive(Debug, Clone, Copy)]
struct Sizes {
    tokens: usize,
    rows: usize,
    width: usize,
}

/// As cuBLAS counts.
fn int(size: usize) -> Result<c_int> {
    c_int::try_from(size).map_err(Error::wrap)
}

/// cuBLAS has columns where we have rows: it computes the transpose, weights times input.
fn multiply<T: DeviceRepr>(
    device: &CudaDevice,
    sizes: Sizes,
    (input, weights): (&CudaSlice<T>, &CudaSlice<T>),
    ((input_start, weights_start), number): ((usize, usize), sys::cudaDataType),
) -> Result<CudaSlice<f32>> {
    let (tokens, rows, width) = (int(sizes.tokens)?, int(sizes.rows)?, int(sizes.width)?);
    // SAFETY: the product writes all of it.
    let mut product = unsafe { device.alloc::<f32>(sizes.tokens * sizes.rows)? };
    let (blas, stream) = (device.cublas_handle(), device.cuda_stream());
    let (input, weights) = (input.slice(input_start..), weights.slice(weights_start..));
    let (one, zero) = (1.0_f32, 0.0_f32);
    {
        let (input, _guard) = input.device_ptr(&stream);
        let (weights, _guard) = weights.device_ptr(&stream);
        let (product, _guard) = product.device_ptr_mut(&stream);
        // SAFETY: the sizes are those of the matrices, which are whole, and of the product.
        let outcome = unsafe {
            gemm_strided_batched_ex(
                *blas.handle(),
                sys::cublasOperation_t::CUBLAS_OP_T,
                sys::cublasOperation_t::CUBLAS_OP_N,
                rows,
                tokens,
                width,
                (&raw const one).cast(),
                weights as *const _,
                number,
                width,
                0,
                input as *const _,
                number,
                width,
                0,
                (&raw const zero).cast(),
                product as *mut _,
                sys::cudaDataType_t::CUDA_R_32F,
                rows,
                0,
                1,
                sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
                sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
            )
        };
        outcome.w()?;
    }
    Ok(product)
}
