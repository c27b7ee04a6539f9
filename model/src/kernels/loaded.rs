//! Kernels as functions of a GPU.

use std::sync::Arc;

use candle_core::{
    Device, Error, Result,
    cuda_backend::cudarc::{
        driver::{CudaFunction, CudaModule, DriverError},
        nvrtc::Ptx,
    },
};

use super::launch::Typed;

const ATTENTION: &str = include_str!(concat!(env!("OUT_DIR"), "/attention.ptx"));
const ROWS: &str = include_str!(concat!(env!("OUT_DIR"), "/rows.ptx"));
const LAYER: &str = include_str!(concat!(env!("OUT_DIR"), "/layer.ptx"));
const SAMPLING: &str = include_str!(concat!(env!("OUT_DIR"), "/sampling.ptx"));

/// The kernels of a GPU; nothing on a CPU. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kernels(Option<Arc<Functions>>);

#[derive(Debug)]
pub(super) struct Functions {
    pub(super) rms_norm: Typed,
    pub(super) place_heads: Typed,
    pub(super) gated: Typed,
    pub(super) angles: CudaFunction,
    pub(super) select_rows: Typed,
    pub(super) read_tails: CudaFunction,
    pub(super) write_tails: CudaFunction,
    /// Of heads of up to 128 numbers, and of up to 256.
    pub(super) attend: [Typed; 2],
    pub(super) join_parts: CudaFunction,
    pub(super) sample: CudaFunction,
}

impl Kernels {
    /// Loads the kernels, if the device is a GPU.
    pub(crate) fn load(device: &Device) -> Result<Self> {
        let Device::Cuda(device) = device else { return Ok(Self::default()) };
        let stream = device.cuda_stream();
        let load = || {
            let layer = stream.context().load_module(Ptx::from_src(LAYER))?;
            let rows = stream.context().load_module(Ptx::from_src(ROWS))?;
            let attention = stream.context().load_module(Ptx::from_src(ATTENTION))?;
            let sampling = stream.context().load_module(Ptx::from_src(SAMPLING))?;
            Ok(Functions {
                rms_norm: typed(&layer, |number| format!("rms_norm_{number}"))?,
                place_heads: typed(&layer, |number| format!("place_heads_{number}"))?,
                gated: typed(&layer, |number| format!("gated_{number}"))?,
                angles: layer.load_function("angles")?,
                select_rows: typed(&rows, |number| format!("select_rows_{number}"))?,
                read_tails: rows.load_function("read_tails")?,
                write_tails: rows.load_function("write_tails")?,
                attend: [
                    typed(&attention, |number| format!("attend_{number}_1"))?,
                    typed(&attention, |number| format!("attend_{number}_2"))?,
                ],
                join_parts: attention.load_function("join_parts")?,
                sample: sampling.load_function("sample")?,
            })
        };
        let functions = load().map_err(|error: DriverError| Error::wrap(error))?;
        Ok(Self(Some(Arc::new(functions))))
    }

    pub(super) fn functions(&self) -> Result<&Functions> {
        self.0.as_deref().ok_or_else(|| Error::msg("kernels were loaded for a CPU"))
    }
}

fn typed(
    module: &Arc<CudaModule>,
    name: impl Fn(&str) -> String,
) -> std::result::Result<Typed, DriverError> {
    Ok(Typed {
        f32: module.load_function(&name("f32"))?,
        f16: module.load_function(&name("f16"))?,
        bf16: module.load_function(&name("bf16"))?,
    })
}
