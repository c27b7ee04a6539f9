//! Compares our products with candle's on the CPU, in turns: medians, one line per type and batch.
//!
//! `RAYON_NUM_THREADS=1 cargo bench -p sluicegate-model` compares single threads. Without the
//! variable both use all processors.

use std::{
    num::NonZero,
    sync::Arc,
    time::{Duration, Instant},
};

use candle_core::{
    Device, Module, Result, Tensor,
    quantized::{GgmlDType, QMatMul, QTensor},
};
use sluicegate_model::{linear::Linear, threads::Threads, weights::Matrix};

/// Rows and width of a feed-forward matrix of the default model.
const ROWS: usize = 1536;
const WIDTH: usize = 512;
const ROUNDS: usize = 31;

fn main() -> Result<()> {
    let num_threads = std::env::var("RAYON_NUM_THREADS").ok().and_then(|text| text.parse().ok());
    let num_threads = num_threads.or(std::thread::available_parallelism().ok());
    let threads = Threads::new(num_threads.unwrap_or(NonZero::<usize>::MIN));
    show(&format!("[tokens, {WIDTH}] x [{WIDTH}, {ROWS}], {} threads", threads.count()));
    show("type    tokens   candle us     ours us   ours is faster by");
    let types =
        [GgmlDType::Q4_0, GgmlDType::Q4_1, GgmlDType::Q5_0, GgmlDType::Q5_1, GgmlDType::Q8_0];
    let k_types = [GgmlDType::Q2K, GgmlDType::Q3K, GgmlDType::Q4K, GgmlDType::Q5K, GgmlDType::Q6K];
    let weights = Tensor::randn(0f32, 1f32, (ROWS, WIDTH), &Device::Cpu)?;
    for kind in types.into_iter().chain(k_types) {
        let matrix = Arc::new(QTensor::quantize(&weights, kind)?);
        let theirs = QMatMul::from_arc(Arc::clone(&matrix))?;
        let ours = Linear::new(vec![Matrix::Quantized(matrix)], None, threads.clone())?;
        compare(&format!("{kind:?}"), &|input| theirs.forward(input), &|input| {
            ours.forward(input)
        })?;
    }
    let transposed = weights.t()?;
    let ours = Linear::new(vec![Matrix::Dense(weights.clone())], None, threads.clone())?;
    compare("F32", &|input| input.matmul(&transposed), &|input| ours.forward(input))?;
    decode(&threads)
}

/// Times the products of one token through the default model, with other work between them: by one
/// thread, and shared by threads.
fn decode(threads: &Threads) -> Result<()> {
    const SHAPES: [(usize, usize); 4] = [(576, 960), (576, 576), (576, 3072), (1536, 576)];
    const LAYERS: usize = 30;
    const BETWEEN: Duration = Duration::from_micros(10);
    let layers = |threads: &Threads| -> Result<Vec<(Tensor, Linear)>> {
        let shapes = SHAPES.iter().cycle().take(LAYERS * SHAPES.len());
        shapes
            .map(|(width, rows)| {
                let weights = Tensor::randn(0f32, 1f32, (*rows, *width), &Device::Cpu)?;
                let matrix = Arc::new(QTensor::quantize(&weights, GgmlDType::Q4_1)?);
                let input = Tensor::randn(0f32, 1f32, (1, *width), &Device::Cpu)?;
                Ok((input, Linear::new(vec![Matrix::Quantized(matrix)], None, threads.clone())?))
            })
            .collect()
    };
    let token = |layers: &[(Tensor, Linear)]| -> Result<Duration> {
        let start = Instant::now();
        for (input, linear) in layers {
            std::hint::black_box(linear.forward(input)?);
            let end = Instant::now() + BETWEEN;
            while Instant::now() < end {}
        }
        Ok(start.elapsed().saturating_sub(BETWEEN * u32::try_from(layers.len()).unwrap_or(0)))
    };
    let (alone, shared) = (layers(&Threads::inline())?, layers(threads)?);
    let (mut alone_times, mut shared_times) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        alone_times.push(token(&alone)?);
        shared_times.push(token(&shared)?);
    }
    let [alone, shared] =
        [alone_times, shared_times].map(|times| median(times).as_secs_f64() * 1e6);
    show(&format!(
        "products of one token: {alone:.0} us by one thread, {shared:.0} us by {}: {:.2} x",
        threads.count(),
        alone / shared
    ));
    Ok(())
}

type Product<'a> = dyn Fn(&Tensor) -> Result<Tensor> + 'a;

fn compare(name: &str, theirs: &Product<'_>, ours: &Product<'_>) -> Result<()> {
    for num_tokens in [1, 8, 128] {
        let input = Tensor::randn(0f32, 1f32, (num_tokens, WIDTH), &Device::Cpu)?;
        let (mut their_times, mut our_times) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            their_times.push(time(theirs, &input)?);
            our_times.push(time(ours, &input)?);
        }
        let (theirs, ours) = (median(their_times), median(our_times));
        let (theirs, ours) = (theirs.as_secs_f64() * 1e6, ours.as_secs_f64() * 1e6);
        show(&format!(
            "{name:<6} {num_tokens:>7} {theirs:>11.1} {ours:>11.1} {:>8.2} x",
            theirs / ours
        ));
    }
    Ok(())
}

fn time(product: &Product<'_>, input: &Tensor) -> Result<Duration> {
    let start = Instant::now();
    std::hint::black_box(product(input)?);
    Ok(start.elapsed())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[expect(clippy::print_stdout, reason = "the result of a benchmark")]
fn show(line: &str) {
    println!("{line}");
}
