//! Engines over logical CPU devices, and requests for them.

use std::{collections::BTreeSet, sync::OnceLock};

use serde_json::{Value, json};
use sluicegate::{
    Completion, Engine, Prompt, Request,
    device::TransferError,
    engine::{EngineFailure, GenerationError},
    pipeline::StageError,
    sampler::{Method, Multinomial, Penalties},
};
use sluicegate_constraint::Spec;
use sluicegate_model::{
    open::Model,
    source::{Alias, ModelSource, Part, Silent},
    tokenizer::Tokenizer,
};
use sluicegate_placement::{
    Cluster, ClusterDevice, KvTokens, LinkFigures, Placement, Plan, PlanFields, Policy, Route,
    Sequences, plan,
};
use sluicegate_slow::Slow;
use sluicegate_spec::{
    device::DeviceId,
    files::ModelFiles,
    kv::KvType,
    placed::Misplaced,
    units::{Bytes, LayerRange},
};

/// The default model, fetched once for all runs.
///
/// # Panics
/// Where it can neither be fetched nor opened.
pub fn smollm2() -> Model {
    static MODEL: OnceLock<Model> = OnceLock::new();
    let open = || {
        let source = ModelSource::parse("smollm2").expect("an alias");
        let files = source.resolve(&Silent).expect("the alias can be fetched");
        Model::open(&files).expect("the default model opens")
    };
    MODEL.get_or_init(open).clone()
}

/// Gemma 3 270M, where slow tests are wanted that fetch something.
///
/// # Panics
/// Where it can neither be fetched nor opened.
pub fn gemma3() -> Option<Model> {
    Some(Model::open(&gemma3_files()?).expect("the model opens"))
}

/// The files of Gemma 3 270M alone.
///
/// # Panics
/// Where they cannot be fetched.
pub fn gemma3_files() -> Option<ModelFiles> {
    if !Slow::Fetch.is_wanted("Gemma 3 270M: 250 MB") {
        return None;
    }
    let source = ModelSource::parse("gemma3-270m").expect("an alias");
    Some(source.resolve(&Silent).expect("the alias can be fetched"))
}

/// The vocabulary of Mistral's models from 2024 on, in its own file format.
static TEKKEN: Alias = Alias {
    name: "tekken",
    file_name: "tekken_240911.json",
    num_bytes: 19_280_963,
    sha256: "1948e2d48b0e7377f1bb5f1210f1ae5f984934e75713fc07e2452729b8365316",
    parts: &[Part {
        requirement: "mistral-common==1.13.1",
        wheel_bytes: 6_589_302,
        member: "mistral_common/data/tekken_240911.json",
    }],
};

/// Mistral's tokenizer of 131,072 tokens, where slow tests are wanted that fetch something.
///
/// # Panics
/// Where it can neither be fetched nor read.
pub fn tekken() -> Option<Tokenizer> {
    if !Slow::Fetch.is_wanted("tekken: 7 MB") {
        return None;
    }
    let file = TEKKEN.fetch(&Silent).expect("the package can be fetched");
    Some(Tokenizer::from_tekken(&file).expect("the tokenizer is read"))
}

/// The model's plan on `num_devices` logical CPU devices, by `auto`, which is given good reasons to
/// use them all: links without latency.
///
/// # Panics
/// Where there is none, or it leaves a device out.
pub fn auto_plan(model: &Model, num_devices: u32) -> Plan {
    let devices: Vec<DeviceId> = (0..num_devices).map(DeviceId::Cpu).collect();
    let plan = make_plan(model, &devices, Placement::Auto, (KvType::F32, Route::Host));
    // One of them may hold the first layers and the head: two stages.
    let used: BTreeSet<DeviceId> = plan.stages.iter().map(|stage| stage.device).collect();
    assert_eq!(used.len(), devices.len(), "{plan}");
    plan
}

/// A plan with one stage per device, layers as even as may be.
///
/// # Panics
/// Where there is none.
pub fn even_plan(model: &Model, num_stages: u32) -> Plan {
    even_plan_for(model, num_stages, KvType::F32)
}

/// The same with keys and values of a type.
///
/// # Panics
/// Where there is none.
pub fn even_plan_for(model: &Model, num_stages: u32, kv_type: KvType) -> Plan {
    let devices: Vec<DeviceId> = (0..num_stages).map(DeviceId::Cpu).collect();
    even_plan_on(model, &devices, kv_type)
}

/// The same with a stage on each of these devices, which may be there twice.
///
/// # Panics
/// Where there is none.
pub fn even_plan_on(model: &Model, devices: &[DeviceId], kv_type: KvType) -> Plan {
    even_plan_over(model, devices, kv_type, Route::Host)
}

