//! Thousands of random schedules: every request ends once, with the text that it has alone.
//!
//! 2,000 of them, or 150,000 where slow tests are wanted.

use std::collections::BTreeSet;

use proptest::{prelude::*, test_runner::TestRunner};
use sluicegate_placement::Hop;
use sluicegate_slow::Slow;
use sluicegate_spec::config::KvGroup;

use super::{
    driver::recorded,
    tests::{check, config, prompt, setup},
    *,
};
use crate::{
    scheduler::SchedulerConfig,
    sequence::FinishReason,
    serve::{Line, Output, replay},
};

#[derive(Debug, Clone)]
struct Scenario {
    scheduler: SchedulerConfig,
    timing: Uniform,
    mask_workers: usize,
    requests: Vec<SimulatedRequest>,
    faults: Vec<Fault>,
}

fn scenarios() -> impl Strategy<Value = Scenario> {
    let parts = (
        schedulers(),
        timings(),
        1..4_usize,
        prop::collection::vec(requests(), 1..10),
        prop::collection::vec(faults(), 0..4),
    );
    parts.prop_map(|(scheduler, timing, mask_workers, requests, faults)| Scenario {
        scheduler: SchedulerConfig {
            num_stages: timing.stage_s.len(),
            // As often as not more than any budget.
            least_chunk: 4 * mask_workers * requests.len(),
            ..scheduler
        },
        timing,
        mask_workers,
        requests,
        faults,
    })
}

/// Few pages, so that most runs have to preempt or to wait.
fn schedulers() -> impl Strategy<Value = SchedulerConfig> {
    let kv_groups = prop_oneof![
        Just(vec![KvGroup::Full]),
        Just(vec![KvGroup::Window(9)]),
        Just(vec![KvGroup::Full, KvGroup::Window(24)]),
    ];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let rows = prop_oneof![Just((usize::MAX, usize::MAX)), (1..12_usize, 1..8_usize)];
    let parts = (kv_groups, 5..24_usize, 1..6_usize, 4..48_usize, flags, rows);
    parts.prop_map(|(kv_groups, pages, max_in_flight, token_budget, flags, rows)| {
        let (shares_prefixes, attends, reckons_ahead) = flags;
        let (max_rows, rows_per_microbatch) = rows;
        SchedulerConfig {
            max_rows,
            rows_per_microbatch,
            reckons_ahead,
            max_in_flight,
            token_budget,
            shares_prefixes,
            attention_cost: if attends { 0.02 } else { 0.0 },
            ..config(pages, &kv_groups)
        }
    })
}

fn timings() -> impl Strategy<Value = Uniform> {
    let hop = prop::option::of((0.0..2.0_f64, any::<bool>()));
    let parts = (prop::collection::vec(0.1..2.0_f64, 1..4), 0.0..0.1_f64, hop, 0.0..0.5_f64);
    parts.prop_map(|(stage_s, token_s, hop, host_s)| Uniform {
        stage_s,
        token_s,
        hop: hop.map(|(seconds, overlaps)| Hop { seconds, overlaps }),
        host_s,
        mask_s: host_s / 2.0,
    })
}

fn requests() -> impl Strategy<Value = SimulatedRequest> {
    let search = prop_oneof![
        2 => Just(Search::Samples(1)),
        1 => (2..4_usize).prop_map(Search::Samples),
        1 => (2..4_usize).prop_map(Search::Beams),
    ];
    let times = (0.0..60.0_f64, prop::option::weighted(0.2, 0.0..80.0_f64));
    // Prompts of the same number begin alike.
    let prompts = (0..3_u32, 0..50_u32, 0..20_u32, any::<u32>());
    let lengths = (1..32_usize, prop::option::of(5..40_u64));
    let stop = prop::collection::vec("[a-d]|nd|終", 0..2);
    let rest = (prop::option::of(constraints()), 0..1_000_u64, -1..2_i32);
    (times, prompts, search, lengths, stop, rest).prop_map(
        |(times, (number, shared, own, own_number), search, lengths, stop, rest)| {
            let (arrival_s, cancel_after_s) = times;
            let mut prompt = prompt(number, shared);
            prompt.extend((0..own).map(|token| own_number.wrapping_add(token)));
            if prompt.is_empty() {
                prompt.push(own_number);
            }
            let (max_tokens, ends_one_in) = lengths;
            let (constraint, seed, priority) = rest;
            SimulatedRequest {
                arrival_s,
                prompt,
                search,
                max_tokens,
                ends_one_in,
                constraint,
                stop,
                seed,
                priority,
                cancel_after_s,
            }
        },
    )
}

