//! How fast this processor runs the products of a model, measured in a moment.
//!
//! The planner wants effective figures, not those of a data sheet: what a stage reads per second when
//! a product has one token, and what it computes when there are many.

use std::{
    num::NonZero,
    sync::Arc,
    time::{Duration, Instant},
};

use candle_core::{
    Device, Tensor,
    quantized::{GgmlDType, QTensor},
};
use serde::{Deserialize, Serialize};
use sluicegate_model::{linear::Linear, threads::Threads, weights::Matrix};

/// What one core does, and what all of them gain together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CpuSpeed {
    /// Weights read in products of one token, by one thread.
    pub bytes_per_s: f64,
    /// Operations in products of many tokens, by one thread.
    pub flops_per_s: f64,
    /// How many times as fast all threads read the weights of one token's product.
    pub all_threads: f64,
}

/// Weights of one matrix, rows and columns: together with its copies more than caches hold.
const SHAPE: (usize, usize) = (2048, 1024);
const NUM_MATRICES: usize = 16;
const MANY_TOKENS: usize = 32;
const NUM_ROUNDS: usize = 3;

impl CpuSpeed {
    /// Measures for less than a second, with weights of 8 bits: other types are a little slower
    /// or faster.
    ///
    /// # Errors
    /// If the tensor library fails.
    pub fn measure() -> candle_core::Result<Self> {
        let all = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        let one = matrices(&Threads::inline())?;
        let reading = fastest(|| pass(&one, 1))?;
        let computing = fastest(|| pass(&one[..1], MANY_TOKENS))?;
        let shared = matrices(&Threads::new(all))?;
        let together = fastest(|| pass(&shared, 1))?;
        let num_bytes = one.iter().map(|matrix| matrix.bytes().0 as f64).sum::<f64>();
        let num_flops = 2.0 * (SHAPE.0 * SHAPE.1 * MANY_TOKENS) as f64;
        Ok(Self {
            bytes_per_s: num_bytes / reading.as_secs_f64(),
            flops_per_s: num_flops / computing.as_secs_f64(),
            all_threads: (reading.as_secs_f64() / together.as_secs_f64()).max(1.0),
        })
    }
}

fn matrices(threads: &Threads) -> candle_core::Result<Vec<Linear>> {
    let weights = Tensor::rand(-1.0_f32, 1.0, SHAPE, &Device::Cpu)?;
    // Each quantised for itself, so that each has a memory of its own.
    let matrix = |_| {
        let matrix = Matrix::Quantized(Arc::new(QTensor::quantize(&weights, GgmlDType::Q8_0)?));
        Linear::new(vec![matrix], None, threads.clone())
    };
    (0..NUM_MATRICES).map(matrix).collect()
}

/// Multiplies each matrix with as many tokens, and times that.
fn pass(matrices: &[Linear], num_tokens: usize) -> candle_core::Result<Duration> {
    let tokens = Tensor::rand(-1.0_f32, 1.0, (num_tokens, SHAPE.1), &Device::Cpu)?;
    let started = Instant::now();
    for matrix in matrices {
        matrix.forward(&tokens)?;
    }
    Ok(started.elapsed())
}

/// The fastest of some rounds: whatever else runs only slows one down.
fn fastest(
    mut round: impl FnMut() -> candle_core::Result<Duration>,
) -> candle_core::Result<Duration> {
    let rounds = (0..NUM_ROUNDS).map(|_| round());
    rounds.reduce(|a, b| Ok(a?.min(b?))).expect("there is a round")
}

/// What the processor calls itself, and how many threads it runs at once: a measurement holds for
/// these.
pub fn processor() -> String {
    let mut system = sysinfo::System::new();
    system.refresh_cpu_list(sysinfo::CpuRefreshKind::nothing());
    let brand = system.cpus().first().map_or_else(String::new, |cpu| cpu.brand().to_owned());
    let num_threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    format!("{} {brand} x{num_threads}", std::env::consts::ARCH)
}
