//! Products with quantised weights, as candle brings them, against those of the host.

use half::f16;
use proptest::{
    prelude::any,
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};

use crate::{
    candle::{module, module_if_there},
    support::{
        Arg::{self, U32, U64},
        Device, Sizes, run_with,
    },
};

/// Weights of `[ROWS, DEPTH]`, and up to `COLUMNS` columns that they are multiplied by. For several
/// columns rows are taken by twos, and behind an odd number of them candle has memory to spare.
const ROWS: usize = 6;
const DEPTH: usize = 512;
const COLUMNS: usize = 3;
/// Elements of a block of the columns, as they are quantised, and its bytes: the scale, the sum of
/// all elements, and the elements.
const COLUMN_BLOCK: usize = 32;
const COLUMN_BYTES: usize = 36;
/// What an element of the columns is a multiple of, so that nothing is lost when they are
/// quantised.
const UNIT: f32 = 1.0 / 64.0;

/// How weights are quantised.
struct Format {
    name: &'static str,
    /// Elements of a block, and its bytes.
    block: (usize, usize),
    /// Where a block has scales of 16 bits.
    scales: &'static [usize],
    elements: fn(&[u8]) -> Vec<f32>,
}

/// Source: candle-core, `quantized/k_quants.rs`, `to_float` of each block.
const FORMATS: [Format; 4] = [
    Format { name: "q4_0", block: (32, 18), scales: &[0], elements: q4_0 },
    Format { name: "q8_0", block: (32, 34), scales: &[0], elements: q8_0 },
    Format { name: "q4_K", block: (256, 144), scales: &[0, 2], elements: q4_k },
    Format { name: "q6_K", block: (256, 210), scales: &[208], elements: q6_k },
];

