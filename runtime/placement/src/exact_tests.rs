//! The search against brute force: every subset and order of devices, every cut, the head going
//! back or not, every number of microbatches.

use std::time::Duration;

use proptest::prelude::*;
use sluicegate_spec::{kv::PAGE_TOKENS, units::UnitRange};

use super::{
    KvTokens, PlanError, Policy, Proof, Sequences, Solution, TimeLimits,
    cost::{AtOnce, Sizes},
    instances::{Instance, any_instance},
    microbatches::microbatches,
    policy::Objective,
    room::least_pages,
    setting::Setting,
    solve,
    work::{Hop, Work},
};

/// All placements in memory, and the best of their figures.
struct BruteForce<'a> {
    setting: &'a Setting<'a>,
    /// What fits at all fits this.
    smallest: Sizes,
    cases: Vec<Case>,
    /// Whether only memory counts.
    is_patient: bool,
    least: f64,
}

/// So many sequences in so many microbatches.
struct Case {
    num_sequences: usize,
    num_microbatches: usize,
    work: Work,
    sizes: Sizes,
}

/// Stages so far: device index and units.
type Chain = Vec<(usize, UnitRange)>;

impl<'a> BruteForce<'a> {
    /// All numbers of sequences from `least` to `most`, with a cache of so many pages each.
    fn new(
        setting: &'a Setting<'a>,
        (least, most): (usize, usize),
        pages: impl Fn(usize) -> usize,
    ) -> Self {
        let mut cases = Vec::new();
        for num_sequences in least..=most {
            for num_microbatches in microbatches(num_sequences, setting.devices.len()) {
                let at_once = AtOnce::new(num_sequences, num_microbatches);
                let work = Work::expected(setting.profile, setting.policy, at_once.rows);
                let sizes = setting.sizes(pages(num_sequences), at_once);
                cases.push(Case { num_sequences, num_microbatches, work, sizes });
            }
        }
        let smallest = setting.sizes(pages(least), AtOnce::ONE);
        Self { setting, smallest, cases, is_patient: false, least: f64::INFINITY }
    }

    /// The fewest seconds per token; infinite if nothing fits.
    fn run(mut self) -> f64 {
        self.extend(&mut Vec::new());
        self.least
    }

    fn extend(&mut self, chain: &mut Chain) {
        let num_units = self.setting.num_units();
        let start = chain.last().map_or(0, |(_, units)| units.end);
        if start == num_units {
            self.take(chain);
            return;
        }
        let mut devices: Vec<usize> = (0..self.setting.devices.len()).collect();
        devices.retain(|device| chain.iter().all(|(used, _)| used != device));
        let goes_back = start + 1 == num_units && chain.len() > 1;
        if goes_back {
            devices.push(chain[0].0);
        }
        for device in devices {
            for end in start + 1..=num_units {
                chain.push((device, UnitRange { start, end }));
                if self.setting.may_cut[end] && self.fits(&self.smallest, chain, device) {
                    self.extend(chain);
                }
                chain.pop();
            }
        }
    }

    fn fits(&self, sizes: &Sizes, chain: &Chain, device: usize) -> bool {
        let held = chain.iter().filter(|(owner, _)| *owner == device);
        let total = |(_, units): &(usize, UnitRange)| {
            // A head that has come back shares the embedding.
            let is_back = chain.len() > 1 && chain[0].0 == device && units.start > 0;
            let copy = if is_back { self.setting.profile.tied_embedding_bytes.0 } else { 0 };
            sizes.span(*units).total() - u128::from(copy)
        };
        let held: u128 = held.map(total).sum();
        held <= self.setting.devices[device].cap.0.into()
    }

    fn take(&mut self, chain: &Chain) {
        for case in &self.cases {
            if chain.iter().all(|(device, _)| self.fits(&case.sizes, chain, *device)) {
                let cycle_s = self.cycle_s(chain, case);
                if self.is_patient || self.is_in_time(case, cycle_s) {
                    self.least = self.least.min(cycle_s / case.num_sequences as f64);
                }
            }
        }
    }

    fn is_in_time(&self, case: &Case, cycle_s: f64) -> bool {
        let Policy { time_limits, .. } = self.setting.policy;
        let (prompt, output) = self.setting.policy.lengths(self.setting.profile.max_positions);
        let (prompt, microbatches) = (prompt as f64, case.num_microbatches as f64);
        let rows = case.num_sequences.div_ceil(case.num_microbatches) as f64;
        let budget = self.setting.policy.chunk_tokens as f64;
        let chunk = f64::max(budget - rows, rows * prompt / output.max(1) as f64);
        let chunks = if prompt == 0.0 { 0.0 } else { (prompt / chunk).ceil() };
        let allowed = |limit: Option<Duration>, seconds: f64| {
            limit.is_none_or(|limit| seconds <= limit.as_secs_f64() * (1.0 + 4e-10))
        };
        let is_latency = self.setting.policy.objective == Objective::Latency;
        allowed(time_limits.per_token, cycle_s)
            && (is_latency
                || allowed(time_limits.to_first_token, cycle_s + chunks * cycle_s / microbatches))
    }

