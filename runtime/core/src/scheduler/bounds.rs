//! What the numbers of an order may reach.
//!
//! A kernel of a GPU that indexes out of range ends the whole process, where one of a CPU returns
//! an error. So every number is checked on the host, once, before it leaves.

use std::ops::Range;

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

/// A batch that stages cannot execute.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OutOfBounds {
    /// A number indexes nothing.
    #[error("a batch has {what} {found}, wanted one below {limit}")]
    TooLarge { what: &'static str, found: usize, limit: usize },
    /// Things do not go together.
    #[error("a batch has {found} {what}, wanted {wanted}")]
    Number { what: &'static str, found: usize, wanted: usize },
    #[error("a batch has no {what}")]
    Empty { what: &'static str },
}

impl OrderBounds {
    /// Checks everything in a batch that a stage indexes by.
    ///
    /// # Errors
    /// [`OutOfBounds`] for the first thing that a stage could not execute.
    pub fn check(&self, batch: &Batch) -> Result<(), OutOfBounds> {
        batch.ancestors.iter().try_for_each(|ancestors| self.check_ancestors(ancestors))?;
        not_empty("rows", &batch.rows)?;
        batch.rows.iter().try_for_each(|row| self.check_row(row))?;
        // Each logit row is sampled by one group, in order.
        let mut num_sampled = 0;
        for group in &batch.sampling {
            let Range { start, end } = group.logit_rows;
            not_empty("logit rows of a group", &group.rows)?;
            number("as first logit row of a group", start, num_sampled)?;
            number("logit rows of a group", end.saturating_sub(start), group.rows.len())?;
            self.check_sampling(group)?;
            num_sampled = end;
        }
        let num_logit_rows = batch.rows.iter().filter(|row| row.wants_logits).count();
        number("logit rows that are sampled", num_sampled, num_logit_rows)
    }

    fn check_row(&self, row: &RowOrder) -> Result<(), OutOfBounds> {
        not_empty("tokens in a row", &row.tokens)?;
        all_below("token", &row.tokens, self.vocab)?;
        let end = row.position.saturating_add(row.tokens.len());
        below("position", end - 1, self.max_positions)?;
        number("page tables in a row", row.tables.len(), self.pages_per_group.len())?;
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
            number("pages to copy to", target_pages.len(), rows.len())?;
            all_below("tail page", tail_pages, *num_pages)?;
            all_below("target page", target_pages, *num_pages)?;
            all_below("row to copy for", rows, ancestors.parents.len())?;
            all_below("parent", &ancestors.parents, tail_pages.len())?;
        }
        Ok(())
    }

    fn check_sampling(&self, group: &GroupSampling) -> Result<(), OutOfBounds> {
        let params = &group.params;
        all_below("end token", &params.eos, self.vocab)?;
        let counts = group.rows.iter().flat_map(|row| &row.counts);
        let mut counted = counts.map(|count| count.token as usize);
        counted.try_for_each(|token| below("counted token", token, self.vocab))
    }
}

fn all_below(what: &'static str, found: &[u32], limit: usize) -> Result<(), OutOfBounds> {
    found.iter().try_for_each(|found| below(what, *found as usize, limit))
}

fn below(what: &'static str, found: usize, limit: usize) -> Result<(), OutOfBounds> {
    if found < limit { Ok(()) } else { Err(OutOfBounds::TooLarge { what, found, limit }) }
}

fn number(what: &'static str, found: usize, wanted: usize) -> Result<(), OutOfBounds> {
    if found == wanted { Ok(()) } else { Err(OutOfBounds::Number { what, found, wanted }) }
}

fn not_empty<T>(what: &'static str, found: &[T]) -> Result<(), OutOfBounds> {
    if found.is_empty() { Err(OutOfBounds::Empty { what }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

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
            assert_eq!(error.to_string(), format!("a batch has {want}"));
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
        check(tables, "3 page tables in a row, wanted 2");
        check(|it| drop(it.rows[0].tables.pop()), "1 page tables in a row, wanted 2");
        check(|it| it.ancestors[0].copies[0].tail_pages[0] = 4, "tail page 4, wanted one below 4");
        check(
            |it| it.ancestors[0].copies[0].target_pages[0] = 9,
            "target page 9, wanted one below 4",
        );
        check(|it| it.ancestors[0].copies[0].rows[0] = 2, "row to copy for 2, wanted one below 2");
        check(|it| it.ancestors[0].parents[1] = 1, "parent 1, wanted one below 1");
        check(|it| it.ancestors[0].copies[0].rows.push(0), "1 pages to copy to, wanted 2");
        check(|it| it.rows.clear(), "no rows");
        check(|it| it.rows[0].tokens.clear(), "no tokens in a row");
        let last = usize::MAX - 1;
        check(
            |it| it.rows[0].position = usize::MAX,
            &format!("position {last}, wanted one below 40"),
        );
        check(
            |it| it.rows[0].tables[0].first_position = 17,
            "first position of a table 17, wanted one below 17",
        );
        check(|it| it.rows[0].wants_logits = false, "1 logit rows that are sampled, wanted 0");
        check(|it| it.sampling.clear(), "0 logit rows that are sampled, wanted 1");
        check(|it| it.sampling[0].rows.clear(), "no logit rows of a group");
        let too_few: fn(&mut Batch) = |it| it.sampling[0].logit_rows.end = 2;
        check(too_few, "2 logit rows of a group, wanted 1");
        // A group between two others that takes back what the first one had.
        let back: fn(&mut Batch) = |it| {
            it.rows = vec![it.rows[0].clone(); 3];
            let group = it.sampling[0].clone();
            let of = |logit_rows: Range<usize>, num_rows: usize| GroupSampling {
                logit_rows,
                rows: vec![group.rows[0].clone(); num_rows],
                ..group.clone()
            };
            it.sampling = vec![of(0..3, 3), of(Range { start: 3, end: 1 }, 0), of(1..3, 2)];
        };
        check(back, "no logit rows of a group");
        let backwards: fn(&mut Batch) = |it| it.sampling[0].logit_rows = Range { start: 1, end: 0 };
        check(backwards, "1 as first logit row of a group, wanted 0");
        let twice: fn(&mut Batch) = |it| it.sampling.push(it.sampling[0].clone());
        check(twice, "0 as first logit row of a group, wanted 1");
        check(
            |it| it.sampling[0].rows[0].counts[0].token = 100,
            "counted token 100, wanted one below 100",
        );
        let eos: fn(&mut Batch) =
            |it| it.sampling[0].params = Arc::new(SamplingParams::greedy(vec![100]));
        check(eos, "end token 100, wanted one below 100");
    }
}
