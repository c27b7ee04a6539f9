//! How well the stages were used, from the timeline and nothing else.
//!
//! The checker of every claim about overlap: it knows no scheduler, plan or clock.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::span::{Activity, Lane, Span, Timeline};

/// Which part of a run is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// Begins when every stage has begun to work, so that the pipeline's filling does not count.
    /// Ends when the stages run dry: the last moment at which at least as many microbatches were
    /// under way as there are stages, or, if there never were, when a stage works for the last
    /// time. A microbatch is under way from the beginning of its first span to the end of its last
    /// one.
    Steady,
    /// From the beginning of the first span to the end of the last one.
    Whole,
}

/// What the stages did in a window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    pub start_s: f64,
    pub end_s: f64,
    pub stages: Vec<StageUsage>,
    /// The lane that worked most, stages of one device taken together: a stage, or the link into
    /// it.
    pub bottleneck: Lane,
    /// The share of the window in which the bottleneck worked, at something that had not been done
    /// before: the ideal is 1.
    pub fraction_of_ideal: f64,
}

/// Shares of the window, which add up to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct StageUsage {
    pub computing: f64,
    /// Taking or handing on hidden values, which keeps the stage from computing.
    pub transferring: f64,
    /// Its device worked for another of its stages.
    pub lent: f64,
    pub awaiting_masks: f64,
    /// All other idle time of a stage but the first.
    pub awaiting_input: f64,
    /// All other idle time of the first stage: orders come from the host.
    pub awaiting_host: f64,
}

impl StageUsage {
    /// Computing, and what keeps from it: what the planner's model of time counts.
    pub fn busy(&self) -> f64 {
        self.computing + self.transferring
    }
}

impl Usage {
    /// The same of a scheduler that had a share of the work done again.
    #[must_use]
    pub fn less_recomputed(self, share: f64) -> Self {
        Self { fraction_of_ideal: self.fraction_of_ideal * (1.0 - share), ..self }
    }

    /// Measures a window; none if a stage never worked, or the window is empty.
    pub fn of(timeline: &Timeline, window: Window) -> Option<Self> {
        let num_stages = timeline.devices.len();
        let work = |stage: usize| {
            let of_stage = timeline.spans.iter().filter(move |it| it.lane == Lane::Stage(stage));
            of_stage.filter(|span| is_work(span))
        };
        let (start_s, end_s) = match window {
            Window::Whole => (first(timeline.spans.iter())?, timeline.end_s()),
            Window::Steady => {
                let firsts: Option<Vec<f64>> = (0..num_stages).map(|it| first(work(it))).collect();
                let lasts: Option<Vec<f64>> = (0..num_stages).map(|it| last(work(it))).collect();
                let idle_s = lasts?.into_iter().fold(f64::INFINITY, f64::min);
                let start_s = firsts?.into_iter().fold(0.0, f64::max);
                (start_s, runs_dry_s(timeline).map_or(idle_s, |dry_s| dry_s.min(idle_s)))
            }
        };
        let length_s = end_s - start_s;
        if num_stages == 0 || length_s.is_nan() || length_s <= 0.0 {
            return None;
        }
        let cut = Cut { start_s, end_s };
        let busy = Busy::of(timeline, cut);
        let stages = (0..num_stages).map(|stage| busy.stage(stage, timeline, length_s)).collect();
        let (bottleneck, busy_s) = busy.bottleneck(timeline)?;
        let fraction_of_ideal = busy_s / length_s;
        Some(Self { start_s, end_s, stages, bottleneck, fraction_of_ideal })
    }

    /// What part of all stages' time in the window was computing.
    pub fn mean_computing(&self) -> f64 {
        let sum: f64 = self.stages.iter().map(|stage| stage.computing).sum();
        sum / self.stages.len() as f64
    }
}

fn is_work(span: &Span) -> bool {
    matches!(span.activity, Activity::Compute | Activity::Transfer)
}

fn first<'a>(spans: impl Iterator<Item = &'a Span>) -> Option<f64> {
    spans.map(|span| span.start_s).reduce(f64::min)
}

