//! Keys and values of earlier tokens, in pages.
//!
//! Owns the memory and its copies. The scheduler decides which page belongs to which sequence.

mod element;

pub(crate) use element::{Numbers, NumbersMut};

use candle_core::{CpuStorage, InplaceOp3, Layout, Tensor, bail};

use crate::{
    error::{ForwardError, LoadError},
    home::{Executor, Home},
    kernels::Cache,
    rows::Rows,
    step::{Ancestors, PageCopies},
};
use sluicegate_spec::{
    config::ModelConfig,
    device::DeviceId,
    epoch::{Epoch, WrongEpoch},
    kv::{KvType, PAGE_TOKENS},
    placed::{Placed, Site},
    units::{Bytes, LayerRange, Unit},
};

/// The KV pages of a shard's layers.
pub struct KvPages {
    layers: Vec<LayerPages>,
    num_groups: usize,
    home: DeviceId,
    kv_type: KvType,
    executor: Executor,
    epoch: Epoch,
}

/// The pages of one layer.
pub struct LayerPages {
    pub unit: Unit,
    /// Index of its KV group among the model's.
    pub group_idx: usize,
    /// `[pages * 16, kv_heads * head_dim]`, of the pages' type.
    pub keys: Tensor,
    /// The same shape.
    pub values: Tensor,
}

/// Returns the bytes of one page in each of the model's KV groups, over `layers`.
pub fn page_bytes(config: &ModelConfig, layers: LayerRange, kv_type: KvType) -> Vec<Bytes> {
    let width = config.num_kv_heads * config.head_dim;
    let per_layer = (2 * PAGE_TOKENS * width * kv_type.num_bytes()) as u64;
    let num_layers = |group| layers.iter().filter(|idx| config.kv_group(*idx) == group).count();
    let groups = config.kv_groups();
    groups.into_iter().map(|group| Bytes(per_layer * num_layers(group) as u64)).collect()
}

impl KvPages {
    /// Allocates `pages_per_group` pages in each KV group of the model.
    ///
    /// # Errors
    /// The counts do not match the groups, or the device lacks the memory.
    pub fn new(
        config: &ModelConfig,
        layers: LayerRange,
        pages_per_group: &[usize],
        home: &Home,
    ) -> Result<Self, LoadError> {
        let groups = config.kv_groups();
        if groups.len() != pages_per_group.len() {
            return Err(LoadError::Groups { wanted: groups.len(), found: pages_per_group.len() });
        }
        let width = config.num_kv_heads * config.head_dim;
        let layer = |layer_idx: usize| {
            let group = config.kv_group(layer_idx);
            let group_idx = groups
                .iter()
                .position(|other| *other == group)
                .expect("the model's groups are those of its layers");
            let pages = pages_per_group[group_idx];
            let zeros = || {
                let shape = (pages * PAGE_TOKENS, width);
                Tensor::zeros(shape, element::dtype(home.kv_type), &home.device)
                    .map_err(|source| LoadError::Pages { pages, source })
            };
            let unit = Unit::Layer(layer_idx);
            Ok(LayerPages { unit, group_idx, keys: zeros()?, values: zeros()? })
        };
        let layers = layers.iter().map(layer).collect::<Result<_, LoadError>>()?;
        let num_groups = groups.len();
        let (executor, kv_type) = (home.executor.clone(), home.kv_type);
        let epoch = Epoch::default();
        Ok(Self { layers, num_groups, home: home.id, kv_type, executor, epoch })
    }

    /// Lets each row of the next step continue its ancestor, by copy-on-write of partly filled last
    /// pages.
    ///
    /// # Errors
    /// The ancestors are on another device, skip or repeat an epoch, or name pages out of range.
    pub fn reorder(
        &mut self,
        first_unit: Unit,
        ancestors: &Placed<Ancestors>,
    ) -> Result<(), ForwardError> {
        let site = |unit| Site {
            operation: "index_select",
            unit: Some(unit),
            with: "kv pages",
            device: self.home,
        };
        let first =
            ancestors.at(&site(self.layers.first().map_or(first_unit, |layer| layer.unit)))?;
        let epoch = self
            .epoch
            .after(first.epoch)
            .map_err(|WrongEpoch { wanted, found }| ForwardError::Epoch { wanted, found })?;
        if first.copies.len() != self.num_groups {
            return Err(ForwardError::Shape {
                unit: first_unit,
                value: "ancestors",
                wanted: vec![self.num_groups],
                found: vec![first.copies.len()],
            });
        }
        for layer in &self.layers {
            let ancestors = ancestors.at(&site(layer.unit))?;
            let Some(copies) = &ancestors.copies[layer.group_idx] else { continue };
            layer
                .copy_on_write(&ancestors.parents, copies, &self.executor)
                .map_err(|source| ForwardError::Tensor { unit: layer.unit, source })?;
        }
        self.epoch = epoch;
        Ok(())
    }

