//! Groups as orders for the sampler of a GPU, and the choices made of what it finds.

use sluicegate_core::messages::{
    GroupChoices, GroupSampling, MaskError, MaskRow, MaskRule, Method, RowError, RowSampling,
};
use sluicegate_model::sampling::{Draws, Found, FoundTokens, Penalties, RowOrder, SamplingOrders};

use super::{
    draw::{min_p_floor, random, top_p_share},
    mask,
    outcome::{Outcome, choose, num_likely},
    row::{Allowed, Normaliser, held_back},
};

/// Groups that are sampled together.
#[derive(Debug)]
pub struct GroupOrders<'a> {
    masks: &'a [Option<MaskRow>],
    orders: SamplingOrders<'a>,
    groups: Vec<(&'a GroupSampling, Vec<Ordered>)>,
}

/// A row's index among the orders, or why it has none.
type Ordered = Result<usize, MaskError>;

impl<'a> GroupOrders<'a> {
    /// `first_row`: which logit row of the microbatch is the first of the logits. `masks`: what came
    /// for the microbatch, per logit row.
    pub fn new(
        groups: &[&'a GroupSampling],
        masks: &'a [Option<MaskRow>],
        first_row: usize,
    ) -> Self {
        let mut ordered = Self { masks, orders: SamplingOrders::default(), groups: Vec::new() };
        let mut num_ordered = 0;
        for group in groups {
            let rows = (group.logit_rows.start..).zip(&group.rows).map(|(logit_row, row)| {
                let bits = mask::find(row.mask, masks, logit_row)?;
                ordered.orders.push(&row_order(group, row, bits, logit_row - first_row));
                num_ordered += 1;
                Ok(num_ordered - 1)
            });
            let rows = rows.collect();
            ordered.groups.push((group, rows));
        }
        ordered
    }

    pub fn orders(&self) -> &SamplingOrders<'a> {
        &self.orders
    }

    /// The choices of all groups. `found`: of each row that was ordered. `valid` allows every real
    /// token.
    pub fn choices(self, found: &[Found], valid: &[u32]) -> Vec<GroupChoices> {
        let choices = |(group, rows): &(&GroupSampling, Vec<Ordered>)| {
            let outcomes = rows.iter().enumerate().map(|(row_idx, ordered)| {
                let index = ordered.as_ref().map_err(|error| RowError::Mask(error.clone()))?;
                match &found[*index] {
                    Found::Tokens(tokens) => Ok(outcome(tokens)),
                    Found::NoToken => Err(RowError::NoToken { group: group.group, row: row_idx }),
                    Found::MaskRefused => {
                        Err(self.refusal(group, (row_idx, &group.rows[row_idx]), valid).into())
                    }
                }
            });
            choose(group, outcomes)
        };
        self.groups.iter().map(choices).collect()
    }

    /// Why a mask was refused: it is decoded once more, here, where there are words for it.
    fn refusal(
        &self,
        group: &GroupSampling,
        (row_idx, row): (usize, &RowSampling),
        valid: &[u32],
    ) -> MaskError {
        let decoded = mask::resolve(row.mask, self.masks, group.logit_rows.start + row_idx, valid);
        match (decoded, row.mask) {
            (Err(error), _) => error,
            (Ok(_), MaskRule::Required(stamp)) => MaskError::Malformed {
                stamp,
                message: "the GPU could not read what the host can".into(),
            },
            (Ok(_), MaskRule::Free) => unreachable!("a free row has no mask to refuse"),
        }
    }
}

fn row_order<'a>(
    group: &'a GroupSampling,
    row: &'a RowSampling,
    mask: Option<&'a [u8]>,
    logit_row: usize,
) -> RowOrder<'a> {
    let params = &group.params;
    let draws = match params.method {
        Method::Greedy | Method::Beam { .. } => None,
        Method::Multinomial(multinomial) => Some(Draws {
            temperature: multinomial.temperature,
            top_k: multinomial.top_k,
            top_p: top_p_share(multinomial.top_p),
            min_p: min_p_floor(multinomial.min_p),
            numbers: row.draws.iter().map(|key| random(*key)).collect(),
        }),
    };
    let sluicegate_core::messages::Penalties { repetition, frequency, presence } = params.penalties;
    RowOrder {
        logit_row,
        mask,
        penalties: Penalties { repetition, frequency, presence },
        counts: row.counts.iter().map(|count| [count.token, count.in_output]).collect(),
        held_back: held_back(params, row),
        draws,
        num_likely: num_likely(params),
    }
}

fn outcome(found: &FoundTokens) -> Outcome {
    let allowed = |(token, logit): &(u32, f32)| Allowed { token: *token, logit: *logit };
    let most_likely = allowed(&found.most_likely);
    Outcome {
        normaliser: Normaliser { greatest: most_likely.logit, sum: found.sum },
        most_likely,
        drawn: found.drawn.iter().map(allowed).collect(),
        likely: found.likely.iter().map(allowed).collect(),
    }
}
