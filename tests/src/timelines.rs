//! What the timeline of any run must show.

use std::collections::BTreeMap;

use sluicegate_core::timeline::{Lane, Span, Timeline};

/// Of one lane, what it did for its microbatches, in the order of time.
pub fn lane(timeline: &Timeline, lane: Lane) -> Vec<Span> {
    let mut spans: Vec<Span> =
        timeline.spans.iter().filter(|span| span.lane == lane).copied().collect();
    spans.sort_by(|a, b| a.start_s.total_cmp(&b.start_s));
    spans
}

/// Each stage does one thing after another, for every microbatch once the stage before has. Clocks of
/// two devices may disagree by `leeway_s`.
///
/// # Panics
/// Where one does not.
pub fn check_stages(timeline: &Timeline, num_stages: usize, leeway_s: f64) {
    for stage in 0..num_stages {
        let spans = lane(timeline, Lane::Stage(stage));
        for two in spans.windows(2) {
            assert!(two[0].end_s <= two[1].start_s, "stage {stage}: {two:?}");
        }
        let mut began: BTreeMap<u64, f64> = BTreeMap::new();
        for span in &spans {
            began.entry(span.microbatch).or_insert(span.start_s);
        }
        assert_eq!(began.len(), timeline.microbatches.len(), "stage {stage}");
        if let Some(before) = stage.checked_sub(1) {
            for span in lane(timeline, Lane::Stage(before)) {
                let began_s = began[&span.microbatch];
                assert!(span.end_s <= began_s + leeway_s, "before stage {stage}: {span:?}");
            }
        }
    }
}
