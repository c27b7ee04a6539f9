//! The memory that the threads of a block have together, and who of them used it since the last
//! barrier.
//!
//! Two warps race if they use the same bytes with no barrier between them and one of them writes,
//! unless both use atomics or both write the same: rows beyond the last are often written as that. Lanes of one warp race only within an instruction, by writing different
//! values to one place; what they read of each other in different instructions is not looked at.

use std::ops::Range;

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
    /// Of two warps each, of which a third differs from one at least.
    writes: [Trace; 2],
    atomics: [Trace; 2],
    reads: [Trace; 2],
    /// All warps that wrote what is there now since the last barrier, one bit each.
    writers: u32,
}

impl Mark {
    /// Whether somebody has written since then.
    fn was_written(&self, start: u32) -> bool {
        // The first is the later one, or of the same time.
        self.writes[0].epoch() >= start
    }
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
    /// How many of them the kernel declares itself.
    declared: usize,
    marks: Vec<Mark>,
    /// Bytes that have a mark together.
    grain: usize,
    /// Counts barriers and blocks.
    epoch: u32,
    /// When the block began.
    start: u32,
}

impl Shared {
    /// Memory of so many bytes that the kernel declares and behind it so many that the launch adds,
    /// of which none is used in parts of less than `least_bytes`.
    pub(crate) fn new((declared, added): (usize, usize), least_bytes: usize) -> Self {
        let num_bytes = declared + added;
        let grain = least_bytes.clamp(1, MAX_GRAIN);
        let marks = vec![Mark::default(); num_bytes.div_ceil(grain)];
        Self { bytes: vec![0; num_bytes], declared, marks, grain, epoch: 0, start: 1 }
    }

    /// A block begins: nobody has written anything.
    pub(crate) fn restart(&mut self) {
        self.pass_barrier();
        self.start = self.epoch;
    }

    /// All warps of the block are at a barrier: what they did before is done for all of them.
    pub(crate) fn pass_barrier(&mut self) {
        if self.epoch == u32::MAX {
            for mark in &mut self.marks {
                let write = Trace(u64::from(mark.was_written(self.start)) << 32);
                *mark = Mark { writes: [write; 2], ..Mark::default() };
            }
            (self.start, self.epoch) = (1, 1);
        }
        self.epoch += 1;
    }

    /// Reads bytes, and says whether somebody of this block has written all of them. What a launch
    /// adds is as good as written: candle's products of whole batches sum up tiles of it that are
    /// written in part, keep the results in global memory, and use those of what was written.
    pub(crate) fn read(
        &mut self,
        at: u64,
        bytes: &mut [u8],
        (by, place): (User, &Place),
    ) -> Result<bool, Fault> {
        let range = range("shared", self.bytes.len(), at, bytes.len())?;
        let mut was_written = true;
        for index in range.start / self.grain..range.end.div_ceil(self.grain) {
            let mark = self.marks[index];
            was_written &= mark.was_written(self.start);
            self.check((at, bytes.len()), (mark, by), place)?;
            let Mark { atomics, reads, .. } = &mut self.marks[index];
            let uses = if by.how == Use::Atomic { atomics } else { reads };
            note(uses, Trace::new(self.epoch, by));
        }
        // What an atomic makes of them is written at once.
        if !was_written && by.how == Use::Atomic {
            return Err(Fault::Unwritten { space: "shared", address: at, bytes: bytes.len() });
        }
        bytes.copy_from_slice(&self.bytes[range]);
        Ok(was_written || at >= self.declared as u64)
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
            let is_changed = mark.atomics[0].epoch() == self.epoch
                || !mark.was_written(self.start)
                || self.changes(index, (&range, bytes));
            if is_changed || by.how == Use::Atomic {
                self.check((at, bytes.len()), (mark, by), place)?;
            }
            let now = Trace::new(self.epoch, by);
            let Mark { writes, atomics, writers, .. } = &mut self.marks[index];
            if by.how == Use::Atomic {
                note(atomics, now);
                continue;
            }
            let before = if writes[0].epoch() == self.epoch { *writers } else { 0 };
            *writers = before | 1 << now.warp();
            note(writes, now);
        }
        self.bytes[range].copy_from_slice(bytes);
        Ok(())
    }

    /// Whether what is written there differs from what is there, of the bytes that have this mark.
    fn changes(&self, index: usize, (range, bytes): (&Range<usize>, &[u8])) -> bool {
        let start = range.start.max(index * self.grain);
        let end = range.end.min((index + 1) * self.grain);
        self.bytes[start..end] != bytes[start - range.start..end - range.start]
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
        let Mark { writes, atomics, reads, writers } = mark;
        // Who wrote the same reads what it wrote.
        let wrote = by.how == Use::Read && writers >> (by.thread / 32) & 1 == 1;
        let is_current = writes[0].epoch() == self.epoch;
        let write = writes.into_iter().find(is_race).filter(|_| !(is_current && wrote));
        let found = match by.how {
            _ if write.is_some() => write.map(|it| (it, Use::Write)),
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
) -> Result<Range<usize>, Fault> {
    let start = usize::try_from(address).ok();
    let end = start.and_then(|start| start.checked_add(bytes)).filter(|end| *end <= len);
    match start.zip(end) {
        Some((start, end)) => Ok(start..end),
        None => Err(Fault::OutOfSpace { space, address, bytes, len }),
    }
}
