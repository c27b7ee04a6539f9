//! What an engine records of a real run holds together, and the checker can measure it.

use sluicegate::{Engine, Prompt, Request};
use sluicegate_core::timeline::{Activity, Lane, Timeline, Usage, Window};
use sluicegate_model::open::Model;
use sluicegate_spec::config::Architecture;
use sluicegate_tests::{
    engines::{complete, even_plan, start, with_schema},
    timelines::{check_stages, lane},
    tiny::{StoredType, TinyFiles, TinyModel},
};

const NUM_STAGES: usize = 3;

fn tiny() -> (TinyFiles, Model) {
    let files = TinyModel::new(Architecture::Llama).directory(StoredType::F32);
    let model = Model::open(&files.files).unwrap();
    (files, model)
}

fn recorded(model: &Model) -> Engine {
    let plan = even_plan(model, NUM_STAGES as u32);
    Engine::builder(model.clone(), plan).record_timeline().build().unwrap()
}

fn request(num_tokens: u32) -> Request {
    let tokens = (0..num_tokens).map(|token| (7 * token + 3) % 256).collect();
    Request { max_tokens: 20, ignore_eos: true, ..Request::new(Prompt::Tokens(tokens)) }
}

#[test]
fn a_timeline_says_who_did_what_one_after_the_other() {
    let (_files, model) = tiny();
    let engine = recorded(&model);
    let waiting: Vec<_> = [request(40), with_schema(request(5)), request(70)]
        .into_iter()
        .map(|request| engine.submit(request).unwrap())
        .collect();
    for generation in waiting {
        generation.wait().unwrap();
    }
    let timeline = engine.timeline();
    assert_eq!(timeline.devices, ["cpu:0", "cpu:1", "cpu:2"]);
    let num_tokens: usize = timeline.microbatches.iter().map(|note| note.tokens).sum();
    assert!(num_tokens > 40 + 5 + 70, "{num_tokens}");
    check_stages(&timeline, NUM_STAGES, 0.0);
    for stage in 0..NUM_STAGES {
        let spans = lane(&timeline, Lane::Stage(stage));
        let waits = spans.iter().any(|span| span.activity == Activity::AwaitMask);
        assert_eq!(waits, stage + 1 == NUM_STAGES, "only the last stage waits for masks");
    }
    let host = lane(&timeline, Lane::Host);
    assert_eq!(host.len(), 2 * timeline.microbatches.len(), "it makes orders and takes tokens");
    assert!(host.windows(2).all(|two| two[0].end_s <= two[1].start_s));
    assert!(lane(&timeline, Lane::Masker).iter().all(|span| span.activity == Activity::Mask));
    assert!(!lane(&timeline, Lane::Masker).is_empty());
}

#[test]
fn the_checker_measures_real_runs() {
    let (_files, model) = tiny();
    let engine = recorded(&model);
    complete(&engine, &request(60));
    let timeline = engine.timeline();
    let usage = Usage::of(&timeline, Window::Whole).unwrap();
    assert!(usage.fraction_of_ideal > 0.0 && usage.fraction_of_ideal <= 1.0 + 1e-9);
    assert_eq!(usage.stages.len(), NUM_STAGES);
    for stage in &usage.stages {
        let idle = stage.awaiting_input + stage.awaiting_masks + stage.awaiting_host;
        assert!((stage.busy() + stage.lent + idle - 1.0).abs() < 1e-6, "{stage:?}");
        assert!(stage.computing > 0.0 && stage.awaiting_masks == 0.0, "{stage:?}");
    }
    // What was handed out is not handed out again, and later microbatches go on in time.
    assert!(engine.timeline().microbatches.is_empty());
    complete(&engine, &request(3));
    let later = engine.timeline();
    assert!(later.spans.iter().all(|span| span.start_s >= timeline.end_s()));
}

#[test]
fn nothing_is_recorded_that_nobody_wants() {
    let (_files, model) = tiny();
    let engine = start(&model, &even_plan(&model, 1));
    complete(&engine, &request(3));
    assert_eq!(engine.timeline(), Timeline::default());
}
