//! N stages give the same tokens as one, for every sampler, with and without a schema.

use candle_core::quantized::GgmlDType;
use sluicegate::{Output, Prompt, Request};
use sluicegate_model::{home::SharedTable, open::Model, shard::Shard, threads::Threads};
use sluicegate_placement::{Plan, PlanFields};
use sluicegate_spec::{
    config::Architecture,
    units::{Bytes, UnitRange},
};
use sluicegate_tests::{
    engines::{complete, even_plan, samplers, smollm2, start, with_schema},
    steps::home,
    tiny::{StoredType, TinyModel},
};

const STAGES: [u32; 4] = [1, 2, 3, 5];

/// Every sampler's outputs, free and constrained; scores are compared to the last bit.
fn outputs(model: &Model, prompts: &[Prompt], plan: &Plan) -> Vec<(String, Vec<Output>)> {
    let engine = start(model, plan);
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
    let want = outputs(model, prompts, &even_plan(model, STAGES[0]));
    for num_stages in &STAGES[1..] {
        let plan = even_plan(model, *num_stages);
        assert_eq!(plan.stages.len(), *num_stages as usize);
        check_plan(model, prompts, &plan, &want);
    }
}

#[track_caller]
fn check_plan(model: &Model, prompts: &[Prompt], plan: &Plan, want: &[(String, Vec<Output>)]) {
    for ((name, got), (_, want)) in outputs(model, prompts, plan).iter().zip(want) {
        assert!(!want.is_empty());
        assert_eq!(got, want, "{name}: these stages differ from one:\n{plan}");
    }
}

/// The embedding alone on one device, the layers on two others, and the head back on the first.
fn there_and_back(model: &Model) -> Plan {
    let num_units = model.config.num_layers + 2;
    let mut fields = PlanFields::from(even_plan(model, 4));
    let cuts = [0, 1, num_units / 2, num_units - 1, num_units];
    let kv_bytes = Bytes(fields.stages.iter().map(|stage| stage.kv_bytes.0).sum());
    for (stage, cut) in fields.stages.iter_mut().zip(cuts.windows(2)) {
        stage.units = UnitRange { start: cut[0], end: cut[1] };
        stage.kv_bytes = kv_bytes;
    }
    fields.stages[3].device = fields.stages[0].device;
    Plan::try_from(fields).expect("all units, each once")
}

#[test]
fn a_head_that_comes_back_to_the_embedding_agrees() {
    for tied in [false, true] {
        let tiny = TinyModel::new(Architecture::Gemma3).tied(tied);
        let files = tiny.directory(StoredType::F32);
        let model = Model::open(&files.files).unwrap();
        let want = outputs(&model, &tiny_prompts(), &even_plan(&model, 1));
        check_plan(&model, &tiny_prompts(), &there_and_back(&model), &want);
    }
}

#[test]
fn a_head_on_the_embedding_s_device_holds_no_copy() {
    let files = TinyModel::new(Architecture::Llama).tied(true).directory(StoredType::F32);
    let Model { weights, config, .. } = &Model::open(&files.files).unwrap();
    let last = config.num_layers + 1;
    let head_bytes = |table: Option<SharedTable>| {
        let home = home(0, Threads::inline()).with_table(table);
        let units = UnitRange { start: last, end: last + 1 };
        Shard::load(weights, config, units, home, &[1]).unwrap().bytes().weights.0
    };
    let norm_bytes = 4 * config.hidden as u64;
    let table_bytes = 4 * (config.vocab * config.hidden) as u64;
    assert_eq!(head_bytes(None), norm_bytes + table_bytes);
    assert_eq!(head_bytes(Some(SharedTable::default())), norm_bytes);
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
fn stages_agree_on_gemma2() {
    check_tiny(Architecture::Gemma2);
}

#[test]
fn stages_agree_on_gemma3() {
    check_tiny(Architecture::Gemma3);
}

#[test]
fn stages_agree_on_phi3() {
    check_tiny(Architecture::Phi3);
}

#[test]
fn stages_agree_on_smollm2() {
    let prompts =
        ["The capital of France is", "1, 2, 3,"].map(|text| Prompt::Text(text.to_owned()));
    check(&smollm2(), &prompts);
}
