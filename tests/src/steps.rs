//! Steps and shards built by hand, without scheduler and links.

use std::ops::Range;

use candle_core::{Device, Tensor};
use sluicegate_model::{
    home::Home,
    shard::{Shard, ShardOutput},
    step::{self, Hidden, Step, StepBuilder, TableInput},
    threads::Threads,
    weights::Weights,
};
use sluicegate_spec::{
    config::{KvGroup, ModelConfig},
    device::DeviceId,
    kv::{KvType, PAGE_TOKENS},
    placed::Placed,
    units::UnitRange,
};

/// New tokens of one sequence.
#[derive(Debug, Clone)]
pub struct RowInput<'a> {
    /// Which sequence: decides its pages.
    pub sequence: usize,
    /// Its tokens before these.
    pub past: usize,
    pub tokens: &'a [u32],
    /// Which of the tokens' logits are wanted.
    pub logits: Range<usize>,
}

/// Pages that each test sequence has in each KV group.
pub const PAGES_PER_SEQUENCE: usize = 4;

/// A value of test input on the CPU.
#[expect(clippy::disallowed_methods, reason = "a step by hand is made on the host")]
pub fn ids(ids: &[u32]) -> Tensor {
    Tensor::new(ids, &Device::Cpu).expect("a slice becomes a tensor")
}

fn id(index: usize) -> u32 {
    u32::try_from(index).expect("test sizes are small")
}

/// The page of a sequence's position: backwards, so that no order is taken for granted.
fn page(sequence: usize, position: usize) -> u32 {
    let within = position / PAGE_TOKENS;
    assert!(within < PAGES_PER_SEQUENCE, "position {position} is past the test's pages");
    id((sequence + 1) * PAGES_PER_SEQUENCE - 1 - within)
}

/// Builds the step of some rows. Window groups' tables leave out the pages that no token sees.
pub fn step(config: &ModelConfig, rows: &[RowInput<'_>]) -> Step {
    let groups = config.kv_groups();
    let mut step = StepBuilder::new(groups.len());
    for RowInput { sequence, past, tokens, logits } in rows {
        let tables: Vec<(usize, Vec<u32>)> = groups
            .iter()
            .map(|group| {
                let first = first_page(*group, *past);
                let positions = (first * PAGE_TOKENS..past + tokens.len()).step_by(PAGE_TOKENS);
                let pages = positions.map(|position| page(*sequence, position)).collect();
                (first * PAGE_TOKENS, pages)
            })
            .collect();
        let tables = tables
            .iter()
            .map(|(first_position, pages)| TableInput { first_position: *first_position, pages });
        let row = step::RowInput { tokens, past: *past, logits: logits.clone() };
        step.push(&row, tables);
    }
    step.build(|words| Ok(ids(&words))).expect("a step on the host")
}

/// The first page of a row that one of its new tokens sees.
pub fn first_page(group: KvGroup, past: usize) -> usize {
    let first_seen = match group {
        KvGroup::Full => 0,
        KvGroup::Window(window) => (past + 1).saturating_sub(window),
    };
    first_seen / PAGE_TOKENS
}

/// The home of a test's shard on the CPU.
pub fn home(index: u32, threads: Threads) -> Home {
    let home = Home::new(DeviceId::Cpu(index), Device::Cpu, threads, KvType::default());
    home.expect("a CPU loads nothing")
}

/// A whole model in one or several shards, each at home on a device of its own.
pub struct Pipe {
    config: ModelConfig,
    shards: Vec<Shard>,
}

impl Pipe {
    /// Cuts the model's units at `cuts`, with pages for `num_sequences`.
    pub fn new(
        weights: &Weights,
        config: &ModelConfig,
        cuts: &[usize],
        num_sequences: usize,
        threads: &Threads,
    ) -> Self {
        let end = UnitRange::whole(config.num_layers).end;
        let starts = [0].into_iter().chain(cuts.iter().copied());
        let ends = cuts.iter().copied().chain([end]);
        let pages = vec![num_sequences * PAGES_PER_SEQUENCE; config.kv_groups().len()];
        let shards = (0..)
            .zip(starts.zip(ends))
            .map(|(index, (start, end))| {
                let units = UnitRange { start, end };
                Shard::load(weights, config, units, home(index, threads.clone()), &pages)
                    .expect("the test's model has these units")
            })
            .collect();
        Self { config: config.clone(), shards }
    }

    /// The shards, in order.
    pub fn shards(&mut self) -> &mut [Shard] {
        &mut self.shards
    }

    /// Runs the rows through all shards: the wanted logits, `[logit rows, vocab]`.
    pub fn forward(&mut self, rows: &[RowInput<'_>]) -> Vec<Vec<f32>> {
        let step = step(&self.config, rows);
        let mut hidden: Option<Hidden> = None;
        for (index, shard) in (0..).zip(&mut self.shards) {
            // What a link does: the value arrives on the next shard's device.
            let here = DeviceId::Cpu(index);
            let arrived = hidden.take().map(|hidden| Placed::new(hidden, here));
            match shard.forward(Placed::new(&step, here), arrived).expect("the step fits") {
                ShardOutput::Hidden(output) => {
                    hidden = Some(output.take(&site(here)).expect("home"));
                }
                ShardOutput::Logits(None) => return Vec::new(),
                ShardOutput::Logits(Some(output)) => {
                    return numbers(&output.take(&site(here)).expect("home").0);
                }
            }
        }
        unreachable!("the last shard has the head")
    }

    /// Logits of the last of `tokens`, which follow `past` tokens of sequence 0.
    pub fn last_logits(&mut self, tokens: &[u32], past: usize) -> Vec<f32> {
        let logits = tokens.len() - 1..tokens.len();
        self.forward(&[RowInput { sequence: 0, past, tokens, logits }]).remove(0)
    }
}

fn site(device: DeviceId) -> sluicegate_spec::placed::Site {
    sluicegate_spec::placed::Site { operation: "read", unit: None, with: "test", device }
}

/// The rows of a tensor on the CPU.
#[expect(clippy::disallowed_methods, reason = "a test reads results on the host")]
pub fn numbers(tensor: &Tensor) -> Vec<Vec<f32>> {
    tensor.to_vec2().expect("logits are a matrix of f32")
}
