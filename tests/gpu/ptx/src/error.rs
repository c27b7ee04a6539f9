//! What is wrong with a module, and what goes wrong in a kernel.

use std::fmt;

/// Text that is no PTX, or holds what is not known here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("line {line}: wanted {wanted}, found `{found}`")]
    Unexpected { line: u32, wanted: &'static str, found: String },
    #[error("line {line}: the instruction `{name}` is not known")]
    Instruction { line: u32, name: String },
    #[error("line {line}: `{name}` is not declared")]
    Undeclared { line: u32, name: String },
    #[error("line {line}: `{name}` is declared twice")]
    Twice { line: u32, name: String },
    #[error("line {line}: there is no room for `{name}`")]
    TooLarge { line: u32, name: String },
    #[error("the module has no kernel `{name}`")]
    NoKernel { name: String },
}

/// Why a kernel cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("{bytes} bytes at {address:#x}: {why}")]
    Memory { address: u64, bytes: usize, why: String },
    #[error("{bytes} bytes at {address:#x} of {space} memory, which has {len}")]
    OutOfSpace { space: &'static str, address: u64, bytes: usize, len: usize },
    #[error("{bytes} bytes at {address:#x} are not aligned")]
    Misaligned { address: u64, bytes: usize },
    #[error("it stopped itself")]
    Trap,
    /// What it said, if that is known, begins with what sets it apart from the name.
    #[error("it called `{name}`{said}")]
    Called { name: String, said: String },
    #[error("lanes of warp {warp} wait at different barriers")]
    Barrier { warp: usize },
    #[error("lane {lane} reads lane {source_lane}, which does not take part")]
    Shuffle { lane: usize, source_lane: usize },
    #[error("it does not end")]
    Endless,
    #[error("{bytes} bytes at {address:#x} of {space} memory are read, which nobody has written")]
    Unwritten { space: &'static str, address: u64, bytes: usize },
    #[error("it depends on a register or on shared memory that nobody has written")]
    UnwrittenRegister,
    /// Of two threads of a block that use shared memory, of which no barrier says who comes first.
    #[error(
        "it {how} {bytes} bytes at {address:#x} of shared memory, which thread {other_thread:?} \
         {other_how} in line {other_line}, with no barrier between them"
    )]
    Race {
        address: u64,
        bytes: usize,
        how: Use,
        other_how: Use,
        other_thread: [u32; 3],
        other_line: u32,
    },
    #[error(
        "warp {warp} waits at this barrier, and warp {other_warp} at that in line {other_line}"
    )]
    Barriers { warp: usize, other_warp: usize, other_line: u32 },
}

/// How a thread uses memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    Read,
    Write,
    /// Reads and writes, and nobody else between the two.
    Atomic,
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "reads",
            Self::Write => "writes",
            Self::Atomic => "changes",
        })
    }
}

/// A fault, and where it happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("kernel `{kernel}`, line {line}, block {block:?}, thread {thread:?}")]
pub struct KernelError {
    pub kernel: String,
    pub line: u32,
    pub block: [u32; 3],
    /// The first thread of the warp that took part, or the one whose access it was.
    pub thread: [u32; 3],
    #[source]
    pub fault: Fault,
}

/// A launch that cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LaunchError {
    #[error("{what} is {found}, wanted {wanted}")]
    Size { what: &'static str, found: u64, wanted: String },
    #[error(transparent)]
    Kernel(#[from] KernelError),
}
