//! What ranks of NCCL ask their streams for.

use super::{Stream, Task, World};
use crate::{
    error::{Code, Failure, Outcome},
    machine::FaultKind,
    memory::Span,
    mistakes::say,
    nccl::{Answer, NcclCode, Rank, Refusal, Side, number_bytes},
    queue::{Due, Point, StreamId, Stuck},
    races::Actor,
    work::{Passage, Work},
};

/// A send or a receive that is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operation {
    pub(crate) is_send: bool,
    pub(crate) address: u64,
    pub(crate) count: usize,
    pub(crate) number: i32,
    pub(crate) peer: i32,
    /// The handle of the rank.
    pub(crate) rank: u64,
    pub(crate) stream: u64,
}

/// One that was checked.
struct Checked {
    operation: Operation,
    peer: usize,
    span: Span,
    stream: Stream,
}

impl World {
    pub(crate) fn new_nccl_id(&mut self) -> u64 {
        self.communicators.new_id()
    }

    /// Makes a rank on a device.
    pub(crate) fn join(
        &mut self,
        communicator: u64,
        (rank, num_ranks): (usize, usize),
        device: usize,
    ) -> Answer<u64> {
        let handle = self.handle();
        let joining = Rank { communicator, rank, device, failed: None, last: None };
        self.communicators.join(handle, joining, num_ranks)?;
        Ok(handle)
    }

    /// Waits for the other ranks, whose threads may still come.
    pub(crate) fn await_ranks(&self, handle: u64) -> Answer {
        if self.communicators.is_complete(handle)? {
            return Ok(());
        }
        let detail = "ranks of the communicator are missing, and nobody makes them";
        Err(Refusal { code: NcclCode::InProgress, detail: detail.to_owned() })
    }

    /// Asks for all sends and receives of a group. Those of one stream are done in any order.
    pub(crate) fn post(&mut self, operations: &[Operation]) -> Answer {
        let checked: Vec<Checked> =
            operations.iter().map(|it| self.checked(*it)).collect::<Answer<_>>()?;
        self.connect(&checked)?;
        for Checked { operation, stream, .. } in &checked {
            self.order_with_default(operation.stream, *stream);
            // Source: the operations of a communicator come one after the other, whatever their
            // streams (nccl#574).
            let last = self.communicators.rank(operation.rank)?.last.clone();
            if let Some((point, clock)) = last.filter(|(point, _)| point.stream != stream.id) {
                self.queues.wait(stream.id, (point, &clock));
            }
        }
        let is_alone =
            |stream: StreamId| checked.iter().filter(|it| it.stream.id == stream).count() == 1;
        let mut lanes = Vec::new();
        for it in &checked {
            let lane = if is_alone(it.stream.id) { it.stream.id } else { self.fork(it.stream) };
            self.ask(it, lane)?;
            lanes.push(lane);
        }
        for (it, lane) in checked.iter().zip(lanes) {
            if lane != it.stream.id {
                let (point, clock) = self.queues.here(lane);
                self.queues.wait(it.stream.id, (point, &clock));
            }
        }
        for Checked { operation, stream, .. } in &checked {
            let here = self.queues.here(stream.id);
            self.communicators.change(operation.rank, |it| it.last = Some(here));
        }
        Ok(self.go_on()?)
    }

    /// A stream of its own, from where another is now.
    fn fork(&mut self, stream: Stream) -> StreamId {
        let id = self.queues.create();
        let (point, clock) = self.queues.here(stream.id);
        self.queues.wait(id, (point, &clock));
        self.retired.push(Stream { id, is_blocking: false, ..stream });
        id
    }

