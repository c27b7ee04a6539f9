//! One stage at work: loaded, given the largest microbatches that its plan allows, and sampled.

use std::{num::NonZero, sync::Arc};

use candle_core::{Device, Tensor};
use sluicegate::{
    device::LogitRows,
    sampler::{
        GroupSampling, MaskRule, Method, Multinomial, Penalties, RandomKey, RowSampling, Sampler,
        SamplingParams,
    },
};
use sluicegate_core::messages::GroupId;
use sluicegate_model::{
    open::Model,
    shard::{Shard, ShardOutput},
    step::{Hidden, Logits, RowInput, Step, StepBuilder, TableInput},
    threads::Threads,
};
use sluicegate_placement::{Plan, PlannedStage};
use sluicegate_spec::{config::ModelConfig, device::DeviceId, kv::PAGE_TOKENS, placed::Placed};
use sluicegate_tests::steps::{first_page, home, ids};

use crate::allocator::{live, peak_of};

/// What a stage was found to hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    /// Weights and cache, once it is loaded.
    pub(crate) held: usize,
    /// The most while it was loaded.
    pub(crate) loading: usize,
    /// The most while it ran.
    pub(crate) running: usize,
}

/// New tokens of one row, and those before them.
#[derive(Debug, Clone, Copy)]
struct Extent {
    past: usize,
    new: usize,
}

/// Threads of a stage that has the processors to itself.
const ALONE: NonZero<usize> = NonZero::new(4).expect("four is not zero");

/// Loads and runs one stage; where the plan has more, in this thread alone, as they do then.
///
/// Weights are copied out of the mapped files, which the stages of a process share and the system
/// may drop at any time: what a stage holds are the copies, and those are counted.
pub(crate) fn measure(
    model: &Model,
    plan: &Plan,
    stage: &PlannedStage,
    context: usize,
) -> Measured {
    let threads = if plan.stages.len() == 1 { Threads::new(ALONE) } else { Threads::inline() };
    let before = live();
    let home = home(0, threads);
    let load =
        || Shard::load(&model.weights, &model.config, stage.units, home, &plan.pages_per_group);
    let (shard, loading) = peak_of(load);
    let mut shard = shard.expect("the plan's units are the model's");
    let held = live() - before;
    let running = microbatches(plan, context)
        .iter()
        .map(|extents| peak_of(|| run(model, plan, stage, &mut shard, extents)).1 - before)
        .max();
    Measured { held, loading: loading - before, running: running.expect("there are some") }
}

/// The largest microbatches: a chunk at the end of the longest context, a token of every row of the
/// batch, and as many rows with a chunk in the room that they leave.
fn microbatches(plan: &Plan, context: usize) -> [Vec<Extent>; 3] {
    let chunk = plan.chunk_tokens.min(context);
    let row = |new: usize| Extent { past: context - new, new };
    let rows = plan.batch.min(chunk) - 1;
    let mixed = [row(chunk - rows)].into_iter().chain(vec![row(1); rows]);
    [vec![row(chunk)], vec![row(1); plan.batch], mixed.collect()]
}

fn run(model: &Model, plan: &Plan, stage: &PlannedStage, shard: &mut Shard, extents: &[Extent]) {
    let home = DeviceId::Cpu(0);
    let step = step(&model.config, plan, extents);
    let num_tokens = step.tokens.elem_count();
    // What the stage before sent is in this one's memory.
    let hidden = (!stage.units.has_embed())
        .then(|| Placed::new(Hidden(zeros(num_tokens, model.config.hidden)), home));
    match shard.forward(Placed::new(&step, home), hidden).expect("the step fits") {
        ShardOutput::Hidden(_) => {}
        ShardOutput::Logits(logits) => sample(logits.as_ref(), extents.len(), model.config.vocab),
    }
}

fn zeros(num_tokens: usize, width: usize) -> Tensor {
    Tensor::zeros((num_tokens, width), candle_core::DType::F32, &Device::Cpu)
        .expect("a tensor of zeros")
}

/// Samples as the last stage does: all tokens allowed, by the method that takes most memory.
fn sample(logits: Option<&Placed<Logits>>, num_rows: usize, vocab: usize) {
    let mut rows = LogitRows::default();
    rows.read(logits, DeviceId::Cpu(0)).expect("at home");
    let key = RandomKey { seed: 0, prompt: 0, sample: 0, step: 0 };
    let row = RowSampling { mask: MaskRule::Free, step: 0, counts: Vec::new(), draws: vec![key] };
    let multinomial = Multinomial { temperature: 0.9, top_k: None, top_p: 0.95, min_p: 0.01 };
    let order = GroupSampling {
        group: GroupId(1),
        logit_rows: 0..num_rows,
        params: Arc::new(SamplingParams {
            method: Method::Multinomial(multinomial),
            penalties: Penalties::default(),
            min_tokens: 0,
            ignore_eos: false,
            num_top_tokens: 0,
            eos: Vec::new(),
        }),
        rows: vec![row; num_rows],
    };
    let sampler = Sampler::new(vec![u32::MAX; vocab.div_ceil(32)].into());
    let chosen = sampler.sample(&order, &mut rows.rows(0..num_rows), &[]);
    assert_eq!(chosen.choices.expect("all tokens are allowed").len(), num_rows);
}

/// A step whose rows have neighbouring pages each, and the logits of each row's last token.
fn step(config: &ModelConfig, plan: &Plan, extents: &[Extent]) -> Step {
    let groups = config.kv_groups();
    let mut step = StepBuilder::new(groups.len());
    for (row_idx, Extent { past, new }) in extents.iter().enumerate() {
        let tokens: Vec<u32> = (0..*new).map(|token| index(token % 256)).collect();
        let tables = groups.iter().zip(&plan.pages_per_group).map(|(group, num_pages)| {
            let num_pages = num_pages / plan.sequences;
            let first_position = first_page(*group, *past) * PAGE_TOKENS;
            let wanted = (past + new - first_position).div_ceil(PAGE_TOKENS);
            assert!(wanted <= num_pages, "a row wants {wanted} of {num_pages} pages");
            let pages = row_idx * num_pages..row_idx * num_pages + wanted;
            (first_position, pages.map(index).collect())
        });
        let tables: Vec<(usize, Vec<u32>)> = tables.collect();
        let tables = tables
            .iter()
            .map(|(first_position, pages)| TableInput { first_position: *first_position, pages });
        step.push(&RowInput { tokens: &tokens, past: *past, logits: new - 1..*new }, tables);
    }
    step.build(|words| Ok(ids(&words))).expect("a step on the host")
}

fn index(number: usize) -> u32 {
    u32::try_from(number).expect("test sizes are small")
}
