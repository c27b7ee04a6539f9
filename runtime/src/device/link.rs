//! Links: the plan's list of transfers made into the only way between devices.
//!
//! A link has two ends, one that sends and one that receives. Each belongs to a thread and works on
//! that thread's device; what passes between them is an [`InTransit`].

use candle_core::Device;
use sluicegate_placement::{Endpoint, StageId, Transfer, TransferKind, TransferRoute};
use sluicegate_spec::{
    device::DeviceId,
    placed::{Misplaced, Placed, Site},
};
use tracing::trace_span;

use super::{
    devices::Devices,
    ledger::Ledger,
    loans::{Borrower, Loans, Proof},
    payload::{Payload, PayloadSize},
    upload::Uploader,
};

/// Why a value did not cross.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error("a value is not where its link begins")]
    Misplaced(#[from] Misplaced),
    #[error("{kind} for {found} arrived at the end of another link")]
    OtherLink { kind: TransferKind, found: DeviceId },
    #[error("copying {kind} from {source_device} to {target_device} failed")]
    Copy {
        kind: TransferKind,
        source_device: DeviceId,
        target_device: DeviceId,
        #[source]
        error: candle_core::Error,
    },
}

impl TransferError {
    pub(super) fn copy(transfer: &Transfer) -> impl FnOnce(candle_core::Error) -> Self + use<> {
        let Transfer { kind, source_device, target_device, .. } = *transfer;
        move |error| Self::Copy { kind, source_device, target_device, error }
    }
}

/// The transfers that a plan foresees. What it does not foresee is not moved.
#[derive(Debug, Clone)]
pub struct Links {
    transfers: Vec<Transfer>,
    devices: Devices,
    ledger: Ledger,
}

/// Where values leave.
#[derive(Debug, Clone)]
pub struct SendingEnd {
    transfers: Vec<Transfer>,
    ledger: Ledger,
    loans: Loans,
}

/// Where values arrive.
#[derive(Debug, Clone)]
pub struct ReceivingEnd {
    /// None where the plan has no transfer over this link: then nothing that has moved arrives.
    target: Option<DeviceId>,
    device: Device,
    /// Kept for as long as something may arrive.
    _borrower: Borrower,
}

/// A value between the ends of a link. Only a receiving end can read it.
#[derive(Debug)]
pub struct InTransit<T: Payload>(Crossing<T>);

#[derive(Debug)]
enum Crossing<T: Payload> {
    /// The plan has no such transfer, so it stays where it is: right for two stages on one device,
    /// and for a forgotten transfer the error comes from the operation that needs the value.
    Stays(Placed<T>),
    /// It has left its source.
    Moves { value: T::Departed, transfer: Transfer },
}

impl<T: Payload> InTransit<T> {
    /// What shows, later, that the source's device has computed it, where nobody waited for that.
    pub fn proof(&self) -> Option<Proof> {
        match &self.0 {
            Crossing::Stays(_) => None,
            Crossing::Moves { value, .. } => T::proof(value),
        }
    }
}

impl Links {
    /// Takes a plan's transfers, or some of them; `devices` holds every source and target.
    pub fn new(transfers: &[Transfer], devices: &Devices, ledger: Ledger) -> Self {
        Self { transfers: transfers.to_vec(), devices: devices.clone(), ledger }
    }

    /// The two ends of a link between the host and a stage.
    pub fn connect(&self, source: Endpoint, target: Endpoint) -> (SendingEnd, ReceivingEnd) {
        let transfers = self.between(source, target);
        self.ends(transfers, (Loans::default(), Borrower::default()))
    }

    /// The two ends of the link from a stage to the next. NCCL is asked for a communicator, and tries
    /// it, where hidden values go that way.
    ///
    /// # Errors
    /// [`TransferError`] if NCCL is missing, or does not connect the two devices.
    pub fn connect_stages(
        &self,
        source: StageId,
    ) -> Result<(SendingEnd, ReceivingEnd), TransferError> {
        let target = Endpoint::Stage(StageId(source.0 + 1));
        let transfers = self.between(Endpoint::Stage(source), target);
        let by_nccl = transfers.iter().find(|it| it.route == TransferRoute::Nccl);
        let connect = |transfer: &Transfer| {
            let [source, target] =
                [transfer.source_device, transfer.target_device].map(|it| self.device(it));
            Loans::by_nccl(&source, &target).map_err(TransferError::copy(transfer))
        };
        let loans = by_nccl.map(connect).transpose()?.unwrap_or_default();
        Ok(self.ends(transfers, loans))
    }

    fn ends(
        &self,
        transfers: Vec<Transfer>,
        (loans, borrower): (Loans, Borrower),
    ) -> (SendingEnd, ReceivingEnd) {
        let target = transfers.first().map(|it| it.target_device);
        let device = self.device(target.unwrap_or(DeviceId::Host));
        let sending = SendingEnd { transfers, ledger: self.ledger.clone(), loans };
        (sending, ReceivingEnd { target, device, _borrower: borrower })
    }

