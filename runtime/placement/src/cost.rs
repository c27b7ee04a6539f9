//! Memory sizes of spans of units, for the planner.

use sluicegate_spec::{
    config::KvGroup,
    device::DeviceId,
    kv::PAGE_TOKENS,
    profile::{BatchShape, ModelProfile},
    units::{Bytes, UnitRange},
};

use super::{load::Load, policy::Policy, stages::Stages};

/// Returns the pages of each KV group for a cache of `num_pages * PAGE_TOKENS` tokens.
///
/// A layer with a window returns pages that have left it. So no sequence holds more than the
/// window, one incoming chunk, and the page that both ends share.
pub(super) fn pages_per_group(
    profile: &ModelProfile,
    policy: &Policy,
    num_pages: usize,
    at_once: AtOnce,
) -> Vec<usize> {
    let pages = |group: &KvGroup| match group {
        KvGroup::Full => num_pages,
        KvGroup::Window(window) => {
            let positions = window.saturating_add(at_once.tokens(profile, policy));
            let row_pages = positions.div_ceil(PAGE_TOKENS).saturating_add(1);
            num_pages.min(at_once.sequences.saturating_mul(row_pages))
        }
    };
    profile.kv_groups.iter().map(pages).collect()
}

/// How much runs at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AtOnce {
    pub(super) sequences: usize,
    /// Rows of the largest microbatch.
    pub(super) rows: usize,
}

impl AtOnce {
    /// The least possible.
    pub(super) const ONE: Self = Self { sequences: 1, rows: 1 };

    /// Spreads sequences over `num_microbatches` microbatches.
    pub(super) fn new(sequences: usize, num_microbatches: usize) -> Self {
        Self { sequences, rows: sequences.div_ceil(num_microbatches) }
    }

    /// Returns the most new tokens of a microbatch: a chunk, or its rows and their share of the
    /// prompts.
    pub(super) fn tokens(self, profile: &ModelProfile, policy: &Policy) -> usize {
        policy.chunk_tokens.max(Load::average(profile, policy, self.rows).num_tokens())
    }
}

/// The memory of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StageBytes {
    pub(super) weights: u128,
    pub(super) kv: u128,
    pub(super) workspace: u128,
}

impl StageBytes {
    pub(super) fn total(self) -> u128 {
        self.weights + self.kv + self.workspace
    }
}

/// The sizes of all units for a given cache, as prefix sums: the size of a span is one subtraction.
///
/// In 128 bits, so that sums of hostile sizes do not overflow.
#[derive(Debug, Clone)]
pub(super) struct Sizes {
    /// Weights of the units before each unit; the last entry covers all units.
    weights: Vec<u128>,
    /// Cache of the units before each unit; the last entry covers all units.
    kv: Vec<u128>,
    /// Workspace of each unit; a stage reuses one workspace for all its units.
    workspace: Vec<u128>,
    /// The embedding copy that a span needs if it has the head but not the embedding.
    tied_copy: u128,
}

impl Sizes {
    pub(super) fn new(
        profile: &ModelProfile,
        policy: &Policy,
        pages_per_group: &[usize],
        at_once: AtOnce,
    ) -> Self {
        let shape = BatchShape {
            tokens: at_once.tokens(profile, policy),
            rows: at_once.rows,
            positions: policy.context(profile.max_positions),
        };
        let mut sizes = Self {
            weights: vec![0],
            kv: vec![0],
            workspace: Vec::new(),
            tied_copy: profile.tied_embedding_bytes.0.into(),
        };
        let (mut weights, mut kv) = (0_u128, 0_u128);
        for unit in &profile.units {
            weights += u128::from(unit.weight_bytes.0);
            kv += unit.kv.map_or(0, |cache| {
                let pages = pages_per_group[cache.group_idx] as u128;
                // The cap is far above any memory and low enough that sums over layers cannot
                // overflow.
                (pages * PAGE_TOKENS as u128)
                    .saturating_mul(cache.bytes_per_token.0.into())
                    .min(1 << 100)
            });
            sizes.weights.push(weights);
            sizes.kv.push(kv);
            sizes.workspace.push(unit.workspace.bytes(shape).0.into());
        }
        sizes
    }

    pub(super) fn num_units(&self) -> usize {
        self.workspace.len()
    }

    /// Returns the memory of a stage with these units.
    pub(super) fn span(&self, units: UnitRange) -> StageBytes {
        let UnitRange { start, end } = units;
        let kv = self.kv[end] - self.kv[start];
        StageBytes {
            weights: self.stored(units) - kv,
            kv,
            workspace: self.workspace[start..end].iter().copied().max().unwrap_or(0),
        }
    }

    /// As [`Sizes::span`], for a device that already holds the embedding in another stage.
    pub(super) fn span_beside_embedding(&self, units: UnitRange) -> StageBytes {
        let span = self.span(units);
        let copy = if units.end == self.num_units() { self.tied_copy(units.start) } else { 0 };
        StageBytes { weights: span.weights - copy, ..span }
    }

    /// Returns the memory of each stage. A tied head shares an embedding on the same device.
    pub(super) fn spans(&self, stages: &Stages) -> Vec<StageBytes> {
        let embedding = stages.first().map(|(device, _)| *device);
        let span = |(stage_idx, (device, units)): (usize, &(DeviceId, UnitRange))| {
            if stage_idx > 0 && Some(*device) == embedding {
                self.span_beside_embedding(*units)
            } else {
                self.span(*units)
            }
        };
        stages.iter().enumerate().map(span).collect()
    }

    /// Returns weights and cache of a stage, including the embedding copy that a tied head needs
    /// away from it.
    pub(super) fn stored(&self, units: UnitRange) -> u128 {
        let UnitRange { start, end } = units;
        let copy = if end == self.num_units() { self.tied_copy(start) } else { 0 };
        self.weights[end] - self.weights[start] + self.kv[end] - self.kv[start] + copy
    }

    /// Returns the embedding copy of a span from `start` that has the head.
    pub(super) fn tied_copy(&self, start: usize) -> u128 {
        if start > 0 { self.tied_copy } else { 0 }
    }

    /// Returns the workspace of one unit.
    pub(super) fn workspace(&self, unit_idx: usize) -> u128 {
        self.workspace[unit_idx]
    }
}

/// Converts a size for people and plans; saturates at 64 bits.
pub(super) fn bytes(size: u128) -> Bytes {
    Bytes(u64::try_from(size).unwrap_or(u64::MAX))
}