    fn checked(&self, operation: Operation) -> Answer<Checked> {
        let Operation { address, count, number, peer, rank, stream, .. } = operation;
        let rank = self.communicators.rank(rank)?;
        if let Some(code) = rank.failed {
            return Err(Refusal { code, detail: "the communicator has failed before".to_owned() });
        }
        self.check_alive(rank.device)?;
        let stream = self.stream_of(stream, rank.device)?;
        let wrong = || Refusal::argument(format!("{count} numbers of type {number}, peer {peer}"));
        let bytes = number_bytes(number).and_then(|it| it.checked_mul(count));
        let bytes = bytes.filter(|bytes| *bytes > 0).ok_or_else(wrong)?;
        let span = Span { address, bytes };
        self.memory.reach(rank.device, span).map_err(Refusal::argument)?;
        Ok(Checked { operation, peer: usize::try_from(peer).map_err(|_| wrong())?, span, stream })
    }

    /// Connects ranks with the first group that has both sides.
    ///
    /// Source: the first operation between two ranks sets up what connects them, in the threads of
    /// both (`ncclP2pPreconnect`). One that waits there for the other is refused.
    fn connect(&mut self, checked: &[Checked]) -> Answer {
        for Checked { operation: Operation { rank, is_send, .. }, peer, .. } in checked {
            let Rank { communicator, rank: own, .. } = *self.communicators.rank(*rank)?;
            let mut has_other = false;
            for other in checked.iter().filter(|it| it.operation.is_send != *is_send) {
                let found = self.communicators.rank(other.operation.rank)?;
                has_other |=
                    (found.communicator, found.rank, other.peer) == (communicator, *peer, own);
            }
            let channel = self.communicators.channel(*rank, *peer, *is_send)?;
            channel.is_connected |= has_other;
            if !channel.is_connected {
                return Err(Refusal::usage(format!(
                    "the first operation between ranks {own} and {peer} waits for its other side in \
                     the host's thread; one group with both sides must come before"
                )));
            }
        }
        Ok(())
    }

    fn ask(&mut self, checked: &Checked, lane: StreamId) -> Answer {
        let Checked { operation, peer, span, .. } = *checked;
        let Operation { is_send, count, number, rank: handle, .. } = operation;
        let Rank { communicator, rank, device, .. } = *self.communicators.rank(handle)?;
        let way = if is_send { (rank, peer) } else { (peer, rank) };
        self.communicators.num_operations += 1;
        let number_of_all = self.communicators.num_operations;
        let is_garbled = self.is_faulty(FaultKind::NcclGarbage, number_of_all);
        let passage = Passage { span, rank: handle, communicator, way, is_garbled };
        let mut work = if is_send { Work::Send(passage) } else { Work::Receive(passage) };
        self.count_work(device, &work);
        self.misdirect(device, &mut work);
        let meeting = self.communicators.new_meeting();
        let mut side = Side { is_send, count, number, meeting, at: None };
        let met = self.communicators.channel(handle, peer, is_send)?.meet(&side)?;
        let mut meeting = met.as_ref().map_or(side.meeting, |met| met.meeting);
        if self.is_faulty(FaultKind::Nccl, number_of_all) {
            say(&format!("rank {rank} of communicator {communicator} fails: an injected fault"));
            self.communicators.change(handle, |it| it.failed = Some(NcclCode::RemoteError));
            // The other side waits for one that does not come.
            meeting = self.communicators.new_meeting();
        }
        let point = self.queues.meet(lane, meeting, Task { device, work });
        side.at = Some((point, self.queues.here(lane).1));
        match met {
            None => self.communicators.channel(handle, peer, is_send)?.leave_open(side),
            Some(met) if is_send => self.teach(&met, &side),
            Some(met) => self.teach(&side, &met),
        }
        Ok(())
    }

    /// Orders what is received behind what is before the send; what follows the send may come before
    /// the receive, since NCCL has buffers.
    fn teach(&mut self, receive: &Side, send: &Side) {
        if let (Some((point, _)), Some((_, known))) = (&receive.at, &send.at) {
            self.queues.teach(*point, known);
            self.teach_events(*point, known);
            for clock in &mut self.forgotten {
                clock.learn(*point, known);
            }
        }
    }

