//! A tensor has one home: device ids, values that know where they live, and the error for a value
//! that is used away from home.
//!
//! Owns no way of moving anything; that is the business of the runtime's links.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::units::Unit;

/// A logical device: a memory of its own, even where one processor runs several of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum DeviceId {
    /// Where scheduler and constraints live. No alias of `cpu:0`.
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

/// Why a text names no device.
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

/// The name under which a kind of value appears in errors and in the ledger.
pub trait Named {
    const NAME: &'static str;
}

impl<T: Named> Named for &T {
    const NAME: &'static str = T::NAME;
}

/// A place in the computation that is about to read a value.
#[derive(Debug, Clone, Copy)]
pub struct Site {
    /// The operation, by its usual name: `index_select`, `rms_norm`.
    pub operation: &'static str,
    /// The unit that runs it; none for the host.
    pub unit: Option<Unit>,
    /// The value already there with which it is combined.
    pub with: &'static str,
    /// The device of that value.
    pub device: DeviceId,
}

/// A value used on a device where it does not live: a transfer is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misplaced {
    pub operation: &'static str,
    pub unit: Option<Unit>,
    pub value: &'static str,
    pub found: DeviceId,
    pub with: &'static str,
    pub wanted: DeviceId,
}

impl std::error::Error for Misplaced {}

impl fmt::Display for Misplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operation, value, found, with, wanted, .. } = self;
        write!(f, "{operation}")?;
        if let Some(unit) = self.unit {
            write!(f, " in {unit}")?;
        }
        write!(
            f,
            ": `{value}` is on {found} but `{with}` is on {wanted}; \
             missing transfer: {value} {found} -> {wanted}"
        )
    }
}

/// A value and the one device on which it may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed<T> {
    value: T,
    device: DeviceId,
}

impl<T> Placed<T> {
    /// Declares that `value` lives on `device`.
    ///
    /// Only what has just been made on a device, or has just arrived there over a link, is wrapped.
    pub fn new(value: T, device: DeviceId) -> Self {
        Self { value, device }
    }

    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// A part of the value, with the same home.
    pub fn part<'a, U>(&'a self, part: impl FnOnce(&'a T) -> &'a U) -> Placed<&'a U> {
        Placed { value: part(&self.value), device: self.device }
    }
}

impl<T: Named> Placed<T> {
    /// Borrows the value for use at `site`.
    ///
    /// # Errors
    /// [`Misplaced`] if the site is on another device.
    pub fn at(&self, site: &Site) -> Result<&T, Misplaced> {
        self.check(site)?;
        Ok(&self.value)
    }

    /// Takes the value for use at `site`.
    ///
    /// # Errors
    /// [`Misplaced`] if the site is on another device.
    pub fn take(self, site: &Site) -> Result<T, Misplaced> {
        self.check(site)?;
        Ok(self.value)
    }

    fn check(&self, site: &Site) -> Result<(), Misplaced> {
        if self.device == site.device {
            return Ok(());
        }
        Err(Misplaced {
            operation: site.operation,
            unit: site.unit,
            value: T::NAME,
            found: self.device,
            with: site.with,
            wanted: site.device,
        })
    }
}
