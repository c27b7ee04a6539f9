//! Thousands of requests through real stages, with cancels and page pressure: memory stays flat,
//! and every counter goes back to zero. The longest tests of all: see docs/benchmarks.md for their
//! time.

use std::{collections::VecDeque, env, process::Command};

use sluicegate::{Engine, Generation, Prompt, Request, sampler::Method};
use sluicegate_model::open::Model;
use sluicegate_slow::{Slow, skip};
use sluicegate_spec::config::Architecture;
use sluicegate_tests::{
    engines::{even_plan, smollm2, start, with_pages, with_schema},
    tiny::{StoredType, TinyModel},
};

/// Set in a process that runs one test, whose memory is that test's alone.
const ALONE: &str = "SLUICEGATE_TEST_ALONE";

/// Runs a test in a process of its own, which must succeed.
#[track_caller]
fn run_alone(test: &str) {
    let executable = env::current_exe().unwrap();
    let mut command = Command::new(executable);
    let output = command.args(["--exact", test, "--nocapture"]).env(ALONE, "1").output().unwrap();
    let [said, told] = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
    assert!(output.status.success() && said.contains("1 passed"), "{said}{told}");
}

/// Bytes of this process that are in memory, where the system says so.
fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * 4_096)
}

/// A request like no other, for a few tokens.
fn request(number: u32, vocab: u32) -> Request {
    let num_tokens = 1 + number * 7 % 40;
    let token = |position: u32| (number / 3 * 13 + position * 5) % vocab;
    let request = Request {
        max_tokens: 1 + number as usize % 6,
        seed: u64::from(number),
        ..Request::new(Prompt::Tokens((0..num_tokens).map(token).collect()))
    };
    match number % 8 {
        0 => with_schema(request),
        1 => Request { samples: 3, ..request },
        2 => Request { method: Method::Beam { width: 3 }, samples: 2, ..request },
        _ => request,
    }
}

/// Runs so many requests, 32 at once; every fifth caller goes away after a first event.
fn soak(engine: &Engine, numbers: std::ops::Range<u32>, vocab: u32) {
    let mut running: VecDeque<(u32, Generation)> = VecDeque::new();
    let end = |(number, mut generation): (u32, Generation)| {
        if number.is_multiple_of(5) {
            generation.next();
        } else {
            generation.wait().unwrap();
        }
    };
    for number in numbers {
        if running.len() == 32
            && let Some(oldest) = running.pop_front()
        {
            end(oldest);
        }
        running.push_back((number, engine.submit(request(number, vocab)).unwrap()));
    }
    running.into_iter().for_each(end);
}

/// All that is counted goes back to zero.
fn assert_idle(engine: &Engine, num_requests: u64) {
    let metrics = loop {
        let metrics = engine.metrics();
        if metrics.requests == 0 {
            break metrics;
        }
        std::thread::yield_now();
    };
    assert_eq!(metrics.requests_finished + metrics.requests_cancelled, num_requests);
    assert_eq!((metrics.matchers, metrics.requests_failed, metrics.requests_waiting), (0, 0, 0));
    // Orders of those who went away may still be on their way.
    while engine.metrics().scheduler.running > 0 {
        std::thread::yield_now();
    }
    let scheduler = engine.metrics().scheduler;
    assert_eq!((scheduler.waiting, scheduler.microbatches_in_flight), (0, 0));
    assert!(scheduler.pages.iter().all(|pages| pages.held == 0), "{scheduler:?}");
}

#[test]
fn ten_thousand_short_requests_leave_memory_flat() {
    if !Slow::Soak.is_wanted("10,000 requests: half a minute") {
        return;
    }
    if env::var_os(ALONE).is_none() {
        return run_alone("soak::ten_thousand_short_requests_leave_memory_flat");
    }
    let files = TinyModel::new(Architecture::Llama).directory(StoredType::F32);
    let model = Model::open(&files.files).unwrap();
    // Too many are let in, so that some are preempted.
    let plan = with_pages(&even_plan(&model, 2), 24);
    let engine = Engine::builder(model, plan).reckon_ahead(false).build().unwrap();
    soak(&engine, 0..2_000, 256);
    let before = resident_bytes();
    soak(&engine, 2_000..10_000, 256);
    let after = resident_bytes();
    assert_idle(&engine, 10_000);
    assert!(engine.metrics().scheduler.preemptions > 0);
    let (Some(before), Some(after)) = (before, after) else {
        return skip("memory is not measured: this system has no /proc/self/statm");
    };
    let limit = before + (16 << 20);
    assert!(after < limit, "{before} bytes became {after}");
}

#[test]
fn two_hundred_requests_on_a_real_model() {
    if !Slow::Soak.is_wanted("200 requests on SmolLM2: half a minute") {
        return;
    }
    let model = smollm2();
    let engine = start(&model, &with_pages(&even_plan(&model, 2), 64));
    soak(&engine, 0..200, 49_000);
    assert_idle(&engine, 200);
}
