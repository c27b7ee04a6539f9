//! What the numbers of an order may reach.
//!
//! A kernel of a GPU that indexes out of range ends the whole process, where one of a CPU returns an
//! error. So every number is checked on the host, once, before it leaves.

use serde::{Deserialize, Serialize};
use sluicegate_spec::kv::PAGE_TOKENS;

use crate::messages::{AncestorsOrder, Batch, CopyOrder, GroupSampling, RowOrder};

/// The sizes of what orders index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderBounds {
    /// Rows of the embedding.
    pub vocab: usize,
    /// Longest context.
    pub max_positions: usize,
    /// By KV group.
    pub pages_per_group: Vec<usize>,
}

/// A number that indexes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[error("an order has {what} {found}, wanted one below {limit}")]
pub struct OutOfBounds {
    pub what: &'static str,
    pub found: usize,
    pub limit: usize,
}

impl OrderBounds {
    /// Checks everything in a batch that a stage indexes by.
    ///
    /// # Errors
    /// [`OutOfBounds`] for the first number that is too large.
    pub fn check(&self, batch: &Batch) -> Result<(), OutOfBounds> {
        batch.ancestors.iter().try_for_each(|ancestors| self.check_ancestors(ancestors))?;
        batch.rows.iter().try_for_each(|row| self.check_row(row))?;
        let num_logit_rows = batch.rows.iter().filter(|row| row.wants_logits).count();
        batch.sampling.iter().try_for_each(|group| self.check_sampling(group, num_logit_rows))
    }

    fn check_row(&self, row: &RowOrder) -> Result<(), OutOfBounds> {
        all_below("token", &row.tokens, self.vocab)?;
        below("row without a token", 0, row.tokens.len())?;
        let end = row.position.saturating_add(row.tokens.len());
        below("position", end.saturating_sub(1), self.max_positions)?;
        below("number of page tables", row.tables.len(), self.pages_per_group.len() + 1)?;
        for (table, num_pages) in row.tables.iter().zip(&self.pages_per_group) {
            all_below("page", &table.pages, *num_pages)?;
            below("first position of a table", table.first_position, row.position + 1)?;
            let covered = table.first_position + table.pages.len() * PAGE_TOKENS;
            below("position without a page", end, covered + 1)?;
        }
        Ok(())
    }

    /// How many rows there were before, only the tail pages say; parents of a group that copies
    /// none are not looked up.
    fn check_ancestors(&self, ancestors: &AncestorsOrder) -> Result<(), OutOfBounds> {
        for (copies, num_pages) in ancestors.copies.iter().zip(&self.pages_per_group) {
            let CopyOrder { tail_pages, rows, target_pages } = copies;
            if rows.is_empty() {
                continue;
            }
            all_below("tail page", tail_pages, *num_pages)?;
            all_below("target page", target_pages, *num_pages)?;
            all_below("row to copy for", rows, ancestors.parents.len())?;
            all_below("parent", &ancestors.parents, tail_pages.len())?;
        }
        Ok(())
    }

    fn check_sampling(
        &self,
        group: &GroupSampling,
        num_logit_rows: usize,
    ) -> Result<(), OutOfBounds> {
        below("end of logit rows", group.logit_rows.end, num_logit_rows + 1)?;
        below("start of logit rows", group.logit_rows.start, group.logit_rows.end + 1)?;
        let num_rows = group.logit_rows.len();
        below("number of sampled rows", group.rows.len(), num_rows + 1)?;
        below("logit row that nobody samples", num_rows, group.rows.len() + 1)?;
        all_below("end token", &group.params.eos, self.vocab)?;
        let counts = group.rows.iter().flat_map(|row| &row.counts);
        counts
            .map(|count| count.token as usize)
            .try_for_each(|it| below("counted token", it, self.vocab))
    }
}

fn all_below(what: &'static str, found: &[u32], limit: usize) -> Result<(), OutOfBounds> {
    found.iter().try_for_each(|found| below(what, *found as usize, limit))
}

fn below(what: &'static str, found: usize, limit: usize) -> Result<(), OutOfBounds> {
    if found < limit { Ok(()) } else { Err(OutOfBounds { what, found, limit }) }
}

#[cfg(test)]
mod tests {
    use std::{ops::Range, sync::Arc};

