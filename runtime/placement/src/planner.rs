//! Makes plans: fixes the cache size and the number of sequences, then the stages.

use sluicegate_spec::{device::DeviceId, kv::PAGE_TOKENS, profile::ModelProfile, units::Bytes};

use super::{
    cluster::{Cluster, Route},
    cost::{self, Sizes, StageBytes},
    error::PlanError,
    held::fits_given,
    microbatches::microbatches,
    plan::{Plan, PlanFields, PlannedStage},
    policy::{KvTokens, Objective, Placement, Policy, Sequences, TimeLimits},
    prediction::{Prediction, Proof},
    room::{least_pages, most_pages, settle_pages, widened},
    rules,
    search::{Answer, Cache, Found, Search, Wanted},
    setting::{Layout, Setting},
    stages::Stages,
};

/// A plan and its predicted performance.
#[derive(Debug, Clone, PartialEq)]
pub struct Solution {
    pub plan: Plan,
    pub prediction: Prediction,
}

/// Places a model on devices under a policy.
///
/// # Errors
/// As [`solve`].
pub fn plan(profile: &ModelProfile, cluster: &Cluster, policy: &Policy) -> Result<Plan, PlanError> {
    Ok(solve(profile, cluster, policy)?.plan)
}

/// Places a model on devices under a policy, and predicts the placement's performance.
///
/// Spare devices ([`ClusterDevice::is_spare`](crate::ClusterDevice::is_spare)) count only if the
/// model does not fit on the others.
///
/// Deterministic. Over all subsets and orders of devices, all cuts, all numbers of concurrent
/// sequences and of microbatches, it finds the placement with the fewest seconds per token
/// ([`Prediction::objective_value`]), unless there are too many devices of too many kinds; then the
/// prediction has a lower bound and a gap.
///
/// Let `n_c` be the number of devices in each of `C` classes, `E = prod(n_c + 1) * C^2`, and `L`
/// the number of layers. Testing a limit takes time `E + C^2 L`; finding a shortest round takes `E
/// L^2`, mostly a hundredth of it. This happens some dozen times for each number of microbatches
/// that the bounds do not exclude.
///
/// # Errors
/// [`PlanError`] if model, devices or policy are invalid, or memory does not suffice.
pub fn solve(
    profile: &ModelProfile,
    cluster: &Cluster,
    policy: &Policy,
) -> Result<Solution, PlanError> {
    let on =
        |cluster: &Cluster, policy: &Policy| solve_on(&Setting::new(profile, cluster, policy)?, 1);
    if policy.placement == Placement::Auto
        && let Some(main) = cluster.without_spares()
    {
        let mut of_main = policy.clone();
        let is_spare = |id: &DeviceId| cluster.devices.iter().any(|it| it.is_spare && it.id == *id);
        of_main.memory_caps.retain(|id, _| !is_spare(id));
        of_main.forbidden.retain(|id| !is_spare(id));
        match on(&main, &of_main) {
            // With all devices it may go, or the error is the one that counts.
            Err(PlanError::Infeasible(_) | PlanError::AllForbidden { .. }) => {}
            outcome => return outcome,
        }
    }
    on(cluster, policy)
}

/// Predicts the performance of a finished plan under a policy.
///
/// # Errors
/// [`PlanError`] if model, devices or policy are invalid, or the plan is for another number of
/// layers or uses a device that is not in the cluster.
pub fn predict(
    profile: &ModelProfile,
    cluster: &Cluster,
    policy: &Policy,
    plan: &Plan,
) -> Result<Prediction, PlanError> {
    let setting = Setting::new(profile, cluster, policy)?;
    plan.check_model(profile)?;
    let stages: Vec<_> = plan.stages.iter().map(|stage| (stage.device, stage.units)).collect();
    let known = |device| setting.devices.iter().any(|usable| usable.id == device);
    if let Some((device, _)) = stages.iter().find(|(device, _)| !known(*device)) {
        let known = setting.devices.iter().map(|usable| usable.id).collect();
        return Err(PlanError::unknown("the plan", *device, known));
    }
    let num_sequences = match policy.objective {
        Objective::Throughput => plan.sequences,
        Objective::Latency => 1,
    };
    let found = best_microbatches(&setting, &stages, num_sequences);
    Ok(Prediction::new(&setting, &found, Proof::None))
}

