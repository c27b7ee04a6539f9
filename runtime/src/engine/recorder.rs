//! What every stage did when, written down while the engine works.

use std::{collections::BTreeMap, time::Duration};

use sluicegate_core::{
    messages::{Interval, MaskTimes, MicrobatchId, StageTimes},
    timeline::{Activity, Lane, MicrobatchNote, Span, Timeline},
};
use sluicegate_placement::{Plan, StageId};

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

    /// Takes note of when a stage really computed for a microbatch that has come back.
    pub(super) fn correct(&mut self, id: MicrobatchId, stage: StageId, times: StageTimes) {
        let computed = Interval { from: times.started, until: times.computed };
        let span = self.span(id, Lane::Stage(stage.0), Activity::Compute, computed);
        if let Some(recorded) = self.microbatches.get_mut(&id) {
            recorded.spans.retain(|it| (it.lane, it.activity) != (span.lane, span.activity));
            recorded.spans.push(span);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_are_known_later_take_the_place_of_those_that_were_told() {
        let ms = Duration::from_millis;
        let mut recorder = Recorder {
            began: ms(0),
            devices: vec!["cuda:0".to_owned()],
            microbatches: BTreeMap::new(),
        };
        let note = |microbatch| MicrobatchNote { microbatch, tokens: 24, decoding_rows: 0 };
        for id in [1, 2] {
            recorder.sent(note(id), Interval { from: ms(id), until: ms(id + 1) });
            let told = StageTimes { started: ms(10), computed: ms(11), ended: ms(11) };
            let host = Interval { from: ms(12), until: ms(13) };
            recorder.came_back(MicrobatchId(id), &[told], &MaskTimes::default(), host);
        }
        let known = StageTimes { started: ms(10), computed: ms(25), ended: ms(25) };
        recorder.correct(MicrobatchId(1), StageId(0), known);
        recorder.correct(MicrobatchId(7), StageId(0), known);
        let spans = recorder.take().spans;
        let computed = |id| {
            let is_it = |it: &&Span| it.microbatch == id && it.lane == Lane::Stage(0);
            spans.iter().filter(is_it).map(|it| (it.start_s, it.end_s)).collect::<Vec<_>>()
        };
        assert_eq!([computed(1), computed(2)], [[(0.01, 0.025)], [(0.01, 0.011)]]);
    }
}
