//! Single requests, known to the second, and stages that notice what is wrong.

use std::sync::Arc;

use sluicegate_placement::Hop;
use sluicegate_spec::{config::KvGroup, units::TokenId};

use super::{shadow::Shadow, *};
use crate::{
    messages::{Batch, Choice, Token},
    scheduler::{Job, Onward, Scheduler, SchedulerConfig},
    sequence::Rules,
    serve::RequestError,
    timeline::{Activity, Lane},
};

pub(super) fn config(pages: usize, kv_groups: &[KvGroup]) -> SchedulerConfig {
    SchedulerConfig {
        kv_groups: kv_groups.to_vec(),
        pages_per_group: vec![pages; kv_groups.len()],
        num_stages: 1,
        max_in_flight: 3,
        max_rows: usize::MAX,
        rows_per_microbatch: usize::MAX,
        reckons_ahead: false,
        token_budget: 32,
        least_chunk: usize::MAX,
        attention_cost: 0.0,
        shares_prefixes: true,
    }
}

pub(super) fn setup(timing: &Uniform, scheduler: SchedulerConfig) -> Setup<'_> {
    Setup {
        timing,
        scheduler,
        mask_workers: 2,
        mask_start: MaskStart::WithOrder,
        keeps_pages: true,
        faults: &[],
    }
}

/// A prompt that shares no page with that of another number.
pub(super) fn prompt(number: u32, tokens: u32) -> Vec<TokenId> {
    (0..tokens).map(|token| 1_000 * number + token).collect()
}

/// Simulates, and compares every text with that of the request alone.
#[track_caller]
pub(super) fn check(setup: &Setup<'_>, requests: &[SimulatedRequest]) -> Run {
    let run = simulate(setup, requests).unwrap();
    check_texts(setup, requests, &run);
    run
}

/// Compares every text of a run with that of the request alone.
#[track_caller]
pub(super) fn check_texts(setup: &Setup<'_>, requests: &[SimulatedRequest], run: &Run) {
    let num_stages = setup.timing.devices().len();
    for (request, end) in requests.iter().zip(&run.ends) {
        let want = alone(request, num_stages, &setup.scheduler.kv_groups);
        let got: Vec<Alone> = end.outputs.iter().map(Alone::of).collect();
        let fails = request.constraint.as_ref().is_some_and(|it| it.fails_after.is_some());
        match &end.reason {
            EndReason::Finished => assert_eq!(got, want, "{request:?}"),
            EndReason::Cancelled => {
                assert!(got.iter().all(|output| want.contains(output)), "{request:?}");
            }
            EndReason::Refused => assert!(got.is_empty()),
            EndReason::Failed(RequestError::Constraint { .. }) if fails => {
                assert!(got.iter().all(|output| want.contains(output)), "{request:?}");
            }
            EndReason::Failed(error) => panic!("{error}: {request:?}"),
        }
    }
}

#[test]
fn a_request_takes_the_time_that_its_way_takes() {
    let timing = Uniform {
        hop: Some(Hop { seconds: 0.25, overlaps: true }),
        host_s: 0.5,
        ..Uniform::new(2)
    };
    let setup = setup(&timing, config(8, &[KvGroup::Full]));
    let request = SimulatedRequest { arrival_s: 3.0, ..SimulatedRequest::new(prompt(1, 70), 3) };
    let run = check(&setup, &[request]);
    let end = &run.ends[0];
    // Three chunks follow each other, and every token goes all the way round.
    let round_s = 1.0 + 0.25 + 1.0 + 0.5;
    assert_eq!(end.first_token_s, Some(3.0 + 2.0 + round_s));
    assert!((end.end_s - (5.0 + 3.0 * round_s)).abs() < 1e-9, "{end:?}");
    assert_eq!(run.token_s.len(), 2);
    assert!(run.token_s.iter().all(|seconds| (seconds - round_s).abs() < 1e-9));
    assert_eq!((run.num_batches, run.num_tokens(), run.incarnations), (5, 3, 1));
    let tokens: Vec<usize> = run.timeline.microbatches.iter().map(|it| it.tokens).collect();
    assert_eq!(tokens, [23, 24, 23, 1, 1]);
    assert!((run.seconds() - (end.end_s - 3.0)).abs() < 1e-9);
}