/// Some matchers are slow, and some fail.
fn constraints() -> impl Strategy<Value = Constraint> {
    let jump_forward = prop::option::of((1..5_u64, 1..6_usize));
    let one_in = || prop::option::of(2..20_u64);
    let fails_after = prop::option::weighted(0.1, 0..20_usize);
    let advance_s = prop_oneof![3 => Just(0.0), 1 => 0.0..0.2_f64, 1 => 0.0..20.0_f64];
    (jump_forward, one_in(), one_in(), fails_after, advance_s).prop_map(
        |(jump, vetoes_one_in, finishes_one_in, fails_after, advance_s)| Constraint {
            jump_forward: jump.map(|(one_in, tokens)| JumpForward { one_in, tokens }),
            vetoes_one_in,
            finishes_one_in,
            fails_after,
            advance_s,
        },
    )
}

fn faults() -> impl Strategy<Value = Fault> {
    let stretch = (0..3_usize, 0.0..60.0_f64, 1.0..40.0_f64, 1.5..8.0_f64);
    prop_oneof![
        stretch.clone().prop_map(|(stage, from_s, length_s, factor)| Fault::SlowStage {
            stage,
            from_s,
            until_s: from_s + length_s,
            factor
        }),
        stretch.prop_map(|(stage, from_s, length_s, factor)| Fault::SlowLink {
            stage,
            from_s,
            until_s: from_s + length_s,
            factor
        }),
        (1..80_u64, 0.0..20.0_f64)
            .prop_map(|(microbatch, seconds)| Fault::LateMask { microbatch, seconds }),
        (0.0..80.0_f64, 0.0..10.0_f64)
            .prop_map(|(at_s, restart_s)| Fault::LostStage { at_s, restart_s }),
    ]
}

fn rows_of(request: &SimulatedRequest) -> usize {
    let (Search::Samples(rows) | Search::Beams(rows)) = request.search;
    rows
}

/// Microbatches until all rows that may decode at once have had their turn. A request with more
/// rows than may run runs alone, but for those of other priorities.
fn round(scenario: &Scenario) -> usize {
    let Scenario { scheduler, requests, .. } = scenario;
    let priorities: BTreeSet<i32> = requests.iter().map(|it| it.priority).collect();
    let most_rows = requests.iter().map(rows_of).max().unwrap_or(0).max(scheduler.max_rows);
    let all_rows: usize = requests.iter().map(rows_of).sum();
    let rows = all_rows.min(priorities.len().saturating_mul(most_rows));
    rows.div_ceil(scheduler.rows_per_microbatch).max(scheduler.max_in_flight)
}

/// Batches that a request may take: no more than the work of those who come before it, itself
/// included, each token of which may have to wait until all others have had theirs. Who comes
/// later only fills microbatches up.
fn bound(scenario: &Scenario, of: usize) -> u64 {
    let request = &scenario.requests[of];
    let before = scenario.requests.iter().enumerate().filter(|(other_idx, other)| {
        let is_earlier = (other.arrival_s, *other_idx) <= (request.arrival_s, of);
        other.priority > request.priority || other.priority == request.priority && is_earlier
    });
    let tokens = before.map(|(_, other)| {
        let rows = rows_of(other);
        other.prompt.len() + rows * (other.max_tokens + other.prompt.len().div_ceil(8))
    });
    let restarts =
        scenario.faults.iter().filter(|it| matches!(it, Fault::LostStage { .. })).count();
    ((1 + round(scenario)) * tokens.sum::<usize>() * (1 + restarts)) as u64
}

#[derive(Debug, Default)]
struct Seen {
    preemptions: u64,
    shared_tokens: u64,
    restarts: u32,
    cancelled: usize,
    refused: usize,
    failed: usize,
    finished: usize,
    /// Outputs that a stop string ended.
    stopped: usize,
    /// The largest share of its bound that a request took.
    most_of_bound: f64,
}

