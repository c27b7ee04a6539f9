//! The protocol between the host and the stages, explored: what can happen at the same time is run in
//! every order that departs from the order of time in few places.
//!
//! Each stage, each link, the mask workers, the matchers, the callers and whatever loses a stage are
//! lanes. Within a lane things keep their order, as in the channels. At each step the earliest lane
//! goes on; or, as a departure, another one does, or the earliest one sleeps until no other has
//! anything to do. Stages refuse another incarnation, an epoch that is not the next, a page that
//! nobody wrote, and a row without its mask; texts are compared with those of each request
//! alone. Source: delay-bounded scheduling, Emmi, Qadeer and Rakamaric, POPL 2011.

use sluicegate_placement::Hop;
use sluicegate_slow::Slow;
use sluicegate_spec::config::KvGroup;

use super::{
    clock::Clock,
    driver::{Event, interleaved},
    tests::{check_texts, config, prompt, setup},
    *,
};
use crate::{
    messages::{GroupId, MicrobatchId},
    scheduler::SchedulerConfig,
};

/// What keeps its order.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Lane {
    /// A request comes, and its caller goes.
    Caller(usize),
    Link(usize),
    Stage(usize),
    Masks(MicrobatchId),
    Host,
    Matcher(GroupId),
    Wake,
    Loss,
    Restart,
}

fn lane(event: &Event) -> Lane {
    match event {
        Event::Arrive(request) | Event::Cancel(request) => Lane::Caller(*request),
        Event::Arrived { stage, .. } => Lane::Link(*stage),
        Event::Computed { stage, .. } => Lane::Stage(*stage),
        Event::Masks(masks) => Lane::Masks(masks.microbatch),
        Event::Taken { .. } => Lane::Host,
        Event::Answered { group, .. } => Lane::Matcher(*group),
        Event::Wake => Lane::Wake,
        Event::Lost { .. } => Lane::Loss,
        Event::Restarted { .. } => Lane::Restart,
    }
}

/// The choices that make a run: at each step, which lane goes on. Zero is the earliest.
#[derive(Debug, Default)]
struct Schedule {
    /// The choices of its first steps; the others are zero.
    given: Vec<usize>,
    /// How many choices each step had.
    num_choices: Vec<usize>,
    asleep: Vec<Lane>,
}

impl Schedule {
    fn next(&mut self, clock: &mut Clock<Event>) -> Option<Event> {
        clock.pop_of(lane, |lanes| self.choose(&lanes))
    }

    fn choose(&mut self, lanes: &[Lane]) -> usize {
        let is_awake = |lane: &usize| !self.asleep.contains(&lanes[*lane]);
        let mut awake: Vec<usize> = (0..lanes.len()).filter(is_awake).collect();
        if awake.is_empty() {
            self.asleep.clear();
            awake = (0..lanes.len()).collect();
        }
        let choice = self.given.get(self.num_choices.len()).copied().unwrap_or(0);
        // Another lane goes on, or, as the last choice, the first one sleeps.
        let num_choices = if awake.len() == 1 { 1 } else { awake.len() + 1 };
        self.num_choices.push(num_choices);
        if choice == awake.len() {
            self.asleep.push(lanes[awake[0]]);
            return awake[1];
        }
        awake[choice]
    }

    /// The schedules that depart from this one first after all that it was given.
    fn departures(&self) -> impl Iterator<Item = Vec<usize>> {
        let steps = self.num_choices.iter().enumerate().skip(self.given.len());
        steps.flat_map(move |(step, num_choices)| {
            (1..*num_choices).map(move |choice| {
                let mut given = self.given.clone();
                given.resize(step, 0);
                given.push(choice);
                given
            })
        })
    }
}

/// Runs all schedules with at most so many departures; returns how many there were.
fn explore(setup: &Setup<'_>, requests: &[SimulatedRequest], most_departures: usize) -> usize {
    let mut open = vec![(Vec::new(), 0)];
    let mut num_runs = 0;
    while let Some((given, num_departures)) = open.pop() {
        let mut schedule = Schedule { given, ..Schedule::default() };
        let run = interleaved(setup, requests, |clock| schedule.next(clock));
        let run = run.unwrap_or_else(|error| panic!("{error}: {:?}", schedule.given));
        check_texts(setup, requests, &run);
        num_runs += 1;
        if num_departures < most_departures {
            open.extend(schedule.departures().map(|given| (given, num_departures + 1)));
        }
    }
    num_runs
}

/// Two stages with a link, and few pages.
fn explore_two_stages(
    requests: &[SimulatedRequest],
    faults: &[Fault],
    most_departures: usize,
) -> usize {
    let hop = Some(Hop { seconds: 0.3, overlaps: true });
    let timing = Uniform { hop, host_s: 0.2, mask_s: 0.7, ..Uniform::new(2) };
    let scheduler = SchedulerConfig {
        num_stages: 2,
        max_in_flight: 3,
        token_budget: 6,
        ..config(6, &[KvGroup::Full])
    };
    explore(&Setup { faults, ..setup(&timing, scheduler) }, requests, most_departures)
}

fn request(number: u32, max_tokens: usize) -> SimulatedRequest {
    SimulatedRequest::new(prompt(number, 5), max_tokens)
}

fn constrained(number: u32, max_tokens: usize) -> SimulatedRequest {
    let constraint = Constraint { advance_s: 0.4, ..Constraint::default() };
    SimulatedRequest { constraint: Some(constraint), ..request(number, max_tokens) }
}

/// Reorders and masks, one of them late, and a stage that is lost amid them.
fn lost_stage(most_departures: usize) -> usize {
    let beams = SimulatedRequest { search: Search::Beams(2), ..constrained(0, 2) };
    let faults = [
        Fault::LateMask { microbatch: 2, seconds: 4.0 },
        Fault::LostStage { at_s: 3.2, restart_s: 1.0 },
    ];
    explore_two_stages(&[beams, constrained(1, 2)], &faults, most_departures)
}

/// Callers that go away while others go on, with jump-forward tokens and without.
fn gone_callers(most_departures: usize) -> usize {
    let jump_forward = JumpForward { one_in: 1, tokens: 2 };
    let constraint = Constraint { jump_forward: Some(jump_forward), ..Constraint::default() };
    let jumps = SimulatedRequest { constraint: Some(constraint), ..request(0, 4) };
    let goes = SimulatedRequest { cancel_after_s: Some(4.0), ..constrained(1, 3) };
    let samples = SimulatedRequest { search: Search::Samples(2), ..request(2, 2) };
    explore_two_stages(&[jumps, goes, samples], &[], most_departures)
}

#[test]
fn in_every_order_each_request_ends_once_with_its_text() {
    let is_wanted = Slow::Schedules.is_wanted("a third departure from the order of time");
    for explore in [lost_stage, gone_callers] {
        let num_runs = explore(if is_wanted { 3 } else { 2 });
        assert!(num_runs > 2_000, "{num_runs}");
    }
}
