//! Lower bounds from sums over devices, for pruning and for where the search is not exact.

use sluicegate_spec::units::UnitRange;

use super::problem::Problem;
use crate::{cost::Sizes, setting::Setting, work::Speed};

/// What the bounds need to know of a cache size.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    /// Memory of each unit, which no two stages share.
    unit_bytes: Vec<f64>,
    /// The memory and speed of each device, sorted by read speed, fastest first.
    devices: Vec<(f64, Speed)>,
    /// The fewest devices whose memory could suffice.
    needed_devices: usize,
}

impl Bound {
    pub(super) fn new(setting: &Setting<'_>, sizes: &Sizes) -> Self {
        let unit = |start| {
            let span = sizes.span(UnitRange { start, end: start + 1 });
            // Not every placement needs the copy of a tied embedding.
            let copy = if start + 1 == sizes.num_units() { sizes.tied_copy(start) } else { 0 };
            (span.weights + span.kv - copy) as f64
        };
        let unit_bytes: Vec<f64> = (0..setting.num_units()).map(unit).collect();
        let device = |device: &crate::setting::Usable| (device.cap.0 as f64, device.speed);
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

    /// Returns a lower bound of the cycle on at least `min_devices` devices, or on one device
    /// without a speed-up for being alone.
    pub(super) fn cycle_s(&self, problem: &Problem<'_>, min_devices: usize) -> f64 {
        let num_devices = self.needed_devices.max(min_devices);
        let round_s = self.round_s(problem, num_devices) + problem.setting.cluster.host_s;
        (problem.num_microbatches as f64 * self.bottleneck_s(problem)).max(round_s)
    }

    /// Bound with all devices busy all the time. Work is divided by read speed, or else by compute
    /// speed. For microbatches that are limited by the other resource, each device is assumed to be
    /// as good at it as the best.
    fn bottleneck_s(&self, problem: &Problem<'_>) -> f64 {
        let read_rate: f64 = self.devices.iter().map(|it| it.1.s_per_byte.recip()).sum();
        let compute_rate: f64 = self.devices.iter().map(|it| it.1.s_per_flop.recip()).sum();
        let ratios = self.devices.iter().map(|it| it.1.s_per_flop / it.1.s_per_byte);
        let (least, most) = ratios.fold((f64::INFINITY, 0.0_f64), |(least, most), ratio| {
            (least.min(ratio), most.max(ratio))
        });
        let kinds = problem.work.totals_by_kind();
        let (read, computed) = kinds.fold((0.0, 0.0), |(read, computed), (bytes, flops)| {
            (read + bytes.max(flops * least), computed + flops.max(bytes / most))
        });
        (read / read_rate).max(computed / compute_rate)
    }

    /// Bound that fills the fastest devices first, with the hops between as many devices as are
    /// needed.
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
        self.units_s(problem).max(computing) + overheads + between
    }

    /// Assumes that every byte of memory takes as little time as that of the cheapest layer, so
    /// that only the order of filling matters. The head is on the best device for it.
    fn units_s(&self, problem: &Problem<'_>) -> f64 {
        let rates = problem.work.least_rates();
        let costs = self.devices.iter().map(|(cap, speed)| (*cap, rates.seconds(*speed)));
        let mut costs: Vec<(f64, (f64, f64))> = costs.collect();
        costs.sort_by(|a, b| a.1.0.total_cmp(&b.1.0));
        let layers = 1..self.unit_bytes.len() - 1;
        let reads = |unit_idx: usize| problem.work.unit_bytes(unit_idx);
        let read = layers.clone().filter(|it| self.unit_bytes[*it] > 0.0);
        let rate = read.map(|it| reads(it) / self.unit_bytes[it]).fold(f64::INFINITY, f64::min);
        let mut left: f64 = layers.clone().map(|it| self.unit_bytes[it]).sum();
        let mut by_memory = 0.0;
        for (cap, (s_per_byte, _)) in &costs {
            let filled = left.min(*cap);
            left -= filled;
            by_memory += filled * rate * s_per_byte;
        }
        let fastest = costs.first().map_or(0.0, |(_, (s_per_byte, _))| *s_per_byte);
        let by_speed = layers.map(reads).sum::<f64>() * fastest;
        let head_s = costs.iter().map(|(_, (_, head_s))| *head_s).fold(f64::INFINITY, f64::min);
        head_s + if by_memory.is_finite() { by_memory.max(by_speed) } else { by_speed }
    }
}
