//! The cost of a microbatch on a device: the planner's only model of time.
//!
//! A stage reads the weights of its units once per microbatch and the cache of each row, and
//! computes on both. It takes the longer of reading and computing, plus the device's overhead per
//! step. (The roofline model: Williams, Waterman and Patterson, 2009.)

use std::ops::Range;

use sluicegate_spec::{
    config::KvGroup,
    profile::{ModelProfile, UnitProfile},
    units::{Unit, UnitRange},
};

use super::{
    cluster::{ClusterDevice, LinkFigures},
    load::{Load, RowLoad},
    policy::Policy,
};

/// What goes up about sampling a row besides its mask, and comes down of its tokens.
const SAMPLING_BYTES: f64 = 128.0;

/// The work of microbatches as prefix sums, so that any span of units is one subtraction.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Work {
    /// The kinds of microbatches; a stage's time is the sum over kinds, weighted by their shares.
    kinds: Vec<Sums>,
    /// The average over all kinds.
    average: Sums,
    /// Bytes of activations that cross a border.
    pub(super) hidden_bytes: f64,
    /// Bytes of masks from the host and of tokens to it.
    sampling_bytes: f64,
}

/// Bytes read and operations done in the units before each unit, the last entry in all units;
/// weighted by the share of microbatches of the kind.
#[derive(Debug, Clone, PartialEq)]
struct Sums {
    bytes: Vec<f64>,
    flops: Vec<f64>,
}

impl Sums {
    fn new(profile: &ModelProfile, loads: &[(f64, Load)]) -> Self {
        let (mut bytes, mut flops) = (vec![0.0], vec![0.0]);
        for (unit_idx, unit) in profile.units.iter().enumerate() {
            let (mut unit_bytes, mut unit_flops) = (0.0, 0.0);
            for (share, load) in loads {
                let (read, computed) = unit_work(unit, *load, &profile.kv_groups);
                unit_bytes += share * read;
                unit_flops += share * computed;
            }
            bytes.push(bytes[unit_idx] + unit_bytes);
            flops.push(flops[unit_idx] + unit_flops);
        }
        Self { bytes, flops }
    }

    /// Returns the longer of reading and computing.
    fn seconds(&self, speed: Speed, UnitRange { start, end }: UnitRange) -> f64 {
        let reading = (self.bytes[end] - self.bytes[start]) * speed.s_per_byte;
        let computing = (self.flops[end] - self.flops[start]) * speed.s_per_flop;
        if reading > computing { reading } else { computing }
    }

    /// Adds the same for every end in `ends` to `seconds`.
    fn add(&self, speed: Speed, start: usize, ends: Range<usize>, seconds: &mut [f64]) {
        let (bytes, flops) = (self.bytes[start], self.flops[start]);
        let ends = self.bytes[ends.clone()].iter().zip(&self.flops[ends]);
        for (sum, (end_bytes, end_flops)) in seconds.iter_mut().zip(ends) {
            let reading = (end_bytes - bytes) * speed.s_per_byte;
            let computing = (end_flops - flops) * speed.s_per_flop;
            *sum += if reading > computing { reading } else { computing };
        }
    }
}

impl Work {
    /// Returns the work of microbatches of `rows` sequences as a policy expects them.
    pub(super) fn expected(profile: &ModelProfile, policy: &Policy, rows: usize) -> Self {
        Self::new(profile, &Load::expected(profile, policy, rows))
    }

    /// Returns the work of a real microbatch.
    pub(super) fn of_rows(profile: &ModelProfile, rows: &[RowLoad]) -> Self {
        Self::new(profile, &[(1.0, Load::of_rows(rows))])
    }

