//! What sampling a row comes to, on whatever device, and the choices that are made of it.

use sluicegate_core::messages::{
    Choice, GroupChoices, GroupSampling, Method, RowError, RowSampling, SamplingParams, Token,
    TopToken,
};

use super::row::{Allowed, Normaliser};

/// A sampled row.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub normaliser: Normaliser,
    /// Of equals, the lowest id.
    pub most_likely: Allowed,
    /// One per key of the row, where tokens are drawn at random.
    pub drawn: Vec<Allowed>,
    /// Most likely first, as many as are asked for, or as are allowed.
    pub likely: Vec<Allowed>,
}

/// How many of the most likely tokens of each row are asked for.
pub(super) fn num_likely(params: &SamplingParams) -> usize {
    match params.method {
        Method::Beam { width } => width,
        Method::Greedy | Method::Multinomial(_) => params.num_top_tokens,
    }
}

/// The choices of a group, of what its rows came to, in order.
pub(super) fn choose(
    order: &GroupSampling,
    outcomes: impl Iterator<Item = Result<Outcome, RowError>>,
) -> GroupChoices {
    let rows = (0..).zip(outcomes);
    let choices = match order.params.method {
        Method::Beam { .. } => beams(order, rows),
        Method::Greedy | Method::Multinomial(_) => samples(order, rows),
    };
    GroupChoices { group: order.group, choices }
}

/// One choice for each draw of each row.
fn samples(
    order: &GroupSampling,
    rows: impl Iterator<Item = (u32, Result<Outcome, RowError>)>,
) -> Result<Vec<Choice>, RowError> {
    let mut choices = Vec::new();
    for ((row_idx, outcome), row) in rows.zip(&order.rows) {
        let outcome = outcome?;
        let top_tokens = top_tokens(&outcome);
        choices.extend(chosen(&outcome, order, row).into_iter().map(|chosen| {
            let log_probability = outcome.normaliser.log_probability(chosen.logit);
            let top_tokens = top_tokens.clone();
            Choice::new(row_idx, Token { id: chosen.token, log_probability, top_tokens })
        }));
    }
    Ok(choices)
}

fn chosen(outcome: &Outcome, order: &GroupSampling, row: &RowSampling) -> Vec<Allowed> {
    match order.params.method {
        Method::Multinomial(_) => outcome.drawn.clone(),
        Method::Greedy | Method::Beam { .. } => vec![outcome.most_likely; row.draws.len()],
    }
}

fn top_tokens(outcome: &Outcome) -> Vec<TopToken> {
    let top_token = |it: &Allowed| TopToken {
        id: it.token,
        log_probability: outcome.normaliser.log_probability(it.logit),
    };
    outcome.likely.iter().map(top_token).collect()
}

/// Each hypothesis with its most likely continuations.
fn beams(
    order: &GroupSampling,
    rows: impl Iterator<Item = (u32, Result<Outcome, RowError>)>,
) -> Result<Vec<Choice>, RowError> {
    let mut choices = Vec::new();
    let mut last_error = RowError::NoToken { group: order.group, row: 0 };
    for (row_idx, outcome) in rows {
        match outcome {
            Ok(outcome) => choices.extend(outcome.likely.iter().map(|next| {
                let log_probability = outcome.normaliser.log_probability(next.logit);
                Choice::new(row_idx, Token { log_probability, ..Token::certain(next.token) })
            })),
            // One hypothesis less; the search fails when none is left.
            Err(error) => last_error = error,
        }
    }
    if choices.is_empty() { Err(last_error) } else { Ok(choices) }
}
