//! What a kernel reads and writes.

use crate::{
    error::Fault,
    inst::Space,
    kernel::{GLOBALS, LOCAL, SHARED},
};

/// The memory of devices.
pub trait Memory {
    /// Reads bytes of global memory.
    ///
    /// # Errors
    /// Why these bytes cannot be read.
    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), String>;

    /// Writes bytes of global memory.
    ///
    /// # Errors
    /// Why these bytes cannot be written.
    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), String>;
}

/// All that a thread of one warp can reach.
pub(crate) struct Reach<'m, M> {
    pub(crate) global: &'m mut M,
    pub(crate) globals: &'m [u8],
    pub(crate) params: &'m [u8],
    pub(crate) shared: &'m mut [u8],
    /// Of each lane, one after the other.
    pub(crate) local: &'m mut [u8],
    pub(crate) local_bytes: usize,
}

/// A space, and an address within it.
fn place(space: Space, address: u64) -> (Space, u64) {
    match space {
        Space::Generic if address >= LOCAL => (Space::Local, address - LOCAL),
        Space::Generic if address >= SHARED => (Space::Shared, address - SHARED),
        Space::Generic => (Space::Global, address),
        space => (space, address),
    }
}

impl<M: Memory> Reach<'_, M> {
    pub(crate) fn read(
        &mut self,
        space: Space,
        lane: usize,
        address: u64,
        bytes: &mut [u8],
    ) -> Result<(), Fault> {
        check_alignment(address, bytes.len())?;
        match place(space, address) {
            (Space::Global, at) if at >= GLOBALS => {
                bytes.copy_from_slice(part("module", self.globals, at - GLOBALS, bytes.len())?);
            }
            (Space::Global | Space::Generic, at) => {
                let num_bytes = bytes.len();
                self.global.read(at, bytes).map_err(|why| Fault::Memory {
                    address: at,
                    bytes: num_bytes,
                    why,
                })?;
            }
            (Space::Shared, at) => {
                bytes.copy_from_slice(part("shared", self.shared, at, bytes.len())?);
            }
            (Space::Param, at) => {
                bytes.copy_from_slice(part("parameter", self.params, at, bytes.len())?);
            }
            (Space::Local, at) => {
                let own = &self.local[lane * self.local_bytes..][..self.local_bytes];
                bytes.copy_from_slice(part("local", own, at, bytes.len())?);
            }
        }
        Ok(())
    }

    pub(crate) fn write(
        &mut self,
        space: Space,
        lane: usize,
        address: u64,
        bytes: &[u8],
    ) -> Result<(), Fault> {
        check_alignment(address, bytes.len())?;
        match place(space, address) {
            (Space::Shared, at) => {
                part_mut("shared", self.shared, at, bytes.len())?.copy_from_slice(bytes);
            }
            (Space::Local, at) => {
                let own = &mut self.local[lane * self.local_bytes..][..self.local_bytes];
                part_mut("local", own, at, bytes.len())?.copy_from_slice(bytes);
            }
            (Space::Param, at) => {
                return Err(Fault::Memory {
                    address: at,
                    bytes: bytes.len(),
                    why: "parameters are not written".to_owned(),
                });
            }
            (Space::Global, at) if at >= GLOBALS => {
                return Err(Fault::Memory {
                    address: at,
                    bytes: bytes.len(),
                    why: "variables of the module are not written here".to_owned(),
                });
            }
            (Space::Global | Space::Generic, at) => {
                self.global.write(at, bytes).map_err(|why| Fault::Memory {
                    address: at,
                    bytes: bytes.len(),
                    why,
                })?;
            }
        }
        Ok(())
    }
}

fn check_alignment(address: u64, bytes: usize) -> Result<(), Fault> {
    let is_aligned = address.is_multiple_of(bytes as u64);
    if is_aligned { Ok(()) } else { Err(Fault::Misaligned { address, bytes }) }
}

fn range(
    space: &'static str,
    len: usize,
    address: u64,
    bytes: usize,
) -> Result<std::ops::Range<usize>, Fault> {
    let start = usize::try_from(address).ok();
    let end = start.and_then(|start| start.checked_add(bytes)).filter(|end| *end <= len);
    match start.zip(end) {
        Some((start, end)) => Ok(start..end),
        None => Err(Fault::OutOfSpace { space, address, bytes, len }),
    }
}

fn part<'b>(
    space: &'static str,
    all: &'b [u8],
    address: u64,
    bytes: usize,
) -> Result<&'b [u8], Fault> {
    Ok(&all[range(space, all.len(), address, bytes)?])
}

fn part_mut<'b>(
    space: &'static str,
    all: &'b mut [u8],
    address: u64,
    bytes: usize,
) -> Result<&'b mut [u8], Fault> {
    let range = range(space, all.len(), address, bytes)?;
    Ok(&mut all[range])
}
