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
    /// Of how many stages it is known when they worked on it.
    num_stages: usize,
    has_come_back: bool,
}

/// Who did what, from when to when.
type Done = (Lane, Activity, Interval);

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
        self.microbatches.insert(id, Recorded { note, spans, num_stages: 0, has_come_back: false });
        if self.microbatches.len() > MAX_MICROBATCHES {
            self.microbatches.pop_first();
        }
    }

    /// Takes note of what was done for a microbatch, the taking of its tokens included.
    pub(super) fn came_back(
        &mut self,
        id: MicrobatchId,
        stages: &[Option<StageTimes>],
        masks: &MaskTimes,
        host: Interval,
    ) {
        let mut done = vec![(Lane::Host, Activity::Host, host)];
        done.extend(masks.filled.iter().map(|it| (Lane::Masker, Activity::Mask, *it)));
        for (stage, times) in stages.iter().enumerate() {
            let Some(times) = times else { continue };
            done.extend(self.of_stage(StageId(stage), *times, masks.awaited));
        }
        self.note(id, done, stages.iter().flatten().count());
        if let Some(recorded) = self.microbatches.get_mut(&id) {
            recorded.has_come_back = true;
        }
    }

    /// Takes note of when a stage worked on a microbatch, whose tokens may have come back or not.
    pub(super) fn timed(&mut self, id: MicrobatchId, stage: StageId, times: StageTimes) {
        self.note(id, self.of_stage(stage, times, None), 1);
    }

    /// What a stage did; the last one may have waited for masks.
    fn of_stage(
        &self,
        stage: StageId,
        StageTimes { started, computed, ended }: StageTimes,
        awaited: Option<Interval>,
    ) -> Vec<Done> {
        let did =
            |activity, from, until| (Lane::Stage(stage.0), activity, Interval { from, until });
        let computing = did(Activity::Compute, started, computed);
        if stage.0 + 1 < self.devices.len() {
            return vec![computing, did(Activity::Transfer, computed, ended)];
        }
        let Some(Interval { from, until }) = awaited else {
            return vec![computing, did(Activity::Compute, computed, ended)];
        };
        vec![
            computing,
            did(Activity::Compute, computed, from),
            did(Activity::AwaitMask, from, until),
            did(Activity::Compute, until, ended),
        ]
    }

    fn note(&mut self, id: MicrobatchId, done: Vec<Done>, num_stages: usize) {
        let done = done.into_iter().filter(|(.., interval)| interval.until > interval.from);
        let spans: Vec<Span> = done
            .map(|(lane, activity, interval)| self.span(id, lane, activity, interval))
            .collect();
        if let Some(recorded) = self.microbatches.get_mut(&id) {
            recorded.spans.extend(spans);
            recorded.num_stages += num_stages;
        }
    }

    /// Forgets what will never come back, or be known.
    pub(super) fn lose(&mut self) {
        let num_stages = self.devices.len();
        self.microbatches.retain(|_, it| it.has_come_back && it.num_stages == num_stages);
    }

    /// What came back since this was asked last, and is known of every stage.
    pub(super) fn take(&mut self) -> Timeline {
        let mut timeline = Timeline { devices: self.devices.clone(), ..Timeline::default() };
        let num_stages = self.devices.len();
        let is_known = |it: &Recorded| it.has_come_back && it.num_stages == num_stages;
        for (_, recorded) in self.microbatches.extract_if(.., |_, it| is_known(it)) {
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

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn interval(from: u64, until: u64) -> Interval {
        Interval { from: ms(from), until: ms(until) }
    }

    fn times(started: u64, computed: u64, ended: u64) -> StageTimes {
        StageTimes { started: ms(started), computed: ms(computed), ended: ms(ended) }
    }

    #[test]
    fn a_microbatch_is_shown_once_it_is_known_of_every_stage() {
        let devices = ["cuda:0", "cuda:1"].map(str::to_owned).to_vec();
        let mut recorder = Recorder { began: ms(0), devices, microbatches: BTreeMap::new() };
        let id = MicrobatchId(1);
        let note = MicrobatchNote { microbatch: 1, tokens: 24, decoding_rows: 0 };
        recorder.sent(note, interval(1, 2));
        let last = Some(times(20, 30, 40));
        recorder.came_back(id, &[None, last], &MaskTimes::default(), interval(40, 41));
        assert_eq!(recorder.take().microbatches, []);
        recorder.timed(id, StageId(0), times(3, 15, 15));
        recorder.timed(MicrobatchId(9), StageId(0), times(3, 15, 15));
        let timeline = recorder.take();
        let mut stages: Vec<_> = timeline
            .spans
            .iter()
            .filter(|span| matches!(span.lane, Lane::Stage(_)))
            .map(|span| (span.lane, span.activity, span.start_s, span.end_s))
            .collect();
        stages.sort_by(|a, b| a.2.total_cmp(&b.2));
        let computing = |stage, from, until| (Lane::Stage(stage), Activity::Compute, from, until);
        let want = [computing(0, 0.003, 0.015), computing(1, 0.02, 0.03), computing(1, 0.03, 0.04)];
        assert_eq!(stages, want);
    }

    #[test]
    fn what_is_lost_is_not_shown() {
        let devices = vec!["cuda:0".to_owned()];
        let mut recorder = Recorder { began: ms(0), devices, microbatches: BTreeMap::new() };
        for id in [1, 2] {
            recorder.sent(
                MicrobatchNote { microbatch: id, tokens: 1, decoding_rows: 1 },
                interval(1, 2),
            );
        }
        let told = Some(times(2, 3, 3));
        recorder.came_back(MicrobatchId(1), &[told], &MaskTimes::default(), interval(4, 5));
        recorder.lose();
        recorder.came_back(MicrobatchId(2), &[told], &MaskTimes::default(), interval(4, 5));
        let shown: Vec<u64> = recorder.take().microbatches.iter().map(|it| it.microbatch).collect();
        assert_eq!(shown, [1]);
    }
}
