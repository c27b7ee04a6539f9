//! Memory checks: how large the cache may be, and whether devices can hold their stages.

use sluicegate_spec::kv::PAGE_TOKENS;

use super::{
    error::PlanError,
    policy::KvTokens,
    search::{Cache, fits_any},
    setting::Setting,
    shortfall,
};

/// Returns the requested pages, or as many as fit.
pub(super) fn settle_pages(
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

/// Returns the most pages of a cache of [`KvTokens::AsManyAsFit`].
fn limit_pages(setting: &Setting<'_>) -> usize {
    setting.policy.kv_limit(setting.profile.max_positions).div_ceil(PAGE_TOKENS)
}

/// Returns the pages that the fewest concurrent sequences fill at the expected length.
pub(super) fn least_pages(setting: &Setting<'_>) -> usize {
    let cache = Cache::ForSequences { most_pages: limit_pages(setting) };
    cache.pages(setting, setting.least_at_once().sequences)
}

/// Widens the devices' shares only until the model and the least concurrency fit; up to all memory
/// if they never do.
pub(super) fn widened<'a>(setting: &Setting<'a>) -> Setting<'a> {
    let num_pages = least_pages(setting);
    let fits = |percent_more| {
        let shared = setting.shared(percent_more);
        fits_any(&shared, &shared.sizes(num_pages, shared.least_at_once()))
    };
    if fits(0) {
        return setting.shared(0);
    }
    let (mut too_little, mut enough) = (0, 100);
    while enough - too_little > 1 {
        let middle = u64::midpoint(too_little, enough);
        if fits(middle) { enough = middle } else { too_little = middle }
    }
    setting.shared(enough)
}

/// Returns the most pages in `low..=high` that fit. `low` must fit, and fitting must be monotonic.
pub(super) fn most_pages(low: usize, high: usize, mut fits: impl FnMut(usize) -> bool) -> usize {
    let (mut low, mut too_many) = (low, high.saturating_add(1).max(low));
    while too_many - low > 1 {
        let middle = low + (too_many - low) / 2;
        if fits(middle) { low = middle } else { too_many = middle }
    }
    low
}

#[cfg(test)]
mod tests {
    use sluicegate_spec::{device::DeviceId::Cpu, units::Bytes};

    use crate::{Cluster, MemoryShare, Plan, PlanError, Policy, Sequences, fixtures::model, plan};

    /// A model of 1,000 bytes and 2 for each token, on two devices of 1,000.
    fn planned(policy: &Policy) -> Result<Plan, PlanError> {
        let profile = model(&[250; 4], 1, 0);
        plan(&profile, &Cluster::logical_cpus(2, Bytes(1000)), policy)
    }

    fn shared(percent: u8) -> Result<Plan, PlanError> {
        let share = MemoryShare { gpu_percent: 0, host_percent: percent };
        planned(&Policy {
            memory_share: Some(share),
            prompt_tokens: 16,
            output_tokens: 16,
            ..Policy::default()
        })
    }

    #[test]
    fn a_share_that_is_named_is_a_limit() {
        let mut before = 0;
        for percent in 1..=100 {
            match shared(percent) {
                Ok(plan) => {
                    assert!(plan.kv_tokens >= before, "{percent} %: {plan}");
                    for device in [Cpu(0), Cpu(1)] {
                        let stages = plan.stages.iter().filter(|stage| stage.device == device);
                        let held: u64 = stages.map(|stage| stage.total_bytes().0).sum();
                        assert!(held <= 10 * u64::from(percent), "{percent} %: {plan}");
                    }
                    before = plan.kv_tokens;
                }
                Err(PlanError::Infeasible(shortfall)) => {
                    assert!(percent <= 51, "{percent} %: {shortfall}");
                    assert_eq!(shortfall.limits[0].usable, Bytes(10 * u64::from(percent)));
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(before, 496);
    }

    #[test]
    fn the_usual_share_is_widened_for_what_the_model_needs_at_least() {
        // Half of the memory is the model's alone.
        let needs = |prompt_tokens, sequences| {
            let policy =
                Policy { prompt_tokens, output_tokens: 16, sequences, ..Policy::default() };
            planned(&policy).unwrap().kv_tokens
        };
        assert_eq!(needs(16, Sequences::UpTo(8)), 32);
        assert_eq!(needs(84, Sequences::UpTo(8)), 100_usize.next_multiple_of(16));
        assert_eq!(needs(16, Sequences::Exactly(4)), 128);
        // More than all memory holds: what there is.
        assert_eq!(needs(900, Sequences::UpTo(8)), 496);
    }
}