    /// What makes index tensors on a stage's device of what came in band.
    pub fn uploader(&self, stage: StageId) -> Uploader {
        let transfers = self.between(Endpoint::Host, Endpoint::Stage(stage));
        let target_device = transfers.first().map_or(DeviceId::Host, |it| it.target_device);
        Uploader::new(transfers, self.device(target_device), self.ledger.clone())
    }

    fn between(&self, source: Endpoint, target: Endpoint) -> Vec<Transfer> {
        let is_between = |it: &&Transfer| it.source == source && it.target == target;
        self.transfers.iter().filter(is_between).copied().collect()
    }

    fn device(&self, id: DeviceId) -> Device {
        self.devices.get(id).unwrap_or(Device::Cpu)
    }
}

impl SendingEnd {
    /// Lets a copy of `value` leave, and counts it.
    ///
    /// # Errors
    /// [`TransferError`] if the value is not at the link's source, or the copy fails.
    pub fn send<T: Payload>(&self, value: &Placed<T>) -> Result<InTransit<T>, TransferError> {
        self.send_with(value, T::size)
    }

    /// The same, for a value whose size is known to the sender alone.
    ///
    /// # Errors
    /// As [`SendingEnd::send`].
    pub fn send_with<T: Payload>(
        &self,
        value: &Placed<T>,
        size: impl FnOnce(&T) -> PayloadSize,
    ) -> Result<InTransit<T>, TransferError> {
        let Some(transfer) = self.transfers.iter().find(|it| it.kind == T::KIND).copied() else {
            return Ok(InTransit(Crossing::Stays(value.clone())));
        };
        let Transfer { kind, source_device, route, .. } = transfer;
        let site = Site { operation: "transfer", unit: None, with: "link", device: source_device };
        let value = value.at(&site)?;
        let size = size(value);
        let _span = trace_span!("link.transfer", kind = %kind, bytes = size.bytes).entered();
        let value = value.depart(route, &self.loans).map_err(TransferError::copy(&transfer))?;
        self.ledger.record(&transfer, size);
        Ok(InTransit(Crossing::Moves { value, transfer }))
    }
}

impl SendingEnd {
    /// Looks whether the link still works, where nothing else would say so. Returns whether anything
    /// is on its way, so that it is worth another look.
    ///
    /// # Errors
    /// [`TransferError`] if it does not.
    pub fn watch(&self) -> Result<bool, TransferError> {
        let Some(transfer) = self.transfers.iter().find(|it| it.route == TransferRoute::Nccl)
        else {
            return Ok(false);
        };
        self.loans.watch().map_err(TransferError::copy(transfer))
    }
}

impl ReceivingEnd {
    /// Takes a value that was sent from the other end.
    ///
    /// # Errors
    /// [`TransferError`] if the value was sent over another link to another device, or the copy
    /// fails.
    pub fn receive<T: Payload>(&self, sent: InTransit<T>) -> Result<Placed<T>, TransferError> {
        let (value, transfer) = match sent.0 {
            Crossing::Stays(value) => return Ok(value),
            Crossing::Moves { value, transfer } => (value, transfer),
        };
        let found = transfer.target_device;
        if self.target != Some(found) {
            return Err(TransferError::OtherLink { kind: transfer.kind, found });
        }
        let arrived = T::arrive(value, transfer.route, &self.device);
        let arrived = arrived.map_err(TransferError::copy(&transfer))?;
        Ok(Placed::new(arrived, transfer.target_device))
    }
}

#[cfg(test)]
mod tests {
    use sluicegate_core::messages::{Masks, MicrobatchId};

    use super::*;

    #[test]
    fn what_arrives_at_the_end_of_another_link_is_refused() {
        let [host, first, second] =
            [Endpoint::Host, Endpoint::Stage(StageId(0)), Endpoint::Stage(StageId(1))];
        let to = |target, device| Transfer {
            kind: TransferKind::Mask,
            source: host,
            target,
            source_device: DeviceId::Host,
            target_device: DeviceId::Cpu(device),
            route: TransferRoute::HostMemory,
        };
        let ids = [DeviceId::Cpu(0), DeviceId::Cpu(1)];
        let devices = Devices::open(ids).unwrap();
        let links = Links::new(&[to(first, 0), to(second, 1)], &devices, Ledger::default());
        let (sending, receiving) = links.connect(host, second);
        let (_, of_first) = links.connect(host, first);
        let (_, without_transfers) = links.connect(first, second);
        let masks = Placed::new(Masks::new(MicrobatchId(1), Vec::new(), 1), DeviceId::Host);
        let send = || sending.send(&masks).unwrap();
        let arrived = receiving.receive(send()).unwrap();
        assert_eq!(arrived.device(), DeviceId::Cpu(1));
        for other in [of_first, without_transfers] {
            let error = other.receive(send()).unwrap_err();
            assert_eq!(error.to_string(), "mask for cpu:1 arrived at the end of another link");
        }
    }
}
