//! Makes a plan: settles the cache's size and the number of sequences, then who holds what.

use sluicegate_model::{
    placed::DeviceId,
    profile::ModelProfile,
    step::PAGE_TOKENS,
    units::{Bytes, UnitRange},
};

use super::{
    cluster::Cluster,
    compare,
    cost::{self, Sizes, StageBytes},
    error::PlanError,
    evaluate::Stages,
    plan::{Plan, PlanFields, PlannedStage},
    policy::{KvTokens, Objective, Policy},
    prediction::{Prediction, Proof},
    search::{Answer, Found, Search, microbatches},
    setting::{Layout, Setting},
    shortfall,
};

/// A plan, and what it is expected to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Solution {
    pub plan: Plan,
    pub prediction: Prediction,
}

/// Places a model on devices as a policy asks.
///
/// # Errors
/// As [`solve`].
pub fn plan(profile: &ModelProfile, cluster: &Cluster, policy: &Policy) -> Result<Plan, PlanError> {
    Ok(solve(profile, cluster, policy)?.plan)
}

/// Places a model on devices as a policy asks, and says what the placement will do.
///
/// Deterministic. Of all subsets and orders of devices, all cuts and all numbers of microbatches, the
/// one with the least seconds per token is found ([`Prediction::objective_value`]), as long as the
/// devices are not too many of too many kinds; then the prediction has a lower bound and a gap.
///
/// With `n_c` devices of each of `C` classes, `E = prod(n_c + 1) * C^2` and `L` layers, a limit is
/// tried in time `E + C^2 L`, a shortest round in `E L^2` and mostly in a hundredth of that; some
/// dozen times for each number of microbatches that the bounds do not rule out.
///
/// # Errors
/// [`PlanError`] if model, devices or policy make no sense, or memory does not suffice.
pub fn solve(
    profile: &ModelProfile,
    cluster: &Cluster,
    policy: &Policy,
) -> Result<Solution, PlanError> {
    solve_on(&Setting::new(profile, cluster, policy)?, 1)
}

/// Predicts what a finished plan will do under a policy.
///
/// # Errors
/// [`PlanError`] if model, devices or policy make no sense, or the plan uses a device that is not
/// there.
pub fn predict(
    profile: &ModelProfile,
    cluster: &Cluster,
    policy: &Policy,
    plan: &Plan,
) -> Result<Prediction, PlanError> {
    let setting = Setting::new(profile, cluster, policy)?;
    let stages: Vec<_> = plan.stages.iter().map(|stage| (stage.device, stage.units)).collect();
    let known = |device| setting.devices.iter().any(|usable| usable.id == device);
    if let Some((device, _)) = stages.iter().find(|(device, _)| !known(*device)) {
        let known = setting.devices.iter().map(|usable| usable.id).collect();
        return Err(PlanError::unknown("the plan", *device, known));
    }
    let num_sequences = sequences(&setting, plan.kv_tokens / PAGE_TOKENS);
    let found = best_microbatches(&setting, &stages, num_sequences);
    Ok(Prediction::new(&setting, &found, num_sequences, Proof::None))
}

/// As [`solve`], on `min_devices` devices at least.
pub(super) fn solve_on(setting: &Setting<'_>, min_devices: usize) -> Result<Solution, PlanError> {
    let choice = match &setting.layout {
        Layout::Given(stages) => given(setting, stages)?,
        Layout::Auto => auto(setting, min_devices)?,
    };
    let prediction = Prediction::new(setting, &choice.found, choice.num_sequences, choice.proof);
    let fields = fields(setting, &choice);
    Ok(Solution { plan: Plan::try_from(fields)?, prediction })
}

/// What was settled on.
struct Choice {
    found: Found,
    num_sequences: usize,
    num_pages: usize,
    proof: Proof,
}

/// The given stages with the cache that was asked for, or the most that fits.
fn given(setting: &Setting<'_>, stages: &Stages) -> Result<Choice, PlanError> {
    let fits = |num_pages| fits_given(setting, &setting.sizes(num_pages), stages);
    let num_pages = settle_pages(setting, fits)?;
    let num_sequences = sequences(setting, num_pages);
    let found = best_microbatches(setting, stages, num_sequences);
    Ok(Choice { found, num_sequences, num_pages, proof: Proof::None })
}

