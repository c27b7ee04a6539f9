//! What a cycle means to those who wait: the time to a first token and to each further one.
//!
//! With `M` microbatches in flight, each comes back once in a cycle `C`, and one of them leaves every
//! `C / M`. A prompt of `k` chunks follows itself in `k` microbatches, so that its first token is there
//! after `C (1 + k / M)` at most, its wait for the first of them included. (Little's law.)

use std::time::Duration;

use sluicegate_model::profile::ModelProfile;

use super::{
    load::Load,
    policy::{Objective, Policy, TimeLimits},
};

/// From the moment that a request is admitted to its first token, in seconds, while as many others run
/// as may; none for [`Objective::Latency`], which knows no prompts.
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

/// The longest cycle that the policy allows with any number of rows between two.
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

/// The fewest chunks of a prompt with any number of rows between two: the budget leaves most for a
/// prompt with the fewest rows, or where the most rows raise it.
fn num_chunks(profile: &ModelProfile, policy: &Policy, rows: [usize; 2]) -> f64 {
    let chunk = rows.map(|rows| Load::average(profile, policy, rows).chunk());
    let (prompt, _) = policy.lengths(profile.max_positions);
    if prompt == 0 { 0.0 } else { (prompt as f64 / chunk[0].max(chunk[1])).ceil() }
}
