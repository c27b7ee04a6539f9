//! Caches in half of the memory: the same tokens whatever the stages, and nearly those of f32.

use sluicegate::{Engine, Event, Output, Prompt, Request, engine::BuildError, stream::Token};
use sluicegate_model::open::Model;
use sluicegate_placement::Plan;
use sluicegate_spec::{config::Architecture, kv::KvType};
use sluicegate_tests::{
    engines::{complete, even_plan, even_plan_for, samplers, smollm2},
    tiny::{StoredType, TinyModel},
};

fn start(model: &Model, plan: &Plan, kv_type: KvType) -> Result<Engine, BuildError> {
    Engine::builder(model.clone(), plan.clone()).kv_type(kv_type).build()
}

fn outputs(model: &Model, num_stages: u32, kv_type: KvType) -> Vec<Vec<Output>> {
    let plan = even_plan_for(model, num_stages, kv_type);
    let engine = start(model, &plan, kv_type).unwrap();
    let tokens = |len: u32| Prompt::Tokens((0..len).map(|i| (7 * i * i + 3 * i) % 256).collect());
    let prompts = vec![tokens(27), tokens(16), tokens(1)];
    let requests = samplers().map(|(_, it)| Request { prompts: prompts.clone(), ..it });
    requests.iter().map(|request| complete(&engine, request).outputs).collect()
}

#[test]
fn stages_agree_whatever_the_cache_is_made_of() {
    for architecture in [Architecture::Llama, Architecture::Gemma3] {
        let files = TinyModel::new(architecture).directory(StoredType::F32);
        let model = Model::open(&files.files).unwrap();
        for kv_type in [KvType::F16, KvType::Bf16] {
            let want = outputs(&model, 1, kv_type);
            assert_eq!(outputs(&model, 3, kv_type), want, "{architecture:?}, {kv_type}");
            // It is not f32 under another name: scores have other bits.
            assert_ne!(outputs(&model, 1, KvType::F32), want, "{architecture:?}, {kv_type}");
        }
    }
}

/// How far the logarithms of the probabilities of the chosen tokens lie from those of f32, as long
/// as both choose alike; once they do not, they read different texts.
fn differences(model: &Model, prompt: &Prompt, kv_type: KvType) -> Vec<f64> {
    let tokens = |kv_type| -> Vec<Token> {
        let engine = start(model, &even_plan_for(model, 2, kv_type), kv_type).unwrap();
        let request = Request { max_tokens: 32, ..Request::new(prompt.clone()) };
        let events = engine.submit(request).unwrap().map(Result::unwrap);
        let tokens = events.filter_map(|event| match event {
            Event::Text { tokens, .. } => Some(tokens),
            _ => None,
        });
        tokens.flatten().collect()
    };
    let (want, got) = (tokens(KvType::F32), tokens(kv_type));
    let alike = want.iter().zip(&got).take_while(|(want, got)| want.id == got.id);
    alike.map(|(a, b)| (a.log_probability - b.log_probability).abs()).collect()
}

#[track_caller]
fn check_close(model: &Model, prompt: &Prompt, kv_type: KvType, tolerance: f64) {
    let differences = differences(model, prompt, kv_type);
    assert!(differences.len() >= 4, "{kv_type}: {differences:?}");
    assert!(differences.iter().all(|it| *it < tolerance), "{kv_type}: {differences:?}");
}

#[test]
fn half_of_the_cache_is_nearly_as_sure_of_its_tokens() {
    let files = TinyModel::new(Architecture::Llama).directory(StoredType::F32);
    let tiny = Model::open(&files.files).unwrap();
    let prompt = Prompt::Tokens((0..40).map(|i| (7 * i + 3) % 256).collect());
    check_close(&tiny, &prompt, KvType::F16, 1e-3);
    check_close(&tiny, &prompt, KvType::Bf16, 1e-2);
    // Whose activations are rounded to 8 bits: a difference that tips one of them over grows.
    let prompt = Prompt::Text("The capital of France is Paris, and the".to_owned());
    check_close(&smollm2(), &prompt, KvType::F16, 0.2);
}

#[test]
fn a_plan_for_smaller_numbers_is_refused() {
    let files = TinyModel::new(Architecture::Llama).directory(StoredType::F32);
    let model = Model::open(&files.files).unwrap();
    let half = even_plan_for(&model, 2, KvType::Bf16);
    let (planned, whole) = (half.stages[0].kv_bytes.0, even_plan(&model, 2).stages[0].kv_bytes.0);
    assert_eq!(2 * planned, whole);
    let error = start(&model, &half, KvType::F32).unwrap_err().to_string();
    let want = "the pages of stage 0 take";
    assert!(error.starts_with(want) && error.contains("4 bytes per cached number"), "{error}");
    // More memory than is needed does no harm.
    assert!(start(&model, &even_plan(&model, 2), KvType::F16).is_ok());
}
