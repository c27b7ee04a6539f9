//! A microbatch's rows sampled, group by group.

use std::sync::Arc;

use sluicegate_core::messages::{
    GroupChoices, GroupSampling, MaskRow, Method, RowError, RowSampling,
};

use super::{
    draw::Narrowed,
    mask,
    outcome::{Outcome, choose, num_likely},
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

    /// A bit for every real token.
    pub(crate) fn valid(&self) -> &[u32] {
        &self.valid
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
        let rows = order.rows.iter().zip(logits).enumerate();
        let outcomes = rows.map(|(row_idx, (row, logits))| {
            let logit_row = order.logit_rows.start + row_idx;
            let words = mask::resolve(row.mask, masks, logit_row, &self.valid)?;
            let distribution = Distribution::new(logits, &words, &order.params, row);
            sampled(&distribution, order, row)
                .ok_or(RowError::NoToken { group: order.group, row: row_idx })
        });
        choose(order, outcomes)
    }
}

/// None if no token is allowed.
fn sampled(
    distribution: &Distribution<'_>,
    order: &GroupSampling,
    row: &RowSampling,
) -> Option<Outcome> {
    let drawn: Vec<Allowed> = match &order.params.method {
        Method::Multinomial(multinomial) => {
            let narrowed = Narrowed::of(distribution, multinomial);
            row.draws.iter().map(|key| narrowed.draw(*key)).collect::<Option<_>>()?
        }
        Method::Greedy | Method::Beam { .. } => Vec::new(),
    };
    Some(Outcome {
        normaliser: distribution.normaliser()?,
        most_likely: distribution.most_likely()?,
        drawn,
        likely: distribution.most_likely_tokens(num_likely(&order.params)),
    })
}
