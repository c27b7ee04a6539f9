//! Compilation, and mask and advance per token, compared with the plain engine.
//!
//! Each walk begins with a lexer that has computed one mask, except on a warm worker, whose lexer
//! has walked the same text before.
//!
//! `cargo bench -p sluicegate-constraint --features baseline --bench tokens`

#![expect(clippy::unwrap_used, reason = "a bench ends where its set-up fails")]

mod synthetic;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Map, Value, json};
use sluicegate_constraint::baseline::{Baseline, BaselineMatcher};
use sluicegate_constraint::{Compiler, Event, Matcher, Spec, TokenId};

/// A schema, and a text that it allows.
struct Case {
    name: &'static str,
    schema: Value,
    text: String,
}

fn cases() -> Vec<Case> {
    let small = json!({
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"], "additionalProperties": false,
    });
    let character = include_str!("../../examples/schemas/character.json");
    let filler = "a long way to go before the night comes down on the hills of home ".repeat(2);
    let hero = json!({"name": "Anna", "class": "rogue", "age": 42, "strength": 7,
        "inventory": ["a rope", "a lamp"], "backstory": filler});
    let mut guarded = json!({"type": "array", "items": small, "uniqueItems": true});
    guarded["items"]["minProperties"] = 2.into();
    vec![
        Case { name: "small", schema: small, text: json!({"name": filler, "age": 42}).to_string() },
        Case {
            name: "medium",
            schema: serde_json::from_str(character).unwrap(),
            text: hero.to_string(),
        },
        Case { name: "large", schema: large(), text: large_text() },
        Case {
            name: "guarded",
            schema: guarded,
            text: json!([{"name": filler, "age": 1}, {"name": "Bob", "age": 2}]).to_string(),
        },
    ]
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
    json!({"type": "object", "properties": (0..30).map(property).collect::<Map<_, _>>()})
}

fn large_text() -> String {
    let value = json!({"title": "in the house", "tags": ["red", "blue"], "size": 2.5});
    let members = (0..30).step_by(7).map(|idx| (format!("property_{idx}"), value.clone()));
    Value::Object(members.collect()).to_string()
}

fn take(mut matcher: Matcher, tokens: &[TokenId]) -> Matcher {
    for token in tokens {
        assert!(matcher.mask().unwrap().allows(*token));
        assert!(!matches!(matcher.advance(*token).unwrap(), Event::Vetoed { .. }));
    }
    assert!(matcher.is_accepting());
    matcher
}

fn take_plainly(mut matcher: BaselineMatcher, tokens: &[TokenId]) -> BaselineMatcher {
    for token in tokens {
        assert!(matcher.mask_allows(*token).unwrap());
        matcher.advance(*token).unwrap();
    }
    matcher
}

fn tokens(criterion: &mut Criterion) {
    let compiler = Compiler::new(synthetic::vocab()).unwrap();
    let plain = Baseline::new(compiler.vocab()).unwrap();
    for Case { name, schema, text } in cases() {
        let spec = Spec::json(schema.clone());
        let compiled = compiler.compile(&spec).unwrap();
        let is_guarded = compiled.is_guarded();
        assert_eq!(is_guarded, name == "guarded");
        let mut group = criterion.benchmark_group(format!("compile {name}"));
        group.bench_function("here", |bench| bench.iter(|| compiler.compile(&spec).unwrap()));
        if !is_guarded {
            group.bench_function("llguidance", |bench| {
                bench.iter(|| plain.compile(schema.clone()).unwrap());
            });
        }
        group.finish();

        let tokens = synthetic::bytes(text.as_bytes());
        let mut group = criterion.benchmark_group(format!("mask and advance {name}"));
        group.throughput(Throughput::Elements(tokens.len() as u64));
        let take_all = |matcher| take(matcher, &tokens);
        group.bench_function("here", |bench| {
            bench.iter_batched(|| compiled.matcher(), take_all, BatchSize::SmallInput);
        });
        group.bench_function("here, on a warm worker", |bench| {
            bench.iter_batched(|| compiled.matcher_on(0), take_all, BatchSize::SmallInput);
        });
        if !is_guarded {
            let template = plain.compile(schema).unwrap();
            group.bench_function("llguidance", |bench| {
                let take = |matcher| take_plainly(matcher, &tokens);
                bench.iter_batched(|| template.copy(), take, BatchSize::SmallInput);
            });
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(500))
        .measurement_time(std::time::Duration::from_secs(2))
        .sample_size(30);
    targets = tokens
}
criterion_main!(benches);
