//! Device names.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A logical device with its own memory, even if several of them share one processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum DeviceId {
    /// Runs scheduler and constraints. Not an alias of `cpu:0`.
    Host,
    /// Logical CPU device `i`.
    Cpu(u32),
    /// CUDA device with ordinal `i`.
    Cuda(u32),
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.pad("host"),
            Self::Cpu(index) => f.pad(&format!("cpu:{index}")),
            Self::Cuda(ordinal) => f.pad(&format!("cuda:{ordinal}")),
        }
    }
}

/// The text does not name a device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a device; wanted cpu:N or cuda:N")]
pub struct ParseDeviceError(String);

impl FromStr for DeviceId {
    type Err = ParseDeviceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseDeviceError(text.to_owned());
        if text == "host" {
            return Ok(Self::Host);
        }
        let (kind, index) = text.split_once(':').ok_or_else(wrong)?;
        let index = index.parse().map_err(|_| wrong())?;
        match kind {
            "cpu" => Ok(Self::Cpu(index)),
            "cuda" => Ok(Self::Cuda(index)),
            _ => Err(wrong()),
        }
    }
}

impl From<DeviceId> for String {
    fn from(device: DeviceId) -> Self {
        device.to_string()
    }
}

impl TryFrom<String> for DeviceId {
    type Error = ParseDeviceError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}
