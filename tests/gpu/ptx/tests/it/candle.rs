//! Kernels that candle brings, against what they are to compute.

use std::{env, error::Error, fs, path::Path};

use half::{bf16, f16};
use sluicegate_ptx::Module;
use sluicegate_slow::skip;

use crate::support::{
    Arg::{F32, F64, U32, U64},
    Device, Sizes, run, run_in, run_with,
};

/// The folder with candle's kernels as PTX, which only a build with CUDA makes.
const FOLDER: &str = "SLUICEGATE_PTX";

/// The text of a module, if it is there.
pub(crate) fn module(name: &str) -> Option<String> {
    let text = module_if_there(name);
    let is_missing = text.is_none() && env::var_os(FOLDER).is_some();
    assert!(!is_missing, "{FOLDER} has no {name}.ptx");
    text
}

/// The text of a module that candle does not bring as text, if somebody made it that.
pub(crate) fn module_if_there(name: &str) -> Option<String> {
    let Some(folder) = env::var_os(FOLDER) else {
        skip(format_args!("needs {FOLDER}, which scripts/cuda-check sets"));
        return None;
    };
    let file = Path::new(&folder).join(format!("{name}.ptx"));
    let text = fs::read_to_string(&file).ok();
    if text.is_none() {
        skip(format_args!("needs {}", file.display()));
    }
    text
}

/// All modules that candle brings as text.
const MODULES: [&str; 11] = [
    "affine",
    "binary",
    "cast",
    "conv",
    "fill",
    "indexing",
    "quantized",
    "reduce",
    "sort",
    "ternary",
    "unary",
];

#[test]
fn all_kernels_can_be_read() {
    for name in MODULES {
        let Some(text) = module(name) else { return };
        let module = Module::parse(&text).unwrap();
        let errors: Vec<String> = module
            .kernels()
            .filter_map(|kernel| module.kernel(kernel).err())
            .map(|error| error.to_string())
            .collect();
        assert_eq!(errors, [""; 0], "{name}");
    }
}

/// Numbers of both signs, none of them round.
fn numbers(count: u16) -> Vec<f32> {
    (0..count).map(|it| (f32::from(it) - f32::from(count) / 2.0) * 0.37 + 0.013).collect()
}

/// Both exact, but for what the device computes approximately.
#[track_caller]
fn check(found: &[f32], want: &[f32]) {
    assert_eq!(found.len(), want.len());
    for (index, (found, want)) in found.iter().zip(want).enumerate() {
        let tolerance = 1e-5 * want.abs() + 1e-6;
        assert!((found - want).abs() <= tolerance, "{index}: found {found}, wanted {want}");
    }
}

#[test]
fn elements_are_computed_contiguous_and_by_strides() {
    let Some(affine) = module("affine") else { return };
    let (mut device, values) = (Device::default(), numbers(300));
    let input = device.place(&values);
    let out = device.place(&vec![0_f32; 300]);
    let args = [U64(300), U64(1), U64(0), U64(input), U64(out), F32(2.5), F32(-1.0)];
    run(&affine, "affine_f32", (2, 256), &args, &mut device).unwrap();
    let want: Vec<f32> = values.iter().map(|it| it.mul_add(2.5, -1.0)).collect();
    check(&device.values(out, 300), &want);

    // The second operand transposed: [12, 25] with strides of 1 and 12.
    let binary = module("binary").unwrap();
    let info = device.place(&[12_u64, 25, 25, 1, 1, 12]);
    let args = [U64(300), U64(2), U64(info), U64(input), U64(input), U64(out)];
    run(&binary, "bmul_f32", (2, 256), &args, &mut device).unwrap();
    let want: Vec<f32> = (0..300).map(|it| values[it] * values[it % 25 * 12 + it / 25]).collect();
    check(&device.values(out, 300), &want);
}

type Function = fn(f32) -> f32;
type Function64 = fn(f64) -> f64;

#[test]
fn functions_of_an_element_are_computed() {
    let Some(unary) = module("unary") else { return };
    let (mut device, values) = (Device::default(), numbers(100));
    let input = device.place(&values);
    let out = device.place(&vec![0_f32; 100]);
    let functions: [(&str, Function); 4] = [
        ("usilu_f32", |it| it / (1.0 + (-it).exp())),
        ("uexp_f32", f32::exp),
        ("ucopy_f32", |it| it),
        ("usqr_f32", |it| it * it),
    ];
    for (name, f) in functions {
        let args = [U64(100), U64(1), U64(0), U64(input), U64(out)];
        run(&unary, name, (1, 128), &args, &mut device).unwrap();
        let want: Vec<f32> = values.iter().map(|it| f(*it)).collect();
        check(&device.values(out, 100), &want);
    }
}

#[test]
fn functions_of_64_bits_call_others_for_what_is_large() {
    let Some(unary) = module("unary") else { return };
    let mut device = Device::default();
    let values: Vec<f64> =
        (0..40).map(|it| 0.37 * 3_f64.powi(it) * [1.0, -1.0][it as usize % 2]).collect();
    let input = device.place(&values);
    let out = device.place(&[0_f64; 40]);
    let functions: [(&str, Function64); 2] = [("usin_f64", f64::sin), ("ucos_f64", f64::cos)];
    for (name, f) in functions {
        let args = [U64(40), U64(1), U64(0), U64(input), U64(out)];
        run(&unary, name, (1, 64), &args, &mut device).unwrap();
        for (found, value) in device.values::<f64>(out, 40).into_iter().zip(&values) {
            let want = f(*value);
            assert!((found - want).abs() < 1e-14, "{name} {value}: found {found}, wanted {want}");
        }
    }
    let args = [U64(40), U64(1), U64(0), F64(1.7), U64(input), U64(out)];
    run(&unary, "upowf_f64", (1, 64), &args, &mut device).unwrap();
    for (found, value) in device.values::<f64>(out, 40).into_iter().zip(&values) {
        let want = value.powf(1.7);
        let is_near = (found - want).abs() <= want.abs() * 1e-14;
        assert!(
            is_near || found.is_nan() && want.is_nan(),
            "{value}: found {found}, wanted {want}"
        );
    }
}

