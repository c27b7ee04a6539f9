//! The loop, driven by hand: what becomes of sequences when a constraint forces or vetoes tokens,
//! when matchers are late, and when stages are lost.

use std::{sync::Arc, time::Duration};

use sluicegate_spec::{
    config::KvGroup,
    tokens::{TokenBytes, TokenTable},
    units::TokenId,
};

use super::*;
use crate::{
    messages::{
        Batch, Choice, GroupChoices, GroupId, MaskTimes, Method, MicrobatchId, RequestId, Sampled,
        SamplingParams, SequenceId, StageTimes, Token,
    },
    scheduler::{OrderBounds, SchedulerConfig},
    sequence::{Continuation, FinishReason},
};

pub(super) const EOS: TokenId = 5;

/// Letters `a` to `e`, and an end token.
fn vocabulary() -> TokenTable {
    let mut tokens: Vec<TokenBytes> = (b'a'..=b'e').map(|it| TokenBytes::Text(vec![it])).collect();
    tokens.push(TokenBytes::Special("<end>".to_owned()));
    tokens.into()
}

pub(super) fn admitted(method: Method, samples: usize) -> Admitted {
    let params = SamplingParams { method, ..SamplingParams::greedy(vec![EOS]) };
    Admitted {
        prompts: vec![vec![0]],
        is_constrained: true,
        params: Arc::new(params),
        samples,
        max_tokens: 100,
        stop: Vec::new(),
        keeps_tokens: false,
        length_penalty: 0.0,
        seed: 0,
        priority: 0,
    }
}

pub(super) fn free() -> Admitted {
    Admitted { is_constrained: false, ..admitted(Method::Greedy, 1) }
}

pub(super) fn greedy() -> Admitted {
    admitted(Method::Greedy, 1)
}

