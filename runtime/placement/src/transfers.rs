//! What crosses device borders under a plan, and how much.
//!
//! The runtime makes its links from this list. A transfer that is not in it is an error.

use std::fmt;

use serde::{Deserialize, Serialize};
use sluicegate_spec::{device::DeviceId, units::Bytes};

use super::{
    cluster::Route,
    plan::{Plan, StageId},
};

/// The five kinds of data that cross a device border.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransferKind {
    /// Activations, from a stage to the next.
    Hidden,
    /// Token ids, positions and slots of the cache: what a stage uploads of the batch that came in
    /// band.
    Order,
    /// Which row each row continues: what a stage uploads of the reorders that came in band.
    Ancestors,
    /// Allowed tokens, encoded, from the host to the last stage.
    Mask,
    /// Sampled tokens with scores and parents, from the last stage to the host.
    Tokens,
}

impl TransferKind {
    /// Returns the name used in errors and in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hidden => "hidden",
            Self::Order => "order",
            Self::Ancestors => "ancestors",
            Self::Mask => "mask",
            Self::Tokens => "tokens",
        }
    }
}

impl fmt::Display for TransferKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One end of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// Scheduler and constraints.
    Host,
    Stage(StageId),
}

/// One kind of data that moves from one device to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Transfer {
    pub kind: TransferKind,
    pub source: Endpoint,
    pub target: Endpoint,
    pub source_device: DeviceId,
    pub target_device: DeviceId,
    pub route: TransferRoute,
}

/// The way that bytes take, and so what each end of a link does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransferRoute {
    /// Within the memory of one processor, which logical devices share: the sender copies.
    HostMemory,
    /// From the host's memory to a GPU's: the receiver copies.
    Upload,
    /// From a GPU's memory to the host's: the sender copies.
    Download,
    /// From a GPU's memory to another's: the sender copies to the host's memory, the receiver from
    /// there.
    HostStaged,
    /// From a GPU's memory to another's: the receiver copies, and neither stage's thread waits.
    Peer,
    /// From a GPU's memory to another's by NCCL: the sender enqueues a send, the receiver a receive.
    Nccl,
}

impl TransferRoute {
    /// Returns the name used in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Self::HostMemory => "host memory",
            Self::Upload => "upload",
            Self::Download => "download",
            Self::HostStaged => "host staged",
            Self::Peer => "peer",
            Self::Nccl => "nccl",
        }
    }

    /// The way from one device to another over a link with this route.
    pub fn between(source: DeviceId, target: DeviceId, link: Route) -> Self {
        let is_gpu = |device| matches!(device, DeviceId::Cuda(_));
        match (is_gpu(source), is_gpu(target)) {
            (false, false) => Self::HostMemory,
            (false, true) => Self::Upload,
            (true, false) => Self::Download,
            (true, true) => match link {
                Route::Peer => Self::Peer,
                Route::Nccl => Self::Nccl,
                Route::Host | Route::Network => Self::HostStaged,
            },
        }
    }
}

impl fmt::Display for TransferRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The properties of a microbatch that its transfers depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    /// New tokens of all rows.
    pub tokens: usize,
    /// Rows that are sampled under a mask.
    pub constrained_rows: usize,
}

/// The expected total of one transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Foreseen {
    pub transfer: Transfer,
    /// How many messages carry data.
    pub transfers: u64,
    /// Size of the data before it is encoded.
    pub raw_bytes: Bytes,
}

impl Plan {
    /// Returns every move between devices that the plan needs.
    ///
    /// Batches travel in band, as plain data on the host; each stage uploads what its device needs
    /// of them. Neighbouring stages on one device need no transfer of hidden values: the data is
    /// already there.
    pub fn transfers(&self) -> Vec<Transfer> {
        use TransferKind::{Ancestors, Hidden, Mask, Order, Tokens};
        let stage = |stage_idx| Endpoint::Stage(StageId(stage_idx));
        let last = Endpoint::Stage(self.last_stage());
        let mut transfers = Vec::new();
        for stage_idx in 0..self.stages.len() {
            let uploads = [Order, Ancestors];
            transfers
                .extend(uploads.map(|kind| self.transfer(kind, Endpoint::Host, stage(stage_idx))));
            if stage_idx > 0 {
                transfers.push(self.transfer(Hidden, stage(stage_idx - 1), stage(stage_idx)));
            }
        }
        transfers.push(self.transfer(Mask, Endpoint::Host, last));
        transfers.push(self.transfer(Tokens, last, Endpoint::Host));
        transfers.retain(|transfer| transfer.source_device != transfer.target_device);
        transfers
    }

    /// Predicts what the ledger must show for `hidden` and `mask` after these microbatches: one
    /// entry per such transfer of the plan.
    ///
    /// Every token's activations cross every border. A mask goes to the last stage for each
    /// constrained row, all rows of a microbatch in one message.
    pub fn foresee(&self, microbatches: &[Traffic]) -> Vec<Foreseen> {
        let sum = |count: fn(&Traffic) -> usize| {
            let carrying = microbatches.iter().filter(|traffic| count(traffic) > 0).count();
            let units = microbatches.iter().map(|traffic| count(traffic) as u64).sum::<u64>();
            (carrying as u64, units)
        };
        let foresee_one = |transfer: Transfer| {
            let ((transfers, units), unit_bytes) = match transfer.kind {
                TransferKind::Hidden => {
                    let width_bytes = self.hidden.saturating_mul(self.hidden_element_bytes);
                    (sum(|traffic| traffic.tokens), width_bytes)
                }
                TransferKind::Mask => {
                    (sum(|traffic| traffic.constrained_rows), self.mask_words.saturating_mul(4))
                }
                TransferKind::Order | TransferKind::Ancestors | TransferKind::Tokens => {
                    return None;
                }
            };
            let raw_bytes = Bytes(units.saturating_mul(unit_bytes as u64));
            Some(Foreseen { transfer, transfers, raw_bytes })
        };
        self.transfers().into_iter().filter_map(foresee_one).collect()
    }

