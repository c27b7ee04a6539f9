//! A microbatch's rows sampled, group by group.

use std::sync::Arc;

use sluicegate_core::messages::{
    Choice, GroupChoices, GroupSampling, MaskRow, Method, RowError, RowSampling, SamplingParams,
    Token, TopToken,
};

use super::{
    draw::Narrowed,
    mask,
    row::{Allowed, Distribution},
};

/// Samples rows of logits as wide as the vocabulary.
#[derive(Debug, Clone)]
pub struct Sampler {
    /// A bit for every real token; what free rows may choose from.
    valid: Arc<[u32]>,
}

impl Sampler {
    /// `valid`: `ceil(vocab / 32)` words; padded logits have no bit.
    pub fn new(valid: Arc<[u32]>) -> Self {
        Self { valid }
    }

    /// Samples one group.
    ///
    /// `logits`: one slice `[vocab]` per row of the group, changed by penalties. `masks`: what came
    /// for the microbatch, per logit row.
    pub fn sample(
        &self,
        order: &GroupSampling,
        logits: &mut [&mut [f32]],
        masks: &[Option<MaskRow>],
    ) -> GroupChoices {
        let choices = match order.params.method {
            Method::Beam { width } => self.beams(order, width, logits, masks),
            Method::Greedy | Method::Multinomial(_) => self.rows(order, logits, masks),
        };
        GroupChoices { group: order.group, choices }
    }

    fn rows(
        &self,
        order: &GroupSampling,
        logits: &mut [&mut [f32]],
        masks: &[Option<MaskRow>],
    ) -> Result<Vec<Choice>, RowError> {
        let mut choices = Vec::new();
        for (row_idx, (row, logits)) in order.rows.iter().zip(logits).enumerate() {
            let distribution = self.distribution(order, row_idx, logits, masks)?;
            let no_token = || RowError::NoToken { group: order.group, row: row_idx };
            let drawn = draw_row(&distribution, &order.params, row).ok_or_else(no_token)?;
            let top_tokens = top_tokens(&distribution, order.params.num_top_tokens);
            choices.extend(drawn.into_iter().map(|(id, log_probability)| {
                let token = Token { id, log_probability, top_tokens: top_tokens.clone() };
                Choice::new(to_u32(row_idx), token)
            }));
        }
        Ok(choices)
    }

    fn beams(
        &self,
        order: &GroupSampling,
        width: usize,
        logits: &mut [&mut [f32]],
        masks: &[Option<MaskRow>],
    ) -> Result<Vec<Choice>, RowError> {
        let mut choices = Vec::new();
        let mut last_error = RowError::NoToken { group: order.group, row: 0 };
        for (row_idx, logits) in logits.iter_mut().enumerate().take(order.rows.len()) {
            let distribution = match self.distribution(order, row_idx, logits, masks) {
                Ok(distribution) => distribution,
                // One hypothesis less; the search fails when none is left.
                Err(error) => {
                    last_error = error;
                    continue;
                }
            };
            choices.extend(distribution.most_likely_tokens(width).into_iter().map(|next| {
                let log_probability = distribution.log_probability(next);
                let token = Token { log_probability, ..Token::certain(next.token) };
                Choice::new(to_u32(row_idx), token)
            }));
        }
        if choices.is_empty() { Err(last_error) } else { Ok(choices) }
    }

    fn distribution<'a>(
        &self,
        order: &GroupSampling,
        row_idx: usize,
        logits: &'a mut [f32],
        masks: &[Option<MaskRow>],
    ) -> Result<Distribution<'a>, RowError> {
        let row = &order.rows[row_idx];
        let logit_row = order.logit_rows.start + row_idx;
        let words = mask::resolve(row.mask, masks, logit_row, &self.valid)?;
        Ok(Distribution::new(logits, &words, &order.params, row))
    }
}

fn to_u32(row_idx: usize) -> u32 {
    u32::try_from(row_idx).expect("rows of a group are below 2^32")
}

fn top_tokens(distribution: &Distribution<'_>, count: usize) -> Vec<TopToken> {
    if count == 0 {
        return Vec::new();
    }
    let likely = |allowed: Allowed| TopToken {
        id: allowed.token,
        log_probability: distribution.log_probability(allowed),
    };
    distribution.most_likely_tokens(count).into_iter().map(likely).collect()
}

/// One token per draw of the row, with its log-probability; none if nothing is allowed.
fn draw_row(
    distribution: &Distribution<'_>,
    params: &SamplingParams,
    row: &RowSampling,
) -> Option<Vec<(u32, f64)>> {
    let scored = |allowed| (allowed, distribution.log_probability(allowed));
    let drawn: Option<Vec<_>> = match &params.method {
        Method::Multinomial(multinomial) => {
            let narrowed = Narrowed::of(distribution, multinomial);
            row.draws.iter().map(|key| narrowed.draw(*key).map(scored)).collect()
        }
        Method::Greedy | Method::Beam { .. } => {
            row.draws.iter().map(|_| distribution.most_likely().map(scored)).collect()
        }
    };
    Some(drawn?.into_iter().map(|(allowed, score)| (allowed.token, score)).collect())
}
