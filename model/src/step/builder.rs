//! Makes a step of its rows.

use std::ops::Range;

use candle_core::{Result, Tensor};
use sluicegate_spec::kv::PAGE_TOKENS;

use super::{Step, StepRow, StepTables, TILE_TOKENS};

/// Collects the rows of a step on the host.
#[derive(Debug)]
pub struct StepBuilder {
    tokens: Vec<u32>,
    positions: Vec<u32>,
    rows: Vec<StepRow>,
    tiles: Vec<u32>,
    tables: Vec<Tables>,
    logit_tokens: Vec<u32>,
}

/// New tokens of one sequence.
#[derive(Debug, Clone)]
pub struct RowInput<'a> {
    pub tokens: &'a [u32],
    /// Its tokens before these.
    pub past: usize,
    /// Which of the new tokens' logits are wanted.
    pub logits: Range<usize>,
}

/// The pages of one sequence in one KV group.
#[derive(Debug, Clone, Copy)]
pub struct TableInput<'a> {
    /// Position of the first slot of the first page: a multiple of [`PAGE_TOKENS`].
    pub first_position: usize,
    /// In the order of positions. Those behind the last new token are left out.
    pub pages: &'a [u32],
}

#[derive(Debug, Default)]
struct Tables {
    write_slots: Vec<u32>,
    first_pages: Vec<u32>,
    first_positions: Vec<u32>,
    pages: Vec<u32>,
}

impl StepBuilder {
    /// A step without rows.
    pub fn new(num_groups: usize) -> Self {
        Self {
            tokens: Vec::new(),
            positions: Vec::new(),
            rows: Vec::new(),
            tiles: Vec::new(),
            tables: std::iter::repeat_with(Tables::default).take(num_groups).collect(),
            logit_tokens: Vec::new(),
        }
    }

    /// Adds a row, with its pages in each KV group.
    ///
    /// # Panics
    /// A group is missing, pages are fewer than the row's positions need, or there are 2^32 of
    /// anything: the scheduler gives none such.
    pub fn push<'a>(
        &mut self,
        row: &RowInput<'_>,
        tables: impl IntoIterator<Item = TableInput<'a>>,
    ) {
        let (start, end) = (self.tokens.len(), row.past + row.tokens.len());
        let span = start..start + row.tokens.len();
        for first in span.clone().step_by(TILE_TOKENS) {
            let num = TILE_TOKENS.min(span.end - first);
            self.tiles.extend([self.rows.len(), first, num].map(as_u32));
        }
        self.tokens.extend_from_slice(row.tokens);
        self.positions.extend((row.past..end).map(as_u32));
        self.logit_tokens.extend(row.logits.clone().map(|token| as_u32(start + token)));
        let mut tables = tables.into_iter();
        for group in &mut self.tables {
            group.push(&tables.next().expect("a row has pages in each group"), row.past..end);
        }
        self.rows.push(StepRow { span, past: row.past });
    }

    /// Joins all that a device needs in one vector, which `upload` makes a tensor of, and makes the
    /// step's tensors parts of that one.
    ///
    /// # Errors
    /// Those of `upload`, or its tensor is shorter than the vector.
    pub fn build(self, upload: impl FnOnce(Vec<u32>) -> Result<Tensor>) -> Result<Step> {
        let Self { tokens, positions, rows, tiles, tables, logit_tokens } = self;
        let num_groups = tables.len();
        let parts: Vec<Vec<u32>> = [tokens, positions, tiles, logit_tokens]
            .into_iter()
            .chain(tables.into_iter().flat_map(Tables::finish))
            .collect();
        let lengths: Vec<usize> = parts.iter().map(Vec::len).collect();
        let words = parts.concat();
        drop(parts);
        let packed = upload(words)?;
        let (mut start, mut lengths) = (0, lengths.into_iter());
        let mut next = || {
            let len = lengths.next().expect("there are as many parts as are taken");
            let part = packed.narrow(0, start, len);
            start += len;
            part
        };
        let (tokens, positions, tiles, logit_tokens) = (next()?, next()?, next()?, next()?);
        let tiles = tiles.reshape((tiles.elem_count() / 3, 3))?;
        let logit_tokens = Some(logit_tokens).filter(|tokens| tokens.elem_count() > 0);
        let tables = (0..num_groups).map(|_| {
            let (write_slots, first_pages) = (next()?, next()?);
            Ok(StepTables { write_slots, first_pages, first_positions: next()?, pages: next()? })
        });
        let tables = tables.collect::<Result<_>>()?;
        Ok(Step { tokens, positions, rows, tiles, tables, logit_tokens })
    }
}

