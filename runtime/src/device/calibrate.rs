//! How fast this processor runs the products of a model, measured in a moment.
//!
//! The planner wants effective figures, not those of a data sheet: what a stage reads per second
//! when a product has one token, and what it computes when there are many.

use std::{
    num::NonZero,
    sync::{Arc, Barrier},
    time::Instant,
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
    /// How many times as fast all threads together read the weights of one token's product.
    pub all_threads: f64,
    /// How many times as much all threads read, and compute, if each works for itself.
    pub apart: Apart,
}

/// What all threads do, each on products of its own, as multiples of what one of them does alone.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Apart {
    pub reading: f64,
    pub computing: f64,
}

/// A measurement, and whether to believe it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    pub speed: CpuSpeed,
    /// Whether hardly anything else ran: most rounds were about as fast as the best.
    pub is_quiet: bool,
}

/// Weights of one matrix, rows and columns: together with its copies more than caches hold.
const SHAPE: (usize, usize) = (2048, 1024);
const NUM_MATRICES: usize = 16;
const MANY_TOKENS: usize = 32;
/// Short and many: a few of them find the processor free even where it has other work.
const NUM_ROUNDS: usize = 16;
/// How much longer than the best a usual round may take on a quiet machine.
const QUIET: f64 = 1.25;

impl CpuSpeed {
    /// Measures for about a second, with weights of 8 bits: other types are a little slower
    /// or faster.
    ///
    /// # Errors
    /// If the tensor library fails.
    pub fn measure() -> candle_core::Result<Measured> {
        let num_threads = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        let one = matrices(&Threads::inline())?;
        let shared = matrices(&Threads::new(num_threads))?;
        let kinds = [
            Pass { matrices: &one, num_tokens: 1, num_threads: 1 },
            Pass { matrices: &one[..1], num_tokens: MANY_TOKENS, num_threads: 1 },
            Pass { matrices: &shared, num_tokens: 1, num_threads: 1 },
            Pass { matrices: &one, num_tokens: 1, num_threads: num_threads.get() },
            Pass { matrices: &one, num_tokens: MANY_TOKENS, num_threads: num_threads.get() },
        ];
        let mut rounds: [Vec<f64>; 5] = Default::default();
        // In turns, so that a disturbance meets all kinds alike.
        for _ in 0..NUM_ROUNDS {
            for (times, pass) in rounds.iter_mut().zip(&kinds) {
                times.push(pass.seconds()?);
            }
        }
        let is_quiet = rounds.iter_mut().all(|times| is_quiet(times));
        let [reading, computing, together, reading_apart, computing_apart] =
            rounds.map(|times| times.into_iter().fold(f64::INFINITY, f64::min));
        let num_bytes = one.iter().map(|matrix| matrix.bytes().0 as f64).sum::<f64>();
        let num_flops = 2.0 * (SHAPE.0 * SHAPE.1 * MANY_TOKENS) as f64;
        let all_flops = num_flops * NUM_MATRICES as f64;
        let num_apart = num_threads.get() as f64;
        let (bytes_per_s, flops_per_s) = (num_bytes / reading, num_flops / computing);
        let gain = |gain: f64| gain.clamp(1.0, num_apart);
        let speed = Self {
            bytes_per_s,
            flops_per_s,
            all_threads: gain(reading / together),
            apart: Apart {
                reading: gain(num_apart * reading / reading_apart),
                computing: gain(num_apart * all_flops / computing_apart / flops_per_s),
            },
        };
        Ok(Measured { speed, is_quiet })
    }

    /// The better of two measurements, figure by figure: whatever else ran only slowed one down.
    #[must_use]
    pub fn or_better(self, other: Self) -> Self {
        Self {
            bytes_per_s: self.bytes_per_s.max(other.bytes_per_s),
            flops_per_s: self.flops_per_s.max(other.flops_per_s),
            all_threads: self.all_threads.max(other.all_threads),
            apart: Apart {
                reading: self.apart.reading.max(other.apart.reading),
                computing: self.apart.computing.max(other.apart.computing),
            },
        }
    }
}

/// Products that are timed.
struct Pass<'a> {
    matrices: &'a [Linear],
    num_tokens: usize,
    /// Threads that multiply all of them at the same time, each for itself, and each beginning with
    /// another.
    num_threads: usize,
}

impl Pass<'_> {
    /// How long all products take.
    fn seconds(&self) -> candle_core::Result<f64> {
        let tokens = Tensor::rand(-1.0_f32, 1.0, (self.num_tokens, SHAPE.1), &Device::Cpu)?;
        if self.num_threads == 1 {
            let started = Instant::now();
            multiply(self.matrices, &tokens)?;
            return Ok(started.elapsed().as_secs_f64());
        }
        // All begin together, so that starting them is not timed.
        let start = Barrier::new(self.num_threads);
        let work = |thread: usize| {
            let (behind, from) =
                self.matrices.split_at(thread * self.matrices.len() / self.num_threads);
            start.wait();
            let started = Instant::now();
            multiply(from, &tokens)?;
            multiply(behind, &tokens)?;
            Ok(started.elapsed().as_secs_f64())
        };
        std::thread::scope(|scope| {
            let work = &work;
            let threads: Vec<_> =
                (0..self.num_threads).map(|thread| scope.spawn(move || work(thread))).collect();
            threads.into_iter().try_fold(0.0, |longest: f64, thread| {
                let seconds: candle_core::Result<f64> =
                    thread.join().expect("a product does not panic");
                Ok(longest.max(seconds?))
            })
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

fn multiply(matrices: &[Linear], tokens: &Tensor) -> candle_core::Result<()> {
    matrices.iter().try_for_each(|matrix| matrix.forward(tokens).map(drop))
}

/// Whether the median is near the best; sorts the times.
fn is_quiet(times: &mut [f64]) -> bool {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2] <= QUIET * times[0]
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
