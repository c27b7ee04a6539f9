//! The machine at work: contexts, streams, events, modules, and the order in which things happen.

mod allocations;
mod counts;
mod events;
mod mistakes;
mod modules;
mod nccl;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    thread::ThreadId,
    time::Instant,
};

use events::Event;
use modules::Function;
pub(crate) use modules::SHARED_BYTES;
pub(crate) use nccl::Operation;

use crate::{
    counts::{Counts, Kind},
    error::{Code, Failure, Outcome},
    installed::Installed,
    machine::{FaultKind, Machine},
    memory::{Memory, Touched},
    mistakes::{Mistakes, say},
    nccl::Communicators,
    orders::Orders,
    pinned::Pinned,
    program::{Program, Programs},
    queue::{Clock, Due, Point, Queues, StreamId},
    races::{Actor, Races},
    work::Work,
};

/// The driver and its devices, as one process sees them.
pub(crate) struct World {
    /// The devices of it are those that the driver shows.
    pub(crate) machine: Machine,
    pub(crate) installed: Installed,
    pub(crate) memory: Memory,
    pub(crate) pinned: Pinned,
    programs: Programs,
    races: Races,
    contexts: Vec<Context>,
    queues: Queues<Task>,
    orders: Orders,
    streams: HashMap<u64, Stream>,
    /// Streams that were destroyed while they had work.
    retired: Vec<Stream>,
    /// What is ordered before the ends of those that are forgotten since, by device.
    forgotten: Vec<Clock>,
    /// The default stream of each device, and that of each thread on it, if it was used.
    defaults: HashMap<(usize, Option<ThreadId>), u64>,
    events: HashMap<u64, Event>,
    modules: HashMap<u64, Loaded<&'static Program>>,
    functions: HashMap<u64, Loaded<Function>>,
    num_handles: u64,
    /// Allocations and pieces of work of the process: faults are at a number of them.
    num_allocations: u64,
    num_works: u64,
    began: Instant,
    /// An error after which nothing works any more.
    broken: Option<Failure>,
    /// Of each device, an error after which it does not.
    lost: Vec<Option<Failure>>,
    /// The error of a thread's launch that it has not read yet.
    unread: HashMap<ThreadId, Failure>,
    mistakes: Mistakes,
    communicators: Communicators,
    /// Memory that a mistake has freed, and the program has not.
    freed_early: HashSet<u64>,
    /// None where nobody wants to know.
    counts: Option<Counts>,
}

/// The primary context of a device.
#[derive(Debug, Clone, Copy, Default)]
struct Context {
    num_users: u32,
    /// How often it was made.
    generation: u64,
}

/// A context, as a handle names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ContextId {
    pub(crate) device: usize,
    generation: u64,
}

/// Bits of a context's handle that name its device.
const DEVICE_BITS: u32 = 8;

impl ContextId {
    /// The pointer that a program holds.
    pub(crate) fn handle(self) -> u64 {
        (self.generation << DEVICE_BITS | self.device as u64) << 4
    }

    pub(crate) fn of_handle(handle: u64) -> Option<Self> {
        let number = handle >> 4;
        let device = usize::try_from(number % (1 << DEVICE_BITS)).ok()?;
        Some(Self { device, generation: number >> DEVICE_BITS })
    }
}

#[derive(Debug, Clone, Copy)]
struct Stream {
    id: StreamId,
    device: usize,
    /// Whether it is ordered with the default stream.
    is_blocking: bool,
}

/// Something that was loaded into a device's context.
#[derive(Debug, Clone)]
pub(crate) struct Loaded<T> {
    pub(crate) device: usize,
    pub(crate) it: T,
}

#[derive(Debug)]
struct Task {
    device: usize,
    work: Work,
}

impl World {
    /// A machine of whose devices the driver shows those of a list, if there is one.
    pub(crate) fn new(mut machine: Machine, list: Option<&str>) -> Self {
        let installed = Installed::new(machine.devices, list);
        machine.devices = installed.shown();
        Self {
            installed,
            memory: Memory::of(&machine),
            pinned: Pinned::default(),
            programs: Programs::default(),
            races: Races::default(),
            contexts: vec![Context::default(); machine.devices.len()],
            queues: Queues::new(machine.seed),
            orders: Orders::new(machine.seed),
            streams: HashMap::new(),
            retired: Vec::new(),
            forgotten: vec![Clock::default(); machine.devices.len()],
            defaults: HashMap::new(),
            events: HashMap::new(),
            modules: HashMap::new(),
            functions: HashMap::new(),
            num_handles: 0,
            num_allocations: 0,
            num_works: 0,
            began: Instant::now(),
            broken: None,
            lost: vec![None; machine.devices.len()],
            unread: HashMap::new(),
            mistakes: Mistakes::new(&machine.mistakes),
            communicators: Communicators::default(),
            freed_early: HashSet::new(),
            counts: machine.counts.is_some().then(|| Counts::new(machine.devices.len())),
            machine,
        }
    }