/// A loop, and what it wanted done since that was last looked at.
pub(super) struct Bench {
    pub(super) serve: Serve,
    actions: Vec<Action>,
    pub(super) now: Duration,
    last_request: u64,
    journal: Journal,
    lines: Vec<Line>,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        Self::recorded(limits, true)
    }

    pub(super) fn recorded(limits: Limits, with_prompts: bool) -> Self {
        let scheduler = SchedulerConfig {
            kv_groups: vec![KvGroup::Full],
            pages_per_group: vec![64],
            num_stages: 1,
            max_in_flight: 2,
            max_rows: usize::MAX,
            rows_per_microbatch: usize::MAX,
            reckons_ahead: false,
            token_budget: 64,
            least_chunk: usize::MAX,
            attention_cost: 0.0,
            shares_prefixes: true,
        };
        let bounds = OrderBounds { vocab: 6, max_positions: 1_000, pages_per_group: vec![64] };
        let (max_depth, vocabulary) = (None, vocabulary());
        let config = ServeConfig { scheduler, max_depth, bounds, limits, vocabulary };
        let (journal, line) = Journal::begin(&config, with_prompts);
        Self {
            journal,
            lines: vec![line],
            serve: Serve::new(config),
            actions: Vec::new(),
            now: Duration::ZERO,
            last_request: 0,
        }
    }

    pub(super) fn tell(&mut self, input: Input) {
        let (mut actions, told) = (Vec::new(), input.clone());
        self.serve.on(self.now, input, &mut actions);
        self.lines.extend(self.journal.told(self.now, &told, &actions));
        self.actions.extend(actions);
    }

    /// The journal as it is read from a file.
    pub(super) fn journal(&self) -> Vec<Line> {
        let json = self.lines.iter().map(|line| serde_json::to_string(line).unwrap());
        json.map(|json| serde_json::from_str(&json).unwrap()).collect()
    }

    pub(super) fn submit(&mut self, admitted: Admitted) -> RequestId {
        self.last_request += 1;
        let request = RequestId(self.last_request);
        self.tell(Input::Submitted { request, admitted: Arc::new(admitted) });
        request
    }

    fn take<T>(&mut self, wanted: impl Fn(&Action) -> Option<T>) -> Vec<T> {
        let found = self.actions.iter().filter_map(&wanted).collect();
        self.actions.retain(|action| wanted(action).is_none());
        found
    }

    /// The batches that were sent.
    pub(super) fn sent(&mut self) -> Vec<Batch> {
        self.take(|action| match action {
            Action::Send(batch) => Some(batch.clone()),
            _ => None,
        })
    }

    /// The groups whose matchers are to advance, and what by.
    fn advancing(&mut self) -> Vec<(GroupId, Vec<Continuation>)> {
        self.take(|action| match action {
            Action::Advance { group, continuations } => Some((*group, continuations.clone())),
            _ => None,
        })
    }

    pub(super) fn events(&mut self) -> Vec<Event> {
        self.take(|action| match action {
            Action::Tell { event, .. } => Some(event.clone()),
            _ => None,
        })
    }

    fn closed(&mut self) -> Vec<SequenceId> {
        let closed = self.take(|action| match action {
            Action::Close(sequences) => Some(sequences.clone()),
            _ => None,
        });
        closed.concat()
    }

    fn errors(&mut self) -> Vec<RequestError> {
        self.take(|action| match action {
            Action::Fail { error, .. } => Some(error.clone()),
            _ => None,
        })
    }

    pub(super) fn outputs(&mut self) -> Vec<Output> {
        let events = self.events().into_iter();
        let output = |event| match event {
            Event::Output(output) => Some(output),
            _ => None,
        };
        events.filter_map(output).collect()
    }

    pub(super) fn sampled(
        &mut self,
        microbatch: MicrobatchId,
        groups: Vec<(GroupId, Vec<Choice>)>,
    ) {
        let choices = |(group, choices)| GroupChoices { group, choices: Ok(choices) };
        let groups = groups.into_iter().map(choices).collect();
        self.tell(Input::Sampled(Sampled {
            microbatch,
            groups,
            times: vec![Some(StageTimes {
                ended: Duration::from_secs(1),
                ..StageTimes::default()
            })],
            mask_times: MaskTimes::default(),
        }));
    }

    /// Takes a step of the only group there is, in which its matchers answer so.
    pub(super) fn step(&mut self, choices: &[Choice], answers: &[Answer]) {
        let batch = self.sent().pop().expect("a batch was sent");
        let group = batch.sampling[0].group;
        self.sampled(batch.microbatch, vec![(group, choices.to_vec())]);
        self.advancing();
        let answers = answers.iter().cloned().map(Ok).collect();
        self.tell(Input::Advanced { group, answers });
    }

    /// The tokens of the rows that are ordered next.
    pub(super) fn ordered(&self) -> Vec<Vec<TokenId>> {
        let sent = self.actions.iter().filter_map(|action| match action {
            Action::Send(batch) => Some(&batch.rows),
            _ => None,
        });
        sent.flatten().map(|row| row.tokens.clone()).collect()
    }
}

pub(super) fn taken(token: TokenId) -> Answer {
    Answer { tokens: vec![token], is_finished: false, is_vetoed: false }
}

pub(super) fn vetoed(instead: TokenId) -> Answer {
    Answer { is_vetoed: true, ..taken(instead) }
}

pub(super) fn choice(row: u32, token: TokenId, log_probability: f64) -> Choice {
    let token = Token { log_probability, ..Token::certain(token) };
    Choice::new(row, token)
}

#[test]
fn beams_are_ranked_by_their_length_if_that_is_wanted() {
    let best = |length_penalty: f64| {
        let mut bench = Bench::new();
        bench.submit(Admitted { length_penalty, ..admitted(Method::Beam { width: 2 }, 1) });
        let ended = Answer { is_finished: true, ..taken(0) };
        bench.step(&[choice(0, 0, -1.0), choice(0, 1, -1.2)], &[ended, taken(1)]);
        bench.step(&[choice(0, 2, -0.3)], &[Answer { is_finished: true, ..taken(2) }]);
        bench.outputs().remove(0)
    };
    // -1 against -1.5; as a mean -1 against -0.75.
    assert_eq!((best(0.0).text, best(1.0).text), ("a".to_owned(), "bc".to_owned()));
    assert!((best(1.0).score + 1.5).abs() < 1e-9, "the score stays the sum");
}