/// As [`solve`], on at least `min_devices` devices.
pub(super) fn solve_on(setting: &Setting<'_>, min_devices: usize) -> Result<Solution, PlanError> {
    let choose = |setting: &Setting<'_>| match &setting.layout {
        Layout::Given(stages) => given(setting, stages),
        Layout::Auto => auto(setting, min_devices),
    };
    let choice = match setting.policy.kv_tokens {
        KvTokens::Exactly(_) => choose(setting)?,
        KvTokens::AsManyAsFit => match choose(&setting.shared(0)) {
            Ok(choice) if choice.num_pages >= least_pages(setting) => choice,
            Ok(_) | Err(PlanError::Infeasible(_) | PlanError::TooSlow(_)) => {
                choose(&widened(setting))?
            }
            Err(error) => return Err(error),
        },
    };
    let prediction = Prediction::new(setting, &choice.found, choice.proof);
    let fields = fields(setting, &choice);
    Ok(Solution { plan: Plan::try_from(fields)?, prediction })
}

/// Makes the error that tells what would be possible without time limits.
fn too_slow(setting: &Setting<'_>) -> PlanError {
    // Without limits the cause is extreme figures, for which no time is a finite number.
    if setting.policy.time_limits == TimeLimits::default() {
        return PlanError::NoTime;
    }
    let sequences = match setting.policy.sequences {
        Sequences::UpTo(_) => Sequences::UpTo(1),
        exactly @ Sequences::Exactly(_) => exactly,
    };
    let policy = Policy { time_limits: TimeLimits::default(), sequences, ..setting.policy.clone() };
    let prediction = solve_on(&setting.with_policy(&policy), 1).map(|solution| solution.prediction);
    let time_limits = setting.policy.time_limits;
    prediction.map_or_else(|error| error, |it| PlanError::TooSlow(it.too_slow_for(time_limits)))
}

/// The chosen placement.
struct Choice {
    found: Found,
    num_pages: usize,
    proof: Proof,
}

/// Chooses for given stages the requested cache, or the largest that fits.
fn given(setting: &Setting<'_>, stages: &Stages) -> Result<Choice, PlanError> {
    let fits =
        |num_pages| fits_given(setting, &setting.sizes(num_pages, setting.least_at_once()), stages);
    let most_pages = settle_pages(setting, fits)?;
    let wanted = wanted(setting, most_pages, 1);
    let is_there = |found: &Found| {
        let num_pages = wanted.cache.pages(setting, found.num_sequences);
        fits_given(setting, &setting.sizes(num_pages, found.at_once()), stages)
    };
    let found =
        best_sequences(setting, stages, &wanted, is_there).ok_or_else(|| too_slow(setting))?;
    let num_pages = fill(setting, &found, wanted.cache, most_pages);
    Ok(Choice { found, num_pages, proof: Proof::None })
}

/// Chooses the best stages for the requested cache or the best number of sequences, then uses all
/// memory that their devices have left.
fn auto(setting: &Setting<'_>, min_devices: usize) -> Result<Choice, PlanError> {
    let mut search = Search::new(setting);
    let fits = |num_pages| search.fits(|| setting.sizes(num_pages, setting.least_at_once()));
    let most_pages = settle_pages(setting, fits)?;
    let wanted = wanted(setting, most_pages, min_devices);
    let answer = match search.best(&wanted) {
        Ok(answer) => or_better_rule(setting, &wanted, answer),
        Err(_) if min_devices > 1 => return Err(PlanError::TooFewDevices { wanted: min_devices }),
        // None of the requested numbers of sequences is possible, but the fewest may be.
        Err(_) => {
            let fewest = Wanted { most: wanted.least, ..wanted };
            search.best(&fewest).map_err(|_| too_slow(setting))?
        }
    };
    let Answer { found, lower_bound_s, infeasible_s } = answer;
    let proof = Proof::Search { lower_bound_s, infeasible_s };
    let needed = wanted.cache.pages(setting, found.num_sequences);
    let found = search.relieve(found, needed);
    let (found, num_pages) = enlarge(setting, &mut search, found, (wanted.cache, most_pages));
    let found = search.even_out(found, num_pages);
    let num_pages = fill(setting, &found, Cache::Pages(num_pages), most_pages);
    Ok(Choice { found, num_pages, proof })
}