fn run(scenario: &Scenario, seen: &mut Seen) {
    let Scenario { scheduler, timing, mask_workers, faults, .. } = scenario;
    let setup = Setup { mask_workers: *mask_workers, faults, ..setup(timing, scheduler.clone()) };
    let run = check(&setup, &scenario.requests);
    for (index, end) in run.ends.iter().enumerate() {
        match &end.reason {
            EndReason::Finished => seen.finished += 1,
            EndReason::Cancelled => seen.cancelled += 1,
            EndReason::Refused => seen.refused += 1,
            EndReason::Failed(_) => seen.failed += 1,
        }
        let by_stop = |output: &&Output| output.finish_reason == FinishReason::StopString;
        seen.stopped += end.outputs.iter().filter(by_stop).count();
        let bound = bound(scenario, index);
        assert!(
            end.num_batches <= bound,
            "request {index} took {} batches, at most {bound}",
            end.num_batches
        );
        seen.most_of_bound = seen.most_of_bound.max(end.num_batches as f64 / bound as f64);
    }
    seen.preemptions += run.scheduler.preemptions;
    seen.shared_tokens += run.scheduler.shared_tokens;
    seen.restarts += run.incarnations - 1;
}

#[test]
fn random_schedules_end_every_request_once_with_the_text_it_has_alone() {
    let is_wanted = Slow::Schedules.is_wanted("148,000 more schedules: five minutes");
    let cases = if is_wanted { 150_000 } else { 2_000 };
    let config = ProptestConfig { cases, ..ProptestConfig::default() };
    let seen = std::cell::RefCell::new(Seen::default());
    let outcome = TestRunner::new(config).run(&scenarios(), |scenario| {
        run(&scenario, &mut seen.borrow_mut());
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    let seen = seen.into_inner();
    println!("{seen:?}");
    // What the runs are for has happened in them.
    let Seen { preemptions, shared_tokens, restarts, cancelled, refused, .. } = seen;
    assert!(preemptions > 0 && shared_tokens > 0 && restarts > 0);
    assert!(cancelled > 0 && refused > 0 && seen.finished > refused);
    assert!(seen.failed > 0 && seen.stopped > 0);
    // Half of it is usual: the bound is close enough to be met by nothing that starves.
    assert!(seen.most_of_bound > 0.2, "{seen:?}");
}

#[test]
fn random_schedules_replay_to_the_same_actions() {
    let mut runner = TestRunner::new(ProptestConfig { cases: 60, ..ProptestConfig::default() });
    let outcome = runner.run(&scenarios(), |scenario| {
        let Scenario { scheduler, timing, mask_workers, requests, faults } = &scenario;
        let setup =
            Setup { mask_workers: *mask_workers, faults, ..setup(timing, scheduler.clone()) };
        let (run, lines) = recorded(&setup, requests).unwrap();
        let through_json =
            |line: &Line| serde_json::from_str(&serde_json::to_string(line).unwrap()).unwrap();
        let lines: Vec<Line> = lines.iter().map(through_json).collect();
        let replayed = replay(&lines).unwrap();
        assert_eq!(replayed.metrics.scheduler, run.scheduler);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

#[test]
fn a_stream_of_short_requests_does_not_starve_a_long_one() {
    let timing = Uniform::new(2);
    let scheduler = SchedulerConfig { shares_prefixes: false, ..config(8, &[KvGroup::Full]) };
    let mut requests =
        vec![SimulatedRequest { arrival_s: 4.0, ..SimulatedRequest::new(prompt(1, 40), 60) }];
    requests.extend((0..400_u16).map(|it| SimulatedRequest {
        arrival_s: f64::from(it),
        ..SimulatedRequest::new(prompt(2 + u32::from(it), 20), 8)
    }));
    let run = check(&setup(&timing, scheduler), &requests);
    let long = &run.ends[0];
    // 60 tokens that take 2 s each with nobody else there.
    assert!(long.end_s < 200.0, "{long:?}");
    assert!(run.ends.iter().filter(|end| end.end_s > long.end_s).count() > 300);
}
