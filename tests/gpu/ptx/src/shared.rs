//! The memory that the threads of a block have together, and who of them used it since the last
//! barrier.
//!
//! Two warps race if they use the same bytes with no barrier between them and one of them writes,
//! unless both use atomics. Lanes of one warp race only within an instruction, by writing different
//! values to one place; what they read of each other in different instructions is not looked at.

use crate::{
    error::{Fault, Use},
    warp::Place,
};

/// The last line of which the number is kept; all behind are said to be in it.
const MAX_LINE: u32 = (1 << 21) - 1;
/// Bytes that are marked together, at most.
const MAX_GRAIN: usize = 4;

/// An instruction of a thread: when it was executed, in which line, and by which thread of the
/// block. Zero for none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Trace(u64);

impl Trace {
    fn new(epoch: u32, by: User) -> Self {
        let line = by.line.min(MAX_LINE);
        Self(u64::from(epoch) << 32 | u64::from(line) << 11 | u64::from(by.thread))
    }

    fn epoch(self) -> u32 {
        (self.0 >> 32) as u32
    }

    fn line(self) -> u32 {
        self.0 as u32 >> 11 & MAX_LINE
    }

    fn thread(self) -> u32 {
        self.0 as u32 & 0x7ff
    }

    fn warp(self) -> u32 {
        self.thread() / 32
    }
}

/// Who used some bytes last.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    write: Trace,
    /// Of two warps, of which a third differs from one at least.
    atomics: [Trace; 2],
    reads: [Trace; 2],
}

/// The thread that uses memory now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct User {
    pub(crate) line: u32,
    /// Its number within the block.
    pub(crate) thread: u32,
    pub(crate) how: Use,
}

/// Shared memory, used for one block after the other.
pub(crate) struct Shared {
    bytes: Vec<u8>,
    marks: Vec<Mark>,
    /// Bytes that have a mark together.
    grain: usize,
    /// Counts barriers and blocks.
    epoch: u32,
    /// When the block began.
    start: u32,
}

impl Shared {
    /// Memory of so many bytes, of which none is used in parts of less than `least_bytes`.
    pub(crate) fn new(num_bytes: usize, least_bytes: usize) -> Self {
        let grain = least_bytes.clamp(1, MAX_GRAIN);
        let marks = vec![Mark::default(); num_bytes.div_ceil(grain)];
        Self { bytes: vec![0; num_bytes], marks, grain, epoch: 0, start: 1 }
    }

    /// A block begins: nobody has written anything.
    pub(crate) fn restart(&mut self) {
        self.pass_barrier();
        self.start = self.epoch;
    }

    /// All warps of the block are at a barrier: what they did before is done for all of them.
    pub(crate) fn pass_barrier(&mut self) {
        if self.epoch == u32::MAX {
            let was_written = |mark: &Mark| mark.write.epoch() >= self.start;
            for mark in &mut self.marks {
                let write = Trace(u64::from(was_written(mark)) << 32);
                *mark = Mark { write, ..Mark::default() };
            }
            (self.start, self.epoch) = (1, 1);
        }
        self.epoch += 1;
    }

    pub(crate) fn read(
        &mut self,
        at: u64,
        bytes: &mut [u8],
        (by, place): (User, &Place),
    ) -> Result<(), Fault> {
        let range = range("shared", self.bytes.len(), at, bytes.len())?;
        for index in range.start / self.grain..range.end.div_ceil(self.grain) {
            let mark = self.marks[index];
            // Atomics read as well, so that what they change was written before.
            if mark.write.epoch() < self.start {
                let address = at;
                return Err(Fault::Unwritten { space: "shared", address, bytes: bytes.len() });
            }
            self.check((at, bytes.len()), (mark, by), place)?;
            let Mark { atomics, reads, .. } = &mut self.marks[index];
            let uses = if by.how == Use::Atomic { atomics } else { reads };
            note(uses, Trace::new(self.epoch, by));
        }
        bytes.copy_from_slice(&self.bytes[range]);
        Ok(())
    }

    pub(crate) fn write(
        &mut self,
        at: u64,
        bytes: &[u8],
        (by, place): (User, &Place),
    ) -> Result<(), Fault> {
        let range = range("shared", self.bytes.len(), at, bytes.len())?;
        for index in range.start / self.grain..range.end.div_ceil(self.grain) {
            let mark = self.marks[index];
            self.check((at, bytes.len()), (mark, by), place)?;
            let now = Trace::new(self.epoch, by);
            if by.how == Use::Atomic {
                note(&mut self.marks[index].atomics, now);
            } else {
                self.marks[index].write = now;
            }
        }
        self.bytes[range].copy_from_slice(bytes);
        Ok(())
    }

    /// Checks that nobody of another warp uses the same bytes otherwise at the same time.
    #[inline(always)]
    fn check(
        &self,
        (address, bytes): (u64, usize),
        (mark, by): (Mark, User),
        place: &Place,
    ) -> Result<(), Fault> {
        let is_race = |trace: &Trace| trace.epoch() == self.epoch && trace.warp() != by.thread / 32;
        let Mark { write, atomics, reads } = mark;
        let found = match by.how {
            _ if is_race(&write) => Some((write, Use::Write)),
            Use::Read => atomics.into_iter().find(is_race).map(|it| (it, Use::Atomic)),
            // What an atomic reads is looked at as well, but not its own kind.
            Use::Atomic => reads.into_iter().find(is_race).map(|it| (it, Use::Read)),
            Use::Write => {
                let read = reads.into_iter().find(is_race).map(|it| (it, Use::Read));
                read.or_else(|| atomics.into_iter().find(is_race).map(|it| (it, Use::Atomic)))
            }
        };
        match found {
            None => Ok(()),
            Some((other, other_how)) => Err(Fault::Race {
                address,
                bytes,
                how: by.how,
                other_how,
                other_thread: place.thread_numbered(other.thread()),
                other_line: other.line(),
            }),
        }
    }
}

/// Keeps the last uses of two warps.
#[inline(always)]
fn note(traces: &mut [Trace; 2], now: Trace) {
    let is_older = traces[0].epoch() != now.epoch();
    if is_older || traces[0].warp() == now.warp() {
        traces[0] = now;
    } else {
        traces[1] = now;
    }
}

/// Where bytes lie within a space.
pub(crate) fn range(
    space: &'static str,
    len: usize,
    address: u64,
    bytes: usize,
) -> Result<std::ops::Range<usize>, Fault> {
    let start = usize::try_from(address).ok();
    let end = start.and_then(|start| start.checked_add(bytes)).filter(|end| *end <= len);
    match start.zip(end) {
        Some((start, end)) => Ok(start..end),
        None => Err(Fault::OutOfSpace { space, address, bytes, len }),
    }
}
