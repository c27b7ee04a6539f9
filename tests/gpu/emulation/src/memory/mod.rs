//! The memory of all devices: what is allocated, whose it is, and which of its bytes were written.
//!
//! Addresses are never given out twice, so that one that is used too late is not another's. What was
//! freed is remembered for a while, so that an error can say so.

mod allocation;
mod kernel;
mod written;

use std::collections::{BTreeMap, VecDeque};

use allocation::Allocation;
pub(crate) use allocation::{POISON, Use};
pub(crate) use kernel::{KernelMemory, Touched};

use crate::{
    error::{Code, Failure, Outcome},
    machine::Machine,
};

/// Memory is given out in pieces of so many bytes, and aligned to them.
const GRANULE: u64 = 512;
/// Addresses that a device has, the first of them being its own number, counted from one.
const DEVICE_SHIFT: u32 = 48;
/// Freed allocations that are remembered.
const MAX_FREED: usize = 1 << 16;

/// Part of a device's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) address: u64,
    pub(crate) bytes: usize,
}

impl Span {
    pub(crate) fn end(self) -> u64 {
        self.address.saturating_add(self.bytes as u64)
    }
}

/// Where an allocation is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Slot(usize);

impl Slot {
    /// All pinned memory of the host together.
    pub(crate) const PINNED: Self = Self(usize::MAX);
}

#[derive(Debug)]
pub(crate) struct Memory {
    devices: Vec<DeviceMemory>,
    slots: Vec<Allocation>,
    unused: Vec<Slot>,
    by_address: BTreeMap<u64, Slot>,
    freed: VecDeque<Slot>,
    reads_unwritten: bool,
    garbles_links: bool,
}

/// The memory of one device.
#[derive(Debug)]
struct DeviceMemory {
    total: u64,
    used: u64,
    next_address: u64,
    /// Whose memory its kernels and copies may reach besides its own.
    reaches: Vec<bool>,
}

impl Memory {
    pub(crate) fn of(machine: &Machine) -> Self {
        let device = |(index, total)| DeviceMemory {
            total,
            used: 0,
            next_address: (index + 1) << DEVICE_SHIFT,
            reaches: vec![false; machine.devices.len()],
        };
        let sizes = machine.devices.iter().map(|it| it.memory_bytes);
        Self {
            devices: (0_u64..).zip(sizes).map(device).collect(),
            slots: Vec::new(),
            unused: Vec::new(),
            by_address: BTreeMap::new(),
            freed: VecDeque::new(),
            reads_unwritten: machine.reads_unwritten,
            garbles_links: machine.garbles_links,
        }
    }

    /// Free bytes of a device, and all.
    pub(crate) fn info(&self, device: usize) -> (u64, u64) {
        let DeviceMemory { total, used, .. } = self.devices[device];
        (total - used, total)
    }

    /// Takes memory that no program can reach, as a context does.
    pub(crate) fn reserve(&mut self, device: usize, bytes: u64) -> Outcome {
        let memory = &mut self.devices[device];
        if bytes > memory.total - memory.used {
            let free = memory.total - memory.used;
            let detail = format!("cuda:{device}: wanted {bytes} bytes, {free} are free");
            return Err(Failure::new(Code::OutOfMemory, detail));
        }
        memory.used += bytes;
        Ok(())
    }

    pub(crate) fn give_back(&mut self, device: usize, bytes: u64) {
        self.devices[device].used -= bytes;
    }

    /// Ends all access between a device and the others.
    pub(crate) fn end_access(&mut self, device: usize) {
        self.devices[device].reaches.fill(false);
        for other in &mut self.devices {
            other.reaches[device] = false;
        }
    }

    /// Allocates memory that nobody has written yet.
    pub(crate) fn allocate(&mut self, device: usize, bytes: usize) -> Outcome<u64> {
        if bytes == 0 {
            return Err(Failure::new(Code::InvalidValue, "an allocation of zero bytes"));
        }
        let taken = (bytes as u64).checked_next_multiple_of(GRANULE).unwrap_or(u64::MAX);
        self.reserve(device, taken)?;
        let memory = &mut self.devices[device];
        let address = memory.next_address;
        // Something lies between any two, so that who runs over one does not hit the next.
        memory.next_address += taken + GRANULE;
        let mut allocation = Allocation::new(address, device, bytes);
        if self.reads_unwritten {
            allocation.count_as_written();
        }
        let slot = if let Some(slot) = self.unused.pop() {
            self.slots[slot.0] = allocation;
            slot
        } else {
            self.slots.push(allocation);
            Slot(self.slots.len() - 1)
        };
        self.by_address.insert(address, slot);
        Ok(address)
    }

    /// Frees an allocation, which `address` must be the beginning of.
    pub(crate) fn free(&mut self, address: u64, by: &str) -> Outcome {
        let slot = self.beginning(address)?;
        let allocation = &mut self.slots[slot.0];
        allocation.free(by);
        self.devices[allocation.device].used -= rounded(allocation.len);
        self.freed.push_back(slot);
        if self.freed.len() > MAX_FREED
            && let Some(slot) = self.freed.pop_front()
        {
            self.by_address.remove(&self.slots[slot.0].address);
            self.unused.push(slot);
        }
        Ok(())
    }

