use std::num::NonZero;

use candle_core::{DType, Device, Tensor};
use sluicegate_spec::units::Unit;

use super::{Heads, gather};
use crate::{
    kv_pages::LayerPages,
    step::{StepRow, StepTable},
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
fn slots(slots: &[u32]) -> Tensor {
    Tensor::new(slots, &Device::Cpu).unwrap()
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

/// A row of `num` new tokens after `past`, on pages in no particular order.
fn row(start: usize, num: usize, past: usize, first_position: usize) -> StepRow {
    let order = [4_u32, 1, 5, 0, 3];
    let slot = |position: usize| order[position / 16] * 16 + (position % 16) as u32;
    let read: Vec<u32> = (first_position..past + num).map(slot).collect();
    let table = StepTable { first_position, read_slots: slots(&read) };
    StepRow { span: start..start + num, past, tables: vec![table] }
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
        let rows = [row(0, 7, 0, 0), row(7, 1, 50, first(50)), row(8, 21, 33, first(33))];
        let (queries, pages) = (values(5, 29, 120), pages_of(dtype));
        let want = gather::attend(&heads, &queries, &rows, &pages).unwrap();
        for num_threads in [1, 3] {
            let threads = Threads::new(NonZero::new(num_threads).unwrap());
            let got = heads.attend(&queries, &rows, &pages, &threads).unwrap();
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
        let (heads, pages, threads) = (heads(window), pages(), Threads::inline());
        let queries = values(5, 40, 120);
        let attend = |start: usize, num: usize| {
            let queries = queries.narrow(0, start, num).unwrap();
            numbers(&heads.attend(&queries, &[row(0, num, start, 0)], &pages, &threads).unwrap())
        };
        let whole = attend(0, 40);
        let cut = [attend(0, 13), attend(13, 1), attend(14, 26)].concat();
        assert_eq!(whole, cut);
    }
}

#[test]
fn tables_that_do_not_fit_are_errors() {
    let (pages, threads) = (pages(), Threads::inline());
    let queries = values(5, 4, 120);
    let attend = |window, row| heads(window).attend(&queries, &[row], &pages, &threads);
    assert!(attend(None, row(0, 4, 10, 0)).is_ok());
    // Pages that are still seen have been dropped.
    assert!(attend(None, row(0, 4, 20, 16)).is_err());
    assert!(attend(Some(8), row(0, 4, 20, 16)).is_err());
    assert!(attend(Some(5), row(0, 4, 20, 16)).is_ok());
    // A row that leaves tokens out.
    assert!(attend(None, row(0, 3, 10, 0)).is_err());
    // A slot past the end, and one slot too few.
    let mut outside = row(0, 4, 0, 0);
    outside.tables[0].read_slots = slots(&[0, 1, 2, 96]);
    assert!(attend(None, outside).is_err());
    let mut short = row(0, 4, 0, 0);
    short.tables[0].read_slots = slots(&[0, 1, 2]);
    assert!(attend(None, short).is_err());
    assert_eq!(queries.dtype(), DType::F32);
}
