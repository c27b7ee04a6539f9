//! What holds for shards whatever the model: cuts, batches, memory, and values away from home.

use std::num::NonZero;

use candle_core::{Device, quantized::GgmlDType};
use sluicegate_model::{
    error::{ForwardError, LoadError},
    kv_pages::page_bytes,
    shard::{Shard, ShardBytes, ShardOutput},
    step::{Ancestors, Hidden, PageCopies},
    threads::Threads,
};
use sluicegate_spec::{
    config::Architecture,
    device::DeviceId,
    kv::KvType,
    placed::Placed,
    units::{Bytes, LayerRange, Unit, UnitRange},
};
use sluicegate_tests::{
    steps::{PAGES_PER_SEQUENCE, Pipe, RowInput, home, ids, step},
    tiny::{StoredType, TINY_LAYERS, TinyFiles, TinyModel},
};

use super::compare::{open, tokens};

const FAMILIES: [Architecture; 5] = [
    Architecture::Llama,
    Architecture::Mistral,
    Architecture::Qwen2,
    Architecture::Qwen3,
    Architecture::Gemma3,
];

fn row(sequence: usize, past: usize, tokens: &[u32]) -> RowInput<'_> {
    RowInput { sequence, past, tokens, logits: tokens.len() - 1..tokens.len() }
}

fn threads(count: usize) -> Threads {
    Threads::new(NonZero::new(count).unwrap())
}

/// Logits of the same 40 tokens under many cuts, chunks, neighbours and threads have equal bits.
#[track_caller]
fn check_bits(files: &TinyFiles) {
    let (weights, config) = open(&files.files);
    let tokens = tokens(40);
    let new = |cuts: &[usize], num: usize, count: usize| {
        Pipe::new(&weights, &config, cuts, num, &threads(count))
    };
    let mut single = new(&[], 1, 1);
    let want: Vec<Vec<f32>> =
        (0..40).map(|at| single.forward(&[row(0, at, &tokens[at..=at])]).remove(0)).collect();
    let every =
        |num: usize| RowInput { sequence: 0, past: 0, tokens: &tokens[..num], logits: 0..num };
    for (cuts, count) in [(&[][..], 1), (&[1], 2), (&[1, 8], 1), (&[3, 4, 5, 6], 3)] {
        assert!(new(cuts, 1, count).forward(&[every(40)]) == want, "one prompt, cut at {cuts:?}");
        let mut pipe = new(cuts, 3, count);
        let chunk = RowInput { logits: 0..13, ..every(13) };
        let others = [row(1, 0, &tokens[5..9]), chunk, row(2, 0, &tokens[20..37])];
        assert!(pipe.forward(&others)[1..14] == want[..13], "first chunk, cut at {cuts:?}");
        let rows =
            [row(2, 17, &tokens[3..4]), row(0, 13, &tokens[13..39]), row(1, 4, &tokens[1..2])];
        assert!(pipe.forward(&rows)[1] == want[38], "second chunk, cut at {cuts:?}");
        let rows = [row(0, 39, &tokens[39..]), row(1, 5, &tokens[2..4])];
        assert!(pipe.forward(&rows)[0] == want[39], "decode, cut at {cuts:?}");
    }
}

#[test]
fn logits_have_the_same_bits_whatever_the_cuts_chunks_neighbours_and_threads() {
    for family in FAMILIES {
        check_bits(&TinyModel::new(family).directory(StoredType::F32));
    }
    check_bits(&TinyModel::new(Architecture::Gemma3).directory(StoredType::BF16));
    let kinds = [GgmlDType::Q4_1, GgmlDType::Q4K, GgmlDType::Q6K, GgmlDType::F16];
    let model = TinyModel::new(Architecture::Mistral).wide();
    check_bits(&model.gguf_with(|name| kinds[name.len() % kinds.len()]));
}

#[test]
fn a_step_without_logit_rows_gives_none() {
    let files = TinyModel::new(Architecture::Llama).directory(StoredType::F32);
    let (weights, config) = open(&files.files);
    let mut pipe = Pipe::new(&weights, &config, &[4], 1, &Threads::inline());
    let tokens = tokens(5);
    let rows = [RowInput { sequence: 0, past: 0, tokens: &tokens, logits: 0..0 }];
    assert!(pipe.forward(&rows).is_empty());
}

