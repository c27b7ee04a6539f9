//! When a device came to a point of the work that it was told to do.
//!
//! A CPU does what it is told at once. A GPU does it later: there a point is an event in its stream,
//! and can be read once the device has come to it.

use std::time::Duration;

use candle_core::Device;

use crate::clock::Clock;

/// Marks points in the work of a device, and reads when they were reached.
pub struct Timer {
    clock: Clock,
    #[cfg(feature = "cuda")]
    events: Option<super::events::Events>,
}

/// A point behind all that a device had been told to do.
#[derive(Debug)]
pub struct Mark {
    /// When it was marked; on a CPU also when it was reached.
    pub marked: Duration,
    #[cfg(feature = "cuda")]
    event: Option<super::events::Event>,
}

impl Timer {
    /// For a device that is current in this thread.
    #[cfg_attr(not(feature = "cuda"), expect(unused_variables, reason = "CPUs need no events"))]
    pub fn new(device: &Device, clock: Clock) -> Self {
        Self {
            clock,
            #[cfg(feature = "cuda")]
            events: super::events::Events::new(device, clock),
        }
    }

    /// Marks this point. Where a GPU fails to, the point is told from when it was marked: the work
    /// around it fails, too, and says why.
    pub fn mark(&self) -> Mark {
        Mark {
            marked: self.clock.now(),
            #[cfg(feature = "cuda")]
            event: self.events.as_ref().and_then(super::events::Events::record),
        }
    }

    /// When the device reached a point; none if it has not, yet.
    pub fn reached(&self, mark: &Mark) -> Option<Duration> {
        #[cfg(feature = "cuda")]
        if let (Some(events), Some(event)) = (&self.events, &mark.event) {
            return events.reached(event);
        }
        Some(mark.marked)
    }

    /// Compares the device's clock with the engine's again, if that was long ago. It may wait for the
    /// device, and costs least where that `is_idle`.
    #[cfg_attr(
        not(feature = "cuda"),
        expect(unused_variables, reason = "a CPU has the clock of the engine")
    )]
    pub fn compare(&mut self, is_idle: bool) {
        #[cfg(feature = "cuda")]
        if let Some(events) = &mut self.events {
            events.renew(is_idle);
        }
    }
}
