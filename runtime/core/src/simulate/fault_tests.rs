//! Scripted faults: what they cost, and that texts survive them.

use sluicegate_placement::Hop;
use sluicegate_spec::config::KvGroup;

use super::{
    tests::{check, config, prompt, setup},
    *,
};
use crate::{scheduler::SchedulerConfig, timeline::Activity};

fn requests() -> Vec<SimulatedRequest> {
    let request = |number| SimulatedRequest {
        constraint: Some(Constraint::default()),
        search: if number == 1 { Search::Beams(3) } else { Search::Samples(2) },
        ..SimulatedRequest::new(prompt(number, 20 + number), 24)
    };
    (0..4).map(request).collect()
}

fn run(faults: &[Fault]) -> Run {
    let hop = Some(Hop { seconds: 0.1, overlaps: true });
    let timing = Uniform { hop, host_s: 0.1, mask_s: 0.05, ..Uniform::new(3) };
    let setup = setup(&timing, config(64, &[KvGroup::Full]));
    check(&Setup { faults, ..setup }, &requests())
}

#[test]
fn slow_stages_and_links_cost_time_while_they_are_slow() {
    let usual_s = run(&[]).seconds();
    let (from_s, until_s) = (10.0, 30.0);
    for (fault, least_s) in [
        (Fault::SlowStage { stage: 1, from_s, until_s, factor: 4.0 }, 5.0),
        (Fault::SlowLink { stage: 2, from_s, until_s, factor: 40.0 }, 5.0),
    ] {
        let slow_s = run(&[fault]).seconds();
        assert!(slow_s > usual_s + least_s, "{fault:?}: {slow_s} s, usually {usual_s} s");
        assert!(slow_s < usual_s + 40.0, "{fault:?}: {slow_s} s, usually {usual_s} s");
    }
}

#[test]
fn a_late_mask_costs_its_own_request_and_no_other() {
    let late_s = 60.0;
    let (usual, late) = (run(&[]), run(&[Fault::LateMask { microbatch: 7, seconds: late_s }]));
    let waits = late.timeline.spans.iter().filter(|it| it.activity == Activity::AwaitMask);
    assert_eq!(waits.count(), 0, "the stage goes on");
    let lost = usual.ends.iter().zip(&late.ends).map(|(usual, late)| late.end_s - usual.end_s);
    let lost: Vec<f64> = lost.collect();
    assert_eq!(lost.iter().filter(|lost_s| **lost_s > late_s - 5.0).count(), 1, "{lost:?}");
    assert_eq!(lost.iter().filter(|lost_s| **lost_s < 1.0).count(), 3, "{lost:?}");
}

#[test]
fn a_slow_matcher_costs_its_own_request_and_no_other() {
    let timing = Uniform { hop: None, ..Uniform::new(2) };
    let timing = Uniform { stage_s: vec![0.02; 2], ..timing };
    let setup =
        setup(&timing, SchedulerConfig { token_budget: 64, ..config(64, &[KvGroup::Full]) });
    let run = |advance_s: f64| {
        let slow = Constraint { advance_s, ..Constraint::default() };
        let request = |number: u32| SimulatedRequest {
            constraint: (number == 0).then(|| slow.clone()),
            ..SimulatedRequest::new(prompt(number, 4), 40)
        };
        check(&setup, &(0..16).map(request).collect::<Vec<_>>())
    };
    let (usual, slowed) = (run(0.0), run(0.5));
    // A step is a way through both stages; the slow matcher takes one once for each of its own 40.
    let step_s = 0.04;
    for (usual, slowed) in usual.ends.iter().zip(&slowed.ends).skip(1) {
        let lost_s = slowed.end_s - usual.end_s;
        assert!(lost_s < 4.0 * step_s, "{lost_s} s lost of {} s", usual.end_s);
    }
    assert!(slowed.ends[0].end_s > 40.0 * 0.5);
}

#[test]
fn a_lost_stage_costs_what_was_in_flight_and_no_text() {
    let usual_s = run(&[]).seconds();
    let lost = |at_s| Fault::LostStage { at_s, restart_s: 5.0 };
    let once = run(&[lost(20.0)]);
    assert_eq!(once.incarnations, 2);
    assert!(once.seconds() > usual_s + 5.0, "{} s, usually {usual_s} s", once.seconds());
    let down = once.timeline.spans.iter().filter(|it| it.end_s > 20.0 && it.start_s < 25.0);
    assert_eq!(down.count(), 0, "nothing is done while the pipeline is down");
    // Also while it is down, and before anything was sent.
    assert_eq!(run(&[lost(0.0), lost(20.0), lost(22.0), lost(40.5)]).incarnations, 5);
}