#[test]
fn a_vetoed_token_leaves_no_trace_but_its_count() {
    let mut bench = Bench::new();
    bench.submit(greedy());
    bench.step(&[choice(0, 0, -1.0)], &[vetoed(1)]);
    assert_eq!(bench.ordered(), [[1]]);
    let Event::Text { text, tokens, .. } = &bench.events()[0] else { panic!("text was shown") };
    assert_eq!((&text[..], tokens[0].id, tokens[0].log_probability), ("b", 1, -1.0));
    bench.step(&[choice(0, 3, -1.0)], &[Answer { is_finished: true, ..vetoed(2) }]);
    let events = bench.events();
    let [Event::Text { .. }, Event::Output(output), Event::Finished { usage, .. }] = &events[..]
    else {
        panic!("{events:?}");
    };
    assert_eq!((&output.text[..], &output.token_ids[..]), ("bc", &[1, 2][..]));
    assert_eq!(output.finish_reason, FinishReason::Constraint);
    assert_eq!(
        (usage.completion_tokens, usage.vetoed_tokens, usage.jump_forward_tokens),
        (2, 2, 0)
    );
}

#[test]
fn an_end_token_can_be_vetoed_and_can_be_what_is_taken_instead() {
    let mut bench = Bench::new();
    bench.submit(greedy());
    bench.step(&[choice(0, EOS, 0.0)], &[vetoed(4)]);
    assert_eq!(bench.ordered(), [[4]]);
    assert!(bench.outputs().is_empty());
    bench.step(&[choice(0, 0, 0.0)], &[Answer { is_finished: true, ..vetoed(EOS) }]);
    let output = bench.outputs().remove(0);
    assert_eq!((&output.text[..], output.finish_reason), ("e", FinishReason::EndToken));
    assert_eq!((&output.token_ids[..], output.num_tokens()), (&[4][..], 2));
}

#[test]
fn what_must_follow_comes_along_until_the_output_ends() {
    let forcing = Answer { tokens: vec![0, 1, 2], ..taken(0) };
    let mut bench = Bench::new();
    bench.submit(greedy());
    bench.step(&[choice(0, 0, -0.5)], std::slice::from_ref(&forcing));
    assert_eq!(bench.ordered(), [[0, 1, 2]]);
    let Event::Text { text, tokens, .. } = &bench.events()[0] else { panic!("text was shown") };
    let log_probabilities: Vec<f64> = tokens.iter().map(|it| it.log_probability).collect();
    assert_eq!((&text[..], &log_probabilities[..]), ("abc", &[-0.5, 0.0, 0.0][..]));
    // A stop string in the middle cuts the rest off, and so does the budget.
    let check = |admitted: Admitted, text: &str, reason: FinishReason| {
        let mut bench = Bench::new();
        bench.submit(admitted);
        bench.step(&[choice(0, 0, -0.5)], std::slice::from_ref(&forcing));
        let output = bench.outputs().remove(0);
        assert_eq!((&output.text[..], output.finish_reason), (text, reason));
        assert_eq!(output.token_ids, [0, 1]);
    };
    let stopping = Admitted { stop: vec!["b".to_owned()], ..greedy() };
    check(stopping, "a", FinishReason::StopString);
    check(Admitted { max_tokens: 2, ..greedy() }, "ab", FinishReason::Length);
}

#[test]
fn samples_part_after_their_first_token() {
    let mut bench = Bench::new();
    bench.submit(admitted(Method::Greedy, 2));
    bench.step(&[choice(0, 0, -0.5), choice(0, 3, -0.7)], &[taken(0), taken(3)]);
    assert_eq!(bench.ordered(), [[0], [3]]);
    assert!(bench.closed().is_empty(), "both matchers go on");
    let batches = bench.sent();
    assert_eq!(batches.len(), 2, "they need not step together");
    let sampling = batches.iter().flat_map(|batch| &batch.sampling);
    let samples: Vec<u64> = sampling.map(|group| group.rows[0].draws[0].sample).collect();
    assert_eq!(samples, [0, 1]);
    let batch = &batches[1];
    let second = batch.sampling[0].group;
    bench.events();
    bench.sampled(batch.microbatch, vec![(second, vec![choice(0, 4, 0.0)])]);
    bench.tell(Input::Advanced { group: second, answers: vec![Ok(taken(4))] });
    let Event::Text { output, text, .. } = &bench.events()[0] else { panic!("text was shown") };
    assert_eq!((output.index, &text[..]), (1, "e"));
}

