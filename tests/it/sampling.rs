//! Sampling against what transformers' own processors make of the same rows.

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;
use sluicegate::sampler::{
    GroupSampling, MaskRule, Method, Multinomial, Penalties, RandomKey, RowError, RowSampling,
    Sampler, SamplingParams, Stamp, TokenCount, draw::Narrowed, row::Distribution,
};
use sluicegate_core::messages::{GroupId, SequenceId};
use sluicegate_model::softmax::ONE;
use sluicegate_tests::constraints::dense_mask;

#[derive(Deserialize)]
struct Fixture {
    rows: Vec<Vec<f32>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    row: usize,
    history: Vec<u32>,
    masked: Vec<u32>,
    repetition_penalty: f32,
    frequency_penalty: f32,
    presence_penalty: f32,
    temperature: f32,
    top_k: usize,
    top_p: f32,
    min_p: f32,
    probs: Vec<f64>,
}

fn check_fixture(text: &str, at_least: usize) {
    let fixture: Fixture = serde_json::from_str(text).unwrap();
    assert!(fixture.cases.len() >= at_least);
    for (case_idx, case) in fixture.cases.iter().enumerate() {
        let mut logits = fixture.rows[case.row].clone();
        let multinomial = Multinomial {
            temperature: case.temperature,
            top_k: (case.top_k > 0).then_some(case.top_k),
            top_p: case.top_p,
            min_p: case.min_p,
        };
        let penalties = Penalties {
            repetition: case.repetition_penalty,
            frequency: case.frequency_penalty,
            presence: case.presence_penalty,
        };
        let params = params(Method::Multinomial(multinomial), penalties);
        let row = row(MaskRule::Free, counts(&case.history));
        let mask = mask_without(logits.len(), &case.masked);
        let distribution = Distribution::new(&mut logits, &mask, &params, &row);
        let mut got = vec![0.0; case.probs.len()];
        for (token, probability) in Narrowed::of(&distribution, &multinomial).probabilities() {
            got[token as usize] = probability;
        }
        let greatest = case.probs.iter().copied().fold(0.0, f64::max);
        for (token, (got, want)) in got.iter().zip(&case.probs).enumerate() {
            assert!(
                (got - want).abs() < 1e-5,
                "case {case_idx} token {token}: {got} is not {want}"
            );
            // The fixture's weights are f64; ours are whole parts of the greatest one.
            let is_removed = *want < greatest * 0.5 / ONE as f64;
            assert_eq!(*got == 0.0, is_removed, "case {case_idx} token {token}: kept or removed");
        }
    }
}

#[test]
fn warpers_equal_those_of_transformers() {
    check_fixture(include_str!("../fixtures/sampling/warpers.json"), 200);
}

#[test]
fn penalties_equal_those_of_transformers() {
    check_fixture(include_str!("../fixtures/sampling/penalties.json"), 100);
}

#[test]
fn draws_follow_the_distribution_and_the_key_alone() {
    let mut logits = [0.0f32, 1.0, 2.0, 3.0];
    let params = params(Method::Multinomial(Multinomial::default()), Penalties::default());
    let distribution =
        Distribution::new(&mut logits, &[0b1111], &params, &row(MaskRule::Free, Vec::new()));
    let narrowed = Narrowed::of(&distribution, &Multinomial::default());
    let num_draws = 20_000;
    let mut counts = [0usize; 4];
    for step in 0..num_draws {
        let key = RandomKey { seed: 7, prompt: 1, sample: 2, step };
        let token = narrowed.draw(key).unwrap().token;
        assert_eq!(narrowed.draw(key).unwrap().token, token);
        counts[token as usize] += 1;
    }
    for (token, probability) in narrowed.probabilities() {
        let share = counts[token as usize] as f64 / num_draws as f64;
        // Four standard deviations of a share of 20,000 draws are below 0.015.
        assert!((share - probability).abs() < 0.015, "{token}: {share} is not {probability}");
    }
}