/// The best stages for the cache that was asked for; or, for as many tokens as fit, the best of some
/// numbers of sequences, and then all that its devices can still hold.
fn auto(setting: &Setting<'_>, min_devices: usize) -> Result<Choice, PlanError> {
    let mut search = Search::new(setting);
    let most = settle_pages(setting, |num_pages| search.fits(&setting.sizes(num_pages)))?;
    let mut best: Option<(f64, Choice)> = None;
    // Seconds per token that no placement gets below, with any of the numbers of sequences.
    let mut least_s = f64::INFINITY;
    for num_sequences in sequences_to_try(setting, most) {
        let num_pages = match setting.policy.kv_tokens {
            KvTokens::Exactly(_) => most,
            KvTokens::AsManyAsFit => pages_of(setting, num_sequences).min(most),
        };
        let limit_s =
            best.as_ref().map_or(f64::INFINITY, |(per_token, _)| per_token * num_sequences as f64);
        let sizes = setting.sizes(num_pages);
        match search.best(&sizes, num_sequences, min_devices, limit_s) {
            Ok(answer) => {
                let answer = or_better_rule(setting, &sizes, num_sequences, answer);
                least_s = least_s.min(answer.lower_bound_s / num_sequences as f64);
                let Answer { found, infeasible_s, .. } = answer;
                let per_token = found.cycle_s / num_sequences as f64;
                let proof = Proof::Search { lower_bound_s: least_s, infeasible_s };
                best = Some((per_token, Choice { found, num_sequences, num_pages, proof }));
            }
            Err(bound_s) => least_s = least_s.min(bound_s / num_sequences as f64),
        }
    }
    let (_, mut choice) = best.ok_or(PlanError::TooFewDevices { wanted: min_devices })?;
    if let Proof::Search { lower_bound_s, .. } = &mut choice.proof {
        *lower_bound_s = least_s;
    }
    match setting.policy.kv_tokens {
        KvTokens::Exactly(_) => Ok(choice),
        KvTokens::AsManyAsFit => Ok(enlarge(setting, &mut search, choice, most, min_devices)),
    }
}

/// Of the placements that cost the same, one that has room for the largest cache, and that cache.
fn enlarge(
    setting: &Setting<'_>,
    search: &mut Search<'_>,
    mut choice: Choice,
    most: usize,
    min_devices: usize,
) -> Choice {
    let fill = |stages: &Stages, num_pages| {
        let fits = |num_pages| fits_given(setting, &setting.sizes(num_pages), stages);
        most_pages(num_pages, most, fits)
    };
    choice.num_pages = fill(&choice.found.stages, choice.num_pages);
    let limit_s = choice.found.cycle_s * (1.0 + 1e-9);
    let (mut low, mut too_many) = (choice.num_pages, most + 1);
    let mut tried = most;
    // A few tries find all that matters; the first is the one that mostly succeeds.
    for _ in 0..MAX_ENLARGED {
        if too_many - low <= 1 {
            break;
        }
        match search.best(&setting.sizes(tried), choice.num_sequences, min_devices, limit_s) {
            Ok(Answer { found, infeasible_s, .. }) => {
                choice.num_pages = fill(&found.stages, tried);
                low = choice.num_pages;
                choice.found = found;
                // It may have another number of microbatches, and then another certificate.
                choice.proof = choice.proof.with_infeasible(infeasible_s);
            }
            Err(_) => too_many = tried,
        }
        tried = low + (too_many - low) / 2;
    }
    choice
}

/// How often a larger cache is tried for the same cost.
const MAX_ENLARGED: usize = 8;

/// An answer that is not exact must still not be worse than a simple rule.
fn or_better_rule(
    setting: &Setting<'_>,
    sizes: &Sizes,
    num_sequences: usize,
    mut answer: Answer,
) -> Answer {
    if answer.lower_bound_s < answer.found.cycle_s {
        for stages in compare::placements(setting, sizes) {
            let found = best_microbatches(setting, &stages, num_sequences);
            // A rule may cut layers that are to stay together.
            let may_cut = stages.iter().all(|(_, units)| setting.may_cut[units.end]);
            if may_cut && found.cycle_s < answer.found.cycle_s {
                answer = Answer { found, infeasible_s: None, ..answer };
            }
        }
    }
    answer
}

/// The numbers of sequences at once whose best placements are compared: all that the cache can hold,
/// half of them, and so on; but one alone for latency, and all where the cache's size is given.
fn sequences_to_try(setting: &Setting<'_>, num_pages: usize) -> Vec<usize> {
    let most = sequences(setting, num_pages);
    match (setting.policy.objective, setting.policy.kv_tokens) {
        (Objective::Latency, _) | (_, KvTokens::Exactly(_)) => vec![most],
        (Objective::Throughput, KvTokens::AsManyAsFit) => {
            std::iter::successors(Some(most), |it| (*it > 1).then_some(it / 2)).collect()
        }
    }
}

/// The sequences that run at once with a cache of so many pages.
pub(super) fn sequences(setting: &Setting<'_>, num_pages: usize) -> usize {
    let batch = match (setting.policy.objective, setting.policy.sequences) {
        (Objective::Throughput, None) => setting.policy.batch,
        (Objective::Throughput, Some(sequences)) => return sequences.max(1),
        (Objective::Latency, _) => 1,
    };
    let context = setting.policy.context(setting.profile.max_positions);
    (num_pages.saturating_mul(PAGE_TOKENS) / context).clamp(1, batch)
}

