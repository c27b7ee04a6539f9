//! Reads little-endian values from a mapped file, with bounds checks at each step.

use std::ops::Range;

use crate::{error::HeaderError, mapped::MappedFile};

/// A position in a file, with the means to report errors there.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    file: &'a MappedFile,
    offset: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(file: &'a MappedFile, offset: usize) -> Self {
        Self { file, offset }
    }

    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    pub(super) fn remaining(&self) -> u64 {
        self.file.len().saturating_sub(self.offset) as u64
    }

    /// Checks that `num_bytes` remain for `what`, before anything is read or allocated.
    pub(super) fn want(&self, num_bytes: u64, what: &str) -> Result<(), HeaderError> {
        if num_bytes <= self.remaining() {
            return Ok(());
        }
        Err(HeaderError::Truncated {
            file: self.file.path().to_owned(),
            offset: self.offset,
            what: what.to_owned(),
            wanted: num_bytes,
            found: self.remaining(),
        })
    }

    /// Skips `num_bytes` bytes and returns their range.
    pub(super) fn skip(&mut self, num_bytes: u64, what: &str) -> Result<Range<usize>, HeaderError> {
        self.want(num_bytes, what)?;
        let start = self.offset;
        // At most the file's length, which is a usize.
        self.offset += usize::try_from(num_bytes).unwrap_or(usize::MAX);
        Ok(start..self.offset)
    }

    pub(super) fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], HeaderError> {
        let span = self.skip(N as u64, what)?;
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.file[span]);
        Ok(bytes)
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32, HeaderError> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &str) -> Result<u64, HeaderError> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// Reads a length-prefixed string of at most `limit` bytes.
    pub(super) fn text(&mut self, what: &str, limit: u64) -> Result<&'a str, HeaderError> {
        let start = self.offset;
        std::str::from_utf8(self.string(what, limit)?).map_err(|error| {
            self.malformed_at(start, what, "UTF-8".to_owned(), format!("other bytes ({error})"))
        })
    }

    /// As [`Cursor::text`], but returns bytes that need not be UTF-8.
    pub(super) fn string(&mut self, what: &str, limit: u64) -> Result<&'a [u8], HeaderError> {
        let start = self.offset;
        let num_bytes = self.u64(what)?;
        if num_bytes > limit {
            let wanted = format!("a string of at most {limit} bytes");
            return Err(self.malformed_at(start, what, wanted, format!("{num_bytes} bytes")));
        }
        let span = self.skip(num_bytes, what)?;
        Ok(&self.file[span])
    }

    pub(super) fn malformed_at(
        &self,
        offset: usize,
        what: &str,
        wanted: String,
        found: String,
    ) -> HeaderError {
        HeaderError::Malformed {
            file: self.file.path().to_owned(),
            place: format!("{what} at byte {offset}"),
            wanted,
            found,
        }
    }
}