/// Among placements that are no worse, finds one with room for the largest cache, and returns that
/// cache.
fn enlarge(
    setting: &Setting<'_>,
    search: &mut Search<'_>,
    mut found: Found,
    (cache, most_pages): (Cache, usize),
) -> (Found, usize) {
    let mut num_pages = fill(setting, &found, cache, most_pages);
    if let Cache::Pages(_) = cache {
        return (found, num_pages);
    }
    let (mut too_many, mut tried) = (most_pages + 1, most_pages);
    // A few tries find nearly all of the gain; usually the first one succeeds.
    for _ in 0..MAX_ENLARGED {
        if too_many - num_pages <= 1 {
            break;
        }
        match search.with_pages(&found, tried) {
            Some(larger) => {
                num_pages = fill(setting, &larger, Cache::Pages(tried), most_pages);
                found = larger;
            }
            None => too_many = tried,
        }
        tried = num_pages + (too_many - num_pages) / 2;
    }
    (found, num_pages)
}

/// How often a larger cache is tried for the same cost.
const MAX_ENLARGED: usize = 10;

/// Returns the most pages that fit a placement. A requested number of pages stays unchanged.
fn fill(setting: &Setting<'_>, found: &Found, cache: Cache, most: usize) -> usize {
    let needed = cache.pages(setting, found.num_sequences);
    if let KvTokens::Exactly(_) = setting.policy.kv_tokens {
        return needed;
    }
    let fits =
        |num_pages| fits_given(setting, &setting.sizes(num_pages, found.at_once()), &found.stages);
    most_pages(needed, most.max(needed), fits)
}

/// Replaces an inexact answer by a simple rule's placement if that is better.
fn or_better_rule(setting: &Setting<'_>, wanted: &Wanted, mut answer: Answer) -> Answer {
    if answer.lower_bound_s < answer.found.per_token_s() {
        let Found { num_sequences, .. } = answer.found;
        let num_pages = wanted.cache.pages(setting, num_sequences);
        let sizes = setting.sizes(num_pages, answer.found.at_once());
        for stages in rules::placements(setting, &sizes) {
            let found = best_microbatches(setting, &stages, num_sequences);
            // A rule may cut layers that must stay together.
            let may_cut = stages.iter().all(|(_, units)| setting.may_cut[units.end]);
            let fits =
                fits_given(setting, &setting.sizes(num_pages, found.at_once()), &found.stages);
            let is_good = may_cut && fits && found.is_in_time(setting);
            if is_good && found.per_token_s() < answer.found.per_token_s() {
                answer = Answer { found, infeasible_s: None, ..answer };
            }
        }
    }
    answer
}

/// Returns what to ask of the search if `most_pages` fit.
fn wanted(setting: &Setting<'_>, most_pages: usize, min_devices: usize) -> Wanted {
    let policy = setting.policy;
    let context = policy.context(setting.profile.max_positions);
    let held = (most_pages.saturating_mul(PAGE_TOKENS) / context).max(1);
    let (least, most) = match (policy.objective, policy.sequences) {
        (Objective::Latency, _) => (1, 1),
        (Objective::Throughput, Sequences::UpTo(most)) => (1, most.min(held)),
        (Objective::Throughput, Sequences::Exactly(sequences)) => {
            (sequences.min(held), sequences.min(held))
        }
    };
    let cache = match policy.kv_tokens {
        KvTokens::Exactly(_) => Cache::Pages(most_pages),
        KvTokens::AsManyAsFit => Cache::ForSequences { most_pages },
    };
    Wanted { least, most, cache, min_devices, limit_s: f64::INFINITY }
}

