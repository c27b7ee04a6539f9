//! The ledger holds what the plan foresees, byte for byte.

use std::time::Duration;

use serde_json::json;
use sluicegate::{
    Engine, Event, Prompt, Request,
    device::LedgerEntry,
    sampler::Method,
    stream::{FinishReason, Usage},
};
use sluicegate_constraint::Spec;
use sluicegate_model::{kv_pages::page_bytes, open::Model};
use sluicegate_placement::{Plan, Traffic, TransferKind};
use sluicegate_spec::{
    config::Architecture,
    device::DeviceId,
    kv::{KvType, PAGE_TOKENS},
    units::LayerRange,
};
use sluicegate_tests::{
    engines::{auto_plan, complete, even_plan, small_schema, smollm2, with_pages},
    tiny::{StoredType, TinyModel},
};

/// Runs one greedy row and says what it moves: the prompt in chunks of about the same size, then
/// what each step added: a token, and those that followed of themselves. What the last
/// step added is not fed back.
fn run(engine: &Engine, plan: &Plan, request: Request) -> Vec<Traffic> {
    let constrained_rows = usize::from(request.constraint != Spec::Text);
    let mut steps = Vec::new();
    let mut ended = None;
    let mut usage = Usage::default();
    for event in engine.submit(request).unwrap() {
        match event.unwrap() {
            Event::Text { tokens, .. } => steps.push(tokens.len()),
            Event::Output(output) => ended = Some(output.finish_reason),
            Event::Finished { usage: total, .. } => usage = total,
        }
    }
    // An end token has no text; of all others the last step's are not fed back.
    if ended != Some(FinishReason::EndToken) {
        steps.pop();
    }
    let num_steps = usage.completion_tokens - usage.jump_forward_tokens - 1;
    let num_fed = match constrained_rows {
        0 => num_steps,
        _ => steps.iter().sum(),
    };
    // Which step brought which token does not matter to the sums: text may come a step late.
    let mut steps = vec![1; num_steps];
    steps[0] += num_fed - num_steps;
    let num_chunks = usage.prompt_tokens.div_ceil(plan.chunk_tokens);
    let mut traffic = vec![Traffic { tokens: 1, constrained_rows: 0 }; num_chunks];
    traffic[0].tokens += usage.prompt_tokens - num_chunks;
    traffic[num_chunks - 1].constrained_rows = constrained_rows;
    traffic.extend(steps.into_iter().map(|tokens| Traffic { tokens, constrained_rows }));
    traffic
}

fn check(model: &Model, prompt: Prompt, num_devices: u32, is_constrained: bool) {
    let plan = auto_plan(model, num_devices);
    let engine = punctual(model, &plan);
    let mut request = Request { max_tokens: 12, ..Request::new(prompt) };
    if is_constrained {
        // ASCII alone, so that each step has text.
        let name = json!({ "type": "string", "pattern": "^[a-z]{0,6}$" });
        let mut schema = small_schema();
        schema["properties"]["name"] = name;
        request = Request { constraint: Spec::json(schema), max_tokens: 160, ..request };
    }
    let traffic = run(&engine, &plan, request);
    let entries = engine.ledger().entries();
    check_hidden_and_masks(&plan, &entries, &traffic);
    check_routes(&entries, num_devices, is_constrained, traffic.len() as u64);
}

/// An engine in which no mask is late, so that there is one message for each microbatch.
fn punctual(model: &Model, plan: &Plan) -> Engine {
    let builder = Engine::builder(model.clone(), plan.clone());
    builder.mask_late(Duration::from_hours(1)).build().unwrap()
}

/// By the plan's arithmetic, and by that of this test.
fn check_hidden_and_masks(plan: &Plan, entries: &[LedgerEntry], traffic: &[Traffic]) {
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
