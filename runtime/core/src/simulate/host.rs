//! The host: requests on their way in, what is said of them, and their ends.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use super::{
    error::SimulationError,
    request::SimulatedRequest,
    run::{EndReason, RequestEnd},
};
use crate::serve::{Event, Output, OutputId};

/// What callers have sent and heard.
#[derive(Debug)]
pub(super) struct Host {
    requests: Vec<Rc<SimulatedRequest>>,
    running: BTreeMap<usize, RunningRequest>,
    pub(super) ends: Vec<Option<RequestEnd>>,
    pub(super) token_s: Vec<f64>,
    /// All that were sampled.
    pub(super) num_tokens: usize,
    pub(super) num_batches: u64,
}

#[derive(Debug, Default)]
struct RunningRequest {
    /// The text that was shown of outputs that are not complete.
    shown: BTreeMap<OutputId, String>,
    outputs: BTreeMap<OutputId, Output>,
    ended: BTreeSet<OutputId>,
    first_token_s: Option<f64>,
    /// Batches that were sent while none of its matchers was at work.
    num_batches: u64,
    /// Groups whose matchers are at work.
    num_advancing: usize,
}

impl Host {
    pub(super) fn new(requests: &[SimulatedRequest]) -> Self {
        Self {
            requests: requests.iter().cloned().map(Rc::new).collect(),
            running: BTreeMap::new(),
            ends: vec![None; requests.len()],
            token_s: Vec::new(),
            num_tokens: 0,
            num_batches: 0,
        }
    }

    pub(super) fn request(&self, request: usize) -> Rc<SimulatedRequest> {
        Rc::clone(&self.requests[request])
    }

    /// Takes note of a request that was let in.
    pub(super) fn begin(&mut self, request: usize) {
        self.running.insert(request, RunningRequest::default());
    }

    /// Takes note of a batch that was sent.
    pub(super) fn sent(&mut self) {
        self.num_batches += 1;
        for running in self.running.values_mut().filter(|it| it.num_advancing == 0) {
            running.num_batches += 1;
        }
    }

    /// Takes note that the matchers of a group are at work.
    pub(super) fn advance(&mut self, request: usize) {
        if let Some(running) = self.running.get_mut(&request) {
            running.num_advancing += 1;
        }
    }

    /// Takes note that they have answered.
    pub(super) fn advanced(&mut self, request: usize) {
        if let Some(running) = self.running.get_mut(&request) {
            running.num_advancing -= 1;
        }
    }

    pub(super) fn is_running(&self, request: usize) -> bool {
        self.running.contains_key(&request)
    }

    /// Takes note of a step's tokens: so many at once, so long after the ones before.
    pub(super) fn stepped(
        &mut self,
        request: usize,
        tokens: usize,
        since: Option<f64>,
        now_s: f64,
    ) {
        self.num_tokens += tokens;
        if let Some(since_s) = since {
            let share_s = since_s / tokens.max(1) as f64;
            self.token_s.extend(std::iter::repeat_n(share_s, tokens));
        }
        if let Some(running) = self.running.get_mut(&request) {
            running.first_token_s.get_or_insert(now_s);
        }
    }

    /// Takes note of what a caller is told.
    pub(super) fn told(
        &mut self,
        request: usize,
        event: Event,
        now_s: f64,
    ) -> Result<(), SimulationError> {
        let Some(running) = self.running.get_mut(&request) else {
            return Err(SimulationError::AfterEnd { request });
        };
        match event {
            Event::Text { output, text, .. } => {
                running.shown.entry(output).or_default().push_str(&text);
            }
            Event::Output(output) => {
                let shown = running.shown.remove(&output.id).unwrap_or_default();
                if shown != output.text || !running.ended.insert(output.id) {
                    return Err(SimulationError::Text { request, shown, text: output.text });
                }
                running.outputs.insert(output.id, output);
            }
            Event::Finished { .. } => self.end(request, EndReason::Finished, now_s)?,
        }
        Ok(())
    }

    /// Ends a request.
    pub(super) fn end(
        &mut self,
        request: usize,
        reason: EndReason,
        end_s: f64,
    ) -> Result<(), SimulationError> {
        let running = self.running.remove(&request).unwrap_or_default();
        let end = RequestEnd {
            reason,
            arrival_s: self.requests[request].arrival_s,
            first_token_s: running.first_token_s,
            end_s,
            num_batches: running.num_batches,
            outputs: running.outputs.into_values().collect(),
        };
        match self.ends[request].replace(end) {
            None => Ok(()),
            Some(_) => Err(SimulationError::EndedTwice { request }),
        }
    }
}