#[test]
fn a_link_that_does_not_overlap_keeps_its_receiver_busy() {
    let hop = |overlaps| Some(Hop { seconds: 0.5, overlaps });
    let end_s = |overlaps| {
        let timing = Uniform { hop: hop(overlaps), ..Uniform::new(2) };
        let setup = setup(&timing, config(8, &[KvGroup::Full]));
        let run = check(&setup, &[SimulatedRequest::new(prompt(1, 96), 1)]);
        let lane = if overlaps { Lane::Link(1) } else { Lane::Stage(1) };
        let spans = run.timeline.spans.iter();
        let transfers = spans.filter(|it| it.activity == Activity::Transfer && it.lane == lane);
        assert_eq!(transfers.count(), 3);
        run.ends[0].end_s
    };
    assert!((end_s(true) - 4.5).abs() < 1e-9);
    assert!((end_s(false) - 5.5).abs() < 1e-9);
}

#[test]
fn samples_beams_jump_forward_chunks_windows_and_shared_prefixes_keep_their_texts() {
    let timing = Uniform { mask_s: 0.1, host_s: 0.1, ..Uniform::new(3) };
    for kv_groups in [&[KvGroup::Full][..], &[KvGroup::Full, KvGroup::Window(20)]] {
        let setup = setup(&timing, config(64, kv_groups));
        let request = |search| SimulatedRequest {
            search,
            constraint: Some(Constraint {
                jump_forward: Some(JumpForward { one_in: 3, tokens: 4 }),
                ..Constraint::default()
            }),
            ends_one_in: Some(20),
            ..SimulatedRequest::new(prompt(1, 40), 40)
        };
        let later = SimulatedRequest { arrival_s: 9.0, seed: 5, ..request(Search::Samples(3)) };
        let requests = [
            request(Search::Samples(1)),
            request(Search::Samples(4)),
            request(Search::Beams(3)),
            later,
        ];
        let run = check(&setup, &requests);
        let lengths: Vec<usize> = run.ends.iter().map(|end| end.outputs.len()).collect();
        assert_eq!(lengths, [1, 4, 3, 3]);
        assert!(run.scheduler.shared_tokens > 0);
        let outputs = run.ends[1].outputs.iter().map(|output| &output.token_ids);
        let outputs: std::collections::BTreeSet<_> = outputs.collect();
        assert_eq!(outputs.len(), 4, "samples differ");
    }
}

#[test]
fn what_can_never_run_is_refused_and_who_goes_away_is_cancelled() {
    let timing = Uniform::new(2);
    let setup = setup(&timing, config(4, &[KvGroup::Full]));
    let requests = [
        SimulatedRequest::new(prompt(1, 65), 4),
        SimulatedRequest { cancel_after_s: Some(5.0), ..SimulatedRequest::new(prompt(2, 9), 30) },
        SimulatedRequest { cancel_after_s: Some(500.0), ..SimulatedRequest::new(prompt(3, 9), 3) },
    ];
    let run = check(&setup, &requests);
    let reasons: Vec<EndReason> = run.ends.iter().map(|end| end.reason.clone()).collect();
    assert_eq!(reasons, [EndReason::Refused, EndReason::Cancelled, EndReason::Finished]);
    assert!((run.ends[1].end_s - 5.0).abs() < 1e-9);
}

#[test]
fn stages_of_one_device_take_turns() {
    /// Both stages on one device.
    struct Shared(Uniform);
    impl Timing for Shared {
        fn devices(&self) -> Vec<String> {
            vec!["one".to_owned(); 2]
        }
        fn microbatch(
            &self,
            rows: &[sluicegate_placement::RowLoad],
        ) -> sluicegate_placement::MicrobatchCost {
            self.0.microbatch(rows)
        }
        fn host_s(&self) -> f64 {
            0.0
        }
        fn mask_s(&self) -> f64 {
            0.0
        }
    }
    let timing = Shared(Uniform::new(2));
    let uniform = Uniform::new(2);
    let setup = Setup { timing: &timing, ..setup(&uniform, config(8, &[KvGroup::Full])) };
    let run = check(&setup, &[SimulatedRequest::new(prompt(1, 96), 1)]);
    assert!((run.ends[0].end_s - 6.0).abs() < 1e-9, "three chunks, two seconds each");
}

