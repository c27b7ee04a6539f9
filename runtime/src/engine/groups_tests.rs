//! What becomes of a group's rows when its constraint forces or vetoes tokens.

use std::sync::Arc;

use serde_json::json;
use sluicegate_constraint::{Compiler, Spec};
use sluicegate_core::scheduler::Child;
use sluicegate_model::tokenizer::Tokenizer;
use sluicegate_spec::units::TokenId;

use super::{
    admission::AdmittedRequest, error::GenerationError, groups::RunningGroup, step::StepOutcome,
};
use crate::{
    masker::{Advanced, AdvancedRows, RowFailure},
    request::RequestId,
    sampler::{Choice, Likely, Method, Penalties, SamplingParams},
    stream::{FinishReason, Token},
    vocabulary,
};

const EOS: TokenId = 5;

/// Letters `a` to `e`, and an end token.
fn tokenizer() -> Tokenizer {
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
                            "use_regex": true});
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [{"id": EOS, "content": "<end>", "single_word": false, "lstrip": false,
                          "rstrip": false, "normalized": false, "special": true}],
        "normalizer": null, "pre_tokenizer": byte_level, "post_processor": null,
        "decoder": byte_level,
        "model": {"type": "BPE", "dropout": null, "unk_token": null,
                  "continuing_subword_prefix": null, "end_of_word_suffix": null,
                  "fuse_unk": false, "byte_fallback": false,
                  "vocab": {"a": 0, "b": 1, "c": 2, "d": 3, "e": 4}, "merges": []},
    });
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let ends = json!({ "eos_token_id": EOS }).to_string();
    std::fs::write(folder.path().join("generation_config.json"), ends).unwrap();
    Tokenizer::from_directory(folder.path()).unwrap()
}

/// A group of one row that has generated nothing.
fn group(method: Method, samples: usize) -> RunningGroup {
    changed(method, samples, &|_| ())
}

fn changed(method: Method, samples: usize, change: &dyn Fn(&mut AdmittedRequest)) -> RunningGroup {
    let tokenizer = tokenizer();
    let compiler = Compiler::new(Arc::new(vocabulary::of(&tokenizer, 6).unwrap())).unwrap();
    let params = SamplingParams {
        method,
        penalties: Penalties::default(),
        min_tokens: 0,
        ignore_eos: false,
        eos: vec![EOS],
        num_likeliest: 0,
    };
    let mut admitted = AdmittedRequest {
        prompts: vec![vec![0]],
        constraint: Some(compiler.compile(&Spec::Regex("[a-e]*".to_owned())).unwrap()),
        params: Arc::new(params),
        samples,
        max_tokens: 100,
        stop: Vec::new(),
        keeps_tokens: false,
        length_penalty: 0.0,
        seed: 0,
        priority: 0,
    };
    change(&mut admitted);
    RunningGroup::new(RequestId(1), 0, Arc::new(admitted), &tokenizer)
}

fn taken(token: TokenId) -> Advanced {
    Advanced { tokens: vec![token], is_finished: false, is_vetoed: false }
}

fn vetoed(instead: TokenId) -> Advanced {
    Advanced { is_vetoed: true, ..taken(instead) }
}

fn choice(parent: usize, token: TokenId, log_probability: f64) -> Choice {
    Choice { parent, token, log_probability, likeliest: Vec::new() }
}

/// Takes a step in which the matchers answer so.
#[track_caller]
fn step(group: &mut RunningGroup, choices: &[Choice], answers: &[Advanced]) -> StepOutcome {
    let answers: AdvancedRows = answers.iter().cloned().map(Ok).collect();
    group.take(&group.select(choices.to_vec()), answers).unwrap()
}

fn children(outcome: &StepOutcome) -> Vec<(usize, TokenId)> {
    outcome.children.iter().map(|Child { parent, tokens }| (*parent, tokens[0])).collect()
}

