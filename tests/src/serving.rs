//! Requests of all kinds that run at the same time, and what must hold when they have ended.

use std::sync::{Condvar, Mutex, PoisonError};

use sluicegate::{Completion, Engine, Output, Prompt, Request, engine::Metrics, stream::Usage};
use sluicegate_spec::units::TokenId;

use crate::engines::{samplers, with_schema};

/// A prompt that begins like every other one.
pub fn prompt(number: u32, num_tokens: u32) -> Prompt {
    let token = |position: u32| match position {
        0..18 => (7 * position + 3) % 256,
        _ => (31 * number + 7 * position) % 256,
    };
    Prompt::Tokens((0..num_tokens).map(token).collect::<Vec<TokenId>>())
}

/// Samples, beams and draws, free and constrained.
#[must_use]
pub fn mixed_requests() -> Vec<Request> {
    let numbered = (0..).zip(samplers().into_iter().cycle());
    let request = |(number, (_, request)): (u32, (_, Request))| {
        let request = Request {
            prompts: vec![prompt(number, 5 + 9 * (number % 7))],
            max_tokens: 8 + 5 * (number as usize % 6),
            ..request
        };
        if number.is_multiple_of(4) { with_schema(request) } else { request }
    };
    numbered.take(18).map(request).collect()
}

/// What two runs of a request must have in common.
pub fn outcome(completion: Completion) -> (Vec<Output>, Usage) {
    (completion.outputs, completion.usage)
}

/// Nothing is held once nobody asks for anything.
///
/// # Panics
/// Where something is.
#[track_caller]
pub fn assert_idle(engine: &Engine) -> Metrics {
    let metrics = engine.metrics();
    let scheduler = &metrics.scheduler;
    assert_eq!((metrics.requests, metrics.requests_waiting, metrics.matchers), (0, 0, 0));
    assert_eq!((scheduler.waiting, scheduler.running, scheduler.rows), (0, 0, 0));
    assert!(scheduler.pages.iter().all(|pages| pages.held == 0), "{scheduler:?}");
    metrics
}

/// A gate that stays closed until it is opened.
#[derive(Debug, Default)]
pub struct Gate(Mutex<bool>, Condvar);

impl Gate {
    /// Waits until it is open.
    pub fn pass(&self) {
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.1.wait_while(open, |is_open| !*is_open));
    }

    /// Lets everybody through, from now on.
    pub fn open(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.1.notify_all();
    }
}
