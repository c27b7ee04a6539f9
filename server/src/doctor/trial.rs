//! Runs a model on the devices: a small artificial one, or the caller's.

use std::{
    collections::BTreeMap,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use sluicegate::{Engine, Output, Prompt, Request, device::held::held};
use sluicegate_model::open::Model;
use sluicegate_placement::{Cluster, ClusterDevice, Placement, Plan, Policy, Purpose};
use sluicegate_spec::{
    config::{Architecture, ModelConfig, Rope, RopeScaling},
    device::DeviceId,
    kv::KvType,
    profile::ComputeType,
    units::{Bytes, LayerRange, TokenId},
};

use super::{Report, machine::difference};
use crate::{cli::ModelArgs, counted::counted, error::CliError, generate, place};

const PROMPT: &str = "The quick brown fox jumps over the lazy dog.";
const NUM_TOKENS: usize = 16;
/// Of the small model.
const LAYERS_PER_STAGE: usize = 2;
/// How far the log-probability of the same token may be from a CPU's, with f32 weights.
const TOLERANCE: f64 = 1e-3;

/// Runs a small model on one CPU device, then on all devices, and compares the outputs.
pub(super) fn of_devices<W: Write>(
    devices: &[DeviceId],
    report: &mut Report<W>,
) -> Result<(), CliError> {
    // A single device gets two stages, so that there is a transfer between stages.
    let stages = match devices {
        [device] => vec![*device; 2],
        devices => devices.to_vec(),
    };
    let model = small_model(stages.len() * LAYERS_PER_STAGE)?;
    let alone = run(&model, small_plan(&model, &[DeviceId::Cpu(0)]));
    let (alone, outcome) = said(alone, |ran| Ok(ran.describe()));
    report.check("1 stage", outcome)?;
    let all = run(&model, small_plan(&model, &stages));
    let name = counted(stages.len(), "stage");
    let (_, outcome) = said(all, |ran| {
        let compared = alone.as_ref().map_or(Ok(()), |alone| compare(alone, &ran.output));
        compared.map(|()| format!("{}, as 1 stage on cpu:0", ran.describe()))
    });
    report.check(&name, outcome)
}

/// Runs a model where `auto` places it, and compares the memory in use with the plan.
pub(super) fn of_model<W: Write>(args: &ModelArgs, report: &mut Report<W>) -> Result<(), CliError> {
    let model = generate::open(args)?;
    let request = request(&model)?;
    let plan = place::plan(args, &model, &request, Purpose::Trial)?;
    let before = held_by(&plan);
    let planned = planned_of(&plan);
    let name = model.name.clone();
    let outcome = run(&model, Ok(plan.clone()));
    let (ran, outcome) = said(outcome, |ran| Ok(ran.describe()));
    report.check(&name, outcome)?;
    let Some(ran) = ran else { return Ok(()) };
    for (device, planned) in planned {
        let text = match (before.get(&device), ran.held.get(&device)) {
            (Some(before), Some(after)) => {
                difference(planned, Bytes(after.0.saturating_sub(before.0)))
            }
            _ => format!("planned {planned}; the system does not report the memory in use"),
        };
        report.say("memory", &format!("{device}: {text}, weights and cache"))?;
    }
    Ok(())
}

/// The results of a run.
struct Ran {
    plan: Plan,
    output: Output,
    load: Duration,
    generation: Duration,
    /// While the engine was running.
    held: BTreeMap<DeviceId, Bytes>,
}

impl Ran {
    fn describe(&self) -> String {
        let stage =
            |(id, stage): (sluicegate_placement::StageId, &sluicegate_placement::PlannedStage)| {
                format!("{id} on {} (layers {})", stage.device, self.plan.layers(stage))
            };
        let stages: Vec<String> = self.plan.stages().map(stage).collect();
        format!(
            "{}; loaded in {:.2} s, {} in {:.3} s",
            stages.join(", "),
            self.load.as_secs_f64(),
            counted(self.output.token_ids.len(), "token"),
            self.generation.as_secs_f64()
        )
    }
}

fn run(model: &Model, plan: Result<Plan, CliError>) -> Result<Ran, CliError> {
    let plan = plan?;
    let began = Instant::now();
    let engine = Engine::builder(model.clone(), plan.clone()).build().map_err(CliError::failed)?;
    let load = began.elapsed();
    let began = Instant::now();
    let completion = engine.submit(request(model)?)?.wait().map_err(CliError::failed)?;
    let generation = began.elapsed();
    let held = held_by(&plan);
    let output = completion.outputs.into_iter().next();
    let output = output.ok_or_else(|| CliError::failed(anyhow!("it gave no output")))?;
    Ok(Ran { plan, output, load, generation, held })
}

/// Splits an outcome into the run, if it succeeded, and its description.
fn said(
    outcome: Result<Ran, CliError>,
    describe: impl FnOnce(&Ran) -> Result<String, CliError>,
) -> (Option<Ran>, Result<String, CliError>) {
    match outcome {
        Ok(ran) => {
            let text = describe(&ran);
            (Some(ran), text)
        }
        Err(error) => (None, Err(error)),
    }
}

/// Accepts the same tokens or, since rounding differs among kinds of devices, scores within the
/// tolerance.
fn compare(wanted: &Ran, found: &Output) -> Result<(), CliError> {
    let wanted = &wanted.output;
    if wanted.token_ids == found.token_ids {
        return Ok(());
    }
    let distance = (wanted.score - found.score).abs() / NUM_TOKENS as f64;
    if distance <= TOLERANCE {
        return Ok(());
    }
    let same = wanted.token_ids.iter().zip(&found.token_ids).take_while(|(a, b)| a == b).count();
    Err(CliError::failed(anyhow!(
        "after {} the outputs differ, and their log-probabilities by {distance:.2e} a \
         token, wanted at most {TOLERANCE:.0e}",
        counted(same, "token")
    )))
}

fn request(model: &Model) -> Result<Request, CliError> {
    let tokens = model.tokenizer.encode(PROMPT, true).map_err(CliError::failed)?;
    let room = model.config.max_positions.saturating_sub(NUM_TOKENS).max(1);
    let tokens: Vec<TokenId> = tokens.into_iter().take(room).collect();
    Ok(Request { max_tokens: NUM_TOKENS, ignore_eos: true, ..Request::new(Prompt::Tokens(tokens)) })
}

/// Returns the memory in use by this process, or by all users of a GPU, for each device of a plan.
/// All logical CPU devices count as one.
fn held_by(plan: &Plan) -> BTreeMap<DeviceId, Bytes> {
    let devices = plan.stages.iter().map(|stage| counted_as(stage.device));
    devices.filter_map(|device| Some((device, held(device)?))).collect()
}

/// Returns the planned memory for weights and cache, by device as in [`held_by`].
fn planned_of(plan: &Plan) -> BTreeMap<DeviceId, Bytes> {
    let mut planned = BTreeMap::new();
    for stage in &plan.stages {
        let sum: &mut Bytes = planned.entry(counted_as(stage.device)).or_default();
        sum.0 += stage.weight_bytes.0 + stage.kv_bytes.0;
    }
    planned
}

/// All logical CPU devices share the memory of one process.
fn counted_as(device: DeviceId) -> DeviceId {
    match device {
        DeviceId::Cpu(_) => DeviceId::Host,
        other => other,
    }
}

fn small_model(num_layers: usize) -> Result<Model, CliError> {
    let config = ModelConfig {
        architecture: Architecture::Llama,
        num_layers,
        hidden: 64,
        intermediate: 128,
        num_heads: 4,
        num_kv_heads: 2,
        head_dim: 16,
        vocab: 512,
        max_positions: 256,
        norm_eps: 1e-5,
        attention_scale: 0.25,
        score_cap: None,
        logit_cap: None,
        rope: Rope::new(10_000.0, RopeScaling::None),
        local_rope: None,
        windows: vec![None; num_layers],
        tied: false,
        bos: None,
        eos: Vec::new(),
    };
    let model = Model::dummy_of(config, ComputeType::F32, 0, Path::new("a small model"));
    model.context("cannot make the small model").map_err(CliError::Failed)
}

/// Places the small model on stages with equally many layers.
fn small_plan(model: &Model, stages: &[DeviceId]) -> Result<Plan, CliError> {
    let profile = model.profile(KvType::default());
    let each = model.config.num_layers / stages.len();
    let layers = (0..).step_by(each).map(|start| LayerRange { start, end: start + each });
    let layers = stages.iter().copied().zip(layers).collect();
    let mut devices = stages.to_vec();
    devices.sort_unstable();
    devices.dedup();
    let memory = Bytes(64 << 20);
    let device = |id| ClusterDevice { id, ..ClusterDevice::cpu(0, memory) };
    let cluster = Cluster::of(devices.into_iter().map(device).collect());
    let policy = Policy { placement: Placement::Layers(layers), ..Policy::default() };
    sluicegate_placement::plan(&profile, &cluster, &policy).map_err(CliError::failed)
}
