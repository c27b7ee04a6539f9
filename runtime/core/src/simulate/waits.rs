//! The mask workers: when the masks of a microbatch are there.

use std::collections::BTreeMap;

use super::{
    fault::{self, Fault},
    pipeline::World,
};
use crate::timeline::{Activity, Lane};

#[derive(Debug)]
pub(super) struct MaskWorkers {
    /// When each worker has done what it was given.
    free_s: Vec<f64>,
    /// When the masks of each microbatch are complete.
    ready_s: BTreeMap<u64, f64>,
}

impl MaskWorkers {
    pub(super) fn new(num_workers: usize) -> Self {
        Self { free_s: vec![0.0; num_workers.max(1)], ready_s: BTreeMap::new() }
    }

    /// Gives the masks of so many rows to the workers, the next one to whoever is free first.
    pub(super) fn begin(
        &mut self,
        microbatch: u64,
        num_rows: usize,
        (mask_s, faults): (f64, &[Fault]),
        world: &mut World,
    ) {
        let now_s = world.clock.now_s();
        let mut ready_s = now_s;
        for _ in 0..num_rows {
            let first = self.free_s.iter_mut().reduce(|a, b| if *b < *a { b } else { a });
            let Some(free_s) = first else { return };
            let start_s = free_s.max(now_s);
            *free_s = start_s + mask_s;
            ready_s = ready_s.max(*free_s);
            world.span(Lane::Masker, Activity::Mask, microbatch, (start_s, *free_s));
        }
        if num_rows > 0 {
            ready_s += fault::mask_delay_s(faults, microbatch);
            self.ready_s.insert(microbatch, ready_s);
        }
    }

    /// When the masks of a microbatch are there, if it needs any.
    pub(super) fn take(&mut self, microbatch: u64) -> Option<f64> {
        self.ready_s.remove(&microbatch)
    }

    /// Lets go of everything that was begun.
    pub(super) fn restart(&mut self, now_s: f64) {
        self.ready_s.clear();
        self.free_s.iter_mut().for_each(|free_s| *free_s = free_s.min(now_s));
    }
}
