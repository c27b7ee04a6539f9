//! Five beams that continue one history of 512 tokens: fork and advance, compared with replaying
//! the history.
//!
//! `cargo bench -p sluicegate-constraint --bench beams`

#![expect(clippy::unwrap_used, reason = "a bench ends where its set-up fails")]

mod synthetic;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};
use sluicegate_constraint::{Compiled, Compiler, Event, Matcher, Spec, TokenId};

const NUM_TOKENS: usize = 512;
const NUM_BEAMS: usize = 5;

fn people(is_unique: bool) -> Value {
    json!({"type": "array", "uniqueItems": is_unique, "items": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"], "additionalProperties": false,
    }})
}

/// Has as many people as 512 tokens have room for, and ends inside a name.
fn history() -> Vec<TokenId> {
    let mut tokens = synthetic::bytes(b"[{\"name\": \"");
    for salt in 0.. {
        tokens.extend(synthetic::words(salt).take(45));
        if tokens.len() >= NUM_TOKENS {
            break;
        }
        tokens.extend(synthetic::bytes(b"\", \"age\": 42}, {\"name\": \""));
    }
    tokens.truncate(NUM_TOKENS);
    tokens
}

fn replay(compiled: &Compiled, max_tokens: Option<usize>, tokens: &[TokenId]) -> Matcher {
    let mut matcher = match max_tokens {
        Some(max_tokens) => compiled.matcher_on_within(0, max_tokens).unwrap(),
        None => compiled.matcher_on(0),
    };
    for token in tokens {
        assert_eq!(matcher.advance(*token).unwrap(), Event::Running);
    }
    matcher
}

fn beams(criterion: &mut Criterion) {
    let compiler = Compiler::new(synthetic::vocab()).unwrap();
    let history = history();
    let next: Vec<TokenId> = synthetic::words(99).take(NUM_BEAMS).collect();
    for (name, is_unique, max_tokens) in [
        ("no guard", false, None),
        ("no guard, a short budget", false, Some(NUM_TOKENS + 40)),
        ("guarded", true, None),
        ("guarded, a short budget", true, Some(NUM_TOKENS + 40)),
    ] {
        let compiled = compiler.compile(&Spec::json(people(is_unique))).unwrap();
        assert_eq!(compiled.is_guarded(), is_unique);
        let matcher = replay(&compiled, max_tokens, &history);
        criterion.bench_function(&format!("fork 5 beams and advance each, {name}"), |bench| {
            bench.iter(|| {
                let beam = |token: &TokenId| {
                    let mut fork = black_box(&matcher).fork();
                    fork.advance(*token).unwrap();
                    fork
                };
                next.iter().map(beam).collect::<Vec<Matcher>>()
            });
        });
        criterion.bench_function(&format!("fork alone, {name}"), |bench| {
            bench.iter(|| black_box(&matcher).fork());
        });
        criterion.bench_function(&format!("replay one, {name}"), |bench| {
            bench.iter(|| replay(&compiled, max_tokens, black_box(&history)));
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(500))
        .measurement_time(std::time::Duration::from_secs(2))
        .sample_size(30);
    targets = beams
}
criterion_main!(benches);
