//! Whole requests with f32 weights, whose tokens rounding does not change: samplers, beams,
//! constraints, and many at once.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use sluicegate::{Engine, Output, Request, pipeline::BeforeForward, sampler::Method};
use sluicegate_constraint::Spec;
use sluicegate_core::messages::MicrobatchId;
use sluicegate_model::open::Model;
use sluicegate_placement::StageId;
use sluicegate_spec::{config::Architecture, device::DeviceId, kv::KvType};
use sluicegate_tests::{
    engines::{complete, even_plan_on, samplers, with_pages, with_schema},
    serving::{assert_idle, mixed_requests, prompt},
    tiny::{StoredType, TinyFiles, TinyModel},
};

use crate::{
    bounds,
    target::{Target, start},
};

const KV_TYPE: KvType = KvType::F32;

fn tiny(architecture: Architecture) -> (TinyFiles, Model) {
    let files = TinyModel::new(architecture).directory(StoredType::F32);
    let model = Model::open(&files.files).unwrap();
    (files, model)
}

pub(crate) fn of_samplers(target: &Target) {
    let requests = samplers().map(|(_, request)| {
        let prompts = (0..3).map(|number| prompt(number, 9 + 16 * number)).collect();
        Request { prompts, ..request }
    });
    for architecture in [Architecture::Llama, Architecture::Gemma3] {
        check(target, architecture, &requests);
    }
}

pub(crate) fn of_beams(target: &Target) {
    let request = |width: usize, number| Request {
        method: Method::Beam { width },
        samples: width,
        max_tokens: 40,
        ..Request::new(prompt(number, 30))
    };
    check(target, Architecture::Qwen3, &[request(2, 1), request(5, 2)]);
}

pub(crate) fn of_constraints(target: &Target) {
    let free = |number| Request { max_tokens: 60, ..Request::new(prompt(number, 20)) };
    let texts = ["red", "green", "greenish", "blue"].map(str::to_owned).to_vec();
    let specs = [Spec::Choice(texts), Spec::Regex("[a-f]{3,8}(-[0-9]{2}){2}".to_owned())];
    let mut requests: Vec<Request> = (0..)
        .zip(specs)
        .map(|(number, constraint)| Request { constraint, ..free(number) })
        .collect();
    requests.extend(
        samplers()
            .map(|(_, request)| with_schema(Request { prompts: vec![prompt(7, 24)], ..request })),
    );
    check(target, Architecture::Llama, &requests);
}

pub(crate) fn together(target: &Target) {
    let (_files, model) = tiny(Architecture::Llama);
    // As many pages as the largest of them needs alone.
    let plan = with_pages(&target.plan(&model, KV_TYPE), 4 * 14);
    let wanted = alone(&model, &mixed_requests());
    // Too many are let in, so that some are preempted.
    let builder = Engine::builder(model, plan).kv_type(KV_TYPE).reckon_ahead(false);
    let engine = builder.build().unwrap();
    // The first wave is cancelled while it runs.
    for request in mixed_requests() {
        let mut running = engine.submit(request).unwrap();
        running.next();
    }
    compare(target, &wanted, &at_once(&engine, &mixed_requests()));
    let scheduler = assert_idle(&engine).scheduler;
    assert!(scheduler.preemptions > 0 && scheduler.shared_tokens > 0, "{scheduler:?}");
}

/// Stages that have kept their weights go on in new threads.
pub(crate) fn after_a_failure(target: &Target) {
    let (_files, model) = tiny(Architecture::Llama);
    let requests: Vec<Request> = mixed_requests().into_iter().take(6).collect();
    let wanted = alone(&model, &requests);
    for failing in 0..target.stages.len() {
        let calls = Arc::new(AtomicUsize::new(0));
        let hook: BeforeForward = Arc::new(move |stage: StageId, _: MicrobatchId| {
            let is_it = stage.0 == failing && calls.fetch_add(1, Ordering::Relaxed) == 9;
            assert!(!is_it, "as a test asked");
        });
        let plan = with_pages(&target.plan(&model, KV_TYPE), 40);
        let engine = Engine::builder(model.clone(), plan).before_forward(hook).build().unwrap();
        compare(target, &wanted, &at_once(&engine, &requests));
        assert_eq!(assert_idle(&engine).incarnation, 2);
    }
}

fn check(target: &Target, architecture: Architecture, requests: &[Request]) {
    let (_files, model) = tiny(architecture);
    let wanted = alone(&model, requests);
    let engine = start(&model, &target.plan(&model, KV_TYPE), KV_TYPE);
    let found: Vec<_> = requests.iter().map(|it| complete(&engine, it).outputs).collect();
    compare(target, &wanted, &found);
}

/// One after another on one stage of a CPU.
fn alone(model: &Model, requests: &[Request]) -> Vec<Vec<Output>> {
    let engine = start(model, &even_plan_on(model, &[DeviceId::Cpu(0)], KV_TYPE), KV_TYPE);
    requests.iter().map(|request| complete(&engine, request).outputs).collect()
}

fn at_once(engine: &Engine, requests: &[Request]) -> Vec<Vec<Output>> {
    let running: Vec<_> = requests.iter().map(|it| engine.submit(it.clone()).unwrap()).collect();
    running.into_iter().map(|it| it.wait().unwrap().outputs).collect()
}

/// The same tokens, and scores within the bound of as many tokens.
fn compare(target: &Target, wanted: &[Vec<Output>], found: &[Vec<Output>]) {
    assert_eq!(wanted.len(), found.len());
    for (number, (wanted, found)) in wanted.iter().zip(found).enumerate() {
        if target.is_exact {
            assert_eq!(wanted, found, "request {number}");
        }
        assert_eq!(wanted.len(), found.len(), "request {number}");
        for (wanted, found) in wanted.iter().zip(found) {
            assert_eq!(wanted.token_ids, found.token_ids, "request {number}");
            assert_eq!(wanted.finish_reason, found.finish_reason, "request {number}");
            let bound = bounds::F32 * (wanted.token_ids.len() + 1) as f64;
            let off = (wanted.score - found.score).abs();
            assert!(off <= bound, "request {number}: scores differ by {off}, bound {bound}");
        }
    }
}