/// Pages for so many sequences of the expected length.
fn pages_of(setting: &Setting<'_>, num_sequences: usize) -> usize {
    let context = setting.policy.context(setting.profile.max_positions);
    num_sequences.saturating_mul(context).div_ceil(PAGE_TOKENS)
}

/// The most pages that a cache of as many tokens as fit gets.
fn limit_pages(setting: &Setting<'_>) -> usize {
    setting.policy.kv_limit(setting.profile.max_positions).div_ceil(PAGE_TOKENS)
}

/// The pages that were asked for, or as many as fit.
fn settle_pages(
    setting: &Setting<'_>,
    mut fits: impl FnMut(usize) -> bool,
) -> Result<usize, PlanError> {
    let (wanted, is_exact) = match setting.policy.kv_tokens {
        KvTokens::Exactly(tokens) => (tokens.div_ceil(PAGE_TOKENS), true),
        KvTokens::AsManyAsFit => (limit_pages(setting), false),
    };
    if fits(wanted) {
        return Ok(wanted);
    }
    let fitting = most_pages(0, wanted, &mut fits);
    match (is_exact, fitting) {
        (false, 1..) => Ok(fitting),
        (false, 0) => Err(shortfall::explain(setting, 1, None).into()),
        (true, fitting) => {
            let fitting = (fitting > 0).then_some(fitting);
            Err(shortfall::explain(setting, wanted, fitting).into())
        }
    }
}

/// The most pages in `low..=high` that fit; `low` is known to, and more pages never fit better.
pub(super) fn most_pages(low: usize, high: usize, mut fits: impl FnMut(usize) -> bool) -> usize {
    let (mut low, mut too_many) = (low, high.saturating_add(1).max(low));
    while too_many - low > 1 {
        let middle = low + (too_many - low) / 2;
        if fits(middle) { low = middle } else { too_many = middle }
    }
    low
}

/// The number of microbatches with the shortest cycle for given stages.
pub(super) fn best_microbatches(
    setting: &Setting<'_>,
    stages: &Stages,
    num_sequences: usize,
) -> Found {
    let all = microbatches(num_sequences, setting.devices.len());
    let found = all.map(|num_microbatches| {
        let rows = num_sequences.div_ceil(num_microbatches);
        let costs = setting.costs(rows, stages);
        let cycle_s = costs.cycle_s(num_microbatches);
        Found { stages: stages.to_vec(), num_microbatches, cycle_s }
    });
    let best = found.reduce(|a, b| if b.cycle_s < a.cycle_s { b } else { a });
    best.expect("one microbatch is always tried")
}

/// Whether no device holds more than it may.
pub(super) fn fits_given(setting: &Setting<'_>, sizes: &Sizes, stages: &Stages) -> bool {
    setting.devices.iter().all(|it| held(sizes, stages, it.id) <= it.cap.0.into())
}

/// What all stages of a device hold together.
pub(super) fn held(sizes: &Sizes, stages: &Stages, device: DeviceId) -> u128 {
    let spans = stages.iter().zip(sizes.spans(stages));
    spans.filter(|((owner, _), _)| *owner == device).map(|(_, span)| span.total()).sum()
}

fn fields(setting: &Setting<'_>, choice: &Choice) -> PlanFields {
    let Setting { profile, policy, .. } = setting;
    let pages_per_group = cost::pages_per_group(profile, policy, choice.num_pages);
    let sizes = Sizes::new(profile, policy, &pages_per_group);
    let planned = |(&(device, units), span): (&(DeviceId, UnitRange), StageBytes)| PlannedStage {
        device,
        units,
        weight_bytes: cost::bytes(span.weights),
        kv_bytes: cost::bytes(span.kv),
        workspace_bytes: cost::bytes(span.workspace),
        cap_bytes: Bytes(setting.device(device).cap.0),
    };
    PlanFields {
        stages: choice
            .found
            .stages
            .iter()
            .zip(sizes.spans(&choice.found.stages))
            .map(planned)
            .collect(),
        num_layers: profile.num_layers,
        kv_tokens: choice.num_pages.saturating_mul(PAGE_TOKENS),
        kv_groups: profile.kv_groups.clone(),
        pages_per_group,
        batch: policy.batch,
        chunk_tokens: policy.chunk_tokens,
        microbatches: choice.found.num_microbatches,
        hidden: profile.hidden,
        hidden_element_bytes: profile.hidden_element_bytes,
        mask_words: profile.vocab.div_ceil(32),
    }
}
