//! What a call of the driver returns.

use std::ffi::CStr;

/// A result of the driver, by the number that programs see.
///
/// Source: `cuda.h` of CUDA 13.0, `CUresult`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
pub(crate) enum Code {
    InvalidValue = 1,
    OutOfMemory = 2,
    NotInitialized = 3,
    NoDevice = 100,
    InvalidDevice = 101,
    InvalidImage = 200,
    InvalidContext = 201,
    NoBinaryForGpu = 209,
    EccUncorrectable = 214,
    PeerAccessUnsupported = 217,
    InvalidPtx = 218,
    UnsupportedPtxVersion = 222,
    FileNotFound = 301,
    InvalidHandle = 400,
    NotFound = 500,
    NotReady = 600,
    IllegalAddress = 700,
    LaunchOutOfResources = 701,
    PeerAccessAlreadyEnabled = 704,
    PeerAccessNotEnabled = 705,
    ContextIsDestroyed = 709,
    Assert = 710,
    HostMemoryAlreadyRegistered = 712,
    HostMemoryNotRegistered = 713,
    IllegalInstruction = 715,
    MisalignedAddress = 716,
    LaunchFailed = 719,
    NotSupported = 801,
    Unknown = 999,
}

impl Code {
    const TEXTS: [(Self, &'static CStr, &'static CStr); 29] = [
        (Self::InvalidValue, c"CUDA_ERROR_INVALID_VALUE", c"invalid argument"),
        (Self::OutOfMemory, c"CUDA_ERROR_OUT_OF_MEMORY", c"out of memory"),
        (Self::NotInitialized, c"CUDA_ERROR_NOT_INITIALIZED", c"initialization error"),
        (Self::NoDevice, c"CUDA_ERROR_NO_DEVICE", c"no CUDA-capable device is detected"),
        (Self::InvalidDevice, c"CUDA_ERROR_INVALID_DEVICE", c"invalid device ordinal"),
        (Self::InvalidImage, c"CUDA_ERROR_INVALID_IMAGE", c"device kernel image is invalid"),
        (Self::InvalidContext, c"CUDA_ERROR_INVALID_CONTEXT", c"invalid device context"),
        (
            Self::NoBinaryForGpu,
            c"CUDA_ERROR_NO_BINARY_FOR_GPU",
            c"no kernel image is available for execution on the device",
        ),
        (
            Self::EccUncorrectable,
            c"CUDA_ERROR_ECC_UNCORRECTABLE",
            c"uncorrectable ECC error encountered",
        ),
        (
            Self::PeerAccessUnsupported,
            c"CUDA_ERROR_PEER_ACCESS_UNSUPPORTED",
            c"peer access is not supported between these two devices",
        ),
        (Self::InvalidPtx, c"CUDA_ERROR_INVALID_PTX", c"a PTX JIT compilation failed"),
        (
            Self::UnsupportedPtxVersion,
            c"CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
            c"the provided PTX was compiled with an unsupported toolchain.",
        ),
        (Self::FileNotFound, c"CUDA_ERROR_FILE_NOT_FOUND", c"file not found"),
        (Self::InvalidHandle, c"CUDA_ERROR_INVALID_HANDLE", c"invalid resource handle"),
        (Self::NotFound, c"CUDA_ERROR_NOT_FOUND", c"named symbol not found"),
        (Self::NotReady, c"CUDA_ERROR_NOT_READY", c"device not ready"),
        (
            Self::IllegalAddress,
            c"CUDA_ERROR_ILLEGAL_ADDRESS",
            c"an illegal memory access was encountered",
        ),
        (
            Self::LaunchOutOfResources,
            c"CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
            c"too many resources requested for launch",
        ),
        (
            Self::PeerAccessAlreadyEnabled,
            c"CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED",
            c"peer access is already enabled",
        ),
        (
            Self::PeerAccessNotEnabled,
            c"CUDA_ERROR_PEER_ACCESS_NOT_ENABLED",
            c"peer access has not been enabled",
        ),
        (Self::ContextIsDestroyed, c"CUDA_ERROR_CONTEXT_IS_DESTROYED", c"context is destroyed"),
        (Self::Assert, c"CUDA_ERROR_ASSERT", c"device-side assert triggered"),
        (
            Self::HostMemoryAlreadyRegistered,
            c"CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED",
            c"part or all of the requested memory range is already mapped",
        ),
        (
            Self::HostMemoryNotRegistered,
            c"CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED",
            c"pointer does not correspond to a registered memory region",
        ),
        (
            Self::IllegalInstruction,
            c"CUDA_ERROR_ILLEGAL_INSTRUCTION",
            c"an illegal instruction was encountered",
        ),
        (Self::MisalignedAddress, c"CUDA_ERROR_MISALIGNED_ADDRESS", c"misaligned address"),
        (Self::LaunchFailed, c"CUDA_ERROR_LAUNCH_FAILED", c"unspecified launch failure"),
        (Self::NotSupported, c"CUDA_ERROR_NOT_SUPPORTED", c"operation not supported"),
        (Self::Unknown, c"CUDA_ERROR_UNKNOWN", c"unknown error"),
    ];

    pub(crate) fn of_number(number: i32) -> Option<Self> {
        Self::TEXTS.iter().find(|(code, ..)| *code as i32 == number).map(|(code, ..)| *code)
    }

    /// The constant's name, and what the driver says about it.
    pub(crate) fn texts(self) -> (&'static CStr, &'static CStr) {
        let found = Self::TEXTS.iter().find(|(code, ..)| *code == self);
        found.map(|(_, name, text)| (*name, *text)).expect("each code has its texts")
    }

    /// Whether all further calls of the process return it.
    ///
    /// Source: `cuda.h`, "this leaves the process in an inconsistent state and any further CUDA work
    /// will return the same error".
    pub(crate) fn stays(self) -> bool {
        matches!(
            self,
            Self::EccUncorrectable
                | Self::IllegalAddress
                | Self::Assert
                | Self::IllegalInstruction
                | Self::MisalignedAddress
                | Self::LaunchFailed
        )
    }
}

/// An error, with what the emulation knows about it and no driver would say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) detail: String,
}

impl Failure {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

/// What most operations return.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_texts() {
        for (code, name, _) in Code::TEXTS {
            assert_eq!(Code::of_number(code as i32), Some(code), "{name:?}");
        }
        assert_eq!(Code::of_number(0), None);
    }
}
