//! What a request costs before its first token, and what a mask costs on its way: over a synthetic
//! vocabulary of 50,000 tokens.
//!
//! `cargo bench -p sluicegate-constraint --bench start`

#![expect(clippy::unwrap_used, reason = "a bench ends where its set-up fails")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};
use sluicegate_constraint::{
    Cache, CacheLimits, CodedMask, Compiler, Encode, Matcher, Spec, TokenBytes, TokenId, Vocab,
    VocabSource,
};

const NUM_TOKENS: u32 = 50_000;

/// One byte a token: any canonical tokenisation does.
struct Bytes;

impl Encode for Bytes {
    fn encode(&self, text: &[u8]) -> Vec<TokenId> {
        text.iter().copied().map(TokenId::from).collect()
    }
}

/// All bytes, then words of 2 to 9 letters, some with a space or a quote.
fn vocab() -> Arc<Vocab> {
    let word = |token: u32| {
        let mut seed = u64::from(token) * 0x9E37_79B9_7F4A_7C15;
        let mut next = |bound: u64| {
            seed ^= seed >> 31;
            seed = seed.wrapping_mul(0xBF58_476D_1CE4_E5B9);
            (seed >> 33) % bound
        };
        let mut word: Vec<u8> = if next(2) == 0 { vec![b' '] } else { Vec::new() };
        for _ in 0..2 + next(8) {
            word.push(b"etaoinshrdlucmfwypvbgkjqxz"[usize::try_from(next(26)).unwrap()]);
        }
        if next(20) == 0 {
            word.extend_from_slice(b"\",");
        }
        TokenBytes::Text(word)
    };
    let bytes = (0..=255).map(|byte| TokenBytes::Text(vec![byte]));
    let mut tokens: Vec<TokenBytes> = bytes.chain((256..NUM_TOKENS - 1).map(word)).collect();
    tokens.push(TokenBytes::Special("<eos>".to_string()));
    let source = VocabSource { tokens, eos: vec![NUM_TOKENS - 1], num_logits: NUM_TOKENS as usize };
    Arc::new(Vocab::new(source, Some(Arc::new(Bytes))).unwrap())
}

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
    let coded = CodedMask::new(&mask, vocab);
    criterion.bench_function("code a string's mask", |bench| {
        bench.iter(|| CodedMask::new(black_box(&mask), vocab));
    });
    criterion.bench_function("decode it", |bench| {
        bench.iter(|| black_box(&coded).decode(vocab.allow_all()).unwrap().len());
    });
    criterion.bench_function("fork", |bench| bench.iter(|| matcher.fork()));
    criterion.bench_function("forced, of nothing", |bench| bench.iter(|| matcher.forced()));
}

criterion_group!(benches, start);
criterion_main!(benches);
