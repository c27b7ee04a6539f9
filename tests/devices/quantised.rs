//! Products of quantised weights, by candle, on a device under test and on the CPU: both round the
//! activations to eight bits, and the device may not lose much more by it.

use std::borrow::Cow;

use candle_core::{
    DType, Device, Module, Result, Tensor,
    quantized::{QMatMul, QStorage, QTensor},
};
use sluicegate_tests::draws::Draws;

use crate::{
    numbers::QUANTISED,
    operands::{Operand, moved, values},
    target::Target,
};

/// Rows of activations: candle has other kernels from nine on.
const ROWS: [usize; 5] = [1, 5, 8, 9, 40];

/// How much larger than the CPU's the error of a product may be. candle's kernels for GPUs keep the
/// sum of a block's activations in 16 bits, and that of the activations before they were rounded
/// (found: 2.3 with `Q4_0`).
const MARGIN: f64 = 3.0;

/// What the order of sums alone makes.
const LEAST: f64 = 1e-5;

pub(crate) fn of_quantised_products(target: &Target) {
    for device in target.handles() {
        for kind in QUANTISED {
            let mut largest: f64 = 0.0;
            // Blocks of K types have 256 weights.
            for (num_rows, width) in ROWS.into_iter().zip([256, 512, 256, 768, 512]) {
                let mut draws = Draws::new(width as u64);
                let weights = Operand::floats(&mut draws, &[96, width], DType::F32, &Device::Cpu);
                let weights = QTensor::quantize(&weights.unwrap().whole, kind).unwrap();
                let input = Operand::floats(&mut draws, &[num_rows, width], DType::F32, &device);
                let input = input.unwrap().contiguous().unwrap();
                let own = error(&weights, &input.whole, &Device::Cpu).unwrap();
                let found = error(&weights, &input.view, &device).unwrap();
                let name = format!("{kind:?} by [{num_rows}, {width}]");
                assert!(found <= own * MARGIN + LEAST, "{name}: {found}, on the CPU {own}");
                largest = largest.max(found / (own + LEAST));
            }
            println!("{kind:?}: at most {largest:.2} times as far off as on the CPU");
        }
    }
}

/// How far off a product is, as a part of its size: root mean squares.
fn error(weights: &QTensor, input: &Tensor, device: &Device) -> Result<f64> {
    let exact = moved(input, &Device::Cpu)?.matmul(&weights.dequantize(&Device::Cpu)?.t()?)?;
    let exact = values(&exact)?;
    let found = values(&QMatMul::from_qtensor(copied(weights, device)?)?.forward(input)?)?;
    let off: f64 = exact.iter().zip(found).map(|(exact, found)| (exact - found).powi(2)).sum();
    let size: f64 = exact.iter().map(|exact| exact * exact).sum();
    Ok((off / size).sqrt())
}

/// The same blocks in the memory of a device.
fn copied(weights: &QTensor, device: &Device) -> Result<QTensor> {
    let data = Cow::Owned(weights.data()?.into_owned());
    QTensor::new(QStorage::from_data(data, device, weights.dtype())?, weights.shape())
}
