//! N stages give the same tokens as one, for every sampler, with and without a schema.

use candle_core::quantized::GgmlDType;
use sluicegate_model::{config::Architecture, open::Model};
use sluicegate_runtime::{Output, Prompt, Request};
use sluicegate_tests::{
    engines::{complete, even_plan, samplers, smollm2, start, with_schema},
    tiny::{StoredType, TinyModel},
};

const STAGES: [u32; 4] = [1, 2, 3, 5];

/// Every sampler's outputs, free and constrained; scores are compared to the last bit.
fn outputs(model: &Model, prompts: &[Prompt], num_stages: u32) -> Vec<(String, Vec<Output>)> {
    let engine = start(model, &even_plan(model, num_stages));
    assert_eq!(engine.plan().stages.len(), num_stages as usize);
    let mut outputs = Vec::new();
    for (name, request) in samplers() {
        let request = Request { prompts: prompts.to_vec(), ..request };
        let free = complete(&engine, &request).outputs;
        outputs.push((format!("{name}, free"), free));
        let constrained = complete(&engine, &with_schema(request)).outputs;
        outputs.push((format!("{name}, constrained"), constrained));
    }
    outputs
}

#[track_caller]
fn check(model: &Model, prompts: &[Prompt]) {
    let want = outputs(model, prompts, STAGES[0]);
    for num_stages in &STAGES[1..] {
        for ((name, got), (_, want)) in outputs(model, prompts, *num_stages).iter().zip(&want) {
            assert!(!want.is_empty());
            assert_eq!(got, want, "{name}: {num_stages} stages differ from one");
        }
    }
}

/// One prompt longer than the window, one of whole pages, one of a single token.
fn tiny_prompts() -> Vec<Prompt> {
    let tokens =
        |len: u32| Prompt::Tokens((0..len).map(|i| (7 * i * i + 3 * i + 11) % 256).collect());
    vec![tokens(27), tokens(16), tokens(1)]
}

#[track_caller]
fn check_tiny(architecture: Architecture) {
    for tied in [false, true] {
        let tiny = TinyModel::new(architecture).tied(tied);
        let files = tiny.directory(StoredType::F32);
        check(&Model::open(&files.files).unwrap(), &tiny_prompts());
    }
    let files = TinyModel::new(architecture).gguf(GgmlDType::Q8_0);
    check(&Model::open(&files.files).unwrap(), &tiny_prompts());
}

#[test]
fn stages_agree_on_llama() {
    check_tiny(Architecture::Llama);
}

#[test]
fn stages_agree_on_mistral() {
    check_tiny(Architecture::Mistral);
}

#[test]
fn stages_agree_on_qwen2() {
    check_tiny(Architecture::Qwen2);
    let windowed = TinyModel::new(Architecture::Qwen2).with("use_sliding_window", true);
    let files = windowed.directory(StoredType::F32);
    check(&Model::open(&files.files).unwrap(), &tiny_prompts());
}

#[test]
fn stages_agree_on_qwen3() {
    check_tiny(Architecture::Qwen3);
}

#[test]
fn stages_agree_on_gemma3() {
    check_tiny(Architecture::Gemma3);
}

#[test]
fn stages_agree_on_smollm2() {
    let prompts =
        ["The capital of France is", "1, 2, 3,"].map(|text| Prompt::Text(text.to_owned()));
    check(&smollm2(), &prompts);
}