    fn new(profile: &ModelProfile, loads: &[(f64, Load)]) -> Self {
        let width = (profile.hidden as f64) * profile.hidden_element_bytes as f64;
        let mask = profile.vocab.div_ceil(32) as f64 * 4.0;
        let mean = |figure: fn(&Load) -> f64| -> f64 {
            loads.iter().map(|(share, load)| share * figure(load)).sum()
        };
        Self {
            kinds: loads
                .iter()
                .map(|load| Sums::new(profile, std::slice::from_ref(load)))
                .collect(),
            average: Sums::new(profile, loads),
            hidden_bytes: mean(Load::tokens) * width,
            sampling_bytes: mean(|load| load.logit_rows) * (mask + SAMPLING_BYTES),
        }
    }

    pub(super) fn num_units(&self) -> usize {
        self.average.bytes.len() - 1
    }

    /// Returns how long a stage with these units computes, in seconds.
    pub(super) fn seconds(&self, speed: Speed, units: UnitRange) -> f64 {
        let base = if units.end == self.num_units() {
            speed.overhead_s + self.sampling_bytes * speed.s_per_host_byte
        } else {
            speed.overhead_s
        };
        self.kinds.iter().map(|kind| kind.seconds(speed, units)).sum::<f64>() + base
    }

    /// For every stage that starts with `longest` and is no longer, lowers `sums[end]` to `so_far`
    /// plus the stage's time, if that is less.
    ///
    /// This is the innermost loop of the search, and therefore works on plain slices.
    pub(super) fn relax(&self, speed: Speed, longest: UnitRange, so_far: f64, sums: &mut [f64]) {
        let UnitRange { start, end: furthest } = longest;
        let base = so_far + speed.overhead_s;
        let span = start + 1..(furthest + 1).min(self.num_units());
        for first in span.clone().step_by(AT_ONCE) {
            let ends = first..(first + AT_ONCE).min(span.end);
            let mut seconds = [base; AT_ONCE];
            for kind in &self.kinds {
                kind.add(speed, start, ends.clone(), &mut seconds);
            }
            for (sum, candidate) in sums[ends].iter_mut().zip(seconds) {
                *sum = if candidate < *sum { candidate } else { *sum };
            }
        }
        if furthest == self.num_units() {
            sums[furthest] = sums[furthest].min(so_far + self.seconds(speed, longest));
        }
    }

    /// Returns the bytes read in the units from `start` up to `end`; zero for an empty span.
    pub(super) fn bytes_between(&self, start: usize, end: usize) -> f64 {
        (self.average.bytes[end] - self.average.bytes[start]).max(0.0)
    }

    /// Returns the bytes read in one unit.
    pub(super) fn unit_bytes(&self, unit_idx: usize) -> f64 {
        self.bytes_between(unit_idx, unit_idx + 1)
    }

    /// Returns the least work that any layer has per byte that it reads, over all kinds.
    pub(super) fn least_rates(&self) -> LeastRates {
        let last = self.num_units() - 1;
        let layers = (1..last).filter(|unit_idx| self.unit_bytes(*unit_idx) > 0.0);
        let least = |sums: &[f64]| {
            let of_layer = |idx: usize| (sums[idx + 1] - sums[idx]) / self.unit_bytes(idx);
            layers.clone().map(of_layer).reduce(f64::min).unwrap_or(0.0)
        };
        let rates = |kind: &Sums| KindRates {
            bytes: least(&kind.bytes),
            flops: least(&kind.flops),
            head_bytes: kind.bytes[last + 1] - kind.bytes[last],
            head_flops: kind.flops[last + 1] - kind.flops[last],
        };
        LeastRates(self.kinds.iter().map(rates).collect())
    }

    /// Returns bytes and operations of all units, for each kind of microbatch.
    pub(super) fn totals_by_kind(&self) -> impl Iterator<Item = (f64, f64)> {
        let end = self.num_units();
        self.kinds.iter().map(move |kind| (kind.bytes[end], kind.flops[end]))
    }

    /// Returns bytes and operations of all units.
    pub(super) fn totals(&self) -> (f64, f64) {
        (self.average.bytes[self.num_units()], self.average.flops[self.num_units()])
    }
}