    /// Fails if an error before has left the process unusable, or the device that is current.
    pub(crate) fn check(&self, current: Option<usize>) -> Outcome {
        self.broken.clone().map_or(Ok(()), Err)?;
        current.map_or(Ok(()), |device| self.check_alive(device))
    }

    fn check_alive(&self, device: usize) -> Outcome {
        self.lost[device].clone().map_or(Ok(()), Err)
    }

    /// Nothing works any more; whoever may hear of it, a line of the error output says why.
    fn give_up(&mut self, failure: &Failure) {
        report(failure);
        self.broken = Some(failure.clone());
    }

    pub(crate) fn check_device(&self, ordinal: i32) -> Outcome<usize> {
        let count = self.machine.devices.len();
        usize::try_from(ordinal).ok().filter(|it| *it < count).ok_or_else(|| {
            Failure::new(Code::InvalidDevice, format!("device {ordinal} of {count}"))
        })
    }

    /// Makes the primary context of a device, or counts another user of it.
    pub(crate) fn retain(&mut self, device: usize) -> Outcome<ContextId> {
        if self.contexts[device].num_users == 0 {
            self.memory.reserve(device, self.machine.context_bytes)?;
            self.contexts[device].generation += 1;
        }
        self.contexts[device].num_users += 1;
        Ok(ContextId { device, generation: self.contexts[device].generation })
    }

    /// Ends the primary context with its last user: what was made in it is gone.
    pub(crate) fn release(&mut self, device: usize) -> Outcome {
        let left = self.contexts[device].num_users.checked_sub(1).ok_or_else(|| {
            Failure::new(Code::InvalidContext, format!("cuda:{device} has no context"))
        })?;
        if left == 0 {
            self.synchronize_device(device)?;
        }
        self.contexts[device].num_users = left;
        if left > 0 {
            return Ok(());
        }
        let ended = self.streams.extract_if(|_, it| it.device == device).map(|(_, it)| it);
        self.retired.extend(ended);
        self.forget_idle();
        self.defaults.retain(|(owner, _), _| *owner != device);
        self.events.retain(|_, it| it.device() != device);
        self.modules.retain(|_, it| it.device != device);
        self.functions.retain(|_, it| it.device != device);
        self.memory.free_all(device);
        self.memory.end_access(device);
        self.memory.give_back(device, self.machine.context_bytes);
        Ok(())
    }

    /// The primary context of a device, as it is now.
    pub(crate) fn context(&self, device: usize) -> ContextId {
        ContextId { device, generation: self.contexts[device].generation }
    }

    pub(crate) fn is_alive(&self, context: ContextId) -> bool {
        let found = self.contexts.get(context.device);
        found.is_some_and(|it| it.num_users > 0 && it.generation == context.generation)
    }

    fn handle(&mut self) -> u64 {
        self.num_handles += 1;
        // Like a pointer, and to nothing.
        self.num_handles << 4
    }

    pub(crate) fn create_stream(&mut self, device: usize, is_blocking: bool) -> u64 {
        let handle = self.handle();
        self.streams.insert(handle, Stream { id: self.queues.create(), device, is_blocking });
        handle
    }

    /// The stream of a device that has no handle of its own, or the one of the calling thread.
    pub(crate) fn default_stream(&mut self, device: usize, is_of_thread: bool) -> u64 {
        let key = (device, is_of_thread.then(|| std::thread::current().id()));
        if let Some(handle) = self.defaults.get(&key) {
            return *handle;
        }
        let handle = self.create_stream(device, is_of_thread);
        self.defaults.insert(key, handle);
        handle
    }