/// The same over links with this route.
///
/// # Panics
/// Where there is none.
pub fn even_plan_over(model: &Model, devices: &[DeviceId], kv_type: KvType, route: Route) -> Plan {
    let cut = |stage: usize| model.config.num_layers * stage / devices.len();
    let layers = |stage: usize| LayerRange { start: cut(stage), end: cut(stage + 1) };
    let stages = devices.iter().enumerate().map(|(stage, device)| (*device, layers(stage)));
    make_plan(model, devices, Placement::Layers(stages.collect()), (kv_type, route))
}

fn make_plan(
    model: &Model,
    devices: &[DeviceId],
    placement: Placement,
    (kv_type, route): (KvType, Route),
) -> Plan {
    let profile = model.profile(kv_type);
    let unlisted =
        LinkFigures { latency_s: 0.0, bytes_per_s: 1e12, route, ..LinkFigures::default() };
    let distinct: BTreeSet<DeviceId> = devices.iter().copied().collect();
    let device = |id| ClusterDevice { id, ..ClusterDevice::cpu(0, Bytes(4 << 30)) };
    let cluster = Cluster::of(distinct.into_iter().map(device).collect());
    let cluster = Cluster { unlisted, ..cluster };
    let policy = Policy {
        placement,
        chunk_tokens: 24,
        sequences: Sequences::Exactly(32),
        prompt_tokens: 32,
        output_tokens: 64,
        kv_tokens: KvTokens::Exactly(8192),
        ..Policy::default()
    };
    plan(&profile, &cluster, &policy).expect("the model fits")
}

/// The same plan with so many pages in each KV group.
///
/// # Panics
/// Where that is none.
pub fn with_pages(plan: &Plan, num_pages: usize) -> Plan {
    let mut fields = PlanFields::from(plan.clone());
    for stage in &mut fields.stages {
        let least = fields.pages_per_group.iter().min().expect("a plan has a KV group");
        stage.kv_bytes = Bytes(stage.kv_bytes.0.div_ceil(*least as u64) * num_pages as u64);
    }
    fields.pages_per_group.fill(num_pages);
    Plan::try_from(fields).expect("the pages fit")
}

/// Starts an engine by the plan.
///
/// # Panics
/// Where it does not start.
pub fn start(model: &Model, plan: &Plan) -> Engine {
    Engine::builder(model.clone(), plan.clone()).build().expect("the engine starts")
}

/// Runs a request to its end.
///
/// # Panics
/// Where it is refused or fails.
pub fn complete(engine: &Engine, request: &Request) -> Completion {
    let generation = engine.submit(request.clone()).expect("the request is admitted");
    generation.wait().expect("the request completes")
}

/// The samplers under test, by name: each with several rows.
pub fn samplers() -> [(&'static str, Request); 3] {
    let request = Request { max_tokens: 20, seed: 7, ..Request::new(Prompt::Tokens(Vec::new())) };
    let multinomial = Multinomial { temperature: 0.9, top_k: Some(40), top_p: 0.95, min_p: 0.01 };
    let penalties = Penalties { repetition: 1.1, frequency: 0.1, presence: 0.1 };
    [
        ("greedy", Request { samples: 2, ..request.clone() }),
        (
            "multinomial",
            Request {
                method: Method::Multinomial(multinomial),
                penalties,
                samples: 3,
                ..request.clone()
            },
        ),
        ("beam", Request { method: Method::Beam { width: 4 }, samples: 2, ..request }),
    ]
}

/// A schema that even a random model finishes soon.
pub fn small_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "name": { "type": "string", "maxLength": 6 },
            "age": { "type": "integer", "minimum": 0, "maximum": 99 },
            "tall": { "type": "boolean" }
        },
        "required": ["name", "age", "tall"],
        "additionalProperties": false
    })
}

/// The same request under [`small_schema`], with room to finish.
#[must_use]
pub fn with_schema(request: Request) -> Request {
    Request { constraint: Spec::json(small_schema()), max_tokens: 160, ..request }
}

/// The value that was used away from home, if that is what ended the request.
pub fn misplaced(error: &GenerationError) -> Option<&Misplaced> {
    let GenerationError::Engine(failure) = error else { return None };
    match &**failure {
        EngineFailure::Tokens(misplaced) => Some(misplaced),
        EngineFailure::Stage(failure) => match &*failure.error {
            StageError::Misplaced(misplaced)
            | StageError::Forward(sluicegate_model::error::ForwardError::Misplaced(misplaced))
            | StageError::Transfer(TransferError::Misplaced(misplaced)) => Some(misplaced),
            _ => None,
        },
        _ => None,
    }
}