#[test]
fn end_tokens_are_held_back_unless_nothing_else_is_allowed() {
    let eos = 2;
    let sample = |mask: u32, min_tokens, ignore_eos| {
        let mut params = params(Method::Greedy, Penalties::default());
        params.eos = vec![eos];
        params.min_tokens = min_tokens;
        params.ignore_eos = ignore_eos;
        let mut logits = [0.0f32, 1.0, 5.0, 2.0];
        let row = row(MaskRule::Free, Vec::new());
        Distribution::new(&mut logits, &[mask], &params, &row).most_likely().unwrap().token
    };
    assert_eq!(sample(0b1111, 0, false), eos);
    assert_eq!(sample(0b1111, 1, false), 3);
    assert_eq!(sample(0b1111, 0, true), 3);
    assert_eq!(sample(0b0100, 1, true), eos);
}

#[test]
fn beams_with_fewer_legal_tokens_than_width_give_no_garbage() {
    let stamp = |row| Stamp { sequence: SequenceId(row), step: 3, epoch: 0 };
    let order = GroupSampling {
        group: GroupId(1),
        logit_rows: 0..2,
        params: Arc::new(params(Method::Beam { width: 5 }, Penalties::default())),
        rows: (0..2).map(|it| row(MaskRule::Required(stamp(it)), Vec::new())).collect(),
    };
    let mut rows = [[0.5f32, 0.1, 0.2, 0.3], [0.1, 0.2, 0.3, f32::NAN]];
    let [first, second] = &mut rows;
    let mask = |row, bits: u32| Some(dense_mask(stamp(row), &[bits]));
    let masks = [mask(0, 0b0001), mask(1, 0b1100)];
    let sampler = Sampler::new([0b1111].into());
    let choices = sampler.sample(&order, &mut [first, second], &masks).choices.unwrap();
    let got: Vec<(u32, u32)> = choices.iter().map(|it| (it.row, it.token.id)).collect();
    // One legal token in the first row; in the second one of the two has no finite logit.
    assert_eq!(got, [(0, 0), (1, 2)]);
    assert!(choices.iter().all(|choice| choice.token.log_probability.abs() < 1e-6));
}

#[test]
fn a_row_without_a_finite_logit_fails_and_says_so() {
    let narrowed = Multinomial { temperature: 0.5, top_k: Some(1), top_p: 0.5, min_p: 0.1 };
    let methods = [
        Method::Greedy,
        Method::Beam { width: 2 },
        Method::Multinomial(Multinomial::default()),
        Method::Multinomial(narrowed),
    ];
    for method in methods {
        let order = GroupSampling {
            group: GroupId(4),
            logit_rows: 0..1,
            params: Arc::new(params(method, Penalties::default())),
            rows: vec![row(MaskRule::Free, Vec::new())],
        };
        let mut logits = [f32::NAN, f32::NEG_INFINITY];
        let choices = Sampler::new([0b11].into()).sample(&order, &mut [&mut logits], &[]).choices;
        assert_eq!(choices, Err(RowError::NoToken { group: GroupId(4), row: 0 }), "{method:?}");
    }
}

fn params(method: Method, penalties: Penalties) -> SamplingParams {
    SamplingParams { method, penalties, ..SamplingParams::greedy(Vec::new()) }
}

fn row(mask: MaskRule, counts: Vec<TokenCount>) -> RowSampling {
    let draws = vec![RandomKey { seed: 0, prompt: 0, sample: 0, step: 0 }];
    RowSampling { mask, step: 0, counts, draws }
}

fn counts(history: &[u32]) -> Vec<TokenCount> {
    let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
    for token in history {
        *counts.entry(*token).or_default() += 1;
    }
    counts.into_iter().map(|(token, in_output)| TokenCount { token, in_output }).collect()
}

fn mask_without(num_tokens: usize, masked: &[u32]) -> Vec<u32> {
    let mut words = vec![0u32; num_tokens.div_ceil(32)];
    for token in (0..u32::try_from(num_tokens).unwrap()).filter(|token| !masked.contains(token)) {
        words[token as usize / 32] |= 1 << (token % 32);
    }
    words
}