/// Finds the number of microbatches with the shortest cycle for given stages.
pub(super) fn best_microbatches(
    setting: &Setting<'_>,
    stages: &Stages,
    num_sequences: usize,
) -> Found {
    let all = microbatches(num_sequences, setting.devices.len());
    let found =
        all.map(|num_microbatches| costed(setting, stages, num_sequences, num_microbatches));
    let best = found.reduce(|a, b| if b.cycle_s < a.cycle_s { b } else { a });
    best.expect("one microbatch is always tried")
}

/// Finds the numbers of sequences and microbatches with the fewest seconds per token for given
/// stages, among those that fit.
pub(super) fn best_sequences(
    setting: &Setting<'_>,
    stages: &Stages,
    wanted: &Wanted,
    fits: impl Fn(&Found) -> bool,
) -> Option<Found> {
    let mut best: Option<Found> = None;
    for num_microbatches in microbatches(wanted.most, setting.devices.len()) {
        let rows = |num_sequences: usize| num_sequences.div_ceil(num_microbatches);
        for rows in rows(wanted.least.max(num_microbatches))..=rows(wanted.most) {
            // For the same number of rows the most sequences take no longer; but fewer need less
            // memory.
            let most = (rows * num_microbatches).min(wanted.most);
            let found = costed(setting, stages, most, num_microbatches);
            let is_better = |found: &Found| {
                best.as_ref().is_none_or(|it| found.per_token_s() < it.per_token_s())
            };
            if !is_better(&found) || !found.is_in_time(setting) {
                continue;
            }
            let least = ((rows - 1) * num_microbatches + 1).max(wanted.least);
            let fewer = |num_sequences| Found { num_sequences, ..found.clone() };
            let fitting = most_pages(least - 1, most, |num_sequences| fits(&fewer(num_sequences)));
            if fitting >= least && is_better(&fewer(fitting)) {
                best = Some(fewer(fitting));
            }
        }
    }
    best
}

fn costed(
    setting: &Setting<'_>,
    stages: &Stages,
    num_sequences: usize,
    num_microbatches: usize,
) -> Found {
    let costs = setting.costs(num_sequences.div_ceil(num_microbatches), stages);
    let cycle_s = costs.cycle_s(num_microbatches);
    Found { stages: stages.to_vec(), num_sequences, num_microbatches, cycle_s }
}

fn fields(setting: &Setting<'_>, choice: &Choice) -> PlanFields {
    let Setting { profile, policy, .. } = setting;
    let at_once = choice.found.at_once();
    let pages_per_group = cost::pages_per_group(profile, policy, choice.num_pages, at_once);
    let sizes = Sizes::new(profile, policy, &pages_per_group, at_once);
    let stages = &choice.found.stages;
    let input_route = |stage: usize| match stage.checked_sub(1) {
        Some(before) if stages[before].0 != stages[stage].0 => {
            setting.link_between(stages[before].0, stages[stage].0).route
        }
        _ => Route::Host,
    };
    let planned = |(stage, span): (usize, StageBytes)| PlannedStage {
        device: stages[stage].0,
        units: stages[stage].1,
        weight_bytes: cost::bytes(span.weights),
        kv_bytes: cost::bytes(span.kv),
        workspace_bytes: cost::bytes(span.workspace),
        cap_bytes: Bytes(setting.device(stages[stage].0).cap.0),
        input_route: input_route(stage),
    };
    PlanFields {
        stages: sizes.spans(stages).into_iter().enumerate().map(planned).collect(),
        num_layers: profile.num_layers,
        kv_tokens: choice.num_pages.saturating_mul(PAGE_TOKENS),
        kv_groups: profile.kv_groups.clone(),
        pages_per_group,
        sequences: at_once.sequences,
        batch: at_once.rows,
        chunk_tokens: at_once.tokens(profile, policy),
        microbatches: choice.found.num_microbatches,
        hidden: profile.hidden,
        hidden_element_bytes: profile.hidden_element_bytes,
        mask_words: profile.vocab.div_ceil(32),
    }
}
