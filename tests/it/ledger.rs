//! The ledger holds what the plan foresees, byte for byte.

use sluicegate::{Prompt, Request, device::LedgerEntry, sampler::Method};
use sluicegate_model::{kv_pages::page_bytes, open::Model};
use sluicegate_placement::TransferKind;
use sluicegate_spec::{
    config::Architecture,
    device::DeviceId,
    kv::{KvType, PAGE_TOKENS},
    units::LayerRange,
};
use sluicegate_tests::{
    engines::{auto_plan, complete, even_plan, smollm2, with_pages},
    ledger::{check_against_plan, punctual},
    tiny::{StoredType, TinyModel},
};

fn check(model: &Model, prompt: Prompt, num_devices: u32, is_constrained: bool) {
    let plan = auto_plan(model, num_devices);
    let (entries, traffic) = check_against_plan(model, &plan, prompt, is_constrained);
    check_routes(&entries, num_devices, is_constrained, traffic.len() as u64);
}

/// Each stage uploads its part of every microbatch, tokens come from the last alone, and masks go
/// to the last alone.
fn check_routes(
    entries: &[LedgerEntry],
    num_devices: u32,
    is_constrained: bool,
    num_microbatches: u64,
) {
    let last = DeviceId::Cpu(num_devices - 1);
    for entry in entries {
        match entry.kind {
            TransferKind::Order => assert_eq!(entry.transfers, num_microbatches),
            TransferKind::Tokens => {
                assert_eq!((entry.source, entry.target), (last, DeviceId::Host));
                assert_eq!(entry.transfers, num_microbatches);
            }
            TransferKind::Mask => {
                assert!(is_constrained);
                assert_eq!((entry.source, entry.target), (DeviceId::Host, last));
            }
            TransferKind::Ancestors => panic!("one row has no ancestors: {entry:?}"),
            TransferKind::Hidden => {}
        }
    }
    let num_orders = entries.iter().filter(|entry| entry.kind == TransferKind::Order).count();
    assert_eq!(num_orders, num_devices as usize);
}

#[test]
fn a_run_moves_exactly_what_the_plan_foresees() {
    let files = TinyModel::new(Architecture::Gemma3).directory(StoredType::F32);
    let model = Model::open(&files.files).unwrap();
    for num_devices in [1, 2, 3] {
        for is_constrained in [false, true] {
            // Three chunks of 24 tokens, the last one short.
            let prompt = Prompt::Tokens((0..60).map(|i| (5 * i + 1) % 256).collect());
            check(&model, prompt, num_devices, is_constrained);
        }
    }
}

#[test]
fn a_run_of_smollm2_moves_exactly_what_the_plan_foresees() {
    check(&smollm2(), Prompt::Text("Once upon a time".to_owned()), 3, true);
}

/// What other systems do for beams: gather the whole cache anew, a read and a write of each number.
/// Here ancestors cross, and a row copies the last page that it shares.
#[test]
fn beams_of_a_long_text_move_a_fiftieth_of_an_index_select() {
    const HISTORY: usize = 2_000;
    const WIDTH: usize = 4;
    const STEPS: usize = 40;
    let model = TinyModel::new(Architecture::Llama).with("max_position_embeddings", 4_096);
    let files = model.directory(StoredType::F32);
    let model = Model::open(&files.files).unwrap();
    let plan = with_pages(&even_plan(&model, 2), WIDTH * 130);
    let engine = punctual(&model, &plan);
    let prompt = Prompt::Tokens((0..HISTORY as u32).map(|i| (5 * i + 1) % 256).collect());
    let request = Request { max_tokens: STEPS, ignore_eos: true, ..Request::new(prompt) };
    let request = Request { method: Method::Beam { width: WIDTH }, ..request };
    complete(&engine, &request);
    let entries = engine.ledger().entries();
    let ancestors = entries.iter().filter(|entry| entry.kind == TransferKind::Ancestors);
    let crossed: u64 = ancestors.map(|entry| entry.bytes).sum();
    let copied_pages = engine.metrics().scheduler.copied_pages;
    assert!(crossed > 0 && copied_pages > 0);
    let layers = LayerRange { start: 0, end: model.config.num_layers };
    let page = page_bytes(&model.config, layers, KvType::F32)[0].0;
    let moved = crossed + 2 * copied_pages * page;
    let per_step = 2 * (WIDTH * HISTORY / PAGE_TOKENS) as u64 * page;
    let index_select = STEPS as u64 * per_step;
    let found = format!("{crossed} B crossed, {copied_pages} pages copied: {moved} B");
    assert!(50 * moved <= index_select, "{found} of {index_select}");
}
