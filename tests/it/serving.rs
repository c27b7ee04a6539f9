//! Many requests at once: each gets what it would get alone, whatever happens to the others.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use sluicegate::{
    Engine, Request,
    engine::{EngineFailure, GenerationError, Limits, SubmitError},
    pipeline::BeforeForward,
};
use sluicegate_core::messages::MicrobatchId;
use sluicegate_model::open::Model;
use sluicegate_placement::StageId;
use sluicegate_spec::{config::Architecture, units::LayerRange};
use sluicegate_tests::{
    engines::{complete, even_plan, start, with_pages},
    serving::{Gate, assert_idle, mixed_requests, outcome, prompt},
    tiny::{StoredType, TinyFiles, TinyModel},
};

fn tiny() -> (TinyFiles, Model) {
    let files = TinyModel::new(Architecture::Llama).directory(StoredType::F32);
    let model = Model::open(&files.files).unwrap();
    (files, model)
}

#[test]
fn requests_together_get_what_each_gets_alone() {
    let (_files, model) = tiny();
    // As many pages as the largest of them needs alone.
    let plan = with_pages(&even_plan(&model, 2), 4 * 14);
    let alone: Vec<_> = mixed_requests()
        .iter()
        .map(|request| outcome(complete(&start(&model, &plan), request)))
        .collect();
    // Too many are let in, so that some are preempted.
    let builder = Engine::builder(model.clone(), plan).reckon_ahead(false);
    let engine = builder.build().unwrap();
    let running: Vec<_> =
        mixed_requests().into_iter().map(|request| engine.submit(request).unwrap()).collect();
    let together: Vec<_> = running.into_iter().map(|it| outcome(it.wait().unwrap())).collect();
    for (number, (together, alone)) in together.iter().zip(&alone).enumerate() {
        assert_eq!(together, alone, "request {number}");
    }
    let metrics = assert_idle(&engine);
    assert_eq!((metrics.requests_finished, metrics.requests_failed), (18, 0));
    let scheduler = metrics.scheduler;
    assert!(scheduler.preemptions > 0 && scheduler.shared_tokens > 0, "{scheduler:?}");
}

/// An engine on two stages whose stages call `hook`.
fn hooked(model: &Model, limits: Limits, hook: BeforeForward) -> Engine {
    let plan = with_pages(&even_plan(model, 2), 40);
    let builder = Engine::builder(model.clone(), plan).limits(limits);
    builder.before_forward(hook).build().unwrap()
}

#[test]
fn a_stage_that_fails_begins_anew_and_nobody_notices() {
    let (_files, model) = tiny();
    let plan = with_pages(&even_plan(&model, 2), 40);
    let requests: Vec<Request> = mixed_requests().into_iter().take(6).collect();
    let engine = start(&model, &plan);
    let wanted: Vec<_> =
        requests.iter().map(|request| outcome(complete(&engine, request))).collect();
    for failing in 0..2 {
        let calls = Arc::new(AtomicUsize::new(0));
        let hook: BeforeForward = Arc::new(move |stage: StageId, _: MicrobatchId| {
            let is_it = stage.0 == failing && calls.fetch_add(1, Ordering::Relaxed) == 9;
            assert!(!is_it, "as a test asked");
        });
        let engine = hooked(&model, Limits::default(), hook);
        let running: Vec<_> =
            requests.iter().map(|request| engine.submit(request.clone()).unwrap()).collect();
        for (running, wanted) in running.into_iter().zip(&wanted) {
            assert_eq!(outcome(running.wait().unwrap()), *wanted, "stage {failing}");
        }
        assert_eq!(assert_idle(&engine).incarnation, 2);
        assert!(engine.failure().is_none());
    }
}

#[test]
fn a_request_that_lets_a_stage_fail_twice_ends_and_the_engine_lives() {
    let (_files, model) = tiny();
    let is_armed = Arc::new(AtomicBool::new(true));
    let armed = Arc::clone(&is_armed);
    let hook: BeforeForward = Arc::new(move |stage: StageId, _: MicrobatchId| {
        assert!(stage.0 != 1 || !armed.load(Ordering::Relaxed), "as a test asked");
    });
    let engine = hooked(&model, Limits::default(), hook);
    let request = &mixed_requests()[1];
    let error = engine.submit(request.clone()).unwrap().wait().unwrap_err();
    let GenerationError::Engine(failure) = &error else { panic!("{error:?}") };
    let EngineFailure::Stage(failure) = &**failure else { panic!("{failure:?}") };
    let half = model.config.num_layers / 2;
    let layers = LayerRange { start: half, end: model.config.num_layers };
    assert_eq!((failure.stage, failure.layers), (StageId(1), layers));
    assert_eq!(failure.error.to_string(), "it panicked: as a test asked");
    assert_eq!((engine.metrics().incarnation, engine.metrics().requests_failed), (3, 1));
    is_armed.store(false, Ordering::Relaxed);
    complete(&engine, request);
    assert_idle(&engine);
}

