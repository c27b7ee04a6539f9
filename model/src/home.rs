//! Where a shard is at home.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::Device;
use sluicegate_spec::{device::DeviceId, kv::KvType};

use crate::{error::LoadError, kernels::Kernels, threads::Threads, weights::Matrix};

/// The device of a shard and what it computes with.
#[derive(Debug, Clone)]
pub struct Home {
    /// The plan's name of the device.
    pub id: DeviceId,
    /// Where its tensors are.
    pub device: Device,
    /// The type in which the shard keeps keys and values.
    pub kv_type: KvType,
    /// Shared by the shards of one device if one has the embedding and another the head.
    pub(crate) table: Option<SharedTable>,
    pub executor: Executor,
}

/// What a shard's operations run on. Clones share it.
#[derive(Debug, Clone)]
pub struct Executor {
    /// For loops on a CPU.
    pub(crate) threads: Threads,
    /// In place of loops on a GPU.
    pub(crate) kernels: Kernels,
}

impl Home {
    /// A shard's home on a device, with threads for what a CPU computes. The current thread's
    /// calls must be for that device.
    ///
    /// # Errors
    /// A GPU does not take the kernels.
    pub fn new(
        id: DeviceId,
        device: Device,
        threads: Threads,
        kv_type: KvType,
    ) -> Result<Self, LoadError> {
        let executor = Executor::new(threads, &device)?;
        Ok(Self { id, device, kv_type, table: None, executor })
    }

    /// The same, with a table that the shards of a device share.
    #[must_use]
    pub fn with_table(self, table: Option<SharedTable>) -> Self {
        Self { table, ..self }
    }
}

impl Executor {
    /// As [`Home::new`].
    ///
    /// # Errors
    /// A GPU does not take the kernels.
    pub fn new(threads: Threads, device: &Device) -> Result<Self, LoadError> {
        let kernels = Kernels::load(device).map_err(LoadError::Kernels)?;
        Ok(Self { threads, kernels })
    }

    /// Runs all loops in the calling thread of a CPU.
    #[cfg(test)]
    pub(crate) fn inline() -> Self {
        Self { threads: Threads::inline(), kernels: Kernels::default() }
    }
}

/// The embedding's weights, kept once for all shards of a device. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct SharedTable(Arc<Mutex<Option<Matrix>>>);

impl SharedTable {
    /// Returns the weights; the first caller loads them.
    pub(crate) fn get_or_load(
        &self,
        load: impl FnOnce() -> Result<Matrix, LoadError>,
    ) -> Result<Matrix, LoadError> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = &*table {
            return Ok(table.clone());
        }
        Ok(table.insert(load()?).clone())
    }
}
