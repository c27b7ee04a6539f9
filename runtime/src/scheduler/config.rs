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
        let tokens = job.prompt.len() + job.max_tokens;
        for (wanted, found) in self.pages_for(job).into_iter().zip(&self.pages_per_group) {
            if wanted > *found {
                return Err(AdmitError::TooLarge {
                    wanted,
                    tokens,
                    rows: job.max_rows,
                    found: *found,
                });
            }
        }
        Ok(())
    }

    /// Pages of each KV group that a job holds at most.
    pub(super) fn pages_for(&self, job: &Job) -> Vec<usize> {
        let tokens = job.prompt.len() + job.max_tokens;
        let chunk = self.token_budget.min(job.prompt.len()).max(1);
        let per_row = |kv_group: &KvGroup| max_pages(*kv_group, tokens, chunk);
        self.kv_groups.iter().map(|kv_group| per_row(kv_group) * job.max_rows).collect()
    }
}

/// Why a job can never run here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdmitError {
    #[error(
        "{wanted} pages of KV cache are needed for {tokens} tokens in {rows} rows, \
         but the whole cache has {found}; lower max_tokens, samples or beams, or plan more KV tokens"
    )]
    TooLarge { wanted: usize, tokens: usize, rows: usize, found: usize },
}
