//! What the rest of a chain takes at least: a bound that keeps the search from going on in vain.
//!
//! The layers that are left are poured over the devices that are left, the cheapest first and each as
//! far as a stage of it can reach. A device's fixed costs are spread over as much as it can take.

use super::{
    limits::Reach,
    problem::{Chain, Problem},
    space::{Class, Node},
};
use crate::work::Work;

/// Rounding must not rule out what is just within a limit.
const SLACK: f64 = 1e-9;

/// Bounds for the chains of one walk.
#[derive(Debug)]
pub(super) struct Rest {
    /// Classes that can take layers, the cheapest first.
    takers: Vec<Taker>,
    /// Per end of a chain: bytes read in the layers behind it.
    bytes: Vec<f64>,
    num_units: usize,
    /// The head, on whatever device; where a chain returns, all that comes behind it.
    after_s: f64,
    /// The longest hop that a first stage is spared.
    spared_s: f64,
    /// The set whose devices `table` leaves out.
    set_idx: Option<usize>,
    /// Per end of a chain: the least time of what is left.
    table: Vec<f64>,
}

/// A class of devices, as a vessel for layers.
#[derive(Debug)]
struct Taker {
    class_idx: usize,
    s_per_byte: f64,
    /// Of each device, in bytes read.
    capacity: f64,
}

/// A time below every cycle but those of a device that is faster alone, no lower than `at_least_s`,
/// which is one.
///
/// A cycle below `C` keeps nothing busy for longer than `C / M`: where the bound for that is above
/// `C`, there is none.
pub(super) fn cycle_s(problem: &Problem<'_>, at_least_s: f64) -> f64 {
    let chain = Chain::whole(problem);
    let round_s = |cycle_s: f64| {
        let reach = Reach::new(problem, &chain, cycle_s / problem.num_microbatches as f64);
        Rest::new(problem, &chain, &reach).whole_s(problem) + problem.setting.cluster.host_s
    };
    let (mut low, mut high) = (at_least_s, round_s(at_least_s));
    if high <= low {
        return low;
    }
    // Where nothing reaches far enough, the limit is far off.
    for _ in 0..MAX_DOUBLED {
        if high.is_finite() {
            break;
        }
        let doubled = low * 2.0;
        high = round_s(doubled);
        if high > doubled {
            low = doubled;
        } else {
            high = doubled;
        }
    }
    for _ in 0..NUM_HALVED {
        let middle = low + (high - low) / 2.0;
        if round_s(middle) > middle { low = middle } else { high = middle }
    }
    low
}

/// How exactly a bound is found; it need not be the best.
const NUM_HALVED: usize = 10;
const MAX_DOUBLED: usize = 20;

impl Rest {
    pub(super) fn new(problem: &Problem<'_>, chain: &Chain, reach: &Reach) -> Self {
        let Problem { space, work, ways, .. } = problem;
        let last = work.num_units() - 1;
        let rates = work.least_rates();
        let mut takers: Vec<Taker> = Vec::new();
        let (mut spared_s, mut head_s) = (0.0_f64, f64::INFINITY);
        for (class_idx, Class { device, .. }) in space.classes.iter().enumerate() {
            let hops = ways.into[class_idx].iter().map(|hop| hop.seconds);
            let hop_s = hops.reduce(f64::min).unwrap_or(0.0);
            let (layer_s_per_byte, with_head_s) = rates.seconds(device.speed);
            head_s = head_s.min(with_head_s);
            let capacity = capacity(work, reach, class_idx, last) * (1.0 + SLACK);
            if capacity > 0.0 {
                let fixed_s = device.speed.overhead_s + hop_s;
                let s_per_byte = layer_s_per_byte + fixed_s / capacity;
                takers.push(Taker { class_idx, s_per_byte, capacity });
                spared_s = spared_s.max(hop_s);
            }
        }
        takers.sort_by(|a, b| a.s_per_byte.total_cmp(&b.s_per_byte));
        let bytes = (0..=chain.end).map(|end| work.bytes_between(end.min(last), last)).collect();
        Self {
            takers,
            bytes,
            num_units: work.num_units(),
            after_s: if chain.back.is_some() { chain.back_s() } else { head_s },
            spared_s,
            set_idx: None,
            table: vec![0.0; chain.end + 1],
        }
    }

    /// A time below the sum of any chain.
    pub(super) fn whole_s(&mut self, problem: &Problem<'_>) -> f64 {
        self.fill(|class_idx| problem.space.classes[class_idx].members.len());
        (self.table[1] - self.spared_s).max(0.0)
    }

    /// Per end of a chain, a time below what follows any chain that ends there with `node`.
    pub(super) fn behind(&mut self, problem: &Problem<'_>, node: &Node) -> &[f64] {
        if self.set_idx != Some(node.set_idx) {
            self.fill(|class_idx| problem.space.num_left(node, class_idx));
            self.set_idx = Some(node.set_idx);
        }
        &self.table
    }

    fn fill(&mut self, num_left: impl Fn(usize) -> usize) {
        let mut takers = self.takers.iter();
        // What all devices but the last in use take, and what that costs.
        let (mut taken, mut taken_s) = (0.0, 0.0);
        let (mut room, mut s_per_byte) = (0.0, 0.0);
        for end in (0..self.table.len()).rev() {
            while self.bytes[end] - taken > room {
                taken += room;
                taken_s += room * s_per_byte;
                let Some(taker) = takers.next() else {
                    self.table[..=end].fill(f64::INFINITY);
                    return;
                };
                room = taker.capacity * num_left(taker.class_idx) as f64;
                s_per_byte = taker.s_per_byte;
            }
            let layers_s = taken_s + (self.bytes[end] - taken) * s_per_byte;
            let after_s = if end == self.num_units { 0.0 } else { self.after_s };
            self.table[end] = (layers_s + after_s) * (1.0 - SLACK);
        }
    }
}

/// The most bytes that a stage of a class reads in layers.
fn capacity(work: &Work, reach: &Reach, class_idx: usize, last: usize) -> f64 {
    let first = work.bytes_between(1, reach.first[class_idx].clamp(1, last));
    let behind = reach.all_ends(class_idx).flat_map(|ends| ends.iter().enumerate());
    let behind = behind.map(|(start, end)| work.bytes_between(start.max(1), (*end).min(last)));
    behind.fold(first, f64::max)
}
