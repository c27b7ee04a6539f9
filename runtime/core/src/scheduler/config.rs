//! The scheduler's limits, and why it refuses a job.

use serde::{Deserialize, Serialize};
use sluicegate_placement::{Plan, PlannedStage};
use sluicegate_spec::{config::KvGroup, device::DeviceId, kv::PAGE_TOKENS, profile::ModelProfile};

use super::group::Job;
use crate::pages::max_pages;

/// What the plan leaves to the scheduler to hand out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SchedulerConfig {
    /// The model's KV groups.
    pub kv_groups: Vec<KvGroup>,
    /// Pages of each KV group; the same on every stage.
    pub pages_per_group: Vec<usize>,
    /// Stages that a microbatch passes.
    pub num_stages: usize,
    /// Microbatches in the pipeline at once.
    pub max_in_flight: usize,
    /// Rows that run at once; a group with more runs alone.
    pub max_rows: usize,
    /// Decoding rows of one microbatch.
    pub rows_per_microbatch: usize,
    /// Whether a group begins only if there will be pages for all that running groups are expected
    /// to grow to. Without this, pages for what is known of them are enough, and groups are
    /// preempted when they grow.
    pub reckons_ahead: bool,
    /// New tokens in one microbatch.
    pub token_budget: usize,
    /// Tokens of a chunk that is cut from a prompt to keep all stages busy, at least: with so many,
    /// what a stage does once for each microbatch is a small part of its time.
    pub least_chunk: usize,
    /// What it costs a token to attend to one earlier position, as a share of all else that a token
    /// costs. Chunks of a long prompt get shorter by it.
    pub attention_cost: f64,
    /// Whether full pages are kept for other sequences with the same beginning.
    pub shares_prefixes: bool,
}

impl SchedulerConfig {
    /// The limits of a plan for a model.
    pub fn new(plan: &Plan, profile: &ModelProfile) -> Self {
        Self {
            kv_groups: plan.kv_groups.clone(),
            pages_per_group: plan.pages_per_group.clone(),
            num_stages: plan.stages.len(),
            max_in_flight: plan.microbatches,
            max_rows: plan.sequences,
            rows_per_microbatch: plan.batch,
            reckons_ahead: true,
            token_budget: plan.chunk_tokens,
            least_chunk: least_chunk(plan),
            attention_cost: attention_cost(profile),
            shares_prefixes: true,
        }
    }

    /// Says whether a job could run here if it were alone.
    ///
    /// # Errors
    /// [`AdmitError`] if it could not.
    pub fn check(&self, job: &Job) -> Result<(), AdmitError> {
        let tokens = cached_tokens(job);
        let rows = job.max_rows;
        for (kv_group, &found) in self.kv_groups.iter().zip(&self.pages_per_group) {
            let wanted = self.pages_of_row(*kv_group, tokens) * rows;
            if wanted > found {
                let kv_group = *kv_group;
                return Err(AdmitError::TooLarge { kv_group, wanted, tokens, rows, found });
            }
        }
        Ok(())
    }

    /// Pages that one row of so many tokens holds at most.
    pub(super) fn pages_of_row(&self, kv_group: KvGroup, tokens: usize) -> usize {
        max_pages(kv_group, tokens, self.token_budget.min(tokens).max(1))
    }
}

/// A processor computes for longer than it reads weights with a few tokens already. An accelerator
/// may need hundreds: there a prompt is only cut to fit the budget.
fn least_chunk(plan: &Plan) -> usize {
    let is_cpu = |stage: &PlannedStage| matches!(stage.device, DeviceId::Cpu(_));
    if plan.stages.iter().all(is_cpu) { 4 * PAGE_TOKENS } else { usize::MAX }
}

/// What attending to one position costs a token, as a share of all else that its layers do.
fn attention_cost(profile: &ModelProfile) -> f64 {
    let layers = || profile.units.iter().filter(|unit| unit.kv.is_some());
    let per_position: u64 = layers().map(|unit| unit.flops_per_position).sum();
    let per_token: u64 = layers().map(|unit| unit.flops_per_token).sum();
    per_position as f64 / per_token.max(1) as f64
}

/// Tokens that a row of the job writes at most: the last one it generates is never read again.
fn cached_tokens(job: &Job) -> usize {
    job.prompt.len() + job.max_tokens.saturating_sub(1)
}

fn hint(kv_group: KvGroup) -> &'static str {
    match kv_group {
        KvGroup::Full => "lower max_tokens or beams, or plan more KV tokens",
        KvGroup::Window(_) => "lower beams, or plan a larger batch",
    }
}

/// Why a job can never run here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdmitError {
    #[error(
        "{wanted} pages of KV cache are needed for {tokens} tokens in {rows} rows, \
         but there are {found}; {}",
        hint(*kv_group)
    )]
    TooLarge { kv_group: KvGroup, wanted: usize, tokens: usize, rows: usize, found: usize },
}
