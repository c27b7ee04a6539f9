//! A microbatch being filled, and how many decoding rows it should have.

use sluicegate_spec::kv::PAGE_TOKENS;

use super::{
    config::SchedulerConfig,
    output::{SampledGroup, SchedulerOutput},
};
use crate::messages::{AncestorsOrder, GroupId, MicrobatchId, RowOrder};

/// A microbatch on its way through the stages.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) groups: Vec<GroupId>,
    pub(super) num_decoding_rows: usize,
    /// Tokens of prompts.
    pub(super) num_prompt_tokens: usize,
}

/// How many decoding rows the next microbatch should have, so that all microbatches in flight
/// differ by at most one row: `num_rows` of them over `depth` microbatches, those in flight
/// included.
///
/// A microbatch that is larger than the others gives rows to the next ones as it comes back.
pub(super) fn share<'a>(
    num_rows: usize,
    depth: usize,
    in_flight: impl Iterator<Item = &'a InFlight>,
) -> usize {
    let (least, num_larger) = (num_rows / depth, num_rows % depth);
    let found = in_flight.filter(|microbatch| microbatch.num_decoding_rows > least).count();
    least + usize::from(found < num_larger)
}

/// How many tokens of prompts the next microbatch should have: as many as may be, but so few that
/// every stage has its part of those that are `left` and of those in flight twice over. With one
/// large chunk after the other, all stages but one would wait for the first, and for the last.
///
/// Beside rows that decode each microbatch in flight gets its part: weights are read for the rows
/// anyway, and what is computed meanwhile costs little.
pub(super) fn prompt_share<'a>(
    left: usize,
    decodes: bool,
    config: &SchedulerConfig,
    in_flight: impl Iterator<Item = &'a InFlight>,
) -> usize {
    let flying: usize = in_flight.map(|microbatch| microbatch.num_prompt_tokens).sum();
    let all = left + flying;
    match config.num_stages {
        1 => usize::MAX,
        _ if decodes => all.div_ceil(config.max_in_flight).max(LEAST_BESIDE),
        num_stages => all.div_ceil(2 * num_stages).max(config.least_chunk),
    }
}

/// Tokens of a chunk beside rows that decode, at least: a chunk reads the cache of its prompt anew.
const LEAST_BESIDE: usize = 2 * PAGE_TOKENS;

/// What goes into the next microbatch.
#[derive(Debug, Default)]
pub(super) struct Filling {
    ancestors: Vec<AncestorsOrder>,
    rows: Vec<RowOrder>,
    sampled: Vec<SampledGroup>,
    groups: Vec<GroupId>,
    num_logit_rows: usize,
    pub(super) num_tokens: usize,
    pub(super) num_decoding_rows: usize,
    pub(super) num_prompt_tokens: usize,
}

impl Filling {
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Adds a group's rows; its step and epoch where it is sampled.
    pub(super) fn add(
        &mut self,
        group: GroupId,
        ancestors: Option<AncestorsOrder>,
        rows: Vec<RowOrder>,
        sampled: Option<(u32, u64)>,
    ) {
        self.ancestors.extend(ancestors);
        self.num_tokens += rows.iter().map(|row| row.tokens.len()).sum::<usize>();
        if let Some((step, epoch)) = sampled {
            let logit_rows = self.num_logit_rows..self.num_logit_rows + rows.len();
            self.num_logit_rows = logit_rows.end;
            self.sampled.push(SampledGroup { group, logit_rows, step, epoch });
        }
        self.rows.extend(rows);
        self.groups.push(group);
    }

    /// The output, its reorders numbered from `next_epoch` on, and what is in flight by it.
    pub(super) fn finish(
        mut self,
        microbatch: MicrobatchId,
        next_epoch: &mut u64,
    ) -> (SchedulerOutput, InFlight) {
        // Numbered as they are sent: a group that ends before leaves no gap.
        for ancestors in &mut self.ancestors {
            ancestors.epoch = *next_epoch;
            *next_epoch += 1;
        }
        let Self { ancestors, rows, sampled, groups, num_decoding_rows, num_prompt_tokens, .. } =
            self;
        let in_flight = InFlight { groups, num_decoding_rows, num_prompt_tokens };
        (SchedulerOutput { microbatch, ancestors, rows, sampled }, in_flight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoding(num_decoding_rows: usize) -> InFlight {
        InFlight { groups: Vec::new(), num_decoding_rows, num_prompt_tokens: 0 }
    }

    /// Lets the microbatches in flight come back one after the other, and refills them.
    #[test]
    fn unequal_microbatches_even_out_within_a_round() {
        for (sizes, num_finished) in [
            (vec![3, 3, 3, 1], 0),
            (vec![6, 0, 0], 0),
            (vec![4, 4, 4, 4], 5),
            (vec![1, 1, 1], 2),
            (vec![7, 1, 1, 1, 1], 3),
        ] {
            let depth = sizes.len();
            let mut flying: std::collections::VecDeque<InFlight> =
                sizes.iter().map(|rows| decoding(*rows)).collect();
            let mut ready = 0;
            let mut total: usize = sizes.iter().sum();
            for round in 0..3 * depth {
                let Some(back) = flying.pop_front() else { break };
                let ended = if round == 0 { num_finished.min(back.num_decoding_rows) } else { 0 };
                total -= ended;
                ready += back.num_decoding_rows - ended;
                while ready > 0 && flying.len() < depth {
                    let rows = share(total, depth, flying.iter()).min(ready);
                    if rows == 0 {
                        break;
                    }
                    ready -= rows;
                    flying.push_back(decoding(rows));
                }
            }
            let found: Vec<usize> = flying.iter().map(|it| it.num_decoding_rows).collect();
            assert_eq!(ready + found.iter().sum::<usize>(), total, "{sizes:?}");
            let (most, least) = (found.iter().max().unwrap(), found.iter().min().unwrap());
            assert!(most - least <= 1, "{sizes:?} became {found:?} with {ready} ready");
        }
    }
}
