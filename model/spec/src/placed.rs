//! A tensor has one home: values that know where they live, and the error for a value that is used
//! away from home.
//!
//! Owns no way of moving anything; that is the business of the runtime's links.

use std::fmt;

use crate::{device::DeviceId, units::Unit};

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