#[test]
fn a_shard_holds_its_own_units_and_counts_their_bytes() {
    let hidden = 64;
    let embedding = 320 * hidden * 4;
    let layer = {
        let matrices = 64 * hidden + 2 * 32 * hidden + hidden * 64 + 3 * 128 * hidden;
        let gemma_norms = 4 * hidden + 2 * 16;
        (matrices + gemma_norms) * 4
    };
    let files = TinyModel::new(Architecture::Gemma3).directory(StoredType::F32);
    let (weights, config) = open(&files.files);
    let bytes = |start: usize, end: usize| {
        let units = UnitRange { start, end };
        let home = home(0, Threads::inline());
        Shard::load(&weights, &config, units, home, &[3, 5]).unwrap().bytes()
    };
    // Layers 2 and 5 see everything: 3 pages; the others a window: 5 pages.
    let page = 2 * 16 * 32 * 4;
    let check = |got: ShardBytes, weights: usize, pages: usize| {
        let want = ShardBytes { weights: Bytes(weights as u64), kv: Bytes((pages * page) as u64) };
        assert_eq!(got, want);
    };
    check(bytes(0, 1), embedding, 0);
    check(bytes(1, 4), 3 * layer, 2 * 5 + 3);
    // A head alone has a copy of the embedding that it is tied to; with it, they share one.
    check(bytes(8, 9), embedding + hidden * 4, 0);
    check(bytes(0, 9), embedding + 7 * layer + hidden * 4, 5 * 5 + 2 * 3);
    let range = LayerRange { start: 1, end: 4 };
    let want = [Bytes(page as u64), Bytes(2 * page as u64)];
    assert_eq!(page_bytes(&config, range, KvType::F32), want);
}

#[test]
fn units_and_pages_that_the_model_has_not_are_refused() {
    let files = TinyModel::new(Architecture::Llama).directory(StoredType::F32);
    let (weights, config) = open(&files.files);
    let load = |start, end, pages: &[usize]| {
        let units = UnitRange { start, end };
        Shard::load(&weights, &config, units, home(0, Threads::inline()), pages).map(|_| ())
    };
    assert!(matches!(load(0, 10, &[4]), Err(LoadError::Units { num_units: 9, .. })));
    assert!(matches!(load(3, 3, &[4]), Err(LoadError::Units { .. })));
    assert!(matches!(load(0, 9, &[4, 4]), Err(LoadError::Groups { wanted: 1, found: 2 })));
    assert!(load(0, 9, &[4]).is_ok());
}

fn shard(files: &TinyFiles, start: usize, end: usize) -> Shard {
    let (weights, config) = open(&files.files);
    let pages = vec![2 * PAGES_PER_SEQUENCE; config.kv_groups().len()];
    let home = home(1, Threads::inline());
    Shard::load(&weights, &config, UnitRange { start, end }, home, &pages).unwrap()
}

#[test]
fn a_value_away_from_home_is_refused_where_it_is_read() {
    let files = TinyModel::new(Architecture::Mistral).directory(StoredType::F32);
    let (_, config) = open(&files.files);
    let tokens = tokens(3);
    let step = step(&config, &[row(0, 0, &tokens)]);
    let (host, here, away) = (DeviceId::Host, DeviceId::Cpu(1), DeviceId::Cpu(0));
    let hidden = || {
        Hidden(candle_core::Tensor::ones((3, 64), candle_core::DType::F32, &Device::Cpu).unwrap())
    };
    let check = |error: ForwardError, want: &str| assert_eq!(error.to_string(), want);
    let mut first = shard(&files, 0, 4);
    check(
        first.forward(Placed::new(&step, host), None).unwrap_err(),
        "index_select in embed: `order` is on host but `embedding` is on cpu:1; \
         missing transfer: order host -> cpu:1",
    );
    let mut middle = shard(&files, 4, 6);
    check(
        middle.forward(Placed::new(&step, here), Some(Placed::new(hidden(), away))).unwrap_err(),
        "rms_norm in layer 3: `hidden` is on cpu:0 but `norm weight` is on cpu:1; \
         missing transfer: hidden cpu:0 -> cpu:1",
    );
    check(
        middle.forward(Placed::new(&step, away), Some(Placed::new(hidden(), here))).unwrap_err(),
        "rope in layer 3: `order` is on cpu:0 but `hidden` is on cpu:1; \
         missing transfer: order cpu:0 -> cpu:1",
    );
    let mut last = shard(&files, 8, 9);
    check(
        last.forward(Placed::new(&step, here), Some(Placed::new(hidden(), away))).unwrap_err(),
        "rms_norm in norm+head: `hidden` is on cpu:0 but `norm weight` is on cpu:1; \
         missing transfer: hidden cpu:0 -> cpu:1",
    );
    check(
        middle.reorder(&Placed::new(ancestors(1, &[0], &[]), away)).unwrap_err(),
        "index_select in layer 3: `ancestors` is on cpu:0 but `kv pages` is on cpu:1; \
         missing transfer: ancestors cpu:0 -> cpu:1",
    );
    check(
        first.forward(Placed::new(&step, here), Some(Placed::new(hidden(), here))).unwrap_err(),
        "embed got hidden values, wanted none",
    );
    check(
        middle.forward(Placed::new(&step, here), None).unwrap_err(),
        "layer 3 got no hidden values",
    );
}

