//! One allocation.

use super::{GRANULE, Span, written::Written};

/// What nobody has written yet: no number as a float, and out of range as an index.
pub(crate) const POISON: u8 = 0xff;

#[derive(Debug)]
pub(super) struct Allocation {
    pub(super) address: u64,
    pub(super) device: usize,
    pub(super) len: usize,
    /// Whether a stream was asked to free it.
    pub(super) is_to_be_freed: bool,
    /// None once it is freed.
    content: Option<Content>,
    freed_by: String,
}

#[derive(Debug)]
struct Content {
    bytes: Vec<u8>,
    written: Written,
}

/// Bytes on their way from one place to another.
#[derive(Debug)]
pub(super) struct Piece {
    bytes: Vec<u8>,
    /// Those of them that were never written.
    missing: Vec<usize>,
}

impl Piece {
    /// Changes a bit in the middle.
    pub(super) fn garble(&mut self) {
        let middle = self.bytes.len() / 2;
        if let Some(byte) = self.bytes.get_mut(middle) {
            *byte ^= 1;
        }
    }
}

/// How memory is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Read,
    Write,
}

impl Allocation {
    pub(super) fn new(address: u64, device: usize, len: usize) -> Self {
        let content = Content { bytes: vec![POISON; len], written: Written::none_of(len) };
        Self {
            address,
            device,
            len,
            is_to_be_freed: false,
            content: Some(content),
            freed_by: String::new(),
        }
    }

    /// Lets all of it be read, as it is.
    pub(super) fn count_as_written(&mut self) {
        if let Some(content) = &mut self.content {
            content.written.add(0..self.len);
        }
    }

    pub(super) fn end(&self) -> u64 {
        self.address + self.len as u64
    }

    /// Whether who ends here most likely meant this allocation.
    pub(super) fn is_near(&self, end: u64) -> bool {
        end <= self.end() + (self.len as u64).max(GRANULE)
    }

    pub(super) fn free(&mut self, by: &str) {
        self.content = None;
        by.clone_into(&mut self.freed_by);
    }

    pub(super) fn is_freed(&self) -> bool {
        self.content.is_none()
    }

    pub(super) fn freed_by(&self) -> Option<&str> {
        self.is_freed().then_some(&self.freed_by)
    }

    /// Reads a span that lies within it.
    #[inline]
    pub(super) fn read(&self, span: Span) -> Result<&[u8], String> {
        let content = self.content.as_ref().expect(IS_LIVE);
        let start = self.start_of(span);
        match content.written.first_missing(start..start + span.bytes) {
            None => Ok(&content.bytes[start..start + span.bytes]),
            Some(byte) => {
                let len = self.len;
                Err(format!("byte {byte} of the allocation of {len} was never written"))
            }
        }
    }

    /// A span that lies within it, to be written all.
    #[inline]
    pub(super) fn write(&mut self, span: Span) -> &mut [u8] {
        let start = self.start_of(span);
        let content = self.content.as_mut().expect(IS_LIVE);
        content.written.add(start..start + span.bytes);
        &mut content.bytes[start..start + span.bytes]
    }

    /// A copy of a span that lies within it.
    pub(super) fn piece(&self, span: Span) -> Piece {
        let content = self.content.as_ref().expect(IS_LIVE);
        let start = self.start_of(span);
        let range = start..start + span.bytes;
        Piece {
            bytes: content.bytes[range.clone()].to_vec(),
            missing: content.written.missing(range),
        }
    }

    pub(super) fn put(&mut self, span: Span, piece: &Piece) {
        self.write(span).copy_from_slice(&piece.bytes);
        let start = self.start_of(span);
        let content = self.content.as_mut().expect(IS_LIVE);
        for byte in &piece.missing {
            content.written.remove(start + byte);
        }
    }

    fn start_of(&self, span: Span) -> usize {
        usize::try_from(span.address - self.address).expect("a span lies within its allocation")
    }
}

const IS_LIVE: &str = "freed memory is not reached";
