//! Beam search against brute force over every text that the constraint allows.

use sluicegate::{Prompt, Request, sampler::Method};
use sluicegate_constraint::{Matcher, Spec};
use sluicegate_model::{open::Model, threads::Threads};
use sluicegate_spec::config::Architecture;
use sluicegate_tests::{
    constraints::compiler,
    engines::{auto_plan, complete, start},
    steps::Pipe,
    tiny::{StoredType, TinyModel},
};

/// Every complete token sequence with the sum of its masked, renormalised log-probabilities.
fn enumerate(model: &Model, prompt: &[u32], spec: &Spec) -> Vec<(Vec<u32>, f64)> {
    let matcher = compiler(model).compile(spec).unwrap().matcher();
    let mut open = vec![(Vec::new(), 0.0, matcher)];
    let mut complete = Vec::new();
    while let Some((tokens, score, mut matcher)) = open.pop() {
        if matcher.is_finished() {
            complete.push((tokens, score));
            continue;
        }
        let logits = logits_after(model, prompt, &tokens);
        for (token, log_probability) in masked(&logits, &mut matcher) {
            let mut next = matcher.fork();
            next.advance(token).unwrap();
            let mut tokens: Vec<u32> = tokens.clone();
            if !model.tokenizer.eos().contains(&token) {
                tokens.push(token);
            }
            open.push((tokens, score + log_probability, next));
        }
    }
    complete.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    complete
}

fn logits_after(model: &Model, prompt: &[u32], tokens: &[u32]) -> Vec<f32> {
    let mut pipe = Pipe::new(&model.weights, &model.config, &[], 1, &Threads::inline());
    pipe.last_logits(&[prompt, tokens].concat(), 0)
}

fn masked(logits: &[f32], matcher: &mut Matcher) -> Vec<(u32, f64)> {
    let mask = matcher.mask().unwrap();
    let logit = |token: u32| f64::from(logits[token as usize]);
    let max = mask.iter().map(logit).fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = mask.iter().map(|token| (logit(token) - max).exp()).sum();
    mask.iter().map(|token| (token, logit(token) - max - sum.ln())).collect()
}

#[track_caller]
fn check(choices: &[&str], width: usize) {
    let files = TinyModel::new(Architecture::Qwen3).with_seed(5).directory(StoredType::F32);
    let model = Model::open(&files.files).unwrap();
    let prompt: Vec<u32> = (0..18).map(|i| (17 * i + 3) % 256).collect();
    let spec = Spec::Choice(choices.iter().map(ToString::to_string).collect());
    let want = enumerate(&model, &prompt, &spec);
    let engine = start(&model, &auto_plan(&model, 2));
    let samples = width.min(want.len());
    let request = Request {
        constraint: spec,
        method: Method::Beam { width },
        samples,
        max_tokens: 8,
        ..Request::new(Prompt::Tokens(prompt))
    };
    let outputs = complete(&engine, &request).outputs;
    assert_eq!(outputs.len(), samples, "no garbage, and nothing lost");
    for (output, (tokens, score)) in outputs.iter().zip(&want) {
        assert_eq!(&output.token_ids, tokens);
        assert!((output.score - score).abs() < 1e-4, "{} is not {score}", output.score);
    }
}

#[test]
fn a_beam_as_wide_as_the_tree_finds_what_brute_force_finds() {
    check(&["xyz", "xyw", "xq", "qxy", "qq", "wzz"], 32);
}

#[test]
fn hypotheses_that_finish_early_compete_with_frozen_scores() {
    check(&["x", "xy", "xyz", "z"], 16);
}

#[test]
fn fewer_texts_than_beams_give_no_garbage() {
    check(&["q", "z"], 8);
    check(&["kpw"], 4);
}
