//! A kernel that can be launched.

use std::sync::Arc;

use crate::{inst::Inst, registers::Frame, step::Step};

/// Where the variables of a module lie, in addresses that no device gives out.
pub(crate) const GLOBALS: u64 = 0x7d00_0000_0000_0000;
/// Where the shared memory of a block and the memory of a thread lie for those who may read any.
pub(crate) const SHARED: u64 = 0x7e00_0000_0000_0000;
pub(crate) const LOCAL: u64 = 0x7f00_0000_0000_0000;

/// A parameter of a kernel: where in the block of all parameters it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    pub name: String,
    pub offset: usize,
    pub bytes: usize,
}

/// A kernel, read and checked.
#[derive(Debug, Clone)]
pub struct Kernel {
    pub name: String,
    pub params: Vec<Param>,
    /// Bytes of shared memory that it declares itself; each block has its own.
    pub shared_bytes: usize,
    /// Bytes of memory that each thread has to itself.
    pub local_bytes: usize,
    pub(crate) frame: Frame,
    pub(crate) code: Vec<Inst>,
    /// The same instructions as they are executed.
    pub(crate) steps: Vec<Step>,
    /// What the variables of its module hold.
    pub(crate) globals: Arc<[u8]>,
}

impl PartialEq for Kernel {
    fn eq(&self, other: &Self) -> bool {
        // The rest follows from these.
        self.name == other.name
            && self.params == other.params
            && (self.shared_bytes, self.local_bytes) == (other.shared_bytes, other.local_bytes)
            && self.code == other.code
            && self.globals == other.globals
    }
}

impl Kernel {
    /// Bytes of all parameters together.
    pub fn param_bytes(&self) -> usize {
        self.params.last().map_or(0, |last| last.offset + last.bytes)
    }
}