#[test]
fn a_vetoed_beam_makes_room_for_the_others_while_there_are_enough() {
    let choices = [choice(0, 0, -1.0), choice(0, 1, -2.0), choice(0, 2, -3.0)];
    let check = |samples, answers: &[Answer], want: &[TokenId]| {
        let mut bench = Bench::new();
        bench.submit(admitted(Method::Beam { width: 3 }, samples));
        bench.step(&choices, answers);
        assert_eq!(bench.ordered().concat(), want);
        assert_eq!(bench.closed().len(), 3 - want.len(), "who does not go on has no matcher");
    };
    check(1, &[taken(0), taken(1), taken(2)], &[0, 1, 2]);
    check(1, &[vetoed(4), taken(1), taken(2)], &[1, 2]);
    // One is wanted, and the best of the vetoed ones stays; of those that became equal, one.
    check(1, &[vetoed(4), vetoed(3), vetoed(4)], &[4]);
    check(3, &[vetoed(4), vetoed(3), vetoed(4)], &[4, 3]);
    check(3, &[vetoed(1), taken(1), vetoed(3)], &[1, 3]);
}

#[test]
fn a_matcher_that_fails_or_says_nothing_ends_the_request() {
    let fail = |answers: Vec<Result<Answer, MatcherError>>| {
        let mut bench = Bench::new();
        bench.submit(greedy());
        let batch = bench.sent().remove(0);
        let group = batch.sampling[0].group;
        bench.sampled(batch.microbatch, vec![(group, vec![choice(0, 0, 0.0)])]);
        bench.tell(Input::Advanced { group, answers });
        assert_eq!((bench.closed().len(), bench.serve.metrics().matchers), (1, 0));
        let RequestError::Constraint { prompt: 0, source } = bench.errors().remove(0) else {
            panic!("the constraint has failed");
        };
        source
    };
    assert_eq!(fail(Vec::new()), MatcherError::Answers { wanted: 1, found: 0 });
    let error = MatcherError::Deadline { limit: Duration::from_secs(1) };
    assert_eq!(fail(vec![Err(error.clone())]), error);
}

#[test]
fn a_late_matcher_costs_the_others_half_a_step_at_most() {
    let mut bench = Bench::new();
    let requests: Vec<RequestId> =
        [greedy(), free(), free()].into_iter().map(|it| bench.submit(it)).collect();
    let mut batches = bench.sent();
    assert!(!batches.is_empty());
    bench.now = Duration::from_millis(20);
    let mut late = None;
    for batch in batches.drain(..) {
        let groups = batch.sampling.iter().map(|it| it.group);
        let groups = groups.map(|group| (group, vec![choice(0, 1, -1.0)])).collect();
        bench.sampled(batch.microbatch, groups);
        late = late.or(bench.advancing().pop());
    }
    let (group, _) = late.expect("a matcher was asked");
    // For a moment all wait, and the loop says until when.
    let rows = |bench: &Bench| bench.ordered().len();
    let soon = Duration::from_micros(20_500);
    assert_eq!((rows(&bench), bench.serve.wake_at()), (0, Some(soon)));
    bench.now = soon;
    bench.tell(Input::TimePassed);
    assert_eq!(rows(&bench), 2, "as many as a microbatch should have go on");
    let half_a_step = Duration::from_millis(30);
    assert_eq!(bench.serve.wake_at(), Some(half_a_step));
    bench.now = half_a_step;
    bench.tell(Input::TimePassed);
    assert_eq!(bench.serve.wake_at(), None);
    // Step after step, as if it were not there.
    for step in 0..5 {
        bench.now += Duration::from_millis(20);
        for batch in bench.sent() {
            let groups = batch.sampling.iter().map(|it| it.group);
            let groups = groups.map(|group| (group, vec![choice(0, 1, -1.0)])).collect();
            bench.sampled(batch.microbatch, groups);
        }
        assert_eq!(rows(&bench), 2, "step {step}");
    }
    bench.tell(Input::Advanced { group, answers: vec![Ok(taken(1))] });
    let told = bench.take(|action| match action {
        Action::Stepped { request, .. } => Some(*request),
        _ => None,
    });
    assert!(told.contains(&requests[0]), "and it goes on when it can");
}

