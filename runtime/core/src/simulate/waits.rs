//! The mask workers: when the masks of a microbatch are there.

use std::time::Duration;

use super::{
    driver::Event,
    fault::{self, Fault},
    pipeline::World,
};
use crate::{
    messages::{Batch, Interval, MaskBits, MaskRow, Masks, MicrobatchId, Stamp},
    timeline::{Activity, Lane},
};

#[derive(Debug)]
pub(super) struct MaskWorkers {
    /// When each worker has done what it was given.
    free_s: Vec<f64>,
}

impl MaskWorkers {
    pub(super) fn new(num_workers: usize) -> Self {
        Self { free_s: vec![0.0; num_workers.max(1)] }
    }

    /// Gives the masks of a batch to the workers, the next row to whoever is free first. They come
    /// in one message; where the microbatch's are late, the first row's come in another.
    pub(super) fn begin(
        &mut self,
        batch: &Batch,
        (mask_s, faults): (f64, &[Fault]),
        world: &mut World,
    ) {
        let microbatch = batch.microbatch;
        let rows = batch.sampling.iter().flat_map(|group| &group.rows);
        let stamps: Vec<Option<Stamp>> = rows.map(|row| row.mask.stamp()).collect();
        let Some(first) = stamps.iter().position(Option::is_some) else { return };
        let now_s = world.clock.now_s();
        let mut ready_s = now_s;
        let mut filled = Vec::new();
        for _ in stamps.iter().flatten() {
            let earliest = self.free_s.iter_mut().reduce(|a, b| if *b < *a { b } else { a });
            let Some(free_s) = earliest else { return };
            let start_s = free_s.max(now_s);
            *free_s = start_s + mask_s;
            ready_s = ready_s.max(*free_s);
            world.span(Lane::Masker, Activity::Mask, microbatch.0, (start_s, *free_s));
            let [from, until] = [start_s, *free_s].map(Duration::from_secs_f64);
            filled.push(Interval { from, until });
        }
        let delay_s = fault::mask_delay_s(faults, microbatch.0);
        let is_late = |row: usize| delay_s > 0.0 && row == first;
        let late: Vec<usize> = (0..stamps.len()).filter(|row| is_late(*row)).collect();
        let in_time = Masks { late, filled, ..masks(microbatch, &stamps, |row| !is_late(row)) };
        world.clock.at(ready_s, Event::Masks(in_time));
        if delay_s > 0.0 {
            let later = masks(microbatch, &stamps, is_late);
            world.clock.at(ready_s + delay_s, Event::Masks(later));
        }
    }

    /// Lets go of everything that was begun.
    pub(super) fn restart(&mut self, now_s: f64) {
        self.free_s.iter_mut().for_each(|free_s| *free_s = free_s.min(now_s));
    }
}

/// Masks of some rows of a microbatch.
fn masks(
    microbatch: MicrobatchId,
    stamps: &[Option<Stamp>],
    comes: impl Fn(usize) -> bool,
) -> Masks {
    let bits = || MaskBits::Own(Box::default());
    let rows = stamps.iter().enumerate();
    let rows = rows.map(|(row, stamp)| {
        let stamp = stamp.filter(|_| comes(row));
        stamp.map(|stamp| MaskRow::new(stamp, bits()))
    });
    Masks::new(microbatch, rows.collect(), 1)
}