    use super::*;
    use crate::messages::{
        GroupId, MaskRule, MicrobatchId, RowSampling, SamplingParams, TableOrder, TokenCount,
    };

    fn bounds() -> OrderBounds {
        OrderBounds { vocab: 100, max_positions: 40, pages_per_group: vec![4, 2] }
    }

    /// A row of three tokens in the second page of its sequence, and a copy of one tail page.
    fn batch() -> Batch {
        let table =
            |pages: &[u32]| TableOrder { first_position: 0, pages: Arc::new(pages.to_vec()) };
        let copies = CopyOrder { tail_pages: vec![3], rows: vec![1], target_pages: vec![0] };
        let sampling = GroupSampling {
            group: GroupId(1),
            logit_rows: 0..1,
            params: Arc::new(SamplingParams::greedy(vec![99])),
            rows: vec![RowSampling {
                mask: MaskRule::Free,
                step: 0,
                counts: vec![TokenCount { token: 98, in_output: 1 }],
                draws: Vec::new(),
            }],
        };
        Batch {
            microbatch: MicrobatchId(1),
            ancestors: vec![AncestorsOrder {
                group: GroupId(1),
                epoch: 1,
                parents: vec![0, 0],
                copies: vec![copies, CopyOrder::default()],
            }],
            rows: vec![RowOrder {
                group: GroupId(1),
                tokens: vec![1, 99, 3],
                position: 16,
                tables: vec![table(&[3, 0]), table(&[1, 0])],
                wants_logits: true,
            }],
            sampling: vec![sampling],
        }
    }

    #[test]
    fn every_number_of_an_order_is_checked() {
        #[track_caller]
        fn check(change: fn(&mut Batch), want: &str) {
            let mut batch = batch();
            change(&mut batch);
            let error = bounds().check(&batch).unwrap_err();
            assert_eq!(error.to_string(), format!("an order has {want}"));
        }
        assert_eq!(bounds().check(&batch()), Ok(()));
        check(|it| it.rows[0].tokens[1] = 100, "token 100, wanted one below 100");
        check(|it| it.rows[0].position = 38, "position 40, wanted one below 40");
        check(
            |it| Arc::make_mut(&mut it.rows[0].tables[1].pages)[0] = 2,
            "page 2, wanted one below 2",
        );
        let wanted = "position without a page 34, wanted one below 33";
        check(|it| it.rows[0].position = 31, wanted);
        let tables: fn(&mut Batch) = |it| {
            it.rows[0].tables =
                vec![TableOrder { first_position: 0, pages: Arc::new(vec![0; 3]) }; 3];
        };
        check(tables, "number of page tables 3, wanted one below 3");
        check(|it| it.ancestors[0].copies[0].tail_pages[0] = 4, "tail page 4, wanted one below 4");
        check(
            |it| it.ancestors[0].copies[0].target_pages[0] = 9,
            "target page 9, wanted one below 4",
        );
        check(|it| it.ancestors[0].copies[0].rows[0] = 2, "row to copy for 2, wanted one below 2");
        check(|it| it.ancestors[0].parents[1] = 1, "parent 1, wanted one below 1");
        check(|it| it.rows[0].tokens.clear(), "row without a token 0, wanted one below 0");
        check(
            |it| it.rows[0].position = usize::MAX,
            &format!("position {}, wanted one below 40", usize::MAX - 1),
        );
        check(
            |it| it.rows[0].tables[0].first_position = 17,
            "first position of a table 17, wanted one below 17",
        );
        check(|it| it.rows[0].wants_logits = false, "end of logit rows 1, wanted one below 1");
        check(
            |it| it.sampling[0].rows.clear(),
            "logit row that nobody samples 1, wanted one below 1",
        );
        let backwards = "start of logit rows 1, wanted one below 1";
        check(|it| it.sampling[0].logit_rows = Range { start: 1, end: 0 }, backwards);
        let more: fn(&mut Batch) = |it| it.sampling[0].logit_rows = 0..0;
        check(more, "number of sampled rows 1, wanted one below 1");
        check(
            |it| it.sampling[0].rows[0].counts[0].token = 100,
            "counted token 100, wanted one below 100",
        );
        let eos: fn(&mut Batch) =
            |it| it.sampling[0].params = Arc::new(SamplingParams::greedy(vec![100]));
        check(eos, "end token 100, wanted one below 100");
    }
}