#[test]
fn rows_are_sorted_in_the_memory_that_a_launch_adds() {
    let Some(sort) = module("sort") else { return };
    let (mut device, values) = (Device::default(), numbers(3 * 100));
    // Each row in an order of its own.
    let rows: Vec<f32> = (0..300).map(|it| values[it / 100 * 100 + it * 37 % 100]).collect();
    let input = device.place(&rows);
    let out = device.place(&[0_u32; 300]);
    for (name, is_ascending) in [("asort_asc_f32", true), ("asort_desc_f32", false)] {
        let args = [U64(input), U64(out), U32(100), U32(128)];
        let (grid_size, block_size) = ([3, 1, 1], [128, 1, 1]);
        let sizes = Sizes { grid_size, block_size, shared_bytes: 128 * 4 };
        run_with(&sort, name, &sizes, &args, &mut device).unwrap();
        let found: Vec<u32> = device.values(out, 300);
        for (row, order) in rows.chunks_exact(100).zip(found.chunks_exact(100)) {
            let mut want: Vec<u32> = (0..100).collect();
            want.sort_by(|a, b| row[*a as usize].total_cmp(&row[*b as usize]));
            if !is_ascending {
                want.reverse();
            }
            assert_eq!(order, want, "{name}");
        }
    }
}

#[test]
fn narrow_floats_are_what_the_host_makes_of_them() {
    let Some(cast) = module("cast") else { return };
    let (mut device, values) = (Device::default(), numbers(70));
    let input = device.place(&values);
    let out = device.place(&[0_u16; 70]);
    let args = [U64(70), U64(1), U64(0), U64(input), U64(out)];
    run(&cast, "cast_f32_f16", (1, 96), &args, &mut device).unwrap();
    let want: Vec<u16> = values.iter().map(|it| f16::from_f32(*it).to_bits()).collect();
    assert_eq!(device.values::<u16>(out, 70), want);
    run(&cast, "cast_f32_bf16", (1, 96), &args, &mut device).unwrap();
    let want: Vec<u16> = values.iter().map(|it| bf16::from_f32(*it).to_bits()).collect();
    assert_eq!(device.values::<u16>(out, 70), want);
}

#[test]
fn rows_are_normalised_by_whole_blocks() {
    let Some(reduce) = module("reduce") else { return };
    let (mut device, values) = (Device::default(), numbers(3 * 100));
    let weights: Vec<f32> = (0..100_u16).map(|it| 1.0 + f32::from(it) / 50.0).collect();
    let [input, out, scale] =
        [device.place(&values), device.place(&vec![0_f32; 300]), device.place(&weights)];
    // As many as candle launches. With others, warps read sums that nobody wrote.
    for threads in [32, 1024] {
        let args = [U64(input), U64(out), U64(scale), U32(100), U32(threads), F32(1e-5)];
        run(&reduce, "rmsnorm_f32", (3, threads), &args, &mut device).unwrap();
        let normalised = values.chunks_exact(100).flat_map(|row| {
            let mean = row.iter().map(|it| it * it).sum::<f32>() / 100.0;
            let by = 1.0 / (mean + 1e-5).sqrt();
            row.iter().zip(&weights).map(move |(it, weight)| it * by * weight)
        });
        check(&device.values(out, 300), &normalised.collect::<Vec<f32>>());
    }
    let args = [U64(input), U64(out), U32(100)];
    run_in(&reduce, "softmax_f32", (3, [1, 32, 1]), &args, &mut device).unwrap();
    let softmax = values.chunks_exact(100).flat_map(|row| {
        let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f32 = row.iter().map(|it| (it - most).exp()).sum();
        row.iter().map(move |it| (it - most).exp() / sum)
    });
    check(&device.values(out, 300), &softmax.collect::<Vec<f32>>());
}

#[test]
fn rows_are_selected_and_an_index_out_of_range_stops_the_kernel() {
    let Some(indexing) = module("indexing") else { return };
    let (mut device, values) = (Device::default(), numbers(40));
    let input = device.place(&values);
    let out = device.place(&[0_f32; 24]);
    let mut select = |ids: [u32; 3]| {
        let [info, ids] = [device.place(&[3_u64, 1]), device.place(&ids)];
        // Three rows of eight, out of five.
        let args = [
            U64(24),
            U64(1),
            U64(info),
            U64(ids),
            U64(input),
            U64(out),
            U64(1),
            U64(5),
            U64(3),
            U64(8),
        ];
        let outcome = run(&indexing, "is_u32_f32", (1, 32), &args, &mut device);
        outcome.map(|()| device.values::<f32>(out, 24))
    };
    let want: Vec<f32> = [4, 0, 2].iter().flat_map(|row| values[row * 8..][..8].to_vec()).collect();
    check(&select([4, 0, 2]).unwrap(), &want);
    let error = select([4, 5, 2]).unwrap_err();
    let found = error.source().map(ToString::to_string).unwrap_or_default();
    // Its line changes with candle.
    let wanted = "it called `__assertfail`: `ids[id_i] < src_dim_size` is not so, src/indexing.cu:";
    assert!(found.starts_with(wanted), "{found}");
}
