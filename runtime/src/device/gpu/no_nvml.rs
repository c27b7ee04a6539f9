//! NVML where there is none: systems other than Linux.

use super::facts::MachineFacts;

/// Why NVML says nothing of this machine.
#[derive(Debug, thiserror::Error)]
pub enum NvmlFailure {
    #[error("NVML is asked on Linux only")]
    NotFound,
}

/// Reads nothing.
///
/// # Errors
/// Always.
pub fn read() -> Result<MachineFacts, NvmlFailure> {
    Err(NvmlFailure::NotFound)
}
