mod gather;

use std::num::NonZero;

use candle_core::{DType, Device, Tensor};
use sluicegate_spec::units::Unit;

use super::Heads;
use crate::{
    home::Executor,
    kv_pages::LayerPages,
    step::{RowInput, Step, StepBuilder, StepTables, TableInput},
    threads::Threads,
};

fn values(seed: u32, rows: usize, width: usize) -> Tensor {
    let mut state = seed;
    let values: Vec<f32> = (0..rows * width)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        })
        .collect();
    #[expect(clippy::disallowed_methods, reason = "test input")]
    Tensor::from_vec(values, (rows, width), &Device::Cpu).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "test input")]
fn indices(indices: &[u32]) -> Tensor {
    Tensor::new(indices, &Device::Cpu).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "test output")]
fn numbers(tensor: &Tensor) -> Vec<Vec<f32>> {
    tensor.to_vec2().unwrap()
}

fn heads(window: Option<usize>) -> Heads {
    Heads { num_heads: 6, num_kv_heads: 2, head_dim: 20, scale: 0.3, cap: None, window }
}

fn pages() -> LayerPages {
    pages_of(DType::F32)
}

fn pages_of(dtype: DType) -> LayerPages {
    let values = |seed| values(seed, 96, 40).to_dtype(dtype).unwrap();
    LayerPages { unit: Unit::Layer(0), group_idx: 0, keys: values(1), values: values(2) }
}

/// Rows of new tokens after their past, on pages in no particular order.
fn step(rows: &[Row]) -> Step {
    let mut step = StepBuilder::new(1);
    for Row { num, past, first_position } in rows {
        let pages = &[4, 1, 5, 0, 3][first_position / 16..];
        let row = RowInput { tokens: &vec![0; *num], past: *past, logits: 0..0 };
        step.push(&row, [TableInput { first_position: *first_position, pages }]);
    }
    step.build(|words| Ok(indices(&words))).unwrap()
}

#[derive(Clone, Copy)]
struct Row {
    num: usize,
    past: usize,
    first_position: usize,
}

fn row(num: usize, past: usize, first_position: usize) -> Row {
    Row { num, past, first_position }
}

#[test]
fn the_cpu_kernel_equals_the_gathered_reference() {
    let windows = [None, Some(1), Some(8), Some(100)];
    let types = [DType::F32, DType::F16, DType::BF16];
    for (window, dtype) in windows.iter().flat_map(|it| types.map(|dtype| (*it, dtype))) {
        // So low a cap that most scores are near it.
        let cap = (dtype == DType::F16).then_some(0.1);
        let heads = Heads { cap, ..heads(window) };
        let first = |past: usize| match window {
            Some(window) => (past + 1).saturating_sub(window) / 16 * 16,
            None => 0,
        };
        let step = step(&[row(7, 0, 0), row(1, 50, first(50)), row(21, 33, first(33))]);
        let (queries, pages) = (values(5, 29, 120), pages_of(dtype));
        let want = gather::attend(&heads, &queries, &step, &pages).unwrap();
        for num_threads in [1, 3] {
            let threads = Threads::new(NonZero::new(num_threads).unwrap());
            let executor = Executor { threads, ..Executor::inline() };
            let got = heads.attend(&queries, &step, &pages, &executor).unwrap();
            let pairs = numbers(&got).concat().into_iter().zip(numbers(&want).concat());
            for (got, want) in pairs {
                assert!(
                    (got - want).abs() < 2e-6,
                    "window {window:?}, {dtype:?}: {got} and {want}"
                );
            }
        }
    }
}

#[test]
fn a_token_has_the_same_bits_however_its_prompt_was_cut() {
    for window in [None, Some(8)] {
        let (heads, pages, executor) = (heads(window), pages(), Executor::inline());
        let queries = values(5, 40, 120);
        let attend = |start: usize, num: usize| {
            let queries = queries.narrow(0, start, num).unwrap();
            let step = step(&[row(num, start, 0)]);
            numbers(&heads.attend(&queries, &step, &pages, &executor).unwrap())
        };
        let whole = attend(0, 40);
        let cut = [attend(0, 13), attend(13, 1), attend(14, 26)].concat();
        assert_eq!(whole, cut);
    }
}

#[test]
fn tables_that_do_not_fit_are_errors() {
    let (pages, executor) = (pages(), Executor::inline());
    let queries = values(5, 4, 120);
    let attend =
        |window, step: &Step| heads(window).attend(&queries, step, &pages, &executor).is_ok();
    assert!(attend(None, &step(&[row(4, 10, 0)])));
    // Pages that are still seen have been dropped.
    assert!(!attend(None, &step(&[row(4, 20, 16)])));
    assert!(!attend(Some(8), &step(&[row(4, 20, 16)])));
    assert!(attend(Some(5), &step(&[row(4, 20, 16)])));
    // A row that leaves tokens out.
    assert!(!attend(None, &step(&[row(3, 10, 0)])));
    // A page past the end, a page too few, and pages that are not there.
    let changed = |change: fn(&mut StepTables)| {
        let mut step = step(&[row(4, 14, 0)]);
        change(&mut step.tables[0]);
        step
    };
    assert!(attend(None, &changed(|_| ())));
    assert!(!attend(None, &changed(|tables| tables.pages = indices(&[0, 6]))));
    assert!(!attend(None, &changed(|tables| tables.first_pages = indices(&[0, 1]))));
    assert!(!attend(None, &changed(|tables| tables.first_pages = indices(&[1, 3]))));
    assert!(!attend(None, &changed(|tables| tables.first_pages = indices(&[2, 0]))));
    assert!(!attend(None, &changed(|tables| tables.first_positions = indices(&[0, 0]))));
}
