//! The cache's estimate of its memory against what is really held. One test: the counter is the
//! process's.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use sluicegate_constraint::{Compiled, Compiler, Event, Spec, TokenBytes, Vocab, VocabSource};

/// Counts the bytes of all allocations of the process.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged; only sizes are added up.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A value that a small vocabulary of bytes can write for each schema, and the schema.
fn cases() -> Vec<(&'static str, Spec, String)> {
    let wide: serde_json::Map<String, Value> = (0..300)
        .map(|idx| (format!("property_{idx}"), json!({"type": "string", "maxLength": 40})))
        .collect();
    let levels = (0..20).fold(json!({"type": "integer"}), |inner, level| {
        json!({"type": "object", "properties": {format!("level{level}"): inner},
               "additionalProperties": false})
    });
    let text = format!("{{\"name\":\"{}\",\"age\":7}}", "Anna ".repeat(30));
    let options: Vec<String> = (0..2_000).map(|idx| format!("option number {idx}")).collect();
    vec![
        (
            "small",
            Spec::json(json!({
                "type": "object",
                "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
                "required": ["name", "age"], "additionalProperties": false,
            })),
            text,
        ),
        ("any", Spec::json(json!({})), "{\"a\":[1,2,{\"b\":null}]}".to_string()),
        ("wide", Spec::json(json!({"type": "object", "properties": wide})), "{}".to_string()),
        ("deep", Spec::json(levels), "{}".to_string()),
        ("choice", Spec::Choice(options), "option number 77".to_string()),
        ("regex", Spec::Regex("(?:[a-z]{1,20} ){1,50}x".to_string()), "ab cd x".to_string()),
    ]
}

#[track_caller]
fn compare(name: &str, compiled: &Compiled, before: usize) {
    let held = LIVE.load(Ordering::Relaxed).saturating_sub(before);
    let estimate = compiled.num_bytes();
    let ratio = estimate as f64 / held as f64;
    assert!((0.5..=3.0).contains(&ratio), "{name}: {estimate} estimated, {held} held");
}

#[test]
fn the_estimate_of_a_compiled_specification_is_of_the_right_size() {
    let mut tokens: Vec<_> = (0..=255).map(|byte| TokenBytes::Text(vec![byte])).collect();
    tokens.push(TokenBytes::Special("<eos>".to_string()));
    let vocab = Vocab::new(VocabSource { tokens, eos: vec![256], num_logits: 257 }, None);
    let compiler = Compiler::new(vocab.unwrap().into()).unwrap();
    // What the first compilation allocates once for all.
    drop(compiler.compile(&Spec::json(json!({}))).unwrap());
    for (name, spec, text) in cases() {
        let before = LIVE.load(Ordering::Relaxed);
        let compiled = compiler.compile(&spec).unwrap();
        compare(name, &compiled, before);
        for worker in 0..2 {
            let mut matcher = compiled.matcher_on(worker);
            for byte in text.bytes() {
                matcher.mask().unwrap();
                let event = matcher.advance(byte.into()).unwrap();
                assert!(matches!(event, Event::Running | Event::Finished));
            }
            drop(matcher);
            // The next matcher of the worker sees what its lexer has grown to.
            drop(compiled.matcher_on(worker));
            compare(name, &compiled, before);
        }
    }
}
