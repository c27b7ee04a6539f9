//! Counts of what is asked for, where somebody wants to know.

use super::World;
use crate::{
    counts::{Calls, Kind},
    mistakes::say,
    work::Work,
};

impl World {
    /// Counts something that a device was asked for.
    pub(crate) fn count(&mut self, device: usize, kind: Kind, bytes: usize) {
        if let Some(counts) = &mut self.counts {
            counts.add(device, kind, bytes);
        }
    }

    /// Counts work of a stream of this device.
    pub(super) fn count_work(&mut self, device: usize, work: &Work) {
        if self.counts.is_none() {
            return;
        }
        let (kind, bytes) = match work {
            Work::Launch(_) => (Kind::Launch, 0),
            Work::Product(_) => (Kind::Product, 0),
            Work::Uniform(uniform) => (Kind::Random, uniform.target.bytes),
            Work::Fill { target, .. } => (Kind::Fill, target.bytes),
            Work::Upload { bytes, .. } => (Kind::PageableUpload, bytes.len()),
            Work::UploadPinned { source, .. } => (Kind::PinnedUpload, source.bytes().len()),
            Work::Download { source, target, .. } => {
                let is_pinned = self.pinned.holds(target.start(), source.bytes);
                let kind = if is_pinned { Kind::PinnedDownload } else { Kind::PageableDownload };
                (kind, source.bytes)
            }
            Work::Copy { source, target, .. } => {
                let is_within = self.memory.owner(source.address) == self.memory.owner(*target);
                let kind = if is_within { Kind::CopyWithin } else { Kind::CopyBetween };
                (kind, source.bytes)
            }
            Work::Send(passage) => (Kind::Send, passage.span.bytes),
            Work::Receive(passage) => (Kind::Receive, passage.span.bytes),
            Work::Free { .. } => (Kind::Free, 0),
            Work::Stamp { .. } => (Kind::EventRecord, 0),
            // Counted with its bytes when the memory is found.
            Work::Allocate => return,
        };
        self.count(device, kind, bytes);
    }

    /// Writes the file of counts at the process's end.
    pub(crate) fn write_counts(&self, calls: &Calls) {
        let (Some(file), Some(counts)) = (&self.machine.counts, &self.counts) else { return };
        if let Err(error) = std::fs::write(file, counts.to_json(calls)) {
            say(&format!("{}: {error}", file.display()));
        }
    }
}