/// Ancestors of two earlier rows, whose tail pages are the first of each sequence.
fn ancestors(epoch: u64, parents: &[u32], copies: &[(u32, u32)]) -> Ancestors {
    let page = |sequence: usize| ((sequence + 1) * PAGES_PER_SEQUENCE - 1) as u32;
    let (rows, targets): (Vec<u32>, Vec<u32>) = copies.iter().copied().unzip();
    Ancestors {
        epoch,
        parents: ids(parents),
        copies: vec![(!copies.is_empty()).then(|| PageCopies {
            tail_pages: ids(&[page(0), page(1)]),
            rows: ids(&rows),
            target_pages: ids(&targets),
        })],
    }
}

#[test]
fn a_skipped_or_repeated_epoch_is_refused_everywhere() {
    let files = TinyModel::new(Architecture::Llama).directory(StoredType::F32);
    for (start, end) in [(0, 1), (0, 4), (4, 9), (8, 9)] {
        let mut shard = shard(&files, start, end);
        let mut reorder =
            |epoch| shard.reorder(&Placed::new(ancestors(epoch, &[0, 1], &[]), DeviceId::Cpu(1)));
        assert!(matches!(reorder(2), Err(ForwardError::Epoch { wanted: 1, found: 2 })));
        reorder(1).unwrap();
        assert!(matches!(reorder(1), Err(ForwardError::Epoch { wanted: 2, found: 1 })));
        assert!(matches!(reorder(3), Err(ForwardError::Epoch { wanted: 2, found: 3 })));
        reorder(2).unwrap();
    }
}

#[test]
fn rows_go_on_from_their_ancestors() {
    let files = TinyModel::new(Architecture::Qwen3).directory(StoredType::F32);
    let (weights, config) = open(&files.files);
    let tokens = tokens(9);
    let (left, right) = (&tokens[..5], &tokens[4..9]);
    let mut want = Pipe::new(&weights, &config, &[], 2, &Threads::inline());
    want.forward(&[row(0, 0, left), row(1, 0, right)]);
    let want = want.forward(&[row(0, 5, &[70]), row(1, 5, &[71])]);
    // Both rows swap their sequences' pages: row 0 goes on from row 1 and the other way round.
    let mut pipe = Pipe::new(&weights, &config, &[3, 6], 2, &Threads::inline());
    pipe.forward(&[row(0, 0, left), row(1, 0, right)]);
    let page = |sequence: usize| ((sequence + 1) * PAGES_PER_SEQUENCE - 1) as u32;
    let swap = ancestors(1, &[1, 0], &[(0, page(0)), (1, page(1))]);
    for (index, shard) in (0..).zip(pipe.shards()) {
        shard.reorder(&Placed::new(swap.clone(), DeviceId::Cpu(index))).unwrap();
    }
    let got = pipe.forward(&[row(0, 5, &[71]), row(1, 5, &[70])]);
    assert!(got[0] == want[1] && got[1] == want[0]);
    assert_eq!(config.num_layers, TINY_LAYERS);
}

#[test]
fn pages_out_of_range_are_errors() {
    let files = TinyModel::new(Architecture::Llama).directory(StoredType::F32);
    let mut shard = shard(&files, 0, 9);
    let here = DeviceId::Cpu(1);
    let far = ancestors(1, &[0, 1], &[(0, 1000)]);
    let error = shard.reorder(&Placed::new(far, here)).unwrap_err();
    assert!(matches!(error, ForwardError::Tensor { unit: Unit::Layer(0), .. }), "{error}");
    let (_, config) = open(&files.files);
    let tokens = tokens(3);
    let mut step = step(&config, &[row(0, 0, &tokens)]);
    step.tables[0].write_slots = ids(&[0, 1, 9999]);
    let error = shard.forward(Placed::new(&step, here), None).unwrap_err();
    assert!(matches!(error, ForwardError::Tensor { unit: Unit::Layer(0), .. }), "{error}");
    step.tokens = ids(&[1, 2, 320]);
    let error = shard.forward(Placed::new(&step, here), None).unwrap_err();
    assert!(matches!(error, ForwardError::Tensor { unit: Unit::Embed, .. }), "{error}");
    step.tokens = ids(&[1, 2]);
    let error = shard.forward(Placed::new(&step, here), None).unwrap_err();
    assert!(matches!(error, ForwardError::Shape { value: "positions", .. }), "{error}");
    assert!(!matches!(shard.forward(Placed::new(&step, here), None), Ok(ShardOutput::Hidden(_))));
}
