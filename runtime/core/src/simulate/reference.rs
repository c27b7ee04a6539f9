//! The outputs of a request that runs alone, from plain vectors: no loop, no scheduler, no pages.

use std::convert::Infallible;

use sluicegate_spec::{config::KvGroup, tokens::TokenBytes, units::TokenId};

use super::{
    last_stage::candidates,
    request::{Search, SimulatedRequest, VOCABULARY},
    value::{EOS, attend, cached, draw, embed},
};
use crate::{
    messages::Choice,
    sequence::{Candidate, Kept, select},
    serve::Output,
};

/// An output as it must be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alone {
    pub tokens: Vec<TokenId>,
    pub text: String,
}

impl Alone {
    /// What an output has in common with one that ran alone.
    pub fn of(output: &Output) -> Self {
        Self { tokens: output.token_ids.clone(), text: output.text.clone() }
    }
}

/// What a stage has cached of one sequence: per stage and KV group, a value for each position.
#[derive(Debug, Clone)]
struct Sequence<'a> {
    request: &'a SimulatedRequest,
    kv_groups: &'a [KvGroup],
    cached: Vec<Vec<Vec<u64>>>,
    /// The last token's value as it leaves the last stage.
    value: u64,
    tokens: Vec<TokenId>,
    score: f64,
    /// Its text, once it has ended.
    text: Option<String>,
}

/// All outputs of a request, in order, as a pipeline of `num_stages` must give them.
pub fn alone(request: &SimulatedRequest, num_stages: usize, kv_groups: &[KvGroup]) -> Vec<Alone> {
    let mut sequence = Sequence {
        request,
        kv_groups,
        cached: vec![vec![Vec::new(); kv_groups.len()]; num_stages],
        value: 0,
        tokens: Vec::new(),
        score: 0.0,
        text: None,
    };
    request.prompt.iter().for_each(|token| sequence.compute(*token));
    let ended = match request.search {
        Search::Samples(samples) => (0..samples).map(|it| sequence.clone().sample(it)).collect(),
        Search::Beams(width) => beams(sequence, width),
    };
    let output = |it: Sequence<'_>| Alone { tokens: it.tokens, text: it.text.unwrap_or_default() };
    ended.into_iter().map(output).collect()
}

fn beams(first: Sequence<'_>, width: usize) -> Vec<Sequence<'_>> {
    let (mut rows, mut finished) = (vec![first], Vec::new());
    while !rows.is_empty() {
        let of_row = |(row, beam): (u32, &Sequence<'_>)| {
            candidates(beam.request, width, row, beam.value).collect::<Vec<_>>()
        };
        let choices: Vec<_> = (0..).zip(&rows).flat_map(of_row).collect();
        let score = |row: u32| rows[row as usize].score;
        let candidate = |choice: &Choice| Candidate {
            row: choice.row,
            token: choice.token.id,
            rank: score(choice.row) + choice.token.log_probability,
        };
        let candidates: Vec<Candidate> = choices.iter().map(candidate).collect();
        let scores: Vec<f64> = finished.iter().map(|it: &Sequence<'_>| it.score).collect();
        let (mut still, mut next) = (Vec::new(), Vec::new());
        for kept in select(width, &scores, &candidates) {
            match kept {
                Kept::Finished(index) => still.push(finished[index].clone()),
                Kept::Continued(index) => {
                    let mut beam = rows[choices[index].row as usize].clone();
                    beam.score += choices[index].token.log_probability;
                    beam.step(choices[index].token.id, true);
                    next.push(beam);
                }
            }
        }
        let (ended, running) = next.into_iter().partition(|beam| beam.text.is_some());
        (rows, finished) = (running, still);
        finished.extend::<Vec<_>>(ended);
    }
    finished.sort_by(|a, b| b.score.total_cmp(&a.score));
    finished
}

impl Sequence<'_> {
    /// Draws the tokens of one sample.
    fn sample(mut self, sample: usize) -> Self {
        while self.text.is_none() {
            let address = [self.request.seed, sample as u64, self.tokens.len() as u64];
            let drawn = draw(self.value, address);
            self.step(if self.request.ends(drawn) { EOS } else { drawn }, false);
        }
        self
    }

    /// Takes a sampled token, and what its matcher makes of it.
    fn step(&mut self, sampled: TokenId, is_beam: bool) {
        let (tokens, is_finished) = match &self.request.constraint {
            None => (vec![sampled], false),
            Some(constraint) => {
                let answer = constraint.answer(sampled, is_beam);
                (answer.tokens, answer.is_finished)
            }
        };
        let last = tokens.len() - 1;
        for (index, token) in tokens.into_iter().enumerate() {
            if token == EOS {
                self.text = Some(self.text_so_far(true).0);
                return;
            }
            self.tokens.push(token);
            self.compute(token);
            if !self.request.stop.is_empty()
                && let (text, true) = self.text_so_far(false)
            {
                self.text = Some(text);
                return;
            }
            let is_full = self.tokens.len() >= self.request.max_tokens;
            if is_full || is_finished && index == last {
                self.text = Some(self.text_so_far(true).0);
                return;
            }
        }
    }

    /// The text up to the first stop string, and whether there is one; with what is left of a
    /// character only at the end.
    fn text_so_far(&self, is_end: bool) -> (String, bool) {
        let mut bytes = Vec::new();
        for token in &self.tokens {
            if let TokenBytes::Text(text) = VOCABULARY.get(*token) {
                bytes.extend_from_slice(text);
            }
        }
        let mut text = decoded(&bytes, is_end);
        let end = |stop: &String| text.find(stop).map(|start| (start + stop.len(), start));
        let found = self.request.stop.iter().filter_map(end).min();
        if let Some((_, start)) = found {
            text.truncate(start);
        }
        (text, found.is_some())
    }

    fn compute(&mut self, token: TokenId) {
        let position = self.cached.first().and_then(|it| it.first()).map_or(0, Vec::len);
        let mut value = embed(token, position);
        for (stage, of_groups) in self.cached.iter_mut().enumerate() {
            for (kv_idx, (cache, group)) in of_groups.iter_mut().zip(self.kv_groups).enumerate() {
                cache.push(cached(value, stage, kv_idx));
                let seen = match group {
                    KvGroup::Full => &cache[..],
                    KvGroup::Window(window) => &cache[cache.len().saturating_sub(*window)..],
                };
                let attended = attend(value, seen.iter().map(|it| Ok::<_, Infallible>(*it)));
                let Ok(attended) = attended;
                value = attended;
            }
        }
        self.value = value;
    }
}

/// Text of bytes; what may still become a character is left out unless it `is_whole`.
fn decoded(bytes: &[u8], is_whole: bool) -> String {
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if is_whole {
        return lossy(bytes);
    }
    let open = (0..bytes.len().min(4)).find(|open| {
        let tail = std::str::from_utf8(&bytes[bytes.len() - open..]);
        *open > 0
            && tail.is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
    });
    lossy(&bytes[..bytes.len() - open.unwrap_or(0)])
}