    /// Frees all that a device has, as the end of its context does.
    pub(crate) fn free_all(&mut self, device: usize) {
        let is_live = |it: &&Allocation| it.device == device && !it.is_freed();
        let live: Vec<u64> = self.slots.iter().filter(is_live).map(|it| it.address).collect();
        for address in live {
            self.free(address, "the end of its context").expect("it is live");
        }
    }

    /// Takes note that an allocation will be freed, which must be told once.
    pub(crate) fn will_free(&mut self, address: u64) -> Outcome {
        let slot = self.beginning(address)?;
        if std::mem::replace(&mut self.slots[slot.0].is_to_be_freed, true) {
            let detail = format!("the allocation at {address:#x} is to be freed already");
            return Err(Failure::new(Code::InvalidValue, detail));
        }
        Ok(())
    }

    /// The live allocation that begins here.
    pub(crate) fn beginning(&self, address: u64) -> Outcome<Slot> {
        let slot = self.by_address.get(&address).copied();
        let slot = slot.ok_or_else(|| {
            Failure::new(Code::InvalidValue, format!("no allocation begins at {address:#x}"))
        })?;
        match self.slots[slot.0].freed_by() {
            None => Ok(slot),
            Some(by) => {
                let detail = format!("the allocation at {address:#x} was freed before, by {by}");
                Err(Failure::new(Code::InvalidValue, detail))
            }
        }
    }

    /// All of an allocation, as who makes or frees it uses it.
    pub(crate) fn whole(&self, slot: Slot) -> Touched {
        let Allocation { address, len, .. } = self.slots[slot.0];
        Touched::of(slot, Span { address, bytes: len }, Use::Write)
    }

    /// The device on which something lies, if an address is a device's at all.
    pub(crate) fn owner(&self, address: u64) -> Option<usize> {
        let number = usize::try_from(address >> DEVICE_SHIFT).ok()?;
        number.checked_sub(1).filter(|device| *device < self.devices.len())
    }

    pub(crate) fn let_reach(&mut self, device: usize, other: usize) -> bool {
        !std::mem::replace(&mut self.devices[device].reaches[other], true)
    }

    /// The allocation that a span lies in, or why a device cannot use it.
    pub(crate) fn reach(&self, device: usize, span: Span) -> Result<Slot, String> {
        let below = self.by_address.range(..=span.address).next_back();
        let Some((_, slot)) = below else { return Err("nothing is allocated there".to_owned()) };
        let allocation = &self.slots[slot.0];
        let end = span.end();
        if self.owner(span.address) != Some(allocation.device) || !allocation.is_near(end) {
            return Err("nothing is allocated there".to_owned());
        }
        if let Some(behind) = end.checked_sub(allocation.end()).filter(|it| *it > 0) {
            let len = allocation.len;
            return Err(format!("{behind} bytes behind the end of an allocation of {len} bytes"));
        }
        if let Some(by) = allocation.freed_by() {
            return Err(format!("the memory was freed by {by}"));
        }
        let owner = allocation.device;
        if owner != device && !self.devices[device].reaches[owner] {
            return Err(format!(
                "the memory is of cuda:{owner}, and cuda:{device} has no access to it"
            ));
        }
        Ok(*slot)
    }

    /// Where the live allocation of a device begins that an address lies in.
    pub(crate) fn within(&self, device: usize, address: u64) -> Option<u64> {
        self.owner(address).filter(|owner| *owner == device)?;
        let slot = self.reach(device, Span { address, bytes: 1 }).ok()?;
        Some(self.slots[slot.0].address)
    }

    /// The beginning of the largest live allocation that is not of a device.
    pub(crate) fn elsewhere(&self, device: usize) -> Option<u64> {
        let others = self.by_address.values().map(|slot| &self.slots[slot.0]);
        let others = others.filter(|it| it.device != device && !it.is_freed());
        others.max_by_key(|it| it.len).map(|it| it.address)
    }

    /// Reads what was written before.
    pub(crate) fn read(&self, device: usize, span: Span) -> Result<(&[u8], Touched), String> {
        let slot = self.reach(device, span)?;
        Ok((self.slots[slot.0].read(span)?, Touched::of(slot, span, Use::Read)))
    }

    pub(crate) fn write(
        &mut self,
        device: usize,
        span: Span,
    ) -> Result<(&mut [u8], Touched), String> {
        let slot = self.reach(device, span)?;
        Ok((self.slots[slot.0].write(span), Touched::of(slot, span, Use::Write)))
    }

    /// Copies what was written, and of the rest that it was not.
    pub(crate) fn copy(
        &mut self,
        [reader, writer]: [usize; 2],
        source: Span,
        target: u64,
    ) -> Result<Vec<Touched>, String> {
        let from = self.reach(reader, source)?;
        let span = Span { address: target, ..source };
        let to = self.reach(writer, span)?;
        let mut piece = self.slots[from.0].piece(source);
        if reader != writer && self.garbles_links {
            piece.garble();
        }
        self.slots[to.0].put(span, &piece);
        Ok(vec![Touched::of(from, source, Use::Read), Touched::of(to, span, Use::Write)])
    }
}

/// What an allocation takes of a device.
fn rounded(bytes: usize) -> u64 {
    (bytes as u64).next_multiple_of(GRANULE)
}

#[cfg(test)]
mod tests;
