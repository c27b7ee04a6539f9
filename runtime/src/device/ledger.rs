//! Every byte that crossed a device border, counted at the link from the value itself.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;
use sluicegate_core::messages::Masks;
use sluicegate_placement::{Transfer, TransferKind, TransferRoute};
use sluicegate_spec::{device::DeviceId, units::Bytes};

use super::{counts::MaskCounts, payload::PayloadSize};

/// Counts per kind, source, target and route. Clones count into the same ledger.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    entries: Arc<Mutex<Entries>>,
    masks: Arc<Mutex<MaskCounts>>,
}

type Entries = BTreeMap<(TransferKind, DeviceId, DeviceId, TransferRoute), LedgerEntry>;

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LedgerEntry {
    pub kind: TransferKind,
    pub source: DeviceId,
    pub target: DeviceId,
    pub route: TransferRoute,
    pub transfers: u64,
    /// As they crossed.
    pub bytes: u64,
    /// As they would have crossed without being encoded.
    pub raw_bytes: u64,
}

impl Ledger {
    /// Counts one transfer.
    pub fn record(&self, transfer: &Transfer, size: PayloadSize) {
        let Transfer { kind, source_device: source, target_device: target, route, .. } = *transfer;
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.entry((kind, source, target, route)).or_insert_with(|| LedgerEntry {
            kind,
            source,
            target,
            route,
            transfers: 0,
            bytes: 0,
            raw_bytes: 0,
        });
        entry.transfers += 1;
        entry.bytes += size.bytes as u64;
        entry.raw_bytes += size.raw_bytes as u64;
    }

    /// Takes note of the forms of a microbatch's masks.
    pub fn count_masks(&self, masks: &Masks) {
        self.masks.lock().unwrap_or_else(PoisonError::into_inner).add(masks);
    }

    /// Takes note of tokens that followed of themselves, and of those that a constraint vetoed.
    pub fn count_tokens(&self, num_jump_forward: usize, num_vetoed: usize) {
        let mut masks = self.masks.lock().unwrap_or_else(PoisonError::into_inner);
        masks.jump_forward_tokens += num_jump_forward as u64;
        masks.vetoed_tokens += num_vetoed as u64;
    }

    /// What masks have been so far.
    pub fn masks(&self) -> MaskCounts {
        *self.masks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lines so far, by kind, source, target and route.
    pub fn entries(&self) -> Vec<LedgerEntry> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "kind       source     target     route       transfers        bytes    raw bytes"
        )?;
        for entry in self.entries() {
            let LedgerEntry { kind, source, target, route, transfers, bytes, raw_bytes } = entry;
            let (bytes, raw_bytes) = (Bytes(bytes), Bytes(raw_bytes));
            writeln!(
                f,
                "{kind:<10} {source:<10} {target:<10} {route:<11} {transfers:>9} {bytes:>12} {raw_bytes:>12}"
            )?;
        }
        let masks = self.masks();
        if masks.num_masks() > 0 {
            writeln!(f, "{masks}")?;
        }
        Ok(())
    }
}