#[test]
fn tokens_are_kept_with_the_likeliest_in_their_place() {
    let mut group = changed(Method::Greedy, 1, &|admitted| admitted.keeps_tokens = true);
    let likeliest = vec![Likely { id: 0, log_probability: -0.5 }];
    let choice = Choice { likeliest: likeliest.clone(), ..choice(0, 0, -0.5) };
    // The second token follows of itself.
    let forced = Advanced { tokens: vec![0, 1], is_finished: true, is_vetoed: false };
    let output = step(&mut group, &[choice], &[forced]).outputs.remove(0);
    let want = [
        Token { id: 0, log_probability: -0.5, likeliest },
        Token { id: 1, log_probability: 0.0, likeliest: Vec::new() },
    ];
    assert_eq!(output.tokens, want);
}

#[test]
fn beams_are_ranked_by_their_length_if_that_is_wanted() {
    let best = |length_penalty: f64| {
        let beams = Method::Beam { width: 2 };
        let mut group = changed(beams, 1, &|admitted| admitted.length_penalty = length_penalty);
        let ended = Advanced { is_finished: true, ..taken(0) };
        step(&mut group, &[choice(0, 0, -1.0), choice(0, 1, -1.2)], &[ended, taken(1)]);
        let ended = Advanced { is_finished: true, ..taken(2) };
        step(&mut group, &[choice(0, 2, -0.3)], &[ended]).outputs.remove(0)
    };
    // -1 against -1.5; as a mean -1 against -0.75.
    assert_eq!((best(0.0).text, best(1.0).text), ("a".to_owned(), "bc".to_owned()));
    assert!((best(1.0).score + 1.5).abs() < 1e-9, "the score stays the sum");
}

#[test]
fn a_vetoed_token_leaves_no_trace_but_its_count() {
    let mut group = group(Method::Greedy, 1);
    let outcome = step(&mut group, &[choice(0, 0, -1.0)], &[vetoed(1)]);
    assert_eq!(children(&outcome), [(0, 1)]);
    assert_eq!((outcome.num_tokens, outcome.num_vetoed, outcome.num_forced), (1, 1, 0));
    let Token { id, log_probability, .. } = outcome.texts[0].1.1[0];
    assert_eq!((&outcome.texts[0].1.0[..], id, log_probability), ("b", 1, -1.0));
    let last = Advanced { is_finished: true, ..vetoed(2) };
    let mut outcome = step(&mut group, &[choice(0, 3, -1.0)], &[last]);
    let output = outcome.outputs.remove(0);
    assert_eq!((&output.text[..], &output.token_ids[..]), ("bc", &[1, 2][..]));
    assert_eq!(output.finish_reason, FinishReason::Constraint);
    assert!(outcome.children.is_empty());
}

#[test]
fn an_end_token_can_be_vetoed_and_can_be_what_is_taken_instead() {
    let mut vetoing = group(Method::Greedy, 1);
    let outcome = step(&mut vetoing, &[choice(0, EOS, 0.0)], &[vetoed(4)]);
    assert_eq!((children(&outcome), outcome.outputs.len()), (vec![(0, 4)], 0));
    let end = Advanced { is_finished: true, ..vetoed(EOS) };
    let mut outcome = step(&mut vetoing, &[choice(0, 0, 0.0)], &[end]);
    let output = outcome.outputs.remove(0);
    assert_eq!((&output.text[..], output.finish_reason), ("e", FinishReason::EndToken));
    assert_eq!(output.token_ids, [4]);
}

