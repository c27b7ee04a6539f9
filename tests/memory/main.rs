//! What stages on logical CPU devices hold, counted by the allocator, against what their plan says.
//!
//! A binary of its own with one test: the allocator counts the whole process.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod allocator;
mod stage;

use std::fmt::Write;

use candle_core::quantized::GgmlDType;
use sluicegate_model::open::Model;
use sluicegate_placement::{Cluster, KvTokens, Placement, Plan, Policy, Sequences, plan};
use sluicegate_spec::{
    config::Architecture,
    device::DeviceId,
    kv::KvType,
    units::{Bytes, LayerRange},
};
use sluicegate_tests::{
    engines::smollm2,
    tiny::{StoredType, TinyModel},
};
use stage::Measured;

#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting;

/// The longest context of the plans.
const CONTEXT: usize = 512;

/// A model of some tens of megabytes, with a window where the family has one.
fn model(architecture: Architecture) -> TinyModel {
    TinyModel::new(architecture)
        .with("hidden_size", 512)
        .with("intermediate_size", 1024)
        .with("num_attention_heads", 8)
        .with("num_key_value_heads", 2)
        .with_head_dim(64)
        .with("vocab_size", 4096)
        .with("query_pre_attn_scalar", 64)
}

fn stored(architecture: Architecture, stored: StoredType) -> Model {
    Model::open(&model(architecture).directory(stored).files).unwrap()
}

fn quantized(architecture: Architecture, kind: GgmlDType) -> Model {
    Model::open(&model(architecture).gguf(kind).files).unwrap()
}

/// Nothing of its weights is on a disk.
fn dummy(architecture: Architecture, dtype: &str) -> Model {
    let file = tempfile::NamedTempFile::with_suffix(".json").unwrap();
    let config = model(architecture).with("torch_dtype", dtype);
    std::fs::write(file.path(), config.config().to_string()).unwrap();
    Model::dummy(file.path(), 7).unwrap()
}

/// The most rows and new tokens of a microbatch.
#[derive(Clone, Copy)]
struct Largest {
    batch: usize,
    chunk_tokens: usize,
}

/// A plan with layers as even as may be, and a cache for the whole batch.
fn plan_of(model: &Model, num_stages: u32, largest: Largest) -> Plan {
    let Largest { batch, chunk_tokens } = largest;
    let profile = model.profile(KvType::default());
    let cut = |stage: u32| model.config.num_layers * stage as usize / num_stages as usize;
    let layers = |stage: u32| LayerRange { start: cut(stage), end: cut(stage + 1) };
    let stages = (0..num_stages).map(|stage| (DeviceId::Cpu(stage), layers(stage)));
    let policy = Policy {
        sequences: Sequences::Exactly(batch),
        prompt_tokens: CONTEXT - 128,
        output_tokens: 128,
        chunk_tokens,
        kv_tokens: KvTokens::Exactly(batch * CONTEXT),
        placement: Placement::Layers(stages.collect()),
        ..Policy::default()
    };
    plan(&profile, &Cluster::logical_cpus(num_stages, Bytes(4 << 30)), &policy).unwrap()
}

/// Measured and planned bytes of all cases, and how far they are apart.
#[derive(Default)]
struct Report {
    lines: String,
    failures: String,
}

impl Report {
    fn case(&mut self, name: &str, model: &Model, num_stages: u32, largest: Largest) {
        let plan = plan_of(model, num_stages, largest);
        for (stage_idx, stage) in plan.stages.iter().enumerate() {
            let measured = stage::measure(model, &plan, stage, CONTEXT);
            let Measured { held, loading, running } = measured;
            let planned_held = stage.weight_bytes.0 + stage.kv_bytes.0;
            let planned = stage.total_bytes().0;
            let ratio = planned as f64 / running as f64;
            let kib = |bytes: u64| bytes / 1024;
            let line = format!(
                "{name:<16} {}/{num_stages} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>+7.2} %",
                stage_idx + 1,
                kib(planned_held),
                kib(held as u64),
                kib(stage.workspace_bytes.0),
                kib((running - held) as u64),
                kib(planned),
                kib(running as u64),
                (ratio - 1.0) * 100.0,
            );
            writeln!(self.lines, "{line}").unwrap();
            let held_ratio = planned_held as f64 / held as f64;
            let loads_within = loading as f64 <= 1.02 * planned as f64;
            // The workspace is a small part of all, and must not hide in it.
            let taken = (running - held) as f64;
            let is_good = (0.98..=1.05).contains(&ratio)
                && (0.98..=1.02).contains(&held_ratio)
                && stage.workspace_bytes.0 as f64 >= 0.95 * taken;
            if !is_good || !loads_within {
                writeln!(self.failures, "{line}; loading took {}", kib(loading as u64)).unwrap();
            }
        }
    }
}

#[test]
fn plans_say_what_stages_hold() {
    use Architecture::{Gemma2, Gemma3, Llama, Mistral, Phi3, Qwen2, Qwen3};
    let mut report = Report::default();
    let prefill = Largest { batch: 8, chunk_tokens: 128 };
    let mut stages = |name: &str, model: &Model| {
        (1..=3).for_each(|num_stages| report.case(name, model, num_stages, prefill));
    };
    stages("llama f32", &stored(Llama, StoredType::F32));
    stages("llama f16", &stored(Llama, StoredType::F16));
    stages("llama bf16", &stored(Llama, StoredType::BF16));
    stages("qwen2 bf16 tied", &stored(Qwen2, StoredType::BF16));
    stages("gemma2 f32 tied", &stored(Gemma2, StoredType::F32));
    stages("gemma3 f32 tied", &stored(Gemma3, StoredType::F32));
    stages("phi3 bf16", &stored(Phi3, StoredType::BF16));
    stages("phi3 q4_k", &quantized(Phi3, GgmlDType::Q4K));
    stages("llama q8_0", &quantized(Llama, GgmlDType::Q8_0));
    stages("mistral q4_1", &quantized(Mistral, GgmlDType::Q4_1));
    stages("qwen3 q6_k", &quantized(Qwen3, GgmlDType::Q6K));
    stages("qwen3 f16 gguf", &quantized(Qwen3, GgmlDType::F16));
    stages("smollm2 q4_1", &smollm2());
    stages("dummy llama bf16", &dummy(Llama, "bfloat16"));
    stages("dummy gemma3 f32", &dummy(Gemma3, "float32"));
    let decode = Largest { batch: 16, chunk_tokens: 16 };
    report.case("qwen2 16 rows", &stored(Qwen2, StoredType::BF16), 2, decode);
    report.case("smollm2 16 rows", &smollm2(), 2, decode);
    let one = Largest { batch: 1, chunk_tokens: 1 };
    report.case("smollm2 1 row", &smollm2(), 2, one);
    let columns = "KiB: weights and cache planned and held, workspace planned and taken, all \
                   planned and measured, difference";
    println!("{columns}\n{}", report.lines);
    assert!(report.failures.is_empty(), "{columns}\n{}", report.failures);
}
