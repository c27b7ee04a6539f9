//! A lower bound on the rest of a chain, which stops the search from continuing in vain.
//!
//! The remaining layers are distributed over the remaining devices, cheapest first, each up to the
//! longest stage it can reach. A device's fixed costs are spread over that capacity.

use super::{
    limits::Reach,
    problem::{Chain, Problem},
    space::{Class, Node},
};
use crate::work::Work;

/// Slack so that rounding does not exclude what is just within a limit.
const SLACK: f64 = 1e-9;

/// The bounds for the chains of one walk.
#[derive(Debug)]
pub(super) struct Rest {
    /// The classes that can take layers, cheapest first.
    takers: Vec<Taker>,
    /// Per end of a chain: bytes read in the layers after it.
    bytes: Vec<f64>,
    num_units: usize,
    /// The time of the head on the best device; for a returning chain, of everything after it.
    after_s: f64,
    /// The longest hop that a first stage avoids.
    spared_s: f64,
    /// The set whose devices `table` excludes.
    set_idx: Option<usize>,
    /// Per end of a chain: the least time of the rest.
    table: Vec<f64>,
}

/// A class of devices as capacity for layers.
#[derive(Debug)]
struct Taker {
    class_idx: usize,
    s_per_byte: f64,
    /// Bytes read, per device.
    capacity: f64,
}

/// Returns a lower bound of every cycle, except on a device that is faster alone. The result is at
/// least `at_least_s`, which must be a bound itself.
///
/// A cycle below `C` keeps nothing busy for longer than `C / M`. If the bound under that limit is
/// above `C`, there is no such cycle.
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
    // If no chain reaches far enough, the limit is much too low.
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

/// The precision of the bound, which need not be tight.
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

    /// Returns a lower bound of the sum of any chain.
    pub(super) fn whole_s(&mut self, problem: &Problem<'_>) -> f64 {
        self.fill(|class_idx| problem.space.classes[class_idx].members.len());
        (self.table[1] - self.spared_s).max(0.0)
    }

    /// Returns per end a lower bound of what follows any chain that ends there with `node`.
    pub(super) fn after(&mut self, problem: &Problem<'_>, node: &Node) -> &[f64] {
        if self.set_idx != Some(node.set_idx) {
            self.fill(|class_idx| problem.space.num_left(node, class_idx));
            self.set_idx = Some(node.set_idx);
        }
        &self.table
    }

    fn fill(&mut self, num_left: impl Fn(usize) -> usize) {
        let mut takers = self.takers.iter();
        // The capacity that all devices but the one being filled have taken, and its cost.
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

/// Returns the most bytes that a stage of a class reads in layers.
fn capacity(work: &Work, reach: &Reach, class_idx: usize, last: usize) -> f64 {
    let first = work.bytes_between(1, reach.first[class_idx].clamp(1, last));
    let behind = reach.all_ends(class_idx).flat_map(|ends| ends.iter().enumerate());
    let behind = behind.map(|(start, end)| work.bytes_between(start.max(1), (*end).min(last)));
    behind.fold(first, f64::max)
}
