//! Requests that are admitted by what is expected of them: hardly anything is computed twice, and
//! little is lost against a scheduler that knows every length.

use sluicegate_spec::config::KvGroup;

use super::tests::{config, prompt, setup};
use crate::{
    scheduler::SchedulerConfig,
    simulate::{Run, Search, SimulatedRequest, Uniform, simulate},
};

const NUM_REQUESTS: u32 = 384;
const PROMPT_TOKENS: u32 = 128;

/// Two stages whose weights take as long to read as a few dozen rows to compute.
fn stages() -> Uniform {
    Uniform { stage_s: vec![0.02; 2], token_s: 0.0002, ..Uniform::new(2) }
}

/// A cache for 48 sequences of 128 + 256 tokens.
fn scheduler(reckons_ahead: bool) -> SchedulerConfig {
    SchedulerConfig {
        num_stages: 2,
        token_budget: 256,
        reckons_ahead,
        shares_prefixes: false,
        ..config(48 * 24, &[KvGroup::Full])
    }
}

fn run(scheduler: SchedulerConfig, requests: &[SimulatedRequest]) -> Run {
    let timing = stages();
    simulate(&setup(&timing, scheduler), requests).unwrap()
}

fn requests(max_tokens: usize, ends_one_in: Option<u64>) -> Vec<SimulatedRequest> {
    let request = |number| SimulatedRequest {
        ends_one_in,
        seed: u64::from(number),
        ..SimulatedRequest::new(prompt(number, PROMPT_TOKENS), max_tokens)
    };
    (0..NUM_REQUESTS).map(request).collect()
}

/// The same requests, each with the length that its output had.
fn known(requests: &[SimulatedRequest], run: &Run) -> Vec<SimulatedRequest> {
    let with_length =
        |(request, end): (&SimulatedRequest, &crate::simulate::RequestEnd)| SimulatedRequest {
            max_tokens: end.outputs[0].num_tokens(),
            ends_one_in: None,
            ..request.clone()
        };
    requests.iter().zip(&run.ends).map(with_length).collect()
}

#[track_caller]
fn check(requests: &[SimulatedRequest]) {
    let found = run(scheduler(true), requests);
    let oracle = run(scheduler(true), &known(requests, &found));
    let computed = found.num_tokens() as u64 + u64::from(NUM_REQUESTS * PROMPT_TOKENS);
    let recomputed = found.scheduler.recomputed_tokens;
    assert!(recomputed * 50 <= computed, "{recomputed} of {computed} tokens were computed again");
    let rate = |run: &Run| run.num_tokens() as f64 / run.seconds();
    let ratio = rate(&found) / rate(&oracle);
    assert!(ratio >= 0.97, "{ratio} of the throughput with all lengths known");
}

#[test]
fn outputs_of_one_length_are_computed_once() {
    check(&requests(256, None));
    let found = run(scheduler(true), &requests(256, None));
    assert_eq!(found.scheduler.preemptions, 0);
}

#[test]
fn outputs_that_end_anywhere_are_hardly_computed_twice() {
    check(&requests(1024, Some(200)));
    check(&requests(1024, Some(60)));
}

#[test]
fn without_reckoning_ahead_most_is_computed_twice() {
    let found = run(scheduler(false), &requests(256, None));
    let computed = found.num_tokens() as u64;
    assert!(found.scheduler.recomputed_tokens * 10 > computed, "{:?}", found.scheduler);
}

#[test]
fn no_more_rows_run_at_once_than_are_planned() {
    let limited = SchedulerConfig { max_rows: 8, rows_per_microbatch: 3, ..scheduler(true) };
    let found = run(limited, &requests(32, None));
    let rows = found.timeline.microbatches.iter().map(|it| it.decoding_rows);
    assert_eq!(rows.max(), Some(3));
    // Every request had its turn.
    assert!(found.ends.iter().all(|end| end.outputs[0].num_tokens() == 32));
}

#[test]
fn samples_count_before_their_prompt_makes_rows_of_them() {
    let limited = SchedulerConfig { max_rows: 8, rows_per_microbatch: 8, ..scheduler(true) };
    let request = |number| SimulatedRequest {
        search: Search::Samples(4),
        ..SimulatedRequest::new(prompt(number, PROMPT_TOKENS), 32)
    };
    let requests: Vec<SimulatedRequest> = (0..12).map(request).collect();
    let found = run(limited, &requests);
    assert_eq!(found.full.most_rows, 8);
    assert!(found.ends.iter().all(|end| end.outputs.len() == 4));
}
