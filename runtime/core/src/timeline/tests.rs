//! Hand-made timelines with known answers.

use super::*;

fn span(lane: Lane, activity: Activity, microbatch: u64, (start_s, end_s): (f64, f64)) -> Span {
    Span { lane, activity, microbatch, start_s, end_s }
}

fn devices(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Two stages that take 1 s each for four microbatches, the second one after a transfer of half a
/// second, and half a second without a mask after the third.
fn two_stages() -> Timeline {
    let mut spans = Vec::new();
    for microbatch in 1..=4_u64 {
        let at = microbatch as f64 - 1.0;
        let late = if microbatch == 4 { 0.5 } else { 0.0 };
        spans.push(span(Lane::Stage(0), Activity::Compute, microbatch, (at, at + 1.0)));
        spans.push(span(Lane::Link(1), Activity::Transfer, microbatch, (at + 1.0, at + 1.5)));
        let compute = (at + late + 1.5, at + late + 2.5);
        spans.push(span(Lane::Stage(1), Activity::Compute, microbatch, compute));
    }
    spans.push(span(Lane::Stage(1), Activity::AwaitMask, 3, (4.5, 5.0)));
    Timeline { devices: devices(&["a", "b"]), spans, microbatches: Vec::new() }
}

#[track_caller]
fn close(found: f64, want: f64) {
    assert!((found - want).abs() < 1e-9, "found {found}, wanted {want}");
}

#[test]
fn shares_of_a_window_add_up() {
    let timeline = two_stages();
    let usage = Usage::of(&timeline, Window::Steady).unwrap();
    // From the second stage's beginning until the first stage has nothing more to do.
    close(usage.start_s, 1.5);
    close(usage.end_s, 4.0);
    close(usage.stages[0].computing, 1.0);
    close(usage.stages[1].computing, 1.0);
    close(usage.fraction_of_ideal, 1.0);
    let usage = Usage::of(&timeline, Window::Whole).unwrap();
    close(usage.end_s - usage.start_s, 6.0);
    close(usage.stages[0].awaiting_host, 2.0 / 6.0);
    close(usage.stages[1].awaiting_masks, 0.5 / 6.0);
    close(usage.stages[1].awaiting_input, 1.5 / 6.0);
    close(usage.mean_computing(), 8.0 / 12.0);
    assert_eq!(usage.bottleneck, Lane::Stage(0));
    for stage in usage.stages {
        let StageUsage { lent, awaiting_masks, awaiting_input, awaiting_host, .. } = stage;
        close(stage.busy() + lent + awaiting_masks + awaiting_input + awaiting_host, 1.0);
    }
}

#[test]
fn stages_of_one_device_are_one_bottleneck() {
    let mut timeline = two_stages();
    timeline.devices = devices(&["a", "a"]);
    timeline.spans = vec![
        span(Lane::Stage(0), Activity::Compute, 1, (0.0, 1.0)),
        span(Lane::Stage(1), Activity::Compute, 1, (1.0, 2.0)),
        span(Lane::Stage(0), Activity::Compute, 2, (2.0, 3.0)),
        span(Lane::Stage(1), Activity::Compute, 2, (3.0, 4.0)),
    ];
    let usage = Usage::of(&timeline, Window::Whole).unwrap();
    close(usage.fraction_of_ideal, 1.0);
    close(usage.stages[0].lent, 0.5);
    close(usage.stages[1].awaiting_input, 0.0);
}

#[test]
fn a_link_can_be_the_bottleneck() {
    let spans = vec![
        span(Lane::Stage(0), Activity::Compute, 1, (0.0, 1.0)),
        span(Lane::Link(1), Activity::Transfer, 1, (1.0, 4.0)),
        span(Lane::Stage(1), Activity::Compute, 1, (4.0, 5.0)),
    ];
    let timeline = Timeline { devices: devices(&["a", "b"]), spans, microbatches: Vec::new() };
    let usage = Usage::of(&timeline, Window::Whole).unwrap();
    assert_eq!(usage.bottleneck, Lane::Link(1));
    close(usage.fraction_of_ideal, 0.6);
    // It has worked before the stage behind it began, and nothing was under way twice.
    assert_eq!(Usage::of(&timeline, Window::Steady), None);
}

#[test]
fn the_tail_of_a_run_is_left_out_and_a_gap_is_not() {
    let mut timeline = two_stages();
    // One last microbatch, long after the others.
    timeline.spans.push(span(Lane::Stage(0), Activity::Compute, 5, (20.0, 21.0)));
    timeline.spans.push(span(Lane::Stage(1), Activity::Compute, 5, (21.0, 22.0)));
    let usage = Usage::of(&timeline, Window::Steady).unwrap();
    close(usage.end_s, 5.0);
    // And now two.
    timeline.spans.push(span(Lane::Stage(0), Activity::Compute, 6, (21.0, 22.0)));
    timeline.spans.push(span(Lane::Stage(1), Activity::Compute, 6, (22.0, 23.0)));
    let usage = Usage::of(&timeline, Window::Steady).unwrap();
    close(usage.end_s, 22.0);
    assert!(usage.fraction_of_ideal < 0.3, "{usage:?}");
}

#[test]
fn traces_name_lanes_and_hold_microseconds() {
    let mut timeline = two_stages();
    timeline.microbatches = vec![MicrobatchNote { microbatch: 4, tokens: 9, decoding_rows: 2 }];
    let trace = serde_json::to_value(ChromeTrace::from(&timeline)).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    assert_eq!(events.len(), 3 + timeline.spans.len());
    assert_eq!(events[1]["args"]["name"], "stage 0 (a)");
    let last = events.iter().rfind(|it| it["args"]["microbatch"] == 4).unwrap();
    assert_eq!((&last["name"], &last["ph"]), (&"compute".into(), &"X".into()));
    assert_eq!((last["ts"].as_f64(), last["dur"].as_f64()), (Some(5e6), Some(1e6)));
    assert_eq!(last["args"]["tokens"], 9);
}

#[test]
fn drawings_show_each_span_of_the_stretch() {
    let timeline = two_stages();
    let text = svg(&timeline, 0.0..timeline.end_s());
    assert_eq!(text.matches("<title>").count(), timeline.spans.len());
    for words in ["stage 1 (b)", "link into stage 1", "wait for mask", "6000.00 ms", "</svg>"] {
        assert!(text.contains(words), "wanted `{words}` in {text}");
    }
    let text = svg(&timeline, 4.0..5.0);
    assert_eq!(text.matches("<title>").count(), 3, "{text}");
}
