//! Memory of the host that devices read and write at their own time.

use std::{
    alloc::Layout,
    collections::BTreeMap,
    hash::{DefaultHasher, Hasher},
};

use crate::{
    error::{Code, Failure, Outcome},
    queue::Point,
    work::HostSpan,
};

/// Whole pages, as the driver gives them.
const ALIGNMENT: usize = 4096;

/// What `cuMemHostAlloc` has given out.
#[derive(Debug, Default)]
pub(crate) struct Pinned {
    regions: BTreeMap<usize, Layout>,
    /// What devices have been told to write.
    arriving: Vec<(Point, HostSpan)>,
}

impl Pinned {
    pub(crate) fn allocate(&mut self, bytes: usize) -> Outcome<*mut u8> {
        let layout = Layout::from_size_align(bytes, ALIGNMENT).ok().filter(|_| bytes > 0);
        let layout = layout.ok_or_else(|| {
            Failure::new(Code::InvalidValue, format!("{bytes} bytes of pinned memory"))
        })?;
        // SAFETY: the layout is not empty.
        let address = unsafe { std::alloc::alloc_zeroed(layout) };
        if address.is_null() {
            let detail = format!("{bytes} bytes of pinned memory");
            return Err(Failure::new(Code::OutOfMemory, detail));
        }
        self.regions.insert(address as usize, layout);
        Ok(address)
    }

    pub(crate) fn free(&mut self, address: *mut u8) -> Outcome {
        let layout = self.regions.remove(&(address as usize)).ok_or_else(|| {
            Failure::new(Code::InvalidValue, format!("no pinned memory begins at {address:p}"))
        })?;
        // SAFETY: it was allocated with this layout, and is freed once.
        unsafe { std::alloc::dealloc(address, layout) };
        Ok(())
    }

    /// A device will have written there once its stream has come so far.
    pub(crate) fn arrives(&mut self, point: Point, target: HostSpan) {
        self.arriving.push((point, target));
    }

    /// What a source is now, in short; none if a device is about to write it.
    pub(crate) fn fingerprint(
        &mut self,
        source: HostSpan,
        is_done: impl Fn(Point) -> bool,
    ) -> Option<u64> {
        self.arriving.retain(|(point, _)| !is_done(*point));
        let is_arriving = self.arriving.iter().any(|(_, target)| target.overlaps(source));
        (!is_arriving).then(|| fingerprint(source))
    }

    /// Whether memory of the host is pinned.
    pub(crate) fn holds(&self, address: *const u8, bytes: usize) -> bool {
        let address = address as usize;
        let below = self.regions.range(..=address).next_back();
        below.is_some_and(|(start, layout)| address + bytes <= start + layout.size())
    }
}

/// What bytes are, in short: to see that they have changed.
pub(crate) fn fingerprint(span: HostSpan) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(span.bytes());
    hasher.finish()
}
