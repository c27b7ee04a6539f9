//! Converts cycle times to waiting times: to the first token, and to each further one.
//!
//! With `M` microbatches in flight, each returns once per cycle `C`, and one of them leaves every
//! `C / M`. A prompt of `k` chunks takes `k` consecutive microbatches. So its first token is there
//! after at most `C (1 + k / M)`, the wait for the first of them included. (Little's law.)

use std::time::Duration;

use sluicegate_spec::profile::ModelProfile;

use super::{
    load::Load,
    policy::{Objective, Policy, TimeLimits},
};

/// Returns the seconds from a request's admission to its first token, while the most others run;
/// none for [`Objective::Latency`], which has no prompts.
pub(super) fn first_token_s(
    profile: &ModelProfile,
    policy: &Policy,
    rows: usize,
    num_microbatches: usize,
    cycle_s: f64,
) -> Option<f64> {
    let chunks = num_chunks(profile, policy, [rows; 2]);
    (policy.objective == Objective::Throughput)
        .then(|| cycle_s * (1.0 + chunks / num_microbatches as f64))
}

/// Returns the longest cycle that the policy allows for any number of rows between the two given.
pub(super) fn max_cycle_s(
    profile: &ModelProfile,
    policy: &Policy,
    rows: [usize; 2],
    num_microbatches: usize,
) -> f64 {
    let TimeLimits { per_token, to_first_token } = policy.time_limits;
    let seconds = |limit: Option<Duration>| limit.map_or(f64::INFINITY, |it| it.as_secs_f64());
    let per_token_s = seconds(per_token);
    if to_first_token.is_none() || policy.objective == Objective::Latency {
        return per_token_s;
    }
    let chunks = num_chunks(profile, policy, rows);
    per_token_s.min(seconds(to_first_token) / (1.0 + chunks / num_microbatches as f64))
}

/// Returns the fewest chunks of a prompt for any number of rows between the two given. The budget
/// leaves most for a prompt with the fewest rows, or with the most rows if they raise it.
fn num_chunks(profile: &ModelProfile, policy: &Policy, rows: [usize; 2]) -> f64 {
    let chunk = rows.map(|rows| Load::average(profile, policy, rows).chunk());
    let (prompt, _) = policy.lengths(profile.max_positions);
    if prompt == 0 { 0.0 } else { (prompt as f64 / chunk[0].max(chunk[1])).ceil() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sluicegate_spec::units::Bytes;

    use crate::{
        Cluster, PlanError, Policy, Rates, Sequences, Solution, TimeLimits, fixtures::model, solve,
    };

    /// Two devices that read 100 bytes a second.
    fn solved(time_limits: TimeLimits) -> Result<Solution, PlanError> {
        let mut cluster = Cluster::logical_cpus(2, Bytes(1 << 30));
        for device in &mut cluster.devices {
            device.bytes_per_s = 100.0;
            device.flops_per_s = Rates::uniform(1e9);
            device.overhead_s = 0.0;
        }
        let policy = Policy {
            sequences: Sequences::UpTo(8),
            prompt_tokens: 64,
            output_tokens: 64,
            chunk_tokens: 16,
            time_limits,
            ..Policy::default()
        };
        solve(&model(&[100; 10], 1, 0), &cluster, &policy)
    }

    #[test]
    fn a_time_that_is_just_kept_is_kept() {
        let free = solved(TimeLimits::default()).unwrap().prediction;
        for share in 1..=64 {
            let per_token = Duration::from_secs_f64(free.cycle_s * f64::from(share) / 64.0);
            match solved(TimeLimits { per_token: Some(per_token), to_first_token: None }) {
                Ok(solution) => {
                    // And once more with no more time than that takes.
                    let cycle_s = solution.prediction.cycle_s;
                    assert!(cycle_s <= per_token.as_secs_f64() * (1.0 + 1e-9), "{share}");
                    let per_token = Some(Duration::from_secs_f64(cycle_s));
                    let again = solved(TimeLimits { per_token, to_first_token: None }).unwrap();
                    assert!((again.prediction.cycle_s - cycle_s).abs() < 1e-8, "{share}");
                }
                Err(PlanError::TooSlow(slow)) => {
                    assert!(slow.per_token_s > per_token.as_secs_f64(), "{slow}");
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn the_first_token_waits_for_its_chunks() {
        let prediction = solved(TimeLimits::default()).unwrap().prediction;
        let (rows, microbatches) = (prediction.rows as f64, prediction.microbatches as f64);
        let chunks = (64.0 / f64::max(16.0 - rows, rows)).ceil();
        let want = prediction.cycle_s * (1.0 + chunks / microbatches);
        assert!((prediction.first_token_s.unwrap() - want).abs() < 1e-9 * want);
    }
}
