//! Where a shard is at home.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::Device;
use sluicegate_spec::{device::DeviceId, kv::KvType};

use crate::{error::LoadError, threads::Threads, weights::Matrix};

/// The device of a shard and what it computes with.
#[derive(Debug, Clone)]
pub struct Home {
    /// The plan's name of the device.
    pub id: DeviceId,
    /// Where its tensors are.
    pub device: Device,
    /// What its loops on a CPU run on.
    pub threads: Threads,
    /// The type in which the shard keeps keys and values.
    pub kv_type: KvType,
    /// Shared by the shards of one device if one has the embedding and another the head.
    pub table: Option<SharedTable>,
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
