//! Memory as a kernel sees it.

use sluicegate_ptx::Memory as GlobalMemory;

use super::{Memory, Slot, Span, Use};

/// The memory of all devices, for a kernel on one of them.
#[derive(Debug)]
pub(crate) struct KernelMemory<'m> {
    memory: &'m mut Memory,
    device: usize,
    touched: Vec<Touched>,
    /// Which of them was touched last.
    latest: usize,
}

/// An allocation that a kernel has used, and the first and last byte of it that it has used so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Touched {
    pub(crate) slot: Slot,
    address: u64,
    end: u64,
    pub(crate) read: Option<Span>,
    pub(crate) written: Option<Span>,
}

impl Touched {
    pub(crate) fn of(slot: Slot, span: Span, used: Use) -> Self {
        let (read, written) = match used {
            Use::Read => (Some(span), None),
            Use::Write => (None, Some(span)),
        };
        Self { slot, address: span.address, end: span.end(), read, written }
    }

    /// Adds another use of the same allocation.
    pub(crate) fn join(&mut self, other: &Self) {
        for (own, other) in [(&mut self.read, other.read), (&mut self.written, other.written)] {
            let both = own.zip(other).map(|(own, other)| joined(own, other));
            *own = both.or(*own).or(other);
        }
    }
}

impl<'m> KernelMemory<'m> {
    pub(crate) fn new(memory: &'m mut Memory, device: usize) -> Self {
        Self { memory, device, touched: Vec::new(), latest: 0 }
    }

    pub(crate) fn into_touched(self) -> Vec<Touched> {
        self.touched
    }

    /// The allocation with these bytes. Kernels mostly go on where they were.
    #[inline]
    fn find(&mut self, span: Span, used: Use) -> Result<Slot, String> {
        let end = span.end();
        let holds = |it: &Touched| span.address >= it.address && end <= it.end;
        if !self.touched.get(self.latest).is_some_and(holds) {
            self.latest = match self.touched.iter().position(holds) {
                Some(index) => index,
                None => self.touch(span)?,
            };
        }
        let touched = &mut self.touched[self.latest];
        let hull = match used {
            Use::Read => &mut touched.read,
            Use::Write => &mut touched.written,
        };
        *hull = Some(hull.map_or(span, |hull| joined(hull, span)));
        Ok(touched.slot)
    }

    fn touch(&mut self, span: Span) -> Result<usize, String> {
        let slot = self.memory.reach(self.device, span)?;
        let allocation = &self.memory.slots[slot.0];
        let (address, end) = (allocation.address, allocation.end());
        self.touched.push(Touched { slot, address, end, read: None, written: None });
        Ok(self.touched.len() - 1)
    }
}

impl GlobalMemory for KernelMemory<'_> {
    #[inline]
    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), String> {
        let span = Span { address, bytes: bytes.len() };
        let slot = self.find(span, Use::Read)?;
        bytes.copy_from_slice(self.memory.slots[slot.0].read(span)?);
        Ok(())
    }

    #[inline]
    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), String> {
        let span = Span { address, bytes: bytes.len() };
        let slot = self.find(span, Use::Write)?;
        self.memory.slots[slot.0].write(span).copy_from_slice(bytes);
        Ok(())
    }
}

/// The least span that holds both.
fn joined(a: Span, b: Span) -> Span {
    let address = a.address.min(b.address);
    let end = a.end().max(b.end());
    let bytes = usize::try_from(end - address).expect("both lie within an allocation");
    Span { address, bytes }
}