/// The least work per byte read in any layer, and the work of the head.
#[derive(Debug)]
pub(super) struct LeastRates(Vec<KindRates>);

/// The same for one kind of microbatch.
#[derive(Debug)]
struct KindRates {
    bytes: f64,
    flops: f64,
    head_bytes: f64,
    head_flops: f64,
}

impl LeastRates {
    /// Returns seconds per byte, and what the head adds. A stage is limited by either reading or
    /// computing in all its units, and the head adds to the same one.
    pub(super) fn seconds(&self, speed: Speed) -> (f64, f64) {
        self.0.iter().fold((0.0, 0.0), |(layers_s, head_s), kind| {
            let (reading, computing) =
                (kind.bytes * speed.s_per_byte, kind.flops * speed.s_per_flop);
            if reading > computing {
                (layers_s + reading, head_s + kind.head_bytes * speed.s_per_byte)
            } else {
                (layers_s + computing, head_s + kind.head_flops * speed.s_per_flop)
            }
        })
    }
}

/// The number of stage ends that are costed together.
const AT_ONCE: usize = 16;

/// Returns bytes read and operations done by one unit.
fn unit_work(unit: &UnitProfile, load: Load, kv_groups: &[KvGroup]) -> (f64, f64) {
    let tokens = load.tokens();
    let reads = unit.read_bytes.0 as f64;
    let flops = unit.flops_per_token as f64;
    let (mut bytes, mut computed) = match unit.unit {
        // A token looks up one row.
        Unit::Embed => (reads * tokens, flops * tokens),
        Unit::Layer(_) => (reads, flops * tokens),
        // Only the last token of a prompt needs logits.
        Unit::Head => (reads, flops * load.logit_rows),
    };
    bytes += unit.experts.map_or(0.0, |experts| experts.read_bytes(tokens));
    if let Some(cache) = unit.kv {
        let seen = |positions: f64| match kv_groups[cache.group_idx] {
            KvGroup::Full => positions,
            KvGroup::Window(window) => positions.min(window as f64),
        };
        let (context, prompt_context) = (seen(load.context), seen(load.prompt_context));
        let chunks = load.prompt_tokens / load.chunk_tokens;
        let per_token = cache.bytes_per_token.0 as f64;
        bytes += per_token * (load.rows * context + chunks * prompt_context);
        computed += unit.flops_per_position as f64
            * (load.rows * context + load.prompt_tokens * prompt_context);
    }
    (bytes, computed)
}

/// A device in the cost model: seconds per unit of each resource.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Speed {
    pub(super) s_per_byte: f64,
    pub(super) s_per_flop: f64,
    pub(super) overhead_s: f64,
    s_per_host_byte: f64,
}

impl Speed {
    pub(super) fn of(device: &ClusterDevice, profile: &ModelProfile) -> Self {
        Self {
            s_per_byte: device.bytes_per_s.recip(),
            s_per_flop: device.flops_per_s.of(profile.compute).recip(),
            overhead_s: device.overhead_s,
            s_per_host_byte: device.host_bytes_per_s.map_or(0.0, f64::recip),
        }
    }

    /// Returns a device that reads and computes faster by a factor.
    pub(super) fn times(self, factor: f64) -> Self {
        Self { s_per_byte: self.s_per_byte / factor, s_per_flop: self.s_per_flop / factor, ..self }
    }
}

/// The cost of moving a microbatch's hidden values into a stage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hop {
    pub seconds: f64,
    /// Whether the stage can compute during the transfer.
    pub overlaps: bool,
}

impl Hop {
    pub(super) fn new(link: &LinkFigures, work: &Work) -> Self {
        Self { seconds: link.seconds(work.hidden_bytes), overlaps: link.overlaps }
    }

    /// Returns the time in which the receiving device cannot compute.
    pub fn blocking_s(self) -> f64 {
        if self.overlaps { 0.0 } else { self.seconds }
    }
}
