//! The mask workers within an engine: as many as one likes, the same output, coded masks.

use std::{num::NonZero, time::Duration};

use serde_json::json;
use sluicegate::{Completion, Engine, Prompt, Request, device::LedgerEntry};
use sluicegate_constraint::{CacheLimits, Spec};
use sluicegate_model::{chat::Message, open::Model};
use sluicegate_placement::TransferKind;
use sluicegate_spec::config::Architecture;
use sluicegate_tests::{
    engines::{
        auto_plan, complete, even_plan, samplers, small_schema, smollm2, start, with_schema,
    },
    tiny::{StoredType, TinyModel},
};

fn prompts() -> Vec<Prompt> {
    let prompt = |start: u32| Prompt::Tokens((0..9).map(|i| (start + 7 * i) % 256).collect());
    (0..5).map(|idx| prompt(31 * idx + 1)).collect()
}

#[test]
fn any_number_of_workers_gives_the_same_outputs() {
    let files = TinyModel::new(Architecture::Llama).directory(StoredType::F32);
    let model = Model::open(&files.files).unwrap();
    let plan = auto_plan(&model, 2);
    let run = |num_workers| {
        let engine = Engine::builder(model.clone(), plan.clone())
            .mask_workers(NonZero::new(num_workers).unwrap())
            .constraint_cache(CacheLimits { max_bytes: 1 << 20, ..CacheLimits::default() })
            .build()
            .unwrap();
        let completions = samplers().map(|(_, request)| {
            let request = Request { prompts: prompts(), ..with_schema(request) };
            complete(&engine, &request)
        });
        let stats = engine.constraint_cache();
        assert_eq!((stats.misses, stats.hits), (1, 2), "one schema for all of them");
        completions.map(|Completion { outputs, usage, .. }| (outputs, usage))
    };
    let one = run(1);
    assert!(one.iter().all(|(_, usage)| usage.vetoed_tokens == 0));
    // Beams take tokens one by one.
    let jumps_forward = one.each_ref().map(|(_, usage)| usage.jump_forward_tokens > 0);
    assert_eq!(jumps_forward, [true, true, false]);
    assert_eq!(run(2), one);
    assert_eq!(run(5), one);
}

fn mask_entry(engine: &Engine) -> LedgerEntry {
    let is_mask = |entry: &LedgerEntry| entry.kind == TransferKind::Mask;
    engine.ledger().entries().into_iter().find(is_mask).unwrap()
}

#[test]
fn equal_masks_of_a_microbatch_are_sent_once() {
    let files = TinyModel::new(Architecture::Llama).directory(StoredType::F32);
    let model = Model::open(&files.files).unwrap();
    let builder = Engine::builder(model.clone(), auto_plan(&model, 2));
    // Where one is late, the others are sent before.
    let engine = builder.mask_late(Duration::from_hours(1)).build().unwrap();
    let prompt = prompts().remove(0);
    let request = Request { prompts: vec![prompt; 4], samples: 2, ..samplers()[0].1.clone() };
    complete(&engine, &with_schema(request));
    let counts = engine.ledger().masks();
    assert!(counts.same > 0, "{counts}");
    let LedgerEntry { bytes, raw_bytes, .. } = mask_entry(&engine);
    assert!(bytes < raw_bytes, "{bytes} of {raw_bytes}");
    let table = engine.ledger().to_string();
    assert!(table.ends_with(&format!("{counts}\n")), "{table}");
}

#[test]
fn masks_of_real_json_take_half_of_their_bits_at_most() {
    let model = smollm2();
    let engine = start(&model, &even_plan(&model, 1));
    let schema = json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 30},
            "description": {"type": "string", "maxLength": 120},
            "age": {"type": "integer"},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 12}, "maxItems": 4}
        },
        "required": ["name", "description", "age", "tags"],
        "additionalProperties": false
    });
    let message = Message::new("user", "Describe a wizard as JSON.");
    let request = Request {
        constraint: Spec::json(schema),
        max_tokens: 120,
        ..Request::new(Prompt::Chat(vec![message]))
    };
    let completion = complete(&engine, &request);
    let LedgerEntry { bytes, raw_bytes, .. } = mask_entry(&engine);
    let counts = engine.ledger().masks();
    assert_eq!(raw_bytes, counts.num_masks() * 49_152 / 8);
    assert!(2 * bytes <= raw_bytes, "{bytes} of {raw_bytes}; {counts}");
    assert_eq!(counts.jump_forward_tokens, completion.usage.jump_forward_tokens as u64);
    assert!(counts.jump_forward_tokens > 0, "{counts}");
    let wait = completion.timings.mask_wait;
    assert!(wait.p50 <= wait.p99 && wait.p99 <= wait.total);
}

#[test]
fn a_cancelled_request_leaves_the_workers_to_the_others() {
    let files = TinyModel::new(Architecture::Llama).directory(StoredType::F32);
    let model = Model::open(&files.files).unwrap();
    let engine = start(&model, &auto_plan(&model, 2));
    let request = Request { prompts: prompts(), ..with_schema(samplers()[1].1.clone()) };
    let want = complete(&engine, &request).outputs;
    let schema = json!({"type": "array", "items": small_schema()});
    let long = Request { constraint: Spec::json(schema), max_tokens: 400, ..request.clone() };
    for _ in 0..3 {
        let mut cancelled = engine.submit(long.clone()).unwrap();
        let other = engine.submit(request.clone()).unwrap();
        assert!(cancelled.next().is_some_and(|event| event.is_ok()));
        drop(cancelled);
        assert_eq!(other.wait().unwrap().outputs, want);
    }
}
