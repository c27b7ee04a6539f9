//! The memory that each lane of a warp has to itself.

use crate::{error::Fault, lanes::WARP, shared::range};

pub(crate) struct Local {
    /// Of each lane, one after the other.
    bytes: Vec<u8>,
    is_written: Vec<bool>,
    num_bytes: usize,
}

impl Local {
    /// So many bytes for each lane.
    pub(crate) fn new(num_bytes: usize) -> Self {
        let all = WARP * num_bytes;
        Self { bytes: vec![0; all], is_written: vec![false; all], num_bytes }
    }

    /// Nothing was written yet.
    pub(crate) fn restart(&mut self) {
        self.is_written.fill(false);
    }

    pub(crate) fn read(&self, lane: usize, at: u64, bytes: &mut [u8]) -> Result<(), Fault> {
        let range = self.range(lane, at, bytes.len())?;
        if !self.is_written[range.clone()].iter().all(|it| *it) {
            let (space, address) = ("local", at);
            return Err(Fault::Unwritten { space, address, bytes: bytes.len() });
        }
        bytes.copy_from_slice(&self.bytes[range]);
        Ok(())
    }

    pub(crate) fn write(&mut self, lane: usize, at: u64, bytes: &[u8]) -> Result<(), Fault> {
        let range = self.range(lane, at, bytes.len())?;
        self.is_written[range.clone()].fill(true);
        self.bytes[range].copy_from_slice(bytes);
        Ok(())
    }

    fn range(&self, lane: usize, at: u64, bytes: usize) -> Result<std::ops::Range<usize>, Fault> {
        let within = range("local", self.num_bytes, at, bytes)?;
        let start = lane * self.num_bytes;
        Ok(start + within.start..start + within.end)
    }
}