#[test]
fn what_must_follow_comes_along_until_the_output_ends() {
    let forcing = Advanced { tokens: vec![0, 1, 2], ..taken(0) };
    let mut whole = group(Method::Greedy, 1);
    let outcome = step(&mut whole, &[choice(0, 0, -0.5)], std::slice::from_ref(&forcing));
    assert_eq!(outcome.children, [Child { parent: 0, tokens: vec![0, 1, 2] }]);
    assert_eq!((outcome.num_tokens, outcome.num_forced), (3, 2));
    let (text, tokens) = &outcome.texts[0].1;
    let log_probabilities: Vec<f64> = tokens.iter().map(|it| it.log_probability).collect();
    assert_eq!((&text[..], &log_probabilities[..]), ("abc", &[-0.5, 0.0, 0.0][..]));
    // A stop string in the middle cuts the rest off, and so does the budget.
    let check = |change: &dyn Fn(&mut AdmittedRequest), text: &str, reason: FinishReason| {
        let mut cut = changed(Method::Greedy, 1, change);
        let mut outcome = step(&mut cut, &[choice(0, 0, -0.5)], std::slice::from_ref(&forcing));
        let output = outcome.outputs.remove(0);
        assert_eq!((&output.text[..], output.finish_reason), (text, reason));
        assert_eq!((outcome.num_tokens, &output.token_ids[..]), (2, &[0, 1][..]));
    };
    check(&|admitted| admitted.stop = vec!["b".to_owned()], "a", FinishReason::StopString);
    check(&|admitted| admitted.max_tokens = 2, "ab", FinishReason::Length);
}

#[test]
fn samples_part_after_their_first_token() {
    let mut group = group(Method::Greedy, 2);
    let outcome =
        step(&mut group, &[choice(0, 0, -0.5), choice(0, 3, -0.7)], &[taken(0), taken(3)]);
    assert_eq!(children(&outcome), [(0, 0), (0, 3)]);
    assert!(group.is_to_split());
    let mut parts = group.split();
    let mut second = parts.nth(1).unwrap();
    assert!(!second.is_to_split() && !second.is_first_step());
    let outcome = step(&mut second, &[choice(0, 4, 0.0)], &[taken(4)]);
    assert_eq!((outcome.texts[0].0.index, &outcome.texts[0].1.0[..]), (1, "e"));
}

#[test]
fn a_vetoed_beam_makes_room_for_the_others_while_there_are_enough() {
    let choices = [choice(0, 0, -1.0), choice(0, 1, -2.0), choice(0, 2, -3.0)];
    let check = |samples, answers: &[Advanced], want: &[(usize, TokenId)], kept: &[usize]| {
        let mut group = group(Method::Beam { width: 3 }, samples);
        let outcome = step(&mut group, &choices, answers);
        assert_eq!((children(&outcome), &outcome.kept_matchers[..]), (want.to_vec(), kept));
        let num_vetoed = answers.iter().filter(|answer| answer.is_vetoed).count();
        assert_eq!((outcome.num_vetoed, outcome.num_tokens), (num_vetoed, want.len()));
    };
    check(1, &[taken(0), taken(1), taken(2)], &[(0, 0), (0, 1), (0, 2)], &[0, 1, 2]);
    check(1, &[vetoed(4), taken(1), taken(2)], &[(0, 1), (0, 2)], &[1, 2]);
    // One is wanted, and the best of the vetoed ones stays; of those that became equal, one.
    check(1, &[vetoed(4), vetoed(3), vetoed(4)], &[(0, 4)], &[0]);
    check(3, &[vetoed(4), vetoed(3), vetoed(4)], &[(0, 4), (0, 3)], &[0, 1]);
    check(3, &[vetoed(1), taken(1), vetoed(3)], &[(0, 1), (0, 3)], &[1, 2]);
}

#[test]
fn a_matcher_that_fails_or_says_nothing_ends_the_request() {
    let choices = [choice(0, 0, 0.0)];
    let fail = |answers: AdvancedRows| {
        let mut group = group(Method::Greedy, 1);
        group.take(&group.select(choices.to_vec()), answers).unwrap_err()
    };
    let error = fail(Vec::new());
    assert!(matches!(error, GenerationError::MaskWorker { prompt: 0, .. }), "{error}");
    let limit = std::time::Duration::from_secs(1);
    let error = fail(vec![Err(RowFailure::Deadline { limit })]);
    assert_eq!(error.to_string(), "a mask for prompt 1 took longer than 1s");
    let error = fail(vec![Err(RowFailure::Panicked { message: "why".into() })]);
    assert_eq!(error.to_string(), "the mask worker that had prompt 1 failed: why");
}