/// Two beams after a prompt of 20 tokens, executed on one stage so far, and the batch that comes
/// next, with its reorder.
fn two_beams() -> (Shadow, Batch) {
    let config = config(8, &[KvGroup::Full]);
    let mut scheduler = Scheduler::new(config.clone());
    let job = Job { prompt: prompt(1, 20), max_rows: 2, max_tokens: 9, ..Job::default() };
    let group = scheduler.submit(job);
    let mut stage = Shadow::new(0, 1, &config, true);
    let batch = scheduler.schedule().expect("a prompt is waiting").into_batch(Vec::new());
    stage.run(1, &batch, Vec::new()).unwrap();
    scheduler.retire(batch.microbatch);
    let row = scheduler.sequences(group)[0].id();
    let children = scheduler.continuations(vec![(row, vec![1]), (row, vec![2])]);
    let rules = Rules { eos: &[], max_tokens: 9, is_finished: false };
    let step = scheduler.advance(group, &children, |index, sequence| {
        let first = Choice::new(0, Token::certain(0));
        sequence.say(&children[index].tokens, &first, &rules).finish.is_none()
    });
    assert_eq!(step.unwrap().onward, Onward::Same);
    let batch = scheduler.schedule().expect("two beams go on").into_batch(Vec::new());
    assert_eq!(batch.ancestors.len(), 1);
    (stage, batch)
}

/// The pages of the first row.
fn pages(batch: &mut Batch) -> &mut Vec<u32> {
    Arc::make_mut(&mut batch.rows[0].tables[0].pages)
}

/// What the stage makes of the batch after a change.
fn changed(change: impl FnOnce(&mut Batch)) -> Result<Vec<u64>, SimulationError> {
    let (mut stage, mut batch) = two_beams();
    change(&mut batch);
    stage.run(1, &batch, Vec::new())
}

#[test]
fn a_wrong_page_ancestor_order_or_stale_copy_is_noticed() {
    let right = changed(|_| ()).unwrap();
    // Wrong pages: another row's tail, the first page in place of the second, none at all.
    let other = changed(|batch| {
        let page = batch.rows[1].tables[0].pages[1];
        pages(batch)[1] = page;
    });
    assert_ne!(other.unwrap(), right);
    let first = changed(|batch| pages(batch).swap(0, 1));
    assert!(matches!(first, Err(SimulationError::Unwritten { position: 4, .. })), "{first:?}");
    let missing = changed(|batch| pages(batch).truncate(1));
    assert!(matches!(missing, Err(SimulationError::NotInTable { position: 20, .. })));
    let none = changed(|batch| pages(batch)[0] = 8);
    assert!(matches!(none, Err(SimulationError::NoPage { page: 8, .. })));
    // A tail that was not copied, or from where nothing is.
    let stale = changed(|batch| batch.ancestors[0].copies[0].rows.clear());
    assert!(matches!(stale, Err(SimulationError::Unwritten { position: 16, .. })));
    let empty = changed(|batch| batch.ancestors[0].copies[0].tail_pages[0] = 7);
    assert!(matches!(empty, Err(SimulationError::Unwritten { .. })));
    let no_parent = changed(|batch| batch.ancestors[0].parents[0] = 4);
    assert!(matches!(no_parent, Err(SimulationError::NoRow { row: 4, num_rows: 1, .. })));
    // Reorders that were lost, or come twice.
    let lost = changed(|batch| batch.ancestors[0].epoch = 2);
    assert!(matches!(lost, Err(SimulationError::Epoch { .. })));
    let (mut stage, batch) = two_beams();
    stage.run(1, &batch, Vec::new()).unwrap();
    assert!(matches!(stage.run(1, &batch, Vec::new()), Err(SimulationError::Epoch { .. })));
    let (mut stage, batch) = two_beams();
    let stale = stage.run(2, &batch, Vec::new());
    assert!(matches!(stale, Err(SimulationError::Incarnation { wanted: 1, found: 2, .. })));
}

#[test]
fn the_reference_knows_no_other_way_to_the_same_values() {
    // Its own history decides about a text: with another window it is another one.
    let request = SimulatedRequest::new(prompt(1, 30), 12);
    let texts: std::collections::BTreeSet<_> = [
        alone(&request, 1, &[KvGroup::Full]),
        alone(&request, 2, &[KvGroup::Full]),
        alone(&request, 1, &[KvGroup::Window(8)]),
        alone(&request, 1, &[KvGroup::Full, KvGroup::Window(8)]),
        alone(&SimulatedRequest { seed: 1, ..request.clone() }, 1, &[KvGroup::Full]),
    ]
    .into_iter()
    .collect();
    assert_eq!(texts.len(), 5);
}