#[test]
fn what_comes_back_while_stages_begin_anew_is_not_lost() {
    let mut bench = Bench::new();
    bench.submit(greedy());
    let batch = bench.sent().remove(0);
    let group = batch.sampling[0].group;
    bench.sampled(batch.microbatch, vec![(group, vec![choice(0, 1, -1.0)])]);
    bench.tell(Input::StageLost { microbatch: None, may_pass: true });
    assert!(bench.actions.contains(&Action::Restart));
    // The matcher has advanced: the same step must not be sampled once more.
    bench.tell(Input::Restarted);
    assert!(bench.sent().is_empty(), "its sample is taken already");
    bench.tell(Input::Advanced { group, answers: vec![Ok(taken(1))] });
    assert_eq!(bench.ordered(), [[0, 1]], "all is computed again, with the new token");
    assert_eq!(bench.serve.metrics().incarnation, 2);
}

#[test]
fn a_request_in_two_failing_microbatches_ends_and_a_stage_that_always_fails_stops_all() {
    let mut bench = Bench::with(Limits { max_restarts: 2, ..Limits::default() });
    bench.submit(free());
    for strike in 0..2 {
        let microbatch = Some(bench.sent().remove(0).microbatch);
        bench.tell(Input::StageLost { microbatch, may_pass: true });
        bench.tell(Input::Restarted);
        let errors = bench.errors();
        assert_eq!(errors.contains(&RequestError::StageLost), strike == 1, "{errors:?}");
    }
    bench.tell(Input::StageLost { microbatch: None, may_pass: true });
    assert!(bench.actions.contains(&Action::Stop(Stop::StageLost)));
}

#[test]
fn a_closing_loop_lets_requests_end_and_takes_no_others() {
    let mut bench = Bench::new();
    bench.submit(free());
    bench.tell(Input::Closing { deadline: Duration::from_secs(9) });
    assert_eq!(bench.serve.wake_at(), Some(Duration::from_secs(9)));
    bench.submit(free());
    assert_eq!(bench.errors(), [RequestError::ShutDown]);
    assert_eq!(bench.serve.take_left_waiting(), 2, "neither of them waits any more");
    let batch = bench.sent().remove(0);
    let group = batch.sampling[0].group;
    bench.sampled(batch.microbatch, vec![(group, vec![choice(0, EOS, -1.0)])]);
    assert!(bench.actions.contains(&Action::Stop(Stop::Closed)));
}

#[test]
fn a_request_that_waits_too_long_ends() {
    let limit = Duration::from_secs(3);
    let mut bench = Bench::with(Limits { max_wait: Some(limit), ..Limits::default() });
    bench.submit(Admitted { prompts: vec![vec![0; 900]], ..free() });
    bench.now = Duration::from_secs(1);
    bench.submit(Admitted { prompts: vec![vec![1; 900]], ..free() });
    assert_eq!(bench.serve.wake_at(), Some(Duration::from_secs(4)));
    bench.now = Duration::from_secs(4);
    bench.tell(Input::TimePassed);
    assert_eq!(bench.errors(), [RequestError::WaitedTooLong { limit }]);
}

#[test]
fn a_cancelled_request_leaves_nothing_behind() {
    let mut bench = Bench::new();
    let request = bench.submit(admitted(Method::Beam { width: 3 }, 1));
    let batch = bench.sent().remove(0);
    let group = batch.sampling[0].group;
    let choices = vec![choice(0, 0, -1.0), choice(0, 1, -2.0), choice(0, 2, -3.0)];
    bench.sampled(batch.microbatch, vec![(group, choices)]);
    bench.tell(Input::Cancelled(request));
    assert_eq!(bench.closed().len(), 3, "its children's matchers too");
    bench.tell(Input::Advanced { group, answers: vec![Ok(taken(0)), Ok(taken(1)), Ok(taken(2))] });
    assert!(bench.serve.scheduler().is_idle());
    assert_eq!(bench.serve.scheduler().num_free_pages(), [64]);
    let metrics = bench.serve.metrics();
    assert_eq!((metrics.requests, metrics.matchers, metrics.requests_cancelled), (0, 0, 1));
}
