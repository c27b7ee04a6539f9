//! The load of microbatches: on average, by expected kinds, and of real ones.

use sluicegate_spec::profile::ModelProfile;

use super::policy::{Objective, Policy};

/// The load of one microbatch, averaged over the life of its sequences.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Load {
    /// Sequences that decode one token each.
    pub(super) rows: f64,
    /// Prompt tokens in the microbatch: when a sequence ends, the prompt of another one comes in.
    pub(super) prompt_tokens: f64,
    /// Positions that a decoding row attends to.
    pub(super) context: f64,
    /// Positions that a prompt token attends to.
    pub(super) prompt_context: f64,
    /// Prompt tokens that share one pass over the cache before them.
    pub(super) chunk_tokens: f64,
    /// Rows whose logits are needed.
    pub(super) logit_rows: f64,
}

/// The load of one row in a real microbatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowLoad {
    /// Position of the first new token.
    pub position: usize,
    /// Number of new tokens.
    pub tokens: usize,
    pub wants_logits: bool,
}

impl RowLoad {
    /// Returns whether the row only brings the token that was sampled last.
    pub fn is_decoding(&self) -> bool {
        self.tokens == 1 && self.wants_logits
    }
}

impl Load {
    /// Returns the average microbatch of `rows` sequences under a policy.
    ///
    /// For [`Objective::Throughput`] the batch is refilled for ever, so each step of a row brings
    /// `prompt / output` prompt tokens. For [`Objective::Latency`] it decodes one sequence.
    pub(super) fn average(profile: &ModelProfile, policy: &Policy, rows: usize) -> Self {
        let (prompt, output) = policy.lengths(profile.max_positions);
        let (prompt, output) = (prompt as f64, (output as f64).max(1.0));
        let longest = prompt + output;
        let rows = rows as f64;
        Self {
            rows,
            prompt_tokens: match policy.objective {
                Objective::Throughput => rows * prompt / output,
                Objective::Latency => 0.0,
            },
            context: (prompt + output / 2.0).min(longest),
            prompt_context: prompt / 2.0,
            chunk_tokens: policy.chunk_tokens as f64,
            logit_rows: rows,
        }
    }

    /// Returns the kinds of microbatches of `rows` sequences, each with its share.
    ///
    /// Prompts do not come evenly: while there are any, a microbatch takes as many prompt tokens as
    /// its budget leaves, and all others have none.
    pub(super) fn expected(
        profile: &ModelProfile,
        policy: &Policy,
        rows: usize,
    ) -> Vec<(f64, Self)> {
        let average = Self::average(profile, policy, rows);
        let prompt_tokens = average.chunk();
        let share = average.prompt_tokens / prompt_tokens;
        if prompt_tokens <= 0.0 || share >= 1.0 {
            return vec![(1.0, average)];
        }
        let without = (1.0 - share, Self { prompt_tokens: 0.0, ..average });
        if share <= 0.0 {
            return vec![without];
        }
        vec![without, (share, Self { prompt_tokens, ..average })]
    }

    /// Returns the load of a real microbatch, for which nothing needs to be expected.
    pub(super) fn of_rows(rows: &[RowLoad]) -> Self {
        let (mut decoding, mut seen) = (0.0, 0.0);
        let (mut chunks, mut prompt_tokens, mut prompt_seen) = (0.0, 0.0, 0.0);
        for row in rows {
            let (position, tokens) = (row.position as f64, row.tokens as f64);
            if row.is_decoding() {
                decoding += 1.0;
                seen += position + 1.0;
            } else {
                chunks += 1.0;
                prompt_tokens += tokens;
                prompt_seen += tokens * (position + f64::midpoint(tokens, 1.0));
            }
        }
        Self {
            rows: decoding,
            prompt_tokens,
            context: seen / f64::max(decoding, 1.0),
            prompt_context: prompt_seen / f64::max(prompt_tokens, 1.0),
            chunk_tokens: prompt_tokens.max(1.0) / f64::max(chunks, 1.0),
            logit_rows: rows.iter().filter(|row| row.wants_logits).count() as f64,
        }
    }

    /// Returns the prompt tokens of a full microbatch: what its rows leave of the budget, or their
    /// share of the prompts if that is more.
    pub(super) fn chunk(&self) -> f64 {
        (self.chunk_tokens - self.rows).max(self.prompt_tokens)
    }

    /// Returns the new tokens of a microbatch, rounded up.
    pub(super) fn num_tokens(&self) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative, and a cast saturates"
        )]
        let tokens = self.tokens().ceil() as usize;
        tokens
    }

    pub(super) fn tokens(&self) -> f64 {
        self.rows + self.prompt_tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::model;

    fn expected(prompt: usize, output: usize, chunk: usize, rows: usize) -> Vec<(f64, f64)> {
        let policy = Policy {
            prompt_tokens: prompt,
            output_tokens: output,
            chunk_tokens: chunk,
            ..Policy::default()
        };
        let loads = Load::expected(&model(&[1; 4], 1, 0), &policy, rows);
        loads.iter().map(|(share, load)| (*share, load.prompt_tokens)).collect()
    }

    #[test]
    fn prompts_fill_the_budgets_of_some_microbatches() {
        assert_eq!(expected(100, 50, 80, 16), [(0.5, 0.0), (0.5, 64.0)]);
        // Rows and their part of the prompts need more than the budget: all are alike.
        assert_eq!(expected(100, 50, 40, 16), [(1.0, 32.0)]);
        assert_eq!(expected(0, 50, 40, 16), [(1.0, 0.0)]);
        assert_eq!(expected(0, 50, 16, 16), [(1.0, 0.0)]);
    }

    #[test]
    fn on_average_all_kinds_together_are_the_average() {
        let policy = Policy { prompt_tokens: 100, output_tokens: 300, ..Policy::default() };
        let profile = model(&[1; 4], 1, 0);
        for rows in 1..300 {
            let average = Load::average(&profile, &policy, rows);
            let loads = Load::expected(&profile, &policy, rows);
            let tokens: f64 = loads.iter().map(|(share, load)| share * load.tokens()).sum();
            assert!((tokens - average.tokens()).abs() < 1e-9 * tokens);
        }
    }
}
