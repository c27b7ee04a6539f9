//! A corpus of requests of every kind, whose outputs can be written down and compared between two
//! builds on one machine. What crossed is written down, too; of it only hidden values and ancestors
//! do not depend on who happens to share a microbatch.

use std::fmt::Write as _;

use sluicegate::{
    Completion, Engine, Prompt, Request,
    sampler::{Method, Multinomial, Penalties},
};
use sluicegate_constraint::Spec;
use sluicegate_model::open::Model;
use sluicegate_spec::config::Architecture;
use sluicegate_tests::{
    engines::{even_plan, small_schema, start},
    tiny::{StoredType, TinyModel},
};

/// Where to write the corpus down, a line for each output and each link.
const WRITE_TO: &str = "SLUICEGATE_CORPUS";

fn prompt(number: u32) -> Prompt {
    let len = 1 + (number * 7) % 41;
    Prompt::Tokens((0..len).map(|i| (number * 31 + 7 * i * i + 3 * i) % 256).collect())
}

fn method(number: u32) -> (Method, usize) {
    let multinomial = |temperature, top_k, top_p, min_p| {
        Method::Multinomial(Multinomial { temperature, top_k, top_p, min_p })
    };
    match number % 6 {
        0 => (Method::Greedy, 1),
        1 => (multinomial(0.9, Some(40), 0.95, 0.01), 1),
        2 => (multinomial(1.3, None, 1.0, 0.0), 3),
        3 => (Method::Beam { width: 4 }, 2),
        4 => (Method::Greedy, 2),
        _ => (Method::Beam { width: 2 }, 1),
    }
}

fn constraint(number: u32) -> Spec {
    match (number / 6) % 4 {
        1 => Spec::json(small_schema()),
        3 => Spec::Regex("(ab|[c-f]{2,5}|x[0-9]*y)+".to_owned()),
        _ => Spec::Text,
    }
}

fn request(number: u32) -> Request {
    let (method, samples) = method(number);
    let penalties = match number % 5 {
        0 => Penalties { repetition: 1.1, frequency: 0.1, presence: 0.1 },
        _ => Penalties::default(),
    };
    let is_beam = matches!(method, Method::Beam { .. });
    let constraint = constraint(number);
    let max_tokens = if constraint == Spec::Text { 24 } else { 120 };
    Request {
        prompts: (0..=(number % 3)).map(|idx| prompt(number + 100 * idx)).collect(),
        constraint,
        method,
        penalties,
        samples,
        max_tokens,
        min_tokens: (number % 4) as usize,
        ignore_eos: number.is_multiple_of(7),
        log_probabilities: (!is_beam && number.is_multiple_of(3)).then_some(2),
        length_penalty: if is_beam { f64::from(number % 3) * 0.5 } else { 0.0 },
        stop: if number % 4 == 1 { vec!["a".to_owned(), "\u{7f}".to_owned()] } else { Vec::new() },
        seed: u64::from(number),
        priority: i32::try_from(number % 3).unwrap(),
    }
}

const REQUESTS: u32 = 72;

/// All of them at once, so that they share microbatches and pages run short.
fn run(engine: &Engine) -> Vec<Completion> {
    let running: Vec<_> =
        (0..REQUESTS).map(|number| engine.submit(request(number)).unwrap()).collect();
    running.into_iter().map(|generation| generation.wait().unwrap()).collect()
}

#[test]
fn a_corpus_has_the_same_outputs_over_any_number_of_stages() {
    let files = TinyModel::new(Architecture::Gemma3).directory(StoredType::F32);
    let model = Model::open(&files.files).unwrap();
    let mut written = String::new();
    let mut want: Option<Vec<_>> = None;
    for stages in 1..=3 {
        let engine = start(&model, &even_plan(&model, stages));
        let completions = run(&engine);
        for (number, completion) in completions.iter().enumerate() {
            for output in &completion.outputs {
                writeln!(written, "{stages} {number} {output:?}").unwrap();
            }
            writeln!(written, "{stages} {number} {:?}", completion.usage).unwrap();
        }
        for entry in engine.ledger().entries() {
            writeln!(written, "ledger {stages} {entry:?}").unwrap();
        }
        let outputs: Vec<_> = completions
            .into_iter()
            .map(|completion| (completion.outputs, completion.usage))
            .collect();
        match &want {
            None => want = Some(outputs),
            Some(want) => assert!(*want == outputs, "{stages} stages differ from one"),
        }
    }
    if let Some(path) = std::env::var_os(WRITE_TO) {
        std::fs::write(path, written).unwrap();
    }
}
