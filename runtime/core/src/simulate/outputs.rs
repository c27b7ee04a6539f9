//! What becomes of a request's outputs step by step: the part of the engine that matters here.

use std::rc::Rc;

use sluicegate_spec::units::TokenId;

use super::{
    request::{Forced, Search, SimulatedRequest},
    value::{draw, mix, to_token},
};
use crate::scheduler::{
    Child,
    beam::{self, Candidate, Kept},
};

/// One group of the scheduler, as the engine sees it.
#[derive(Debug, Clone)]
pub(super) struct Outputs {
    request: Rc<SimulatedRequest>,
    rows: Vec<Hypothesis>,
    /// Beams that have ended.
    finished: Vec<Hypothesis>,
}

#[derive(Debug, Clone)]
struct Hypothesis {
    tokens: Vec<TokenId>,
    score: f64,
    /// Which of the samples it is.
    sample: usize,
}

/// What a step brought.
#[derive(Debug, Default)]
pub(super) struct Step {
    pub(super) children: Vec<Child>,
    /// Outputs that have ended, with their places among the request's.
    pub(super) ended: Vec<(usize, Vec<TokenId>)>,
    /// Tokens that a caller gets to see of each row at least.
    pub(super) num_tokens: usize,
    /// Whether each child goes on as a group of its own.
    pub(super) is_split: bool,
}

impl Outputs {
    pub(super) fn new(request: Rc<SimulatedRequest>) -> Self {
        let row = Hypothesis { tokens: Vec::new(), score: 0.0, sample: 0 };
        Self { request, rows: vec![row], finished: Vec::new() }
    }

    /// Tokens of each row so far, and how many rows there are.
    pub(super) fn step_and_rows(&self) -> (usize, usize) {
        (self.rows.first().map_or(0, |row| row.tokens.len()), self.rows.len())
    }

    /// Takes the last stage's value of each row.
    pub(super) fn take(&mut self, values: &[u64]) -> Step {
        let request = Rc::clone(&self.request);
        match request.search {
            Search::Samples(num_samples) => self.take_samples(&request, num_samples, values),
            Search::Beams(width) => self.take_beams(&request, width, values),
        }
    }

    /// Makes a group of each row.
    pub(super) fn split(self) -> impl Iterator<Item = Self> {
        let Self { request, rows, .. } = self;
        rows.into_iter().map(move |row| Self {
            request: Rc::clone(&request),
            rows: vec![row],
            finished: Vec::new(),
        })
    }

    fn take_samples(
        &mut self,
        request: &SimulatedRequest,
        num_samples: usize,
        values: &[u64],
    ) -> Step {
        let row = &self.rows[0];
        let step = row.tokens.len();
        let samples = if step == 0 { 0..num_samples } else { row.sample..row.sample + 1 };
        let mut grown = Vec::new();
        let mut outcome = Step { num_tokens: 1, ..Step::default() };
        for sample in samples {
            let token = draw(values[0], [request.seed, sample as u64, step as u64]);
            let mut tokens = vec![token];
            tokens.extend(forced(request, token));
            tokens.truncate(request.max_tokens - step);
            outcome.num_tokens = tokens.len();
            let mut hypothesis = Hypothesis { sample, ..row.clone() };
            hypothesis.tokens.extend(&tokens);
            if ends(request, &hypothesis.tokens, token) {
                outcome.ended.push((sample, hypothesis.tokens));
            } else {
                grown.push(hypothesis);
                outcome.children.push(Child { parent: 0, tokens });
            }
        }
        self.rows = grown;
        outcome.is_split = self.rows.len() > 1;
        outcome
    }

    fn take_beams(&mut self, request: &SimulatedRequest, width: usize, values: &[u64]) -> Step {
        let rows = self.rows.iter().zip(values).enumerate();
        let candidates: Vec<Candidate> = rows
            .flat_map(|(parent, (row, value))| candidates(width, parent, row.score, *value))
            .collect();
        let scores: Vec<f64> = self.finished.iter().map(|beam| beam.score).collect();
        let mut finished = Vec::new();
        let mut rows = Vec::new();
        let mut outcome = Step { num_tokens: 1, ..Step::default() };
        for kept in beam::select(width, &scores, &candidates) {
            match kept {
                Kept::Finished(index) => finished.push(self.finished[index].clone()),
                Kept::Continued(Candidate { parent, token, score }) => {
                    let mut beam = Hypothesis { score, ..self.rows[parent].clone() };
                    beam.tokens.push(token);
                    if ends(request, &beam.tokens, token) {
                        finished.push(beam);
                    } else {
                        rows.push(beam);
                        outcome.children.push(Child { parent, tokens: vec![token] });
                    }
                }
            }
        }
        (self.rows, self.finished) = (rows, finished);
        if self.rows.is_empty() {
            let mut ranked = std::mem::take(&mut self.finished);
            ranked.sort_by(|a, b| b.score.total_cmp(&a.score));
            outcome.ended = ranked.into_iter().map(|beam| beam.tokens).enumerate().collect();
        }
        outcome
    }
}

/// The likeliest continuations of a beam, each with a token of its own.
fn candidates(
    width: usize,
    parent: usize,
    score: f64,
    value: u64,
) -> impl Iterator<Item = Candidate> {
    let first = to_token(value) & !0xff;
    (0..width as u64).zip(0..).map(move |(place, offset)| {
        let log_probability = -0.01 * (1 + mix(value, place) % 1_000) as f64;
        let token = first + ((to_token(mix(value, 0)) + offset) & 0xff);
        Candidate { parent, token, score: score + log_probability }
    })
}

/// What a sampled token brings with it.
fn forced(request: &SimulatedRequest, token: TokenId) -> impl Iterator<Item = TokenId> {
    let one_in = |it: &Forced| mix(token.into(), 1).is_multiple_of(it.one_in);
    let count = request.forced.filter(one_in).map_or(0, |forced| forced.tokens);
    (0..count as u64).map(move |place| to_token(mix(token.into(), 2 + place)))
}

/// Whether an output ends with what the sampled `token` has brought.
fn ends(request: &SimulatedRequest, tokens: &[TokenId], token: TokenId) -> bool {
    let is_end = |one_in| mix(token.into(), request.seed).is_multiple_of(one_in);
    tokens.len() >= request.max_tokens || request.ends_one_in.is_some_and(is_end)
}
