//! Links: the plan's list of transfers made into the only way between devices.

use sluicegate_model::placed::{Misplaced, Placed, Site};
use sluicegate_placement::{Endpoint, Transfer, TransferKind};
use sluicegate_spec::device::DeviceId;
use tracing::trace_span;

use super::{
    devices::{Devices, make_current},
    ledger::Ledger,
    payload::Payload,
};

/// Why a value did not cross.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error("a value is not where its link begins")]
    Misplaced(#[from] Misplaced),
    #[error("copying {kind} from {source_device} to {target_device} failed")]
    Copy {
        kind: TransferKind,
        source_device: DeviceId,
        target_device: DeviceId,
        #[source]
        error: candle_core::Error,
    },
}

/// The transfers that a plan foresees. What it does not foresee is not moved.
#[derive(Debug, Clone)]
pub struct Links {
    links: Vec<Link>,
    ledger: Ledger,
}

#[derive(Debug, Clone)]
struct Link {
    transfer: Transfer,
    source: candle_core::Device,
    target: candle_core::Device,
}

impl Links {
    /// Makes a link of each transfer.
    ///
    /// `devices` holds every source and target.
    pub fn new(transfers: &[Transfer], devices: &Devices, ledger: Ledger) -> Self {
        let device = |id| devices.get(id).unwrap_or(candle_core::Device::Cpu);
        let link = |transfer: &Transfer| Link {
            transfer: *transfer,
            source: device(transfer.source_device),
            target: device(transfer.target_device),
        };
        Self { links: transfers.iter().map(link).collect(), ledger }
    }

    /// Where transfers are counted.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Carries a copy of `value` from one end to the other.
    ///
    /// Where the plan has no such transfer the value stays where it is: right for two stages on one
    /// device, and for a forgotten transfer the error comes from the operation that needs the value.
    ///
    /// # Errors
    /// [`TransferError`] if the value is not at the link's source, or the copy fails.
    pub fn carry<T: Payload>(
        &self,
        value: &Placed<T>,
        source: Endpoint,
        target: Endpoint,
    ) -> Result<Placed<T>, TransferError> {
        let is_wanted = |link: &&Link| {
            let transfer = &link.transfer;
            transfer.kind == T::KIND && transfer.source == source && transfer.target == target
        };
        match self.links.iter().find(is_wanted) {
            Some(link) => link.carry(value, &self.ledger),
            None => Ok(value.clone()),
        }
    }
}

impl Link {
    fn carry<T: Payload>(
        &self,
        value: &Placed<T>,
        ledger: &Ledger,
    ) -> Result<Placed<T>, TransferError> {
        let Transfer { kind, source_device, target_device, .. } = self.transfer;
        let site = Site { operation: "transfer", unit: None, with: "link", device: source_device };
        let value = value.at(&site)?;
        let size = value.size();
        let _span = trace_span!("link.transfer", kind = %kind, bytes = size.bytes).entered();
        let copied = value.copy_to(&self.target);
        // The thread is its source's, and goes on there.
        let copied = copied.and_then(|copy| make_current(&self.source).map(|()| copy));
        let copy = copied.map_err(|error| TransferError::Copy {
            kind,
            source_device,
            target_device,
            error,
        })?;
        ledger.record(kind, source_device, target_device, size);
        Ok(Placed::new(copy, target_device))
    }
}
