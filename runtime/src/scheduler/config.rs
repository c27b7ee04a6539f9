//! The scheduler's limits, and why it refuses a job.

use sluicegate_model::config::KvGroup;

use super::{group::Job, pages::max_pages};

/// What the plan leaves to the scheduler to hand out.
#[derive(Debug, Clone)]
pub struct SchedulerConfig {
    /// The model's KV groups.
    pub kv_groups: Vec<KvGroup>,
    /// Pages of each KV group; the same on every stage.
    pub pages_per_group: Vec<usize>,
    /// Microbatches in the pipeline at once.
    pub max_in_flight: usize,
    /// New tokens in one microbatch.
    pub token_budget: usize,
}

impl SchedulerConfig {
    /// Says whether a job could run here if it were alone.
    ///
    /// # Errors
    /// [`AdmitError`] if it could not.
    pub fn check(&self, job: &Job) -> Result<(), AdmitError> {
        let pages = self.pages_for(job).into_iter().zip(&self.pages_per_group);
        for (kv_group, (wanted, &found)) in self.kv_groups.iter().zip(pages) {
            if wanted > found {
                let (tokens, rows) = (cached_tokens(job), job.max_rows);
                return Err(AdmitError::TooLarge {
                    kv_group: *kv_group,
                    wanted,
                    tokens,
                    rows,
                    found,
                });
            }
        }
        Ok(())
    }

    /// Pages of each KV group that a job holds at most.
    pub(super) fn pages_for(&self, job: &Job) -> Vec<usize> {
        let tokens = cached_tokens(job);
        let chunk = self.token_budget.min(job.prompt.len()).max(1);
        let per_row = |kv_group: &KvGroup| max_pages(*kv_group, tokens, chunk);
        self.kv_groups.iter().map(|kv_group| per_row(kv_group) * job.max_rows).collect()
    }
}

/// Tokens that a row of the job writes at most: the last one it generates is never read again.
fn cached_tokens(job: &Job) -> usize {
    job.prompt.len() + job.max_tokens.saturating_sub(1)
}

fn hint(kv_group: KvGroup) -> &'static str {
    match kv_group {
        KvGroup::Full => "lower max_tokens, samples or beams, or plan more KV tokens",
        KvGroup::Window(_) => "lower samples or beams, or plan a larger batch",
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
