//! What no placement can beat: bounds by adding up, for pruning and where the search is not exact.

use sluicegate_model::units::UnitRange;

use super::problem::Problem;
use crate::placement::{cost::Sizes, setting::Setting, work::Speed};

/// What the bounds need of a cache size.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    /// Memory of each unit, which no two stages share.
    unit_bytes: Vec<f64>,
    /// What each device may hold, the fastest to read first.
    devices: Vec<(f64, Speed)>,
    /// Devices without which the memory does not suffice.
    needed_devices: usize,
}

impl Bound {
    pub(super) fn new(setting: &Setting<'_>, sizes: &Sizes) -> Self {
        let unit = |start| {
            let span = sizes.span(UnitRange { start, end: start + 1 });
            // A copy of a tied embedding is not needed by every placement.
            let copy = if start + 1 == sizes.num_units() { sizes.tied_copy(start) } else { 0 };
            (span.weights + span.kv - copy) as f64
        };
        let unit_bytes: Vec<f64> = (0..setting.num_units()).map(unit).collect();
        let device =
            |device: &crate::placement::setting::Usable| (device.cap.0 as f64, device.speed);
        let mut devices: Vec<(f64, Speed)> = setting.devices.iter().map(device).collect();
        devices.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut missing: f64 = unit_bytes.iter().sum();
        let needed_devices = devices.iter().take_while(|(cap, _)| {
            let is_missing = missing > 0.0;
            missing -= cap;
            is_missing
        });
        let needed_devices = needed_devices.count().max(1);
        devices.sort_by(|a, b| a.1.s_per_byte.total_cmp(&b.1.s_per_byte));
        Self { unit_bytes, devices, needed_devices }
    }

    /// A time below every cycle on `min_devices` devices at least, or on one that gains nothing by
    /// being alone.
    pub(super) fn cycle_s(&self, problem: &Problem<'_>, min_devices: usize) -> f64 {
        let num_devices = self.needed_devices.max(min_devices);
        let round_s = self.round_s(problem, num_devices) + problem.setting.cluster.host_s;
        (problem.num_microbatches as f64 * self.bottleneck_s(problem)).max(round_s)
    }

    /// All devices busy all the time with nothing but reading, or nothing but computing.
    fn bottleneck_s(&self, problem: &Problem<'_>) -> f64 {
        let (bytes, flops) = problem.work.totals();
        let read_rate: f64 = self.devices.iter().map(|it| it.1.s_per_byte.recip()).sum();
        let compute_rate: f64 = self.devices.iter().map(|it| it.1.s_per_flop.recip()).sum();
        (bytes / read_rate).max(flops / compute_rate)
    }

    /// The fastest devices filled first, and the hops between as many devices as are needed.
    fn round_s(&self, problem: &Problem<'_>, num_devices: usize) -> f64 {
        let (_, flops) = problem.work.totals();
        let least = |figure: fn(&Speed) -> f64| {
            self.devices.iter().map(|it| figure(&it.1)).fold(f64::INFINITY, f64::min)
        };
        let computing = flops * least(|speed| speed.s_per_flop);
        let hops = problem.ways.into.iter().flatten().map(|hop| hop.seconds);
        let hop_s = hops.fold(f64::INFINITY, f64::min);
        let num_hops = num_devices - 1;
        let between = if num_hops == 0 { 0.0 } else { num_hops as f64 * hop_s };
        let overheads = num_devices as f64 * least(|speed| speed.overhead_s);
        self.reading_s(problem).max(computing) + overheads + between
    }

    /// Every byte of memory is read as rarely as that of any unit behind the embedding; then the
    /// order of filling is all that counts.
    fn reading_s(&self, problem: &Problem<'_>) -> f64 {
        let reads = |unit_idx: usize| problem.work.unit_bytes(unit_idx);
        let units = 1..self.unit_bytes.len();
        let rates = units.clone().filter(|it| self.unit_bytes[*it] > 0.0);
        let rate = rates.map(|it| reads(it) / self.unit_bytes[it]).fold(f64::INFINITY, f64::min);
        let mut left: f64 = units.map(|it| self.unit_bytes[it]).sum();
        let mut seconds = 0.0;
        for (cap, speed) in &self.devices {
            let filled = left.min(*cap);
            left -= filled;
            seconds += filled * rate * speed.s_per_byte;
        }
        let fastest = self.devices.first().map_or(0.0, |it| it.1.s_per_byte);
        let by_speed = problem.work.totals().0 * fastest;
        if seconds.is_finite() { seconds.max(by_speed) } else { by_speed }
    }
}
