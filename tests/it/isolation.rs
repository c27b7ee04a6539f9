//! A matcher that takes its time costs its own request that time, and no other.

use std::{
    num::NonZero,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sluicegate::{Engine, Generation, Request, masker::BeforeMatcher};
use sluicegate_core::messages::SequenceId;
use sluicegate_model::open::Model;
use sluicegate_spec::config::Architecture;
use sluicegate_tests::{
    engines::{complete, even_plan, samplers, with_schema},
    serving::{Gate, assert_idle, outcome, prompt},
    tiny::{StoredType, TinyModel},
};

/// Opens a gate at the latest when a test fails: nobody stands before it for ever.
struct Opens(Arc<Gate>);

impl Drop for Opens {
    fn drop(&mut self) {
        self.0.open();
    }
}

/// The first request's matcher stands before the gate when it works for the `held`-th time; 15
/// others, every `nth` constrained, have all of their tokens before it is opened.
#[track_caller]
fn check(held: usize, nth: u32, num_workers: usize) {
    let files = TinyModel::new(Architecture::Llama).directory(StoredType::F32);
    let model = Model::open(&files.files).unwrap();
    let plan = even_plan(&model, 2);
    let start = |before_matcher: Option<BeforeMatcher>| {
        let builder = Engine::builder(model.clone(), plan.clone())
            .mask_workers(NonZero::new(num_workers).unwrap())
            .mask_deadline(Duration::from_hours(1));
        match before_matcher {
            Some(hook) => builder.before_matcher(hook).build().unwrap(),
            None => builder.build().unwrap(),
        }
    };
    let request = |number: u32| {
        let [(_, request), ..] = samplers();
        let request = Request { prompts: vec![prompt(number, 9 + number)], samples: 1, ..request };
        if number.is_multiple_of(nth) { with_schema(request) } else { request }
    };
    let calm = start(None);
    let want: Vec<_> = (0..16).map(|number| outcome(complete(&calm, &request(number)))).collect();

    let (gate, calls) = (Arc::new(Gate::default()), Arc::new(AtomicUsize::new(0)));
    let closed = Arc::clone(&gate);
    let opens = Opens(Arc::clone(&gate));
    let engine = start(Some(Arc::new(move |sequence: SequenceId| {
        if sequence == SequenceId(1) && calls.fetch_add(1, Ordering::Relaxed) == held {
            closed.pass();
        }
    })));
    let mut running = (0..16).map(|number| engine.submit(request(number)).unwrap());
    let slow = running.next().unwrap();
    let others: Vec<Generation> = running.collect();
    for (other, want) in others.into_iter().zip(&want[1..]) {
        assert_eq!(outcome(other.wait().unwrap()), *want);
    }
    assert_eq!(engine.metrics().requests, 1, "the slow one still runs");
    drop(opens);
    assert_eq!(outcome(slow.wait().unwrap()), want[0]);
    assert_idle(&engine);
}

#[test]
fn a_slow_mask_keeps_no_other_row_of_its_microbatch_waiting() {
    // The first mask, and one in the middle: masks and advances take turns.
    check(0, 2, 16);
    check(6, 2, 16);
    // With one worker, which has only this one to work for.
    check(0, 100, 1);
    check(6, 100, 1);
}

#[test]
fn a_slow_search_keeps_no_other_request_waiting() {
    check(1, 2, 16);
    check(5, 2, 16);
    check(1, 100, 1);
}