fn scale(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

fn q4_0(block: &[u8]) -> Vec<f32> {
    let d = scale(block, 0);
    let element = |it: usize| {
        let byte = block[2 + it % 16];
        let quantum = if it < 16 { byte & 15 } else { byte >> 4 };
        (f32::from(quantum) - 8.0) * d
    };
    (0..32).map(element).collect()
}

fn q8_0(block: &[u8]) -> Vec<f32> {
    let d = scale(block, 0);
    block[2..].iter().map(|it| f32::from(*it as i8) * d).collect()
}

fn q4_k(block: &[u8]) -> Vec<f32> {
    let (d, least, scales) = (scale(block, 0), scale(block, 2), &block[4..16]);
    let element = |it: usize| {
        let part = it / 32;
        let (factor, below) = if part < 4 {
            (scales[part] & 63, scales[part + 4] & 63)
        } else {
            let [low, high] = [scales[part + 4] & 15, scales[part + 4] >> 4];
            (low | scales[part - 4] >> 6 << 4, high | scales[part] >> 6 << 4)
        };
        let byte = block[16 + part / 2 * 32 + it % 32];
        let quantum = if part.is_multiple_of(2) { byte & 15 } else { byte >> 4 };
        d * f32::from(factor) * f32::from(quantum) - least * f32::from(below)
    };
    (0..256).map(element).collect()
}

fn q6_k(block: &[u8]) -> Vec<f32> {
    let (low, high, factors) = (&block[..128], &block[128..192], &block[192..208]);
    let element = |it: usize| {
        let (half, quarter, at) = (it / 128, it % 128 / 32, it % 32);
        let byte = low[64 * half + 32 * (quarter % 2) + at];
        let low = if quarter < 2 { byte & 15 } else { byte >> 4 };
        let high = high[32 * half + at] >> (2 * quarter) & 3;
        let factor = factors[8 * half + 2 * quarter + at / 16] as i8;
        scale(block, 208) * f32::from(factor) * (f32::from(low | high << 4) - 32.0)
    };
    (0..256).map(element).collect()
}

/// Random blocks, whose scales are of a usual size.
fn weights(format: &Format, runner: &mut TestRunner) -> Vec<u8> {
    let (len, bytes) = format.block;
    let mut blocks = Vec::new();
    for _ in 0..ROWS * DEPTH / len {
        let mut block: Vec<u8> =
            (0..bytes).map(|_| any::<u8>().new_tree(runner).unwrap().current()).collect();
        for at in format.scales {
            let scale = (0.001_f32..0.03).new_tree(runner).unwrap().current();
            block[*at..at + 2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
        }
        blocks.extend(block);
    }
    blocks
}

/// Columns as multiples of [`UNIT`], of which each block has the largest, and a small sum.
fn columns(num: usize, runner: &mut TestRunner) -> Vec<i8> {
    let pair = |it: usize| {
        let of = (-125_i8..=127).new_tree(runner).unwrap().current();
        let of = if it.is_multiple_of(COLUMN_BLOCK / 2) { 127 } else { of };
        [of, -of + (it % 3) as i8]
    };
    (0..num * DEPTH / 2).flat_map(pair).collect()
}

/// The blocks of quantised columns.
fn quantised(columns: &[i8]) -> Vec<u8> {
    let block = |quanta: &[i8]| {
        let sum: f32 = quanta.iter().map(|it| f32::from(*it) * UNIT).sum();
        let scales = [UNIT, sum].map(|it| f16::from_f32(it).to_le_bytes());
        let quanta: Vec<u8> = quanta.iter().map(|it| it.cast_unsigned()).collect();
        [scales.concat(), quanta].concat()
    };
    columns.chunks_exact(COLUMN_BLOCK).flat_map(block).collect()
}

/// Quantises columns by a kernel, and checks them.
fn quantise(text: &str, kernel: &str, columns: &[i8], device: &mut Device) -> u64 {
    let values: Vec<f32> = columns.iter().map(|it| f32::from(*it) * UNIT).collect();
    let input = device.place(&values);
    let num_bytes = columns.len() / COLUMN_BLOCK * COLUMN_BYTES;
    let blocks = device.place(&vec![0_u8; num_bytes]);
    let args = [U64(input), U64(blocks), U32(DEPTH as u32), U32(DEPTH as u32)];
    let grid_size = [DEPTH as u32 / 256, COLUMNS as u32, 1];
    let sizes = Sizes { grid_size, block_size: [256, 1, 1], shared_bytes: 0 };
    run_with(text, kernel, &sizes, &args, device).unwrap();
    assert_eq!(device.values::<u8>(blocks, num_bytes), quantised(columns));
    blocks
}

/// Multiplies by a kernel for so many columns, and checks each result.
#[track_caller]
fn check(text: &str, kernel: &str, format: &Format, (num_columns, args): (usize, &[u32])) {
    let mut runner = TestRunner::deterministic();
    let mut device = Device::default();
    let columns = columns(COLUMNS, &mut runner);
    let weights = weights(format, &mut runner);
    let quantise_by = if text.contains("mmvq_gguf_quantize") {
        "mmvq_gguf_quantize_q8_1_f32"
    } else {
        "quantize_q8_1"
    };
    let right = quantise(text, quantise_by, &columns, &mut device);
    let left = device.place(&weights);
    let out = device.place(&[f32::NAN; ROWS * COLUMNS]);
    let numbers = args.iter().map(|it| U32(*it));
    let args: Vec<_> = [left, right, out].map(U64).into_iter().chain(numbers).collect();
    let rows_at_once = match num_columns {
        _ if kernel.starts_with("mul_mat_q") => TILE_ROWS,
        1 => 1,
        _ => 2,
    };
    let grid_size = [ROWS.div_ceil(rows_at_once) as u32, 1, 1];
    let sizes = Sizes { grid_size, block_size: [32, 4, 1], shared_bytes: 0 };
    run_with(text, kernel, &sizes, &args, &mut device).unwrap();
    let found: Vec<f32> = device.values(out, ROWS * num_columns);
    compare((kernel, format), (&weights, &columns), &found, 1e-6);
}

/// Checks the products of all rows and columns, `[columns, rows]`, to so much of their parts'
/// sizes.
#[track_caller]
fn compare(
    (kernel, format): (&str, &Format),
    (weights, columns): (&[u8], &[i8]),
    found: &[f32],
    tolerance: f64,
) {
    let elements: Vec<f32> =
        weights.chunks_exact(format.block.1).flat_map(format.elements).collect();
    for (at, found) in found.iter().enumerate() {
        let (column, row) = (at / ROWS, at % ROWS);
        let pairs = elements[row * DEPTH..][..DEPTH].iter().zip(&columns[column * DEPTH..]);
        let products: Vec<f64> =
            pairs.map(|(a, b)| f64::from(*a) * f64::from(*b) * f64::from(UNIT)).collect();
        let want: f64 = products.iter().sum();
        // Sums of floats depend on their order, and of all parts only on the last bits.
        let tolerance = products.iter().map(|it| it.abs()).sum::<f64>() * tolerance;
        let is_near = (f64::from(*found) - want).abs() <= tolerance;
        assert!(is_near, "{kernel}, row {row}, column {column}: found {found}, wanted {want}");
    }
}

#[test]
fn quantised_rows_are_multiplied_by_columns() {
    let Some(text) = module("quantized") else { return };
    let (rows, depth) = (ROWS as u32, DEPTH as u32);
    for format in &FORMATS {
        for num_columns in 1..=COLUMNS {
            let kernel = format!("mul_mat_vec_{}_q8_1_cuda{num_columns}", format.name);
            check(&text, &kernel, format, (num_columns, &[depth, rows, depth, rows]));
        }
    }
}

#[test]
fn quantised_rows_are_multiplied_by_many_columns() {
    let Some(text) = module("quantized") else { return };
    let (rows, depth) = (ROWS as u32, DEPTH as u32);
    for format in &FORMATS {
        // Of the tiles of rows and columns only a part is there.
        let kernel = format!("mul_mat_{}", format.name);
        check(&text, &kernel, format, (COLUMNS, &[depth, rows, COLUMNS as u32, depth, rows]));
    }
}

#[test]
fn quantised_rows_are_multiplied_by_the_default_kernels() {
    // It is compressed in an object file, from which who asks for it has to take it.
    let Some(text) = module_if_there("mmvq_gguf") else { return };
    let (rows, depth) = (ROWS as u32, DEPTH as u32);
    let stride = depth / COLUMN_BLOCK as u32;
    for format in &FORMATS {
        for num_columns in 1..=COLUMNS {
            let name = format.name.to_lowercase();
            let kernel = format!("mmvq_gguf_{name}_f32_plain_cuda{num_columns}");
            check(&text, &kernel, format, (num_columns, &[depth, rows, stride, rows]));
        }
    }
}

/// Columns of a whole batch; a tile has more, and so has the memory behind them.
const BATCH: usize = 20;
const TILE: usize = 24;
const TILE_ROWS: usize = 128;
/// Elements of a block of a batch, and its bytes.
const BATCH_BLOCK: (usize, usize) = (128, 144);

/// Of a whole number of 64 bits.
fn wide(number: u32) -> Arg {
    U64(number.into())
}

/// Quantises a batch by the kernel for this layout.
fn quantise_batch(text: &str, layout: u32, columns: &[i8], device: &mut Device) -> u64 {
    let values: Vec<f32> = columns.iter().map(|it| f32::from(*it) * UNIT).collect();
    let input = device.place(&values);
    let num_bytes = (BATCH * DEPTH / BATCH_BLOCK.0 + TILE_ROWS) * BATCH_BLOCK.1;
    let right = device.place(&vec![0_u8; num_bytes]);
    let (depth, batch) = (DEPTH as u32, BATCH as u32);
    let args = [
        U64(input),
        U64(0),
        U64(right),
        wide(depth),
        wide(depth),
        U64(0),
        U64(0),
        wide(depth),
        U32(batch),
        U32(1),
    ];
    let kernel = format!("_Z17quantize_mmq_q8_1IL18mmq_q8_1_ds_layout{layout}EEvPKfPKiPvlllllii");
    let grid_size = [batch, depth.div_ceil(512), 1];
    let sizes = Sizes { grid_size, block_size: [128, 1, 1], shared_bytes: 0 };
    run_with(text, &kernel, &sizes, &args, device).unwrap();
    right
}

/// Multiplies whole batches by blocks that share the depth of all tiles, and adds up what several
/// have of one tile.
#[track_caller]
fn check_batch(
    (quantise, text): (&str, &str),
    format: &Format,
    (number, layout): (u32, u32),
    num_blocks: u32,
) {
    let mut runner = TestRunner::deterministic();
    let mut device = Device::default();
    let columns = columns(BATCH, &mut runner);
    let weights = weights(format, &mut runner);
    let right = quantise_batch(quantise, layout, &columns, &mut device);
    let (rows, depth, batch) = (ROWS as u32, DEPTH as u32, BATCH as u32);
    let left = device.place(&weights);
    let out = device.place(&[f32::NAN; ROWS * BATCH]);
    let rest = device.place(&vec![f32::NAN; num_blocks as usize * TILE * TILE_ROWS]);
    let stride = depth / format.block.0 as u32;
    let mut args = vec![U64(left), U64(right), U64(0), U64(0), U64(out), U64(rest)];
    // What is one or nothing is of several products at once.
    let numbers = [depth, rows, batch, stride, batch, rows, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, batch];
    args.extend(numbers.map(U32));
    let of = format!("IL9ggml_type{number}ELi{TILE}ELb1EEv");
    let kernel = format!("_Z9mul_mat_q{of}PKcPKiS4_S4_PfS5_iiiiiiiiiiiiiiiii");
    let (grid_size, block_size) = ([num_blocks, 1, 1], [32, 8, 1]);
    let sizes = Sizes { grid_size, block_size, shared_bytes: 64 << 10 };
    run_with(text, &kernel, &sizes, &args, &mut device).unwrap();
    if num_blocks > 1 {
        let args = [
            U64(0),
            U64(0),
            U64(out),
            U64(rest),
            U32(depth),
            U32(rows),
            U32(batch),
            wide(rows),
            U32(1),
            U64(0),
            U32(1),
            U64(0),
            U32(batch),
        ];
        let kernel = format!("_Z24mul_mat_q_stream_k_fixup{of}PKiS2_PfPKfiiimimimi");
        let sizes = Sizes { grid_size, block_size, shared_bytes: 0 };
        run_with(text, &kernel, &sizes, &args, &mut device).unwrap();
    }
    let found: Vec<f32> = device.values(out, ROWS * BATCH);
    // Scales of the parts of a block of q4_K are rounded to 16 bits.
    let tolerance = if format.name == "q4_K" { 1e-3 } else { 1e-6 };
    compare((&kernel, format), (&weights, &columns), &found, tolerance);
}

#[test]
fn quantised_rows_are_multiplied_by_whole_batches() {
    let Some(quantise) = module_if_there("mmq_quantize") else { return };
    // The numbers that formats have in candle's kernels, and how they want their columns.
    for (format, numbers) in FORMATS.iter().zip([(2, 1), (8, 0), (12, 1), (14, 0)]) {
        let name = format!("mmq_instance_{}", format.name.to_lowercase());
        let Some(text) = module_if_there(&name) else { return };
        for num_blocks in [1, 2] {
            check_batch((&quantise, &text), format, numbers, num_blocks);
        }
    }
}
