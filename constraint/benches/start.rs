//! The time of a request before its first token, and of encoding a mask, over a synthetic
//! vocabulary of 50,000 tokens.
//!
//! `cargo bench -p sluicegate-constraint --bench start`

#![expect(clippy::unwrap_used, reason = "a bench ends where its set-up fails")]

mod synthetic;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};
use sluicegate_constraint::{Cache, CacheLimits, Compiler, EncodedMask, Matcher, Spec};
use synthetic::vocab;

fn small() -> Value {
    json!({
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": false
    })
}

/// About 6 kB of schema.
fn large() -> Value {
    let property = |idx: u32| {
        let schema = json!({"type": "object", "properties": {
            "title": {"type": "string", "maxLength": 80},
            "tags": {"type": "array", "items": {"enum": ["red", "green", "blue"]}},
            "size": {"type": "number", "minimum": 0}}, "required": ["title"]});
        (format!("property_{idx}"), schema)
    };
    let properties: serde_json::Map<String, Value> = (0..30).map(property).collect();
    json!({"type": "object", "properties": properties})
}

fn in_string(cache: &Cache) -> Matcher {
    let mut matcher = cache.get(&Spec::json(small())).unwrap().matcher_on(0);
    for byte in *b"{\"name\": \"A" {
        matcher.advance(byte.into()).unwrap();
    }
    matcher
}

fn start(criterion: &mut Criterion) {
    let cache = Cache::new(Compiler::new(vocab()).unwrap(), CacheLimits::default());
    for (name, schema) in [("small", small()), ("large", large())] {
        let spec = Spec::json(schema);
        criterion.bench_function(&format!("compile {name}"), |bench| {
            bench.iter(|| cache.compiler().compile(black_box(&spec)).unwrap());
        });
        cache.get(&spec).unwrap().matcher_on(0).mask().unwrap();
        criterion.bench_function(&format!("cached and a matcher, {name}"), |bench| {
            bench.iter(|| cache.get(black_box(&spec)).unwrap().matcher_on(0));
        });
        criterion.bench_function(&format!("deep copy, {name}"), |bench| {
            let compiled = cache.get(&spec).unwrap();
            bench.iter(|| compiled.matcher());
        });
    }
    let mut matcher = in_string(&cache);
    let mask = matcher.mask().unwrap();
    let vocab = cache.compiler().vocab();
    let encoded = EncodedMask::new(&mask, vocab);
    criterion.bench_function("encode a string's mask", |bench| {
        bench.iter(|| EncodedMask::new(black_box(&mask), vocab));
    });
    criterion.bench_function("decode it", |bench| {
        bench.iter(|| {
            EncodedMask::decode(black_box(encoded.as_bytes()), vocab.allow_all()).unwrap().len()
        });
    });
    criterion.bench_function("fork", |bench| bench.iter(|| matcher.fork()));
    criterion
        .bench_function("jump-forward, of nothing", |bench| bench.iter(|| matcher.jump_forward()));
}

criterion_group!(benches, start);
criterion_main!(benches);
