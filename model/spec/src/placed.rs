//! A tensor has one home: values that know their device, and the error for using a value elsewhere.
//!
//! Moves nothing; that is the task of the runtime's links.

use std::fmt;

use crate::{device::DeviceId, units::Unit};

/// The name of a kind of value in errors and in the ledger.
pub trait Named {
    const NAME: &'static str;
}

impl<T: Named> Named for &T {
    const NAME: &'static str = T::NAME;
}

/// A point in the computation that is about to read a value.
#[derive(Debug, Clone, Copy)]
pub struct Site {
    /// The operation, by its usual name: `index_select`, `rms_norm`.
    pub operation: &'static str,
    /// The unit that runs it; none for the host.
    pub unit: Option<Unit>,
    /// The local value with which it is combined.
    pub with: &'static str,
    /// The device of that value.
    pub device: DeviceId,
}

/// A value is used on a device where it is not: a transfer is missing.
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

/// A value and the only device on which it may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed<T> {
    value: T,
    device: DeviceId,
}

impl<T> Placed<T> {
    /// Declares that `value` is on `device`.
    ///
    /// Only for values just made on the device, or just received there over a link.
    pub fn new(value: T, device: DeviceId) -> Self {
        Self { value, device }
    }

    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// Returns a part of the value, on the same device.
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