    fn transfer(&self, kind: TransferKind, source: Endpoint, target: Endpoint) -> Transfer {
        let device = |endpoint| match endpoint {
            Endpoint::Host => DeviceId::Host,
            Endpoint::Stage(StageId(stage_idx)) => self.stages[stage_idx].device,
        };
        let (source_device, target_device) = (device(source), device(target));
        let link = match (source, target) {
            (Endpoint::Stage(_), Endpoint::Stage(StageId(stage_idx))) => {
                self.stages[stage_idx].input_route
            }
            _ => Route::Host,
        };
        let route = TransferRoute::between(source_device, target_device, link);
        Transfer { kind, source, target, source_device, target_device, route }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::plan_of;

    fn lines(plan: &Plan) -> Vec<String> {
        let end = |endpoint| match endpoint {
            Endpoint::Host => "host".to_owned(),
            Endpoint::Stage(stage) => stage.0.to_string(),
        };
        let line = |it: &Transfer| {
            let (kind, source, target) = (it.kind.name(), end(it.source), end(it.target));
            format!("{kind} {source}->{target} {} {}", it.source_device, it.target_device)
        };
        plan.transfers().iter().map(line).collect()
    }

    #[test]
    fn one_stage_talks_to_the_host_alone() {
        assert_eq!(
            lines(&plan_of(&[(0, 0..10)])),
            [
                "order host->0 host cpu:0",
                "ancestors host->0 host cpu:0",
                "mask host->0 host cpu:0",
                "tokens 0->host cpu:0 host",
            ]
        );
    }

    #[test]
    fn each_stage_uploads_its_part_and_hidden_values_go_from_one_to_the_next() {
        assert_eq!(
            lines(&plan_of(&[(0, 0..4), (1, 4..8), (0, 8..10)])),
            [
                "order host->0 host cpu:0",
                "ancestors host->0 host cpu:0",
                "order host->1 host cpu:1",
                "ancestors host->1 host cpu:1",
                "hidden 0->1 cpu:0 cpu:1",
                "order host->2 host cpu:0",
                "ancestors host->2 host cpu:0",
                "hidden 1->2 cpu:1 cpu:0",
                "mask host->2 host cpu:0",
                "tokens 2->host cpu:0 host",
            ]
        );
    }

    #[test]
    fn neighbours_on_one_device_move_no_hidden_values() {
        let plan = plan_of(&[(0, 0..4), (0, 4..8), (1, 8..10)]);
        let between = plan.transfers().into_iter().filter(|it| {
            it.source == Endpoint::Stage(StageId(0)) && it.target == Endpoint::Stage(StageId(1))
        });
        assert_eq!(between.count(), 0);
        assert_eq!(plan.transfers().len(), 3 * 2 + 1 + 2);
    }

    #[test]
    fn a_route_follows_from_its_devices() {
        use TransferRoute::{Download, HostMemory, HostStaged, Nccl, Peer, Upload};
        let devices = [DeviceId::Host, DeviceId::Cpu(0), DeviceId::Cuda(0), DeviceId::Cuda(1)];
        let routes = [
            (Route::Host, HostStaged),
            (Route::Network, HostStaged),
            (Route::Peer, Peer),
            (Route::Nccl, Nccl),
        ];
        for (link, between_gpus) in routes {
            let from = |source| devices.map(|it| TransferRoute::between(source, it, link));
            let from_host = [HostMemory, HostMemory, Upload, Upload];
            let from_gpu = [Download, Download, between_gpus, between_gpus];
            assert_eq!(devices.map(from), [from_host, from_host, from_gpu, from_gpu]);
        }
    }

    #[test]
    fn foreseen_bytes_follow_from_tokens_and_constrained_rows() {
        let plan = plan_of(&[(0, 0..4), (1, 4..8), (2, 8..10)]);
        let microbatches = [
            Traffic { tokens: 20, constrained_rows: 0 },
            Traffic { tokens: 3, constrained_rows: 2 },
            Traffic { tokens: 1, constrained_rows: 1 },
        ];
        let found: Vec<_> = plan
            .foresee(&microbatches)
            .iter()
            .map(|it| (it.transfer.kind, it.transfer.target_device, it.transfers, it.raw_bytes.0))
            .collect();
        // The fixture has 8 activations of 4 bytes and a vocabulary of 100: 4 words.
        assert_eq!(
            found,
            [
                (TransferKind::Hidden, DeviceId::Cpu(1), 3, 24 * 32),
                (TransferKind::Hidden, DeviceId::Cpu(2), 3, 24 * 32),
                (TransferKind::Mask, DeviceId::Cpu(2), 2, 3 * 16),
            ]
        );
    }
}
