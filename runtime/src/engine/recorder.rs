//! What every stage did when, written down while the engine works.

use std::{collections::BTreeMap, time::Duration};

use sluicegate_core::{
    messages::{Interval, MaskTimes, MicrobatchId, StageTimes},
    timeline::{Activity, Lane, MicrobatchNote, Span, Timeline},
};
use sluicegate_placement::Plan;

/// Microbatches that are remembered; of more, the latest.
const MAX_MICROBATCHES: usize = 1 << 16;

/// Keeps the last microbatches that came back, until it is asked for them.
#[derive(Debug)]
pub(super) struct Recorder {
    began: Duration,
    devices: Vec<String>,
    microbatches: BTreeMap<MicrobatchId, Recorded>,
}

/// A microbatch, and what was done for it.
#[derive(Debug)]
struct Recorded {
    note: MicrobatchNote,
    spans: Vec<Span>,
    has_come_back: bool,
}

impl Recorder {
    /// For the stages of a plan. Its seconds count from `began`.
    pub(super) fn new(plan: &Plan, began: Duration) -> Self {
        let devices = plan.stages.iter().map(|stage| stage.device.to_string()).collect();
        Self { began, devices, microbatches: BTreeMap::new() }
    }

    /// Takes note of a microbatch that the host has made and sent.
    pub(super) fn sent(&mut self, note: MicrobatchNote, host: Interval) {
        let id = MicrobatchId(note.microbatch);
        let spans = vec![self.span(id, Lane::Host, Activity::Host, host)];
        self.microbatches.insert(id, Recorded { note, spans, has_come_back: false });
        if self.microbatches.len() > MAX_MICROBATCHES {
            self.microbatches.pop_first();
        }
    }

    /// Takes note of what was done for a microbatch, the taking of its tokens included.
    pub(super) fn came_back(
        &mut self,
        id: MicrobatchId,
        stages: &[StageTimes],
        masks: &MaskTimes,
        host: Interval,
    ) {
        let mut done = vec![(Lane::Host, Activity::Host, host)];
        done.extend(masks.filled.iter().map(|it| (Lane::Masker, Activity::Mask, *it)));
        for (stage, times) in stages.iter().enumerate() {
            let lane = Lane::Stage(stage);
            let mut did = |activity, from, until| {
                done.push((lane, activity, Interval { from, until }));
            };
            did(Activity::Compute, times.started, times.computed);
            if stage + 1 < stages.len() {
                did(Activity::Transfer, times.computed, times.ended);
            } else if let Some(Interval { from, until }) = masks.awaited {
                did(Activity::Compute, times.computed, from);
                did(Activity::AwaitMask, from, until);
                did(Activity::Compute, until, times.ended);
            } else {
                did(Activity::Compute, times.computed, times.ended);
            }
        }
        done.retain(|(.., interval)| interval.until > interval.from);
        let spans: Vec<Span> = done
            .into_iter()
            .map(|(lane, activity, interval)| self.span(id, lane, activity, interval))
            .collect();
        if let Some(recorded) = self.microbatches.get_mut(&id) {
            recorded.spans.extend(spans);
            recorded.has_come_back = true;
        }
    }

    /// Forgets what will never come back.
    pub(super) fn lose(&mut self) {
        self.microbatches.retain(|_, recorded| recorded.has_come_back);
    }

    /// What came back since this was asked last.
    pub(super) fn take(&mut self) -> Timeline {
        let mut timeline = Timeline { devices: self.devices.clone(), ..Timeline::default() };
        for (_, recorded) in self.microbatches.extract_if(.., |_, it| it.has_come_back) {
            timeline.microbatches.push(recorded.note);
            timeline.spans.extend(recorded.spans);
        }
        timeline
    }

    fn span(&self, id: MicrobatchId, lane: Lane, activity: Activity, interval: Interval) -> Span {
        let seconds = |at: Duration| at.saturating_sub(self.began).as_secs_f64();
        let (start_s, end_s) = (seconds(interval.from), seconds(interval.until));
        Span { lane, activity, microbatch: id.0, start_s, end_s }
    }
}