impl Tables {
    fn push(&mut self, table: &TableInput<'_>, new: Range<usize>) {
        let TableInput { first_position, pages } = *table;
        let slot = |position: usize| {
            let index = position - first_position;
            as_u32(pages[index / PAGE_TOKENS] as usize * PAGE_TOKENS + index % PAGE_TOKENS)
        };
        let num_pages = (new.end - first_position).div_ceil(PAGE_TOKENS);
        self.write_slots.extend(new.map(slot));
        self.first_pages.push(as_u32(self.pages.len()));
        self.first_positions.push(as_u32(first_position));
        self.pages.extend_from_slice(&pages[..num_pages]);
    }

    /// The parts in the order of [`StepTables`].
    fn finish(mut self) -> [Vec<u32>; 4] {
        self.first_pages.push(as_u32(self.pages.len()));
        [self.write_slots, self.first_pages, self.first_positions, self.pages]
    }
}

fn as_u32(number: usize) -> u32 {
    u32::try_from(number).expect("positions and slots are below 2^32")
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a test makes its input")]
    fn built(step: StepBuilder) -> Step {
        step.build(|words| Tensor::new(words, &Device::Cpu)).unwrap()
    }

    #[expect(clippy::disallowed_methods, reason = "a test reads what it made")]
    fn read(tensor: &Tensor) -> Vec<u32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn rows_are_packed_one_after_another() {
        let mut step = StepBuilder::new(2);
        let decoded = RowInput { tokens: &[7], past: 17, logits: 0..1 };
        let prompt: Vec<u32> = (100..110).collect();
        let prefilled = RowInput { tokens: &prompt, past: 0, logits: 9..10 };
        let table = |first_position, pages| TableInput { first_position, pages };
        step.push(&decoded, [table(0, &[4, 9, 5]), table(16, &[3])]);
        step.push(&prefilled, [table(0, &[2]), table(0, &[1])]);
        let step = built(step);
        assert_eq!(read(&step.tokens)[..3], [7, 100, 101]);
        assert_eq!(read(&step.positions)[..3], [17, 0, 1]);
        assert_eq!(read(&step.tiles), [0, 0, 1, 1, 1, 8, 1, 9, 2]);
        assert_eq!(read(step.logit_tokens.as_ref().unwrap()), [0, 10]);
        let [full, window] = &step.tables[..] else { panic!("two groups") };
        assert_eq!(read(&full.write_slots)[..3], [9 * 16 + 1, 32, 33]);
        assert_eq!(read(&full.first_pages), [0, 2, 3]);
        assert_eq!(read(&full.pages), [4, 9, 2], "pages behind the last token are left out");
        assert_eq!(read(&window.write_slots)[..2], [3 * 16 + 1, 16]);
        assert_eq!(read(&window.first_positions), [16, 0]);
        assert_eq!(read(&window.pages), [3, 1]);
        let words = 11 + 11 + 9 + 2 + (11 + 3 + 2 + 3) + (11 + 3 + 2 + 2);
        assert_eq!(step.num_bytes(), 4 * words);
    }

    #[test]
    fn no_index_tensor_is_empty() {
        let mut step = StepBuilder::new(1);
        let row = RowInput { tokens: &[5, 6], past: 0, logits: 0..0 };
        step.push(&row, [TableInput { first_position: 0, pages: &[2] }]);
        assert!(built(step).logit_tokens.is_none());
    }
}