fn last<'a>(spans: impl Iterator<Item = &'a Span>) -> Option<f64> {
    spans.map(|span| span.end_s).reduce(f64::max)
}

/// The last moment at which as many microbatches were under way as there are stages.
fn runs_dry_s(timeline: &Timeline) -> Option<f64> {
    let mut ways: BTreeMap<u64, (f64, f64)> = BTreeMap::new();
    for span in &timeline.spans {
        let (start_s, end_s) = ways.entry(span.microbatch).or_insert((span.start_s, span.end_s));
        *start_s = start_s.min(span.start_s);
        *end_s = end_s.max(span.end_s);
    }
    // The ends come first where one ends as another begins.
    let ends = ways.values().map(|(_, end_s)| (*end_s, -1_i64));
    let mut changes: Vec<(f64, i64)> =
        ends.chain(ways.values().map(|(start_s, _)| (*start_s, 1))).collect();
    changes.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let (mut under_way, mut dry_s) = (0, None);
    let wanted = i64::try_from(timeline.devices.len()).unwrap_or(i64::MAX);
    for (at_s, change) in changes {
        if change < 0 && under_way >= wanted {
            dry_s = Some(at_s);
        }
        under_way += change;
    }
    dry_s
}

#[derive(Debug, Clone, Copy)]
struct Cut {
    start_s: f64,
    end_s: f64,
}

impl Cut {
    fn seconds_of(self, span: &Span) -> f64 {
        (span.end_s.min(self.end_s) - span.start_s.max(self.start_s)).max(0.0)
    }
}

/// Seconds within the window, by lane and activity.
struct Busy(BTreeMap<(Lane, Activity), f64>);

impl Busy {
    fn of(timeline: &Timeline, cut: Cut) -> Self {
        let mut seconds = BTreeMap::new();
        for span in &timeline.spans {
            *seconds.entry((span.lane, span.activity)).or_insert(0.0) += cut.seconds_of(span);
        }
        Self(seconds)
    }

    fn seconds(&self, lane: Lane, activity: Activity) -> f64 {
        self.0.get(&(lane, activity)).copied().unwrap_or(0.0)
    }

    fn work_s(&self, lane: Lane) -> f64 {
        self.seconds(lane, Activity::Compute) + self.seconds(lane, Activity::Transfer)
    }

    /// What a stage's device did for its stages, this one included.
    fn device_s(&self, stage: usize, timeline: &Timeline) -> f64 {
        let device = &timeline.devices[stage];
        let stages = timeline.devices.iter().enumerate().filter(|(_, it)| *it == device);
        stages.map(|(stage, _)| self.work_s(Lane::Stage(stage))).sum()
    }

    fn stage(&self, stage: usize, timeline: &Timeline, length_s: f64) -> StageUsage {
        let lane = Lane::Stage(stage);
        let computing = self.seconds(lane, Activity::Compute) / length_s;
        let transferring = self.seconds(lane, Activity::Transfer) / length_s;
        let awaiting_masks = self.seconds(lane, Activity::AwaitMask) / length_s;
        let lent = (self.device_s(stage, timeline) - self.work_s(lane)) / length_s;
        let rest = (1.0 - computing - transferring - awaiting_masks - lent).max(0.0);
        let (awaiting_host, awaiting_input) = if stage == 0 { (rest, 0.0) } else { (0.0, rest) };
        StageUsage { computing, transferring, lent, awaiting_masks, awaiting_input, awaiting_host }
    }

    fn bottleneck(&self, timeline: &Timeline) -> Option<(Lane, f64)> {
        let stages = (0..timeline.devices.len())
            .map(|stage| (Lane::Stage(stage), self.device_s(stage, timeline)));
        let links = (1..timeline.devices.len())
            .map(|stage| (Lane::Link(stage), self.work_s(Lane::Link(stage))));
        stages.chain(links).reduce(|a, b| if b.1 > a.1 { b } else { a })
    }
}
