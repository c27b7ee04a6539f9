//! What a stage computes and keeps: its epoch, its incarnation, and pages of hashes.

use sluicegate_spec::{config::KvGroup, epoch::Epoch, kv::PAGE_TOKENS};

use super::{
    error::SimulationError,
    value::{attend, cached, embed},
};
use crate::{
    messages::{AncestorsOrder, Batch, CopyOrder, GroupId, MicrobatchId, RowOrder},
    scheduler::SchedulerConfig,
};

/// The part of a stage that executes orders.
#[derive(Debug)]
pub(super) struct Shadow {
    stage: usize,
    incarnation: u32,
    epoch: Epoch,
    /// Per KV group; none if only time is simulated.
    pages: Option<Vec<Pages>>,
}

#[derive(Debug)]
struct Pages {
    kv_group: KvGroup,
    slots: Vec<Option<u64>>,
}

/// Where a value is looked up.
#[derive(Debug, Clone, Copy)]
struct Lookup<'a> {
    stage: usize,
    kv_idx: usize,
    row: &'a RowOrder,
}

impl Shadow {
    /// A stage of a new pipeline, its pages empty.
    pub(super) fn new(
        stage: usize,
        incarnation: u32,
        config: &SchedulerConfig,
        keeps_pages: bool,
    ) -> Self {
        let groups = config.kv_groups.iter().zip(&config.pages_per_group);
        let pages = groups.map(|(&kv_group, num_pages)| Pages {
            kv_group,
            slots: vec![None; num_pages * PAGE_TOKENS],
        });
        let pages = keeps_pages.then(|| pages.collect());
        Self { stage, incarnation, epoch: Epoch::default(), pages }
    }

    /// Executes a batch: first its reorders, then its rows, on one value for each token.
    pub(super) fn run(
        &mut self,
        incarnation: u32,
        batch: &Batch,
        values: Vec<u64>,
    ) -> Result<Vec<u64>, SimulationError> {
        self.check_incarnation(batch.microbatch, incarnation)?;
        for reorder in &batch.ancestors {
            self.reorder(reorder)?;
        }
        let rows = &batch.rows;
        let mut values = if self.stage == 0 { embed_rows(rows) } else { values };
        let stage = self.stage;
        for (kv_idx, pages) in self.pages.iter_mut().flatten().enumerate() {
            let mut start = 0;
            for row in rows {
                let values = &values[start..start + row.tokens.len()];
                pages.write(Lookup { stage, kv_idx, row }, values)?;
                start += values.len();
            }
            start = 0;
            for row in rows {
                let values = &mut values[start..start + row.tokens.len()];
                pages.read(Lookup { stage, kv_idx, row }, values)?;
                start += values.len();
            }
        }
        Ok(values)
    }

    fn check_incarnation(
        &self,
        microbatch: MicrobatchId,
        found: u32,
    ) -> Result<(), SimulationError> {
        let Self { stage, incarnation: wanted, .. } = *self;
        if wanted == found {
            return Ok(());
        }
        Err(SimulationError::Incarnation { stage, microbatch, wanted, found })
    }

    fn reorder(&mut self, order: &AncestorsOrder) -> Result<(), SimulationError> {
        let (stage, group) = (self.stage, order.group);
        let epoch = self.epoch.after(order.epoch);
        self.epoch = epoch.map_err(|source| SimulationError::Epoch { stage, group, source })?;
        for (kv_idx, (pages, copy)) in
            self.pages.iter_mut().flatten().zip(&order.copies).enumerate()
        {
            pages.copy_on_write(order, copy, (stage, kv_idx))?;
        }
        Ok(())
    }
}

impl Pages {
    /// All pages are read before one is written, as the stages do.
    fn copy_on_write(
        &mut self,
        order: &AncestorsOrder,
        copy: &CopyOrder,
        (stage, kv_idx): (usize, usize),
    ) -> Result<(), SimulationError> {
        let group = order.group;
        let mut tails = Vec::with_capacity(copy.rows.len());
        for row in &copy.rows {
            let parent = look_up(&order.parents, *row, group)?;
            let page = look_up(&copy.tail_pages, parent, group)?;
            tails.push(self.page(page, group, (stage, kv_idx))?.to_vec());
        }
        for (target, tail) in copy.target_pages.iter().zip(tails) {
            self.page(*target, group, (stage, kv_idx))?.copy_from_slice(&tail);
        }
        Ok(())
    }

    fn write(&mut self, at: Lookup<'_>, values: &[u64]) -> Result<(), SimulationError> {
        let Lookup { stage, kv_idx, row } = at;
        for (value, position) in values.iter().zip(row.position..) {
            let page = page_of(at, position)?;
            let page = self.page(page, row.group, (stage, kv_idx))?;
            page[position % PAGE_TOKENS] = Some(cached(*value, stage, kv_idx));
        }
        Ok(())
    }

    /// Lets each value attend to what its window shows it, itself included.
    fn read(&self, at: Lookup<'_>, values: &mut [u64]) -> Result<(), SimulationError> {
        for (value, position) in values.iter_mut().zip(at.row.position..) {
            let first = match self.kv_group {
                KvGroup::Full => 0,
                KvGroup::Window(window) => (position + 1).saturating_sub(window),
            };
            let history = (first..=position).map(|position| self.slot(at, position));
            *value = attend(*value, history)?;
        }
        Ok(())
    }

    fn slot(&self, at: Lookup<'_>, position: usize) -> Result<u64, SimulationError> {
        let Lookup { stage, kv_idx, row } = at;
        let (group, page) = (row.group, page_of(at, position)?);
        let slot = page as usize * PAGE_TOKENS + position % PAGE_TOKENS;
        let found = self.slots.get(slot);
        let found = found.ok_or(SimulationError::NoPage { stage, group, kv_idx, page })?;
        found.ok_or(SimulationError::Unwritten { stage, group, kv_idx, position })
    }

    fn page(
        &mut self,
        page: u32,
        group: GroupId,
        (stage, kv_idx): (usize, usize),
    ) -> Result<&mut [Option<u64>], SimulationError> {
        let start = page as usize * PAGE_TOKENS;
        let found = self.slots.get_mut(start..start + PAGE_TOKENS);
        found.ok_or(SimulationError::NoPage { stage, group, kv_idx, page })
    }
}

fn embed_rows(rows: &[RowOrder]) -> Vec<u64> {
    let tokens = rows.iter().flat_map(|row| row.tokens.iter().zip(row.position..));
    tokens.map(|(token, position)| embed(*token, position)).collect()
}

fn page_of(at: Lookup<'_>, position: usize) -> Result<u32, SimulationError> {
    let Lookup { kv_idx, row, .. } = at;
    let table = &row.tables[kv_idx];
    let page_idx = position.checked_sub(table.first_position).map(|offset| offset / PAGE_TOKENS);
    let page = page_idx.and_then(|page_idx| table.pages.get(page_idx)).copied();
    page.ok_or(SimulationError::NotInTable { group: row.group, kv_idx, position })
}

fn look_up(values: &[u32], row: u32, group: GroupId) -> Result<u32, SimulationError> {
    let found = values.get(row as usize).copied();
    found.ok_or(SimulationError::NoRow { group, row, num_rows: values.len() })
}
