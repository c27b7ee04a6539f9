//! Events in the stream of a GPU, read as moments of the engine's clock.

use std::{hint, time::Duration};

use candle_core::{
    CudaDevice, Device,
    cuda_backend::cudarc::driver::{CudaEvent, DriverError, result, sys::CUevent_flags},
};

use crate::clock::Clock;

/// How long events are counted from the same anchor where another costs nothing. The driver counts in
/// milliseconds of 32 bits: within this time they tell moments that are two microseconds apart.
const ANCHOR_HOLDS: Duration = Duration::from_secs(16);
/// How long at most: within this time they tell moments that are 16 microseconds apart.
const ANCHOR_HOLDS_AT_MOST: Duration = Duration::from_secs(128);

/// How many anchors are tried.
const NUM_ANCHORS: usize = 5;

/// A point in a stream.
pub(super) type Event = CudaEvent;

/// Records events in a GPU's stream.
pub(super) struct Events {
    device: CudaDevice,
    clock: Clock,
    anchor: Option<Anchor>,
}

/// An event, and when it was reached.
struct Anchor {
    event: Event,
    reached: Duration,
}

impl Events {
    /// None on a CPU.
    pub(super) fn new(device: &Device, clock: Clock) -> Option<Self> {
        let Device::Cuda(device) = device else { return None };
        let mut events = Self { device: device.clone(), clock, anchor: None };
        events.anchor = events.drop_anchor(false).ok();
        Some(events)
    }

    /// An event behind all that the stream holds.
    pub(super) fn record(&self) -> Option<Event> {
        self.try_record().ok()
    }

    /// When the stream came to an event; none if it has not yet, or the device fails.
    pub(super) fn reached(&self, event: &Event) -> Option<Duration> {
        if !event.try_is_complete().ok()? {
            return None;
        }
        let anchor = self.anchor.as_ref()?;
        // SAFETY: both were recorded in this device's stream, and have been reached.
        let after_ms = unsafe { result::event::elapsed(anchor.event.cu_event(), event.cu_event()) };
        let after_s = f64::from(after_ms.ok()?) / 1e3;
        let distance = Duration::try_from_secs_f64(after_s.abs()).ok()?;
        Some(if after_s < 0.0 {
            anchor.reached.saturating_sub(distance)
        } else {
            anchor.reached + distance
        })
    }

    /// Drops another anchor if this one is old. It waits for what the stream holds by now, so that
    /// it is better done where that `is_idle`.
    pub(super) fn renew(&mut self, is_idle: bool) {
        let holds = if is_idle { ANCHOR_HOLDS } else { ANCHOR_HOLDS_AT_MOST };
        let is_held = |anchor: &Anchor| self.clock.now() < anchor.reached + holds;
        if !self.anchor.as_ref().is_some_and(is_held)
            && let Ok(anchor) = self.drop_anchor(is_idle)
        {
            self.anchor = Some(anchor);
        }
    }

    /// Waits for what the stream holds by now, unless that `is_idle`. Of a few anchors it takes the
    /// one that was awaited for the shortest time, since it can be off by that.
    fn drop_anchor(&self, is_idle: bool) -> Result<Anchor, DriverError> {
        if !is_idle {
            self.device.cuda_stream().synchronize()?;
        }
        let mut best = self.try_anchor()?;
        for _ in 1..NUM_ANCHORS {
            let next = self.try_anchor()?;
            if next.0 < best.0 {
                best = next;
            }
        }
        Ok(best.1)
    }

    /// An anchor, and how long it was awaited.
    fn try_anchor(&self) -> Result<(Duration, Anchor), DriverError> {
        let before = self.clock.now();
        let event = self.try_record()?;
        // A thread that sleeps would wake up late.
        while !event.try_is_complete()? {
            hint::spin_loop();
        }
        let reached = self.clock.now();
        Ok((reached.saturating_sub(before), Anchor { event, reached }))
    }

    fn try_record(&self) -> Result<Event, DriverError> {
        self.device.cuda_stream().record_event(Some(CUevent_flags::CU_EVENT_DEFAULT))
    }
}