    /// Orders what a stream is asked for next with the default stream.
    ///
    /// Source: CUDA C++ Programming Guide, "Default Stream".
    fn order_with_default(&mut self, handle: u64, stream: Stream) {
        let Some(default) = self.defaults.get(&(stream.device, None)).copied() else { return };
        let others: Vec<StreamId> = if handle == default {
            let others = self.streams.values();
            others
                .filter(|it| it.device == stream.device && it.is_blocking)
                .map(|it| it.id)
                .collect()
        } else if stream.is_blocking {
            vec![self.streams[&default].id]
        } else {
            Vec::new()
        };
        for other in others {
            let (point, clock) = self.queues.here(other);
            self.queues.wait(stream.id, (point, &clock));
        }
    }

    /// What a destroyed stream was asked for is done nonetheless.
    pub(crate) fn destroy_stream(&mut self, handle: u64) -> Outcome {
        let stream = self.streams.remove(&handle).ok_or_else(|| unknown("stream", handle))?;
        self.retired.push(stream);
        self.forget_idle();
        Ok(())
    }

    /// Forgets streams that were destroyed and have no work left.
    fn forget_idle(&mut self) {
        self.retired.retain(|stream| match self.queues.remove(stream.id) {
            Some(clock) => {
                self.forgotten[stream.device].join(&clock);
                false
            }
            None => true,
        });
    }

    fn stream(&self, handle: u64) -> Outcome<Stream> {
        self.streams.get(&handle).copied().ok_or_else(|| unknown("stream", handle))
    }

    /// A stream that a thread with this context may use.
    fn stream_of(&self, handle: u64, device: usize) -> Outcome<Stream> {
        let stream = self.stream(handle)?;
        if stream.device == device {
            return Ok(stream);
        }
        let detail = format!("a stream of cuda:{} while cuda:{device} is current", stream.device);
        Err(Failure::new(Code::InvalidHandle, detail))
    }

    /// Asks a stream for work, in a thread whose current context is the device's.
    pub(crate) fn enqueue(&mut self, device: usize, stream: u64, work: Work) -> Outcome<Point> {
        self.check_alive(device)?;
        let (mut work, handle) = (work, stream);
        let stream = self.stream_of(handle, device)?;
        self.count_work(device, &work);
        self.misdirect(device, &mut work);
        self.order_with_default(handle, stream);
        let too_early = self.too_early(stream, &mut work);
        let pinned = match work {
            Work::UploadPinned { source, fingerprint: Some(_), .. } => Some(source),
            _ => None,
        };
        let point = self.queues.push(stream.id, Task { device, work });
        if let Some(too_early) = too_early {
            self.free_too_early(device, too_early);
        }
        self.go_on()?;
        if let Some(source) = pinned {
            self.reuse(source, point);
        }
        Ok(point)
    }

    /// Does as much as is done although nobody waits for it.
    fn go_on(&mut self) -> Outcome {
        while self.queues.is_eager() && self.step()? {}
        Ok(())
    }

    /// Does one thing, if there is any that may be done.
    fn step(&mut self) -> Outcome<bool> {
        let Some(due) = self.queues.next() else { return Ok(false) };
        let device = due.work.device;
        self.num_works += 1;
        if let Some(failure) = self.injected(&due.work) {
            report(&failure);
            self.lost[device] = Some(failure);
        }
        let with = due.met.as_ref().map_or(device, |met| met.work.device);
        if self.lost[device].is_some() || self.lost[with].is_some() {
            return Ok(true);
        }
        // For the case that it panics: what was to be done is not, and may never be.
        let label = due.work.work.label();
        let unfinished = format!("cuda:{device}, {label}: the emulation itself has failed");
        self.broken = Some(Failure::new(Code::Unknown, unfinished));
        let outcome = self.perform(&due);
        self.broken = None;
        outcome.inspect_err(|failure| self.give_up(failure))?;
        Ok(true)
    }

    /// The fault that comes with this piece of work, if one does.
    fn injected(&self, Task { device, work }: &Task) -> Option<Failure> {
        if self.is_faulty(FaultKind::Ecc, self.num_works) {
            let detail = format!("cuda:{device}, {}: an injected fault", work.label());
            return Some(Failure::new(Code::EccUncorrectable, detail));
        }
        let is_lost = self.is_faulty(FaultKind::Lost, self.num_works);
        let detail = format!("cuda:{device} has fallen off the bus: an injected fault");
        is_lost.then(|| Failure::new(Code::Unknown, detail))
    }

