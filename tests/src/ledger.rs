//! The ledger of a run against what its plan foresees.

use std::time::Duration;

use serde_json::json;
use sluicegate::{
    Engine, Event, Prompt, Request,
    device::LedgerEntry,
    stream::{FinishReason, Usage},
};
use sluicegate_constraint::Spec;
use sluicegate_model::open::Model;
use sluicegate_placement::{Plan, Traffic, TransferKind};

use crate::engines::small_schema;

/// Runs one greedy row, with or without a schema, and compares what moved with the plan's arithmetic
/// and with that of this test. Returns the ledger, and the traffic of each microbatch.
///
/// # Panics
/// Where they differ.
pub fn check_against_plan(
    model: &Model,
    plan: &Plan,
    prompt: Prompt,
    is_constrained: bool,
) -> (Vec<LedgerEntry>, Vec<Traffic>) {
    let engine = punctual(model, plan);
    let mut request = Request { max_tokens: 12, ..Request::new(prompt) };
    if is_constrained {
        // ASCII alone, so that each step has text.
        let name = json!({ "type": "string", "pattern": "^[a-z]{0,6}$" });
        let mut schema = small_schema();
        schema["properties"]["name"] = name;
        request = Request { constraint: Spec::json(schema), max_tokens: 160, ..request };
    }
    let traffic = run(&engine, plan, request);
    let entries = engine.ledger().entries();
    check_hidden_and_masks(plan, &entries, &traffic);
    (entries, traffic)
}

/// An engine in which no mask is late, so that there is one message for each microbatch.
///
/// # Panics
/// Where it does not start.
pub fn punctual(model: &Model, plan: &Plan) -> Engine {
    let builder = Engine::builder(model.clone(), plan.clone());
    builder.mask_late(Duration::from_hours(1)).build().expect("an engine starts")
}

/// Runs one greedy row and says what it moves: the prompt in chunks of about the same size, then
/// what each step added: a token, and those that followed of themselves. What the last
/// step added is not fed back.
fn run(engine: &Engine, plan: &Plan, request: Request) -> Vec<Traffic> {
    let constrained_rows = usize::from(request.constraint != Spec::Text);
    let mut steps = Vec::new();
    let mut ended = None;
    let mut usage = Usage::default();
    for event in engine.submit(request).expect("a request is taken") {
        match event.expect("a run without errors") {
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