    fn cycle_s(&self, chain: &Chain, case: &Case) -> f64 {
        let work = &case.work;
        let mut busy = vec![0.0; self.setting.devices.len()];
        let (mut round, mut slowest) = (self.setting.cluster.host_s, 0.0_f64);
        for (idx, (device, units)) in chain.iter().enumerate() {
            let usable = self.setting.devices[*device];
            let is_alone = chain.len() == 1;
            let speed = if is_alone { usable.speed.times(usable.alone) } else { usable.speed };
            let seconds = work.seconds(speed, *units);
            busy[*device] += seconds;
            round += seconds;
            if idx > 0 {
                let hop = Hop::new(self.setting.link(chain[idx - 1].0, *device), work);
                round += hop.seconds;
                if hop.overlaps {
                    slowest = slowest.max(hop.seconds);
                } else {
                    busy[*device] += hop.seconds;
                }
            }
        }
        slowest = busy.into_iter().fold(slowest, f64::max);
        (case.num_microbatches as f64 * slowest).max(round)
    }
}

/// Whether any placement has room for so many pages and the least that runs at once.
fn fits(setting: &Setting<'_>, num_pages: usize) -> bool {
    let mut one = BruteForce::new(setting, (1, 1), |_| num_pages);
    let least = setting.sizes(num_pages, setting.least_at_once());
    one.cases.iter_mut().for_each(|case| case.sizes = least.clone());
    one.smallest = least;
    one.is_patient = true;
    one.run().is_finite()
}

/// The least seconds per token, by trying everything; `None` if nothing fits.
fn brute_force(setting: &Setting<'_>) -> Option<f64> {
    let policy = setting.policy;
    let context = policy.context(setting.profile.max_positions);
    let fits = |num_pages: &usize| fits(setting, *num_pages);
    let most_pages = match policy.kv_tokens {
        KvTokens::Exactly(tokens) => Some(tokens.div_ceil(PAGE_TOKENS)).filter(fits)?,
        KvTokens::AsManyAsFit => {
            let limit = policy.kv_limit(setting.profile.max_positions).div_ceil(PAGE_TOKENS);
            (1..=limit).rev().find(fits)?
        }
    };
    let held = (most_pages * PAGE_TOKENS / context).max(1);
    let (least, most) = match (policy.objective, policy.sequences) {
        (Objective::Latency, _) => (1, 1),
        (_, Sequences::UpTo(most)) => (1, most.min(held)),
        (_, Sequences::Exactly(sequences)) => (sequences.min(held), sequences.min(held)),
    };
    let pages = |num_sequences: usize| match policy.kv_tokens {
        KvTokens::Exactly(_) => most_pages,
        KvTokens::AsManyAsFit => (num_sequences * context).div_ceil(PAGE_TOKENS).min(most_pages),
    };
    Some(BruteForce::new(setting, (least, most), pages).run()).filter(|it| it.is_finite())
}

/// As [`brute_force`], with no more beyond the shares of the devices than what runs at least needs.
fn brute_force_shared(setting: &Setting<'_>) -> Option<f64> {
    if let KvTokens::Exactly(_) = setting.policy.kv_tokens {
        return brute_force(setting);
    }
    let least_pages = least_pages(setting);
    let percents: Vec<u64> = (0..100).collect();
    let enough = percents.partition_point(|percent| !fits(&setting.shared(*percent), least_pages));
    brute_force(&setting.shared(enough as u64))
}

/// Asserts that the plan costs what the best placement costs, or that there is none.
fn check(instance: &Instance) -> Result<(), TestCaseError> {
    let Instance { profile, cluster, policy } = instance;
    let setting = Setting::new(profile, cluster, policy).unwrap();
    let wanted = brute_force_shared(&setting);
    match (solve(profile, cluster, policy), wanted) {
        (Ok(Solution { prediction, .. }), Some(wanted)) => {
            let found = prediction.objective_value;
            prop_assert!((found - wanted).abs() <= wanted * 1e-9, "wanted {wanted}, found {found}");
            let Proof::Search { lower_bound_s, infeasible_s } = prediction.proof else {
                panic!("auto searches");
            };
            prop_assert!(lower_bound_s <= wanted * (1.0 + 1e-9));
            prop_assert!(infeasible_s.is_none_or(|it| it < prediction.bottleneck_s));
            prop_assert_eq!(prediction.gap().map(|gap| gap < 1e-9), Some(true));
        }
        (Err(PlanError::Infeasible(_)), None) => {}
        (Err(PlanError::TooSlow(_)), None) if policy.time_limits != TimeLimits::default() => {}
        (found, wanted) => prop_assert!(false, "wanted {wanted:?}, found {found:?}"),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8000, ..ProptestConfig::default() })]

    #[test]
    fn small_instances_equal_brute_force(instance in any_instance(3..9, 1..5)) {
        check(&instance)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2500, ..ProptestConfig::default() })]

    #[test]
    fn instances_of_up_to_14_units_equal_brute_force(instance in any_instance(9..15, 1..5)) {
        check(&instance)?;
    }
}
