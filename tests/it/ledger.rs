//! The ledger holds what the plan foresees, byte for byte.

use sluicegate_model::{config::Architecture, open::Model, placed::DeviceId};
use sluicegate_runtime::{
    Prompt, Request,
    device::LedgerEntry,
    placement::{Traffic, TransferKind},
};
use sluicegate_tests::{
    engines::{auto_plan, complete, smollm2, start, with_schema},
    tiny::{StoredType, TinyModel},
};

/// One greedy row: the prompt in chunks, then a token a step. Every sampled token but the last is
/// fed back, and every step but the prompt's first chunks is sampled.
fn traffic(
    prompt_tokens: usize,
    chunk: usize,
    sampled: usize,
    is_constrained: bool,
) -> Vec<Traffic> {
    let mut traffic = Vec::new();
    let constrained_rows = usize::from(is_constrained);
    let mut left = prompt_tokens;
    while left > chunk {
        traffic.push(Traffic { tokens: chunk, constrained_rows: 0 });
        left -= chunk;
    }
    traffic.push(Traffic { tokens: left, constrained_rows });
    traffic.extend((1..sampled).map(|_| Traffic { tokens: 1, constrained_rows }));
    traffic
}

fn check(model: &Model, prompt: Prompt, num_devices: u32, is_constrained: bool) {
    let plan = auto_plan(model, num_devices);
    let engine = start(model, &plan);
    let mut request = Request { max_tokens: 12, ..Request::new(prompt) };
    if is_constrained {
        request = with_schema(request);
    }
    let usage = complete(&engine, &request).usage;
    let traffic =
        traffic(usage.prompt_tokens, plan.chunk_tokens, usage.completion_tokens, is_constrained);
    let entries = engine.ledger().entries();
    check_hidden_and_masks(&plan, &entries, &traffic);
    check_routes(&entries, num_devices, is_constrained, traffic.len() as u64);
}

/// By the plan's arithmetic, and by that of this test.
fn check_hidden_and_masks(
    plan: &sluicegate_runtime::placement::Plan,
    entries: &[LedgerEntry],
    traffic: &[Traffic],
) {
    let find = |kind, source, target| {
        entries
            .iter()
            .find(|entry| (entry.kind, entry.source, entry.target) == (kind, source, target))
    };
    let mut num_found = 0;
    for foreseen in plan.foresee(traffic) {
        let transfer = foreseen.transfer;
        let entry = find(transfer.kind, transfer.source_device, transfer.target_device);
        let got = entry.map_or((0, 0), |entry| (entry.transfers, entry.raw_bytes));
        assert_eq!(got, (foreseen.transfers, foreseen.raw_bytes.0), "{transfer:?}");
        num_found += usize::from(entry.is_some());
        let tokens: usize = traffic.iter().map(|traffic| traffic.tokens).sum();
        let rows: usize = traffic.iter().map(|traffic| traffic.constrained_rows).sum();
        let bytes = match transfer.kind {
            TransferKind::Hidden => tokens * plan.hidden * 4,
            TransferKind::Mask => rows * plan.mask_words * 4,
            _ => continue,
        };
        assert_eq!(got.1, bytes as u64, "{transfer:?}");
    }
    let is_foreseen =
        |entry: &&LedgerEntry| matches!(entry.kind, TransferKind::Hidden | TransferKind::Mask);
    assert_eq!(entries.iter().filter(is_foreseen).count(), num_found, "{entries:?}");
}

/// Orders go through every stage once per microbatch, tokens come from the last alone, and masks go
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
