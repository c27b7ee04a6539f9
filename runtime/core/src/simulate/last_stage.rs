//! Values made into tokens, as the last stage's sampler does it with logits.

use super::{
    request::SimulatedRequest,
    value::{EOS, draw, mix, to_token},
};
use sluicegate_spec::units::TokenId;

use crate::messages::{Choice, GroupChoices, GroupSampling, Method, Token};

/// What is chosen for a group whose rows have these values.
pub(super) fn sample(
    request: &SimulatedRequest,
    sampling: &GroupSampling,
    values: &[u64],
) -> GroupChoices {
    let mut choices = Vec::new();
    for ((row, value), sampled) in (0..).zip(values).zip(&sampling.rows) {
        if let Method::Beam { width } = sampling.params.method {
            choices.extend(candidates(request, width, row, *value));
            continue;
        }
        choices.extend(sampled.draws.iter().map(|key| {
            let drawn = draw(*value, [key.seed, key.sample, key.step]);
            let token = if request.ends(drawn) { EOS } else { drawn };
            choice(row, token, -1.0)
        }));
    }
    GroupChoices { group: sampling.group, choices: Ok(choices) }
}

/// The most likely continuations of a beam, each with a token of its own.
pub(super) fn candidates(
    request: &SimulatedRequest,
    width: usize,
    row: u32,
    value: u64,
) -> impl Iterator<Item = Choice> {
    let first = to_token(value) & !0xff;
    (0..width as u64).zip(0..).map(move |(index, offset)| {
        let log_probability = -0.01 * (1 + mix(value, index) % 1_000) as f64;
        let token = first + ((to_token(mix(value, 0)) + offset) & 0xff);
        let token = if index == 0 && request.ends(token) { EOS } else { token };
        choice(row, token, log_probability)
    })
}

fn choice(row: u32, token: TokenId, log_probability: f64) -> Choice {
    let token = Token { log_probability, ..Token::certain(token) };
    Choice::new(row, token)
}
