//! Events: places in streams that others wait for, and when they were reached.

use std::time::Duration;

use super::{World, unknown};
use crate::{
    counts::Kind,
    error::{Code, Failure, Outcome},
    queue::{Clock, Point},
    work::Work,
};

#[derive(Debug, Default)]
pub(super) struct Event {
    device: usize,
    is_timed: bool,
    /// How often it was recorded, and where last.
    num_records: u64,
    recorded: Option<(Point, Clock)>,
    /// When it was reached last.
    reached: Option<Duration>,
}

impl Event {
    pub(super) fn device(&self) -> usize {
        self.device
    }

    /// Its stream has come to where it was recorded, unless it was recorded again since.
    pub(super) fn reach(&mut self, number: u64, now: Duration) {
        if self.num_records == number {
            self.reached = Some(now);
        }
    }
}

impl World {
    pub(crate) fn create_event(&mut self, device: usize, is_timed: bool) -> u64 {
        let handle = self.handle();
        self.events.insert(handle, Event { device, is_timed, ..Event::default() });
        handle
    }

    pub(crate) fn destroy_event(&mut self, handle: u64) -> Outcome {
        self.events.remove(&handle).map(drop).ok_or_else(|| unknown("event", handle))
    }

    /// Orders what is ordered behind a place also behind what a clock knows.
    pub(super) fn teach_events(&mut self, point: Point, known: &Clock) {
        for (_, clock) in self.events.values_mut().filter_map(|it| it.recorded.as_mut()) {
            clock.learn(point, known);
        }
    }

    fn event(&self, handle: u64) -> Outcome<&Event> {
        self.events.get(&handle).ok_or_else(|| unknown("event", handle))
    }

    fn change_event(&mut self, handle: u64, change: impl FnOnce(&mut Event)) {
        if let Some(event) = self.events.get_mut(&handle) {
            change(event);
        }
    }

    /// Records an event: who waits for it waits for what the stream has by now.
    pub(crate) fn record(&mut self, event: u64, stream: u64) -> Outcome {
        let on = self.stream(stream)?;
        let device = self.event(event)?.device;
        if device != on.device {
            let detail = format!("an event of cuda:{device} on a stream of cuda:{}", on.device);
            return Err(Failure::new(Code::InvalidHandle, detail));
        }
        let number = self.event(event)?.num_records + 1;
        self.change_event(event, |it| (it.num_records, it.reached) = (number, None));
        self.enqueue(device, stream, Work::Stamp { event, number })?;
        let here = self.queues.here(on.id);
        self.change_event(event, |it| it.recorded = Some(here));
        Ok(())
    }

    /// Lets a stream wait for an event; one that was never recorded is not waited for.
    pub(crate) fn wait_event(&mut self, stream: u64, event: u64) -> Outcome {
        let stream = self.stream(stream)?;
        let recorded = self.event(event)?.recorded.clone();
        self.count(stream.device, Kind::StreamWait, 0);
        if let Some((point, clock)) = recorded
            && !self.forgets_wait(stream)
        {
            self.queues.wait(stream.id, (point, &clock));
        }
        Ok(())
    }

    pub(crate) fn is_reached(&mut self, event: u64) -> Outcome<bool> {
        let Event { device, recorded, .. } = self.event(event)?;
        let (device, recorded) = (*device, recorded.clone());
        let is_reached = recorded.map_or(Ok(true), |here| self.has_come(&here))?;
        // A device that is lost comes nowhere, whoever asks.
        self.check_alive(device).map(|()| is_reached)
    }

    pub(crate) fn synchronize_event(&mut self, event: u64) -> Outcome {
        let Event { device, recorded, .. } = self.event(event)?;
        let (device, recorded) = (*device, recorded.clone());
        if let Some((point, clock)) = recorded {
            self.wait_for(point)?;
            self.queues.host_knows(&clock);
        }
        self.count(device, Kind::Synchronisation, 0);
        self.check_alive(device)
    }

    /// The time from one event to another.
    pub(crate) fn elapsed(&self, [start, end]: [u64; 2]) -> Outcome<f64> {
        let mut times = [Duration::ZERO; 2];
        for (time, handle) in times.iter_mut().zip([start, end]) {
            let event = self.event(handle)?;
            if !event.is_timed || event.recorded.is_none() {
                let detail = "an event without timing, or that was never recorded";
                return Err(Failure::new(Code::InvalidHandle, detail));
            }
            *time = event
                .reached
                .ok_or_else(|| Failure::new(Code::NotReady, "an event that is not reached yet"))?;
        }
        Ok((times[1].as_secs_f64() - times[0].as_secs_f64()) * 1e3)
    }
}