    /// Resets the epoch to the start.
    pub fn restart(&mut self) {
        self.epoch = Epoch::default();
    }

    pub(crate) fn layers(&self) -> &[LayerPages] {
        &self.layers
    }

    /// Returns the bytes of all pages.
    pub fn bytes(&self) -> Bytes {
        let elements: usize = self.layers.iter().map(|layer| 2 * layer.keys.elem_count()).sum();
        Bytes((elements * self.kv_type.num_bytes()) as u64)
    }
}

impl LayerPages {
    /// Writes `[tokens, kv_heads * head_dim]`, f32, at `slots`, `[tokens]`, u32, in a CPU's memory.
    pub(crate) fn write(
        &self,
        keys: &Tensor,
        values: &Tensor,
        slots: &Tensor,
    ) -> candle_core::Result<()> {
        for (pages, new) in [(&self.keys, keys), (&self.values, values)] {
            pages.inplace_op3(new, slots, &WriteSlots)?;
        }
        Ok(())
    }

    /// Copies the last page of each row's ancestor (copy-on-write). All pages are read before one
    /// is written, since a page may be the source of one row and the target of another.
    ///
    /// # Errors
    /// The device fails, or, on a CPU, an index is out of range. On a GPU that fails a later call.
    pub fn copy_on_write(
        &self,
        parents: &Tensor,
        copies: &PageCopies,
        executor: &Executor,
    ) -> candle_core::Result<()> {
        if !parents.device().is_cpu() {
            let cache = Cache { keys: &self.keys, values: &self.values };
            return executor.kernels.copy_tails(parents, copies, cache);
        }
        let earlier_rows = parents.index_select(&copies.rows, 0)?;
        let sources = copies.tail_pages.index_select(&earlier_rows, 0)?;
        for tensor in [&self.keys, &self.values] {
            let (num_slots, width) = tensor.dims2()?;
            let page_width = PAGE_TOKENS * width;
            let pages = tensor.reshape((num_slots / PAGE_TOKENS, page_width))?;
            let tails = pages.index_select(&sources, 0)?;
            let targets = copies.target_pages.unsqueeze(1)?;
            let num_copies = copies.target_pages.elem_count();
            let index = targets.broadcast_as((num_copies, page_width))?.contiguous()?;
            pages.scatter_set(&index, &tails, 0)?;
        }
        Ok(())
    }
}

/// Writes rows at slots, in CPU memory.
struct WriteSlots;

impl InplaceOp3 for WriteSlots {
    fn name(&self) -> &'static str {
        "write_slots"
    }

    fn cpu_fwd(
        &self,
        pages: &mut CpuStorage,
        pages_layout: &Layout,
        new: &CpuStorage,
        new_layout: &Layout,
        slots: &CpuStorage,
        slots_layout: &Layout,
    ) -> candle_core::Result<()> {
        let new = Rows::new(new, new_layout)?;
        let (num_slots, width) = pages_layout.shape().dims2()?;
        let mut pages = NumbersMut::new(pages, pages_layout)?;
        let Some((slots_start, slots_end)) = slots_layout.contiguous_offsets() else {
            bail!("slots are not contiguous");
        };
        let slots = &slots.as_slice::<u32>()?[slots_start..slots_end];
        if slots.len() != new.num || width != new.width {
            bail!("[{}, {}] written at {} slots of {width}", new.num, new.width, slots.len());
        }
        if let Some(slot) = slots.iter().find(|slot| **slot as usize >= num_slots) {
            bail!("slot {slot} is out of range for {num_slots}");
        }
        for (row, slot) in slots.iter().enumerate() {
            pages.write(*slot as usize * width, new.row(row));
        }
        Ok(())
    }
}
