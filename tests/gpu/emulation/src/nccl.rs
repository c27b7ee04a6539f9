//! Communicators of NCCL: which ranks belong together, and what they have to send each other.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::{
    error::Failure,
    queue::{Clock, Meeting, Point},
};

/// A result of NCCL, by the number that programs see.
///
/// Source: `nccl.h` of NCCL 2.28, `ncclResult_t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
pub(crate) enum NcclCode {
    UnhandledCudaError = 1,
    InvalidArgument = 4,
    InvalidUsage = 5,
    RemoteError = 6,
    InProgress = 7,
}

/// An error of NCCL, with what the emulation knows about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: NcclCode,
    pub(crate) detail: String,
}

impl Refusal {
    pub(crate) fn argument(detail: impl Into<String>) -> Self {
        Self { code: NcclCode::InvalidArgument, detail: detail.into() }
    }

    pub(crate) fn usage(detail: impl Into<String>) -> Self {
        Self { code: NcclCode::InvalidUsage, detail: detail.into() }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self { code: NcclCode::UnhandledCudaError, detail: failure.detail }
    }
}

/// What most operations return.
pub(crate) type Answer<T = ()> = Result<T, Refusal>;

/// What numbers are.
///
/// Source: `nccl.h`, `ncclDataType_t`.
pub(crate) fn number_bytes(number: i32) -> Option<usize> {
    match number {
        0 | 1 | 10 | 11 => Some(1),
        6 | 9 => Some(2),
        2 | 3 | 7 => Some(4),
        4 | 5 | 8 => Some(8),
        _ => None,
    }
}

/// All communicators of the process.
#[derive(Debug, Default)]
pub(crate) struct Communicators {
    num_ids: u64,
    num_meetings: u64,
    by_id: BTreeMap<u64, Communicator>,
    ranks: HashMap<u64, Rank>,
    /// How ranks have ended.
    ended: HashMap<u64, &'static str>,
    /// Sends and receives of the process: faults are at a number of them.
    pub(crate) num_operations: u64,
}

#[derive(Debug)]
struct Communicator {
    num_ranks: usize,
    /// The handles of those that are there.
    members: BTreeMap<usize, u64>,
    channels: BTreeMap<(usize, usize), Channel>,
}

/// What one rank sends to another, in its order.
#[derive(Debug, Default)]
pub(crate) struct Channel {
    pub(crate) is_connected: bool,
    /// Sends without a receive, or receives without a send.
    open: VecDeque<Side>,
}

/// A send or a receive that is in its stream.
#[derive(Debug, Clone)]
pub(crate) struct Side {
    pub(crate) is_send: bool,
    pub(crate) count: usize,
    pub(crate) number: i32,
    pub(crate) meeting: Meeting,
    pub(crate) at: Option<(Point, Clock)>,
}

/// A rank, as a handle names it.
#[derive(Debug, Clone)]
pub(crate) struct Rank {
    pub(crate) communicator: u64,
    pub(crate) rank: usize,
    pub(crate) device: usize,
    pub(crate) failed: Option<NcclCode>,
    /// Where its latest operation ends.
    pub(crate) last: Option<(Point, Clock)>,
}

impl Communicators {
    pub(crate) fn new_id(&mut self) -> u64 {
        self.num_ids += 1;
        self.num_ids
    }

    /// A meeting of nobody, so far.
    pub(crate) fn new_meeting(&mut self) -> Meeting {
        self.num_meetings += 1;
        Meeting(self.num_meetings)
    }

    /// Adds a rank to a communicator.
    pub(crate) fn join(&mut self, handle: u64, joining: Rank, num_ranks: usize) -> Answer {
        let Rank { communicator: id, rank, device, .. } = joining;
        if id == 0 || id > self.num_ids {
            return Err(Refusal::argument("an identifier that ncclGetUniqueId has not given"));
        }
        if rank >= num_ranks {
            return Err(Refusal::argument(format!("rank {rank} of {num_ranks}")));
        }
        let new =
            || Communicator { num_ranks, members: BTreeMap::new(), channels: BTreeMap::new() };
        let communicator = self.by_id.entry(id).or_insert_with(new);
        if communicator.num_ranks != num_ranks {
            let found = communicator.num_ranks;
            return Err(Refusal::usage(format!("{num_ranks} ranks, and another said {found}")));
        }
        for (other, member) in &communicator.members {
            if *other == rank {
                return Err(Refusal::usage(format!("rank {rank} is there already")));
            }
            if self.ranks.get(member).is_some_and(|it| it.device == device) {
                let detail = format!("ranks {other} and {rank} are both on cuda:{device}");
                return Err(Refusal::usage(detail));
            }
        }
        communicator.members.insert(rank, handle);
        self.ranks.insert(handle, joining);
        Ok(())
    }

    /// Whether all ranks of a rank's communicator are there.
    pub(crate) fn is_complete(&self, handle: u64) -> Answer<bool> {
        let Rank { communicator, .. } = self.rank(handle)?;
        let found = self.by_id.get(communicator);
        Ok(found.is_some_and(|it| it.members.len() == it.num_ranks))
    }

    pub(crate) fn rank(&self, handle: u64) -> Answer<&Rank> {
        self.ranks.get(&handle).ok_or_else(|| {
            Refusal::argument(match self.ended.get(&handle) {
                Some(how) => format!("the communicator was {how}"),
                None => format!("there is no communicator {handle:#x}"),
            })
        })
    }

    pub(crate) fn change(&mut self, handle: u64, change: impl FnOnce(&mut Rank)) {
        if let Some(rank) = self.ranks.get_mut(&handle) {
            change(rank);
        }
    }

    /// The channel from one rank to another, of which one is at hand.
    pub(crate) fn channel(
        &mut self,
        handle: u64,
        peer: usize,
        is_send: bool,
    ) -> Answer<&mut Channel> {
        let Rank { communicator, rank, .. } = *self.rank(handle)?;
        let found = self.by_id.get_mut(&communicator);
        let found = found.ok_or_else(|| Refusal::argument("the communicator has ended"))?;
        if peer >= found.num_ranks || peer == rank {
            let num_ranks = found.num_ranks;
            return Err(Refusal::argument(format!("peer {peer} of rank {rank} of {num_ranks}")));
        }
        let way = if is_send { (rank, peer) } else { (peer, rank) };
        Ok(found.channels.entry(way).or_default())
    }

    /// Ends a rank.
    pub(crate) fn end(&mut self, handle: u64, how: &'static str) {
        self.ranks.remove(&handle);
        self.ended.insert(handle, how);
    }
}

impl Channel {
    /// The side that a new one meets, which must be like it.
    pub(crate) fn meet(&mut self, new: &Side) -> Answer<Option<Side>> {
        let Some(other) = self.open.front().filter(|it| it.is_send != new.is_send) else {
            return Ok(None);
        };
        if (other.count, other.number) != (new.count, new.number) {
            let (sent, received) = if new.is_send { (new, other) } else { (other, new) };
            return Err(Refusal::usage(format!(
                "{} numbers of type {} are sent, and {} of type {} received",
                sent.count, sent.number, received.count, received.number
            )));
        }
        Ok(self.open.pop_front())
    }

    /// Takes note of a side that has met nobody yet.
    pub(crate) fn leave_open(&mut self, side: Side) {
        self.open.push_back(side);
    }
}
