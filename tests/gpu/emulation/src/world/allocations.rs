//! Memory that is given out and comes back, in the order of streams.

use super::{Stream, World};
use crate::{
    counts::Kind,
    error::{Code, Failure, Outcome},
    machine::FaultKind,
    races::{Actor, Label},
    work::{HostSpan, Work},
};

impl World {
    /// Frees an allocation once all streams of its device have come so far, as `cuMemFree` does.
    pub(crate) fn free(&mut self, address: u64) -> Outcome {
        if self.is_freed_already(address) {
            return Ok(());
        }
        self.memory.beginning(address)?;
        if let Some(device) = self.memory.owner(address) {
            self.synchronize_device(device)?;
            self.count(device, Kind::Free, 0);
            self.count(device, Kind::Synchronisation, 0);
        }
        self.release_memory(address, "cuMemFree")
    }

    /// Frees an allocation once a stream has come so far.
    pub(crate) fn free_on(&mut self, device: usize, stream: u64, address: u64) -> Outcome {
        if self.is_freed_already(address) {
            return Ok(());
        }
        self.memory.will_free(address)?;
        self.enqueue(device, stream, Work::Free { address }).map(drop)
    }

    /// Allocates; where a device has no room, after all that is to be freed on it.
    pub(crate) fn allocate(&mut self, device: usize, bytes: usize) -> Outcome<u64> {
        self.num_allocations += 1;
        if self.is_faulty(FaultKind::OutOfMemory, self.num_allocations) {
            let detail = format!("cuda:{device}: wanted {bytes} bytes: an injected fault");
            return Err(Failure::new(Code::OutOfMemory, detail));
        }
        self.count(device, Kind::Allocation, bytes);
        match self.memory.allocate(device, bytes) {
            Err(failure) if failure.code == Code::OutOfMemory => {
                match self.synchronize_device(device) {
                    Err(stuck) if stuck.code == Code::NotReady => return Err(failure),
                    finished => finished?,
                }
                self.memory.allocate(device, bytes)
            }
            outcome => outcome,
        }
    }

    /// Allocates for a stream: others may use it once they have waited for this place in it.
    pub(crate) fn allocate_for(&mut self, stream: u64, bytes: usize) -> Outcome<u64> {
        let Stream { id, device, .. } = self.stream(stream)?;
        let address = self.allocate(device, bytes)?;
        self.enqueue(device, stream, Work::Allocate)?;
        let whole = self.memory.whole(self.memory.beginning(address)?);
        let (point, clock) = self.queues.here(id);
        let label = Label::Named("cuMemAllocAsync");
        self.note(device, &[whole], Actor { label: &label, point, clock: &clock })?;
        Ok(address)
    }

    /// Frees pinned memory once no device uses it any more.
    pub(crate) fn free_pinned(&mut self, address: *mut u8) -> Outcome {
        (0..self.machine.devices.len()).try_for_each(|device| self.synchronize_device(device))?;
        self.pinned.free(address)
    }

    /// A copy from pinned memory, which nobody may change until it is done.
    pub(crate) fn pinned_upload(&mut self, source: HostSpan, target: u64) -> Work {
        let Self { pinned, queues, .. } = self;
        let fingerprint = pinned.fingerprint(source, |point| queues.is_done(point));
        Work::UploadPinned { source, fingerprint, target }
    }

    pub(super) fn release_memory(&mut self, address: u64, by: &str) -> Outcome {
        self.races.forget(self.memory.beginning(address)?);
        self.memory.free(address, by)
    }
}