#[test]
fn an_engine_whose_stages_fail_again_and_again_stops() {
    let (_files, model) = tiny();
    let hook: BeforeForward = Arc::new(|stage: StageId, _| assert!(stage.0 != 0, "always"));
    let limits = Limits { max_restarts: 1, ..Limits::default() };
    let engine = hooked(&model, limits, hook);
    let error = engine.submit(mixed_requests().remove(1)).unwrap().wait().unwrap_err();
    assert!(matches!(error, GenerationError::Engine(_)), "{error:?}");
    let refused = engine.submit(mixed_requests().remove(1)).unwrap_err();
    assert!(matches!(refused, SubmitError::Failed(_)), "{refused:?}");
    assert_eq!((engine.metrics().requests, engine.metrics().incarnation), (0, 2));
}

/// An engine whose first stage waits until it is let go, with pages for one request of 100 tokens.
fn held(model: &Model, limits: Limits) -> (Engine, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let hook: BeforeForward = Arc::new(move |stage: StageId, _: MicrobatchId| {
        if stage.0 == 0 {
            held.pass();
        }
    });
    let plan = with_pages(&even_plan(model, 2), 7);
    let builder = Engine::builder(model.clone(), plan).limits(limits).before_forward(hook);
    (builder.build().unwrap(), gate)
}

/// Takes all of the seven pages at once.
fn large(number: u32) -> Request {
    Request { max_tokens: 4, ignore_eos: true, ..Request::new(prompt(number, 100)) }
}

fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        std::thread::yield_now();
    }
}

#[test]
fn a_queue_that_is_full_refuses_and_one_that_is_slow_gives_up() {
    let (_files, model) = tiny();
    let max_wait = Duration::from_millis(30);
    let limits = Limits { max_waiting: 1, max_wait: Some(max_wait), ..Default::default() };
    let (engine, gate) = held(&model, limits);
    let first = engine.submit(large(1)).unwrap();
    until(|| engine.metrics().requests_waiting == 0);
    let second = engine.submit(large(2)).unwrap();
    let refused = engine.submit(large(3)).unwrap_err();
    assert!(matches!(refused, SubmitError::Busy { waiting: 1 }), "{refused:?}");
    let error = second.wait().unwrap_err();
    let GenerationError::WaitedTooLong { limit } = error else { panic!("{error:?}") };
    assert_eq!(limit, max_wait);
    gate.open();
    first.wait().unwrap();
    complete(&engine, &large(4));
    assert_eq!(assert_idle(&engine).requests_failed, 1);
}

#[test]
fn an_engine_that_shuts_down_lets_requests_end_while_there_is_time() {
    let (_files, model) = tiny();
    let (engine, gate) = held(&model, Limits::default());
    let [first, second] = [1, 2].map(|number| engine.submit(large(number)).unwrap());
    let other = engine.clone();
    let closing = std::thread::spawn(move || other.shutdown(Duration::MAX));
    until(|| engine.submit(large(3)).is_err_and(|error| matches!(error, SubmitError::ShutDown)));
    gate.open();
    first.wait().unwrap();
    second.wait().unwrap();
    closing.join().unwrap();
    assert_idle(&engine);

    let (engine, gate) = held(&model, Limits::default());
    let running = engine.submit(large(1)).unwrap();
    let other = engine.clone();
    let release = std::thread::spawn(move || {
        until(|| other.submit(large(2)).is_err_and(|it| matches!(it, SubmitError::ShutDown)));
        gate.open();
    });
    engine.shutdown(Duration::ZERO);
    assert!(matches!(running.wait(), Err(GenerationError::ShutDown)));
    release.join().unwrap();
}

#[test]
fn a_cancelled_request_leaves_nothing_behind() {
    let (_files, model) = tiny();
    let engine = start(&model, &with_pages(&even_plan(&model, 2), 56));
    for request in mixed_requests() {
        let mut running = engine.submit(request).unwrap();
        running.next();
        drop(running);
    }
    until(|| engine.metrics().requests == 0);
    complete(&engine, &mixed_requests()[1]);
    let metrics = assert_idle(&engine);
    assert_eq!(metrics.requests_finished + metrics.requests_cancelled, 19);
}