    fn perform(&mut self, due: &Due<Task>) -> Outcome {
        if let Some(met) = &due.met {
            return self.pass(due, met);
        }
        let Due { work: Task { device, work }, point, clock, .. } = due;
        if let Work::Launch(launch) = work {
            self.misindex(*device, launch);
        }
        let touched = work.run(*device, &mut self.orders, &mut self.memory)?;
        let actor = Actor { label: &work.label(), point: *point, clock };
        self.note(*device, &touched, actor)?;
        match work {
            Work::Free { address } => self.release_memory(*address, "cuMemFreeAsync")?,
            Work::Stamp { event, number } => {
                let now = self.began.elapsed();
                if let Some(event) = self.events.get_mut(event) {
                    event.reach(*number, now);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes note of what was used, and finds those with whom it is in no order.
    fn note(&mut self, device: usize, touched: &[Touched], actor: Actor<'_>) -> Outcome {
        let noted = touched.iter().try_for_each(|it| self.races.add(it, actor));
        noted.map_err(|race| Failure::new(Code::Unknown, format!("cuda:{device}: {race}")))
    }

    /// Waits until a place in a stream is reached.
    pub(crate) fn wait_for(&mut self, point: Point) -> Outcome {
        while !self.queues.is_done(point) {
            // A wait at the end of a stream is over without anything being done.
            if !self.step()? && !self.queues.is_done(point) {
                return Err(self.stuck(point));
            }
        }
        Ok(())
    }

    pub(crate) fn synchronize(&mut self, stream: u64) -> Outcome {
        let stream = self.stream(stream)?;
        self.synchronize_stream(stream)?;
        self.count(stream.device, Kind::Synchronisation, 0);
        Ok(())
    }

    /// Waits for a copy that a stream was asked for last.
    pub(crate) fn finish_copy(&mut self, stream: u64) -> Outcome {
        let stream = self.stream(stream)?;
        self.synchronize_stream(stream)?;
        self.count(stream.device, Kind::BlockingCopy, 0);
        Ok(())
    }

    fn synchronize_stream(&mut self, stream: Stream) -> Outcome {
        if let Some(Failure { detail, .. }) = self.unread.remove(&std::thread::current().id()) {
            let detail = format!("a launch failed, and nobody has read its error: {detail}");
            let failure = Failure::new(Code::Unknown, detail);
            self.give_up(&failure);
            return Err(failure);
        }
        let (point, clock) = self.queues.here(stream.id);
        self.wait_for(point)?;
        self.check_alive(stream.device)?;
        self.queues.host_knows(&clock);
        Ok(())
    }

    /// Waits for all streams of a device.
    pub(crate) fn synchronize_device(&mut self, device: usize) -> Outcome {
        let all = self.streams.values().chain(&self.retired);
        let streams: Vec<Stream> = all.filter(|it| it.device == device).copied().collect();
        streams.into_iter().try_for_each(|stream| self.synchronize_stream(stream))?;
        self.queues.host_knows(&self.forgotten[device]);
        self.forget_idle();
        Ok(())
    }

    /// Whether all that a stream was asked for is done.
    pub(crate) fn is_idle(&mut self, stream: u64) -> Outcome<bool> {
        let here = self.queues.here(self.stream(stream)?.id);
        self.has_come(&here)
    }

    /// Whether a place is reached. If not, something is done, so that who asks again and again hears
    /// of it in the end; and who hears of it knows that all before is done.
    fn has_come(&mut self, (point, clock): &(Point, Clock)) -> Outcome<bool> {
        let has_come = self.queues.is_done(*point);
        if has_come {
            self.queues.host_knows(clock);
        } else {
            self.step()?;
        }
        Ok(has_come)
    }

    fn is_faulty(&self, kind: FaultKind, at: u64) -> bool {
        self.machine.faults.iter().any(|fault| (fault.kind, fault.at) == (kind, at))
    }

    /// Takes note of a launch whose error its caller may not have read.
    pub(crate) fn leave_unread(&mut self, failure: Option<Failure>) {
        let thread = std::thread::current().id();
        match failure {
            Some(failure) => self.unread.insert(thread, failure),
            None => self.unread.remove(&thread),
        };
    }
}

fn report(Failure { code, detail }: &Failure) {
    say(&format!("{}: {detail}", code.texts().0.to_string_lossy()));
}

fn unknown(kind: &str, handle: u64) -> Failure {
    Failure::new(Code::InvalidHandle, format!("there is no {kind} {handle:#x}"))
}
