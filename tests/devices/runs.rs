//! What a run shows beside its texts: when each stage worked, what crossed, and the error of a
//! forgotten transfer.

use sluicegate::{Engine, Prompt, Request};
use sluicegate_core::timeline::{Activity, Lane};
use sluicegate_model::open::Model;
use sluicegate_spec::{config::Architecture, kv::KvType};
use sluicegate_tests::{
    engines::with_schema,
    ledger::check_against_plan,
    outlines_bug::{check_mutants, json_requests},
    timelines::{check_stages, lane},
    tiny::{StoredType, TinyModel},
};

use crate::target::Target;

fn prompt(num_tokens: u32) -> Prompt {
    Prompt::Tokens((0..num_tokens).map(|i| (11 * i + 5) % 256).collect())
}

/// Times are those of the devices' work, not of when it was asked for.
pub(crate) fn of_times(target: &Target) {
    let files = TinyModel::new(Architecture::Llama).directory(StoredType::F32);
    let model = Model::open(&files.files).unwrap();
    let plan = target.plan(&model, KvType::F32);
    let engine = Engine::builder(model, plan).record_timeline().build().unwrap();
    let request = |num_tokens| Request { max_tokens: 20, ..Request::new(prompt(num_tokens)) };
    let running: Vec<_> = [request(90), with_schema(request(5)), request(40)]
        .into_iter()
        .map(|request| engine.submit(request).unwrap())
        .collect();
    for running in running {
        running.wait().unwrap();
    }
    let timeline = engine.timeline();
    let num_stages = target.stages.len();
    assert!(timeline.microbatches.len() > 20, "{}", timeline.microbatches.len());
    // Each GPU has a clock of its own.
    let leeway_s = if target.is_exact { 0.0 } else { 5e-3 };
    check_stages(&timeline, num_stages, leeway_s);
    // Layers take longer than the copy of what they give. A GPU that is waited for in that copy
    // would be said to have copied all the time.
    for stage in 0..num_stages - 1 {
        let seconds = |activity| {
            let spans = lane(&timeline, Lane::Stage(stage));
            spans.iter().filter(|it| it.activity == activity).map(|it| it.end_s - it.start_s).sum()
        };
        let [computing, copying]: [f64; 2] = [Activity::Compute, Activity::Transfer].map(seconds);
        assert!(computing > copying, "stage {stage} computed {computing} s, copied {copying} s");
    }
}

/// What crosses is what the plan foresees, byte for byte.
pub(crate) fn of_the_ledger(target: &Target) {
    let files = TinyModel::new(Architecture::Gemma3).directory(StoredType::F32);
    let model = Model::open(&files.files).unwrap();
    let plan = target.plan(&model, KvType::F32);
    for is_constrained in [false, true] {
        check_against_plan(&model, &plan, prompt(60), is_constrained);
    }
}

/// Each transfer of the plan left out in turn: the error says which is missing.
pub(crate) fn of_the_outlines_bug(target: &Target) {
    let files = TinyModel::new(Architecture::Mistral).directory(StoredType::F32);
    let model = Model::open(&files.files).unwrap();
    let plan = target.plan(&model, KvType::F32);
    check_mutants(&model, &plan, &json_requests(&prompt(21)));
}