    /// Brings what one rank sends to where another receives it.
    pub(super) fn pass(&mut self, one: &Due<Task>, other: &Due<Task>) -> Outcome {
        let (send, receive) = match &one.work.work {
            Work::Send(_) => (one, other),
            _ => (other, one),
        };
        let (Work::Send(from), Work::Receive(to)) = (&send.work.work, &receive.work.work) else {
            let detail = "two operations of NCCL that are no send and receive";
            return Err(Failure::new(Code::Unknown, detail));
        };
        let devices = [send.work.device, receive.work.device];
        let wrong = |why: String| {
            let way = format!("ncclSend and ncclRecv, rank {} to {}", from.way.0, from.way.1);
            Failure::new(Code::IllegalAddress, format!("{way}: {why}"))
        };
        let touched = self.memory.copy(devices, from.span, to.span.address).map_err(wrong)?;
        if from.is_garbled || to.is_garbled {
            let (bytes, _) = self.memory.write(devices[1], to.span).map_err(wrong)?;
            bytes[to.span.bytes / 2] ^= 1;
        }
        for (due, touched) in [send, receive].into_iter().zip(&touched) {
            let label = due.work.work.label();
            let actor = Actor { label: &label, point: due.point, clock: &due.clock };
            self.note(due.work.device, std::slice::from_ref(touched), actor)?;
        }
        Ok(())
    }

    /// What has happened to a rank since it was made.
    pub(crate) fn async_error(&self, handle: u64) -> Answer<i32> {
        Ok(self.communicators.rank(handle)?.failed.map_or(0, |code| code as i32))
    }

    /// Ends a rank, with all that it has not done.
    pub(crate) fn abort(&mut self, handle: u64) -> Answer {
        self.communicators.rank(handle)?;
        self.communicators.end(handle, "aborted");
        self.queues.part(
            |task| matches!(&task.work, Work::Send(it) | Work::Receive(it) if it.rank == handle),
        );
        Ok(())
    }

    /// Ends a rank once all that it was asked for is done.
    pub(crate) fn destroy(&mut self, handle: u64) -> Answer {
        if let Some((point, _)) = self.communicators.rank(handle)?.last {
            self.wait_for(point).map_err(|failure| match failure.code {
                Code::NotReady => Refusal { code: NcclCode::InProgress, detail: failure.detail },
                _ => failure.into(),
            })?;
        }
        self.communicators.end(handle, "destroyed");
        Ok(())
    }

    /// Why a place is not reached, if nothing can be done. Where streams wait for each other nothing
    /// works any more; else another thread may ask for what they wait for.
    pub(super) fn stuck(&mut self, point: Point) -> Failure {
        let Stuck { streams, is_circle } = self.queues.stuck(point.stream);
        let words = |id: &StreamId| match self.queues.awaiting(*id).map(|task| &task.work) {
            Some(Work::Send(Passage { communicator, way, .. })) => format!(
                "stream {} sends from rank {} to rank {} of communicator {communicator}",
                id.0, way.0, way.1
            ),
            Some(Work::Receive(Passage { communicator, way, .. })) => format!(
                "stream {} receives at rank {} from rank {} of communicator {communicator}",
                id.0, way.1, way.0
            ),
            _ => format!("stream {} waits for an event", id.0),
        };
        let words = streams.iter().map(words).collect::<Vec<_>>().join(", ");
        if is_circle {
            let detail = format!("a deadlock, each waits for the next: {words}");
            let failure = Failure::new(Code::Unknown, detail);
            self.give_up(&failure);
            return failure;
        }
        Failure::new(Code::NotReady, format!("the last waits for what nobody asks for: {words}"))
    }

    /// Takes note that nobody has asked for what was waited for.
    pub(crate) fn give_up_waiting(&mut self, detail: &str) -> Failure {
        let failure = Failure::new(Code::Unknown, detail);
        self.give_up(&failure);
        failure
    }

    /// How often something was asked for that others may wait for.
    pub(crate) fn num_changes(&self) -> u64 {
        self.queues.num_changes()
    }
}
