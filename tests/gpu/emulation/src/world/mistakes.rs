//! Mistakes that are put into what a program asks for.

use super::{Stream, Task, World};
use crate::{
    error::Outcome,
    memory::Span,
    mistakes::{MistakeKind, say},
    queue::{Clock, Point},
    work::{HostSpan, Launch, Work},
};

/// More threads than a block may have.
const TOO_MANY_THREADS: [u32; 3] = [1025, 1, 1];

/// Kernels of candle that read a table of indices: how their names begin, which parameter is the
/// table, and which says how many there are to choose from.
///
/// Source: `indexing.cu` of candle-kernels 0.11; `rows.cu` and `attention.cu` of the product.
const TABLES: [(&str, usize, usize); 7] = [
    ("select_rows_", 1, 4),
    ("attend_", 7, 15),
    ("is_u32_", 3, 7),
    ("gather_u32_", 1, 5),
    ("ia_u32_", 0, 6),
    ("s_u32_", 0, 5),
    ("sa_u32_", 0, 5),
];

/// Memory that is freed too early, and behind what.
pub(super) struct TooEarly {
    address: u64,
    behind: (Point, Clock),
}

impl World {
    /// Whether the calling thread forgets to make its context current.
    pub(crate) fn forgets_context(&mut self) -> bool {
        self.mistakes.makes(MistakeKind::NoContext, || {
            "no context becomes current in a thread that asks for one".to_owned()
        })
    }

    /// Whether a stream forgets to wait.
    pub(super) fn forgets_wait(&mut self, stream: Stream) -> bool {
        self.mistakes.makes(MistakeKind::MissingWait, || {
            format!("stream {} does not wait for an event", stream.id.0)
        })
    }

    /// Asks for a launch that the driver has not refused.
    pub(crate) fn launch(&mut self, device: usize, stream: u64, mut launch: Launch) -> Outcome {
        let forgets = self.mistakes.makes(MistakeKind::UnreadLaunch, || {
            let [threads, ..] = TOO_MANY_THREADS;
            format!("the kernel `{}` is launched with {threads} threads", launch.kernel.name)
        });
        if forgets {
            launch.block_size = TOO_MANY_THREADS;
        }
        match launch.check() {
            Err(failure) if forgets => self.leave_unread(Some(failure)),
            checked => {
                checked?;
                self.enqueue(device, stream, Work::Launch(launch))?;
            }
        }
        Ok(())
    }

    /// Gives work a pointer of another device.
    pub(super) fn misdirect(&mut self, device: usize, work: &mut Work) {
        if !self.mistakes.has(MistakeKind::OtherDevice) {
            return;
        }
        let Some(other) = self.memory.elsewhere(device) else { return };
        let label = work.label();
        work.visit(|address| {
            let is_chance = self.memory.within(device, *address).is_some();
            let what = || format!("{label} gets {other:#x} instead of {address:#x}");
            if is_chance && self.mistakes.makes(MistakeKind::OtherDevice, what) {
                *address = other;
            }
        });
    }

    /// Memory that work uses and that is freed under it, behind all that its stream has by now.
    pub(super) fn too_early(&mut self, stream: Stream, work: &mut Work) -> Option<TooEarly> {
        if !self.mistakes.has(MistakeKind::EarlyFree) {
            return None;
        }
        let label = work.label();
        let mut found = None;
        work.visit(|address| {
            let Some(beginning) = self.memory.within(stream.device, *address) else { return };
            let what = || format!("the memory at {beginning:#x} is freed under {label}");
            if self.mistakes.makes(MistakeKind::EarlyFree, what) {
                found = Some(beginning);
            }
        });
        let address = found?;
        self.memory.will_free(address).ok()?;
        Some(TooEarly { address, behind: self.queues.here(stream.id) })
    }

    /// Frees it on a stream of its own. The program's own call comes later and does nothing.
    pub(super) fn free_too_early(&mut self, device: usize, TooEarly { address, behind }: TooEarly) {
        let id = self.queues.create();
        let (point, clock) = behind;
        self.queues.wait(id, (point, &clock));
        self.queues.push(id, Task { device, work: Work::Free { address } });
        self.retired.push(Stream { id, device, is_blocking: false });
        self.freed_early.insert(address);
    }

    /// Whether memory that the program frees now was freed too early.
    pub(super) fn is_freed_already(&mut self, address: u64) -> bool {
        self.freed_early.remove(&address)
    }

    /// Changes what a copy shall read, if it has not read it yet.
    pub(super) fn reuse(&mut self, source: HostSpan, point: Point) {
        let is_chance = !self.queues.is_done(point);
        let what = || "the pinned source of a copy is written".to_owned();
        if is_chance && self.mistakes.makes(MistakeKind::PinnedReuse, what) {
            source.spoil();
        }
    }

    /// Puts an index that is one too high into the table that a launch reads.
    pub(super) fn misindex(&mut self, device: usize, launch: &Launch) {
        let name = &launch.kernel.name;
        let table = TABLES.into_iter().find(|(prefix, ..)| name.starts_with(prefix));
        let Some((_, table, choices)) = table else { return };
        let (Some(address), Some(choices)) = (launch.word(table), launch.word(choices)) else {
            return;
        };
        let what = || format!("the kernel `{name}` gets the index {choices} of {choices}");
        let span = Span { address, bytes: size_of::<u32>() };
        if self.mistakes.makes(MistakeKind::OutOfRange, what)
            && let Ok((bytes, _)) = self.memory.write(device, span)
        {
            bytes.copy_from_slice(&(choices as u32).to_le_bytes());
        }
    }

    /// Says at the process's end which mistakes were not made.
    pub(crate) fn report_missed(&self) {
        self.mistakes.missed().for_each(|line| say(&line));
    }
}
