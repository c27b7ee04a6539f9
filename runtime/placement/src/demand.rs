//! What a request needs of a plan, and the plan made for it.

use sluicegate_spec::{device::DeviceId, kv::PAGE_TOKENS, profile::ModelProfile, units::UnitRange};

use super::{
    Cluster, KvTokens, Objective, Placement, Plan, PlanError, Policy, Sequences, Shortfall, plan,
};

/// What a request needs of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    pub num_prompts: usize,
    /// Samples or beams per prompt.
    pub rows_per_prompt: usize,
    /// Tokens of the longest prompt.
    pub prompt_tokens: usize,
    /// The most tokens of an output.
    pub output_tokens: usize,
}

/// The purpose of a placement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A trial of what an engine would serve: it uses the placement that serving would use.
    Trial,
    /// The whole workload: nothing else will run.
    Workload,
}

impl Demand {
    /// Places a model for this demand alone. The cache holds all prompts, or as many as fit; the
    /// others wait. `base` gives what the demand does not decide: objective, memory limits, and
    /// where units may be.
    ///
    /// # Errors
    /// As [`plan`].
    pub fn plan(
        &self,
        profile: &ModelProfile,
        cluster: &Cluster,
        base: &Policy,
        purpose: Purpose,
    ) -> Result<Plan, PlanError> {
        let policy = self.policy(base);
        // The stages are those of a serving engine on these devices if the request fits there. The
        // cache is only as large as the request needs.
        if purpose == Purpose::Trial
            && let Some(stages) = engine_stages(profile, cluster, base)
        {
            let placement = Placement::Stages(stages);
            if let Ok(plan) = plan(profile, cluster, &Policy { placement, ..policy.clone() }) {
                return Ok(plan);
            }
        }
        match plan(profile, cluster, &policy) {
            Err(PlanError::Infeasible(shortfall)) => match self.fewer_at_once(&shortfall) {
                Some(kv_tokens) => {
                    let kv_tokens = KvTokens::Exactly(kv_tokens);
                    plan(profile, cluster, &Policy { kv_tokens, ..policy })
                }
                None => Err(PlanError::Infeasible(shortfall)),
            },
            planned => planned,
        }
    }

    /// Returns the policy for placing this demand alone.
    pub fn policy(&self, base: &Policy) -> Policy {
        let all_kv_tokens = self.least_kv_tokens().saturating_mul(self.num_prompts);
        let num_rows = self.num_prompts.saturating_mul(self.rows_per_prompt);
        let context = self.context();
        Policy {
            sequences: Sequences::Exactly(num_rows.clamp(1, Policy::MAX_SEQUENCES)),
            prompt_tokens: context - self.output_tokens.min(context),
            output_tokens: self.output_tokens,
            kv_tokens: KvTokens::Exactly(all_kv_tokens.max(PAGE_TOKENS)),
            ..base.clone()
        }
    }

    /// Returns the tokens of the longest prompt and output together, in whole pages.
    fn context(&self) -> usize {
        let pages = self.prompt_tokens.saturating_add(self.output_tokens).div_ceil(PAGE_TOKENS);
        pages.saturating_mul(PAGE_TOKENS)
    }

    /// Returns the cache for one prompt's rows; the request cannot run with less.
    fn least_kv_tokens(&self) -> usize {
        self.context().saturating_mul(self.rows_per_prompt)
    }

    /// Returns the cache that fits where that of all prompts does not.
    fn fewer_at_once(&self, shortfall: &Shortfall) -> Option<usize> {
        shortfall.fitting_kv_tokens.filter(|tokens| *tokens >= self.least_kv_tokens())
    }
}

/// Returns the stages of a serving engine. None if the caller chooses the stages or asks for
/// latency, or if there is no placement.
fn engine_stages(
    profile: &ModelProfile,
    cluster: &Cluster,
    base: &Policy,
) -> Option<Vec<(DeviceId, UnitRange)>> {
    if base.placement != Placement::Auto || base.objective != Objective::Throughput {
        return None;
    }
    let plan = plan(profile, cluster, base).ok()?;
    Some(plan.stages.iter().map(|stage| (stage.device, stage.units)).collect())
}

#[cfg(test)]
mod tests {
    use sluicegate_spec::units::Bytes;

    use super::*;

    /// Prompts of 10 tokens, outputs of 20.
    fn demand(num_prompts: usize, rows_per_prompt: usize) -> Demand {
        Demand { num_prompts, rows_per_prompt, prompt_tokens: 10, output_tokens: 20 }
    }

    #[test]
    fn the_cache_covers_every_row() {
        #[track_caller]
        fn check(demand: Demand, sequences: usize, kv_tokens: usize) {
            let policy = demand.policy(&Policy::default());
            let wanted = (Sequences::Exactly(sequences), KvTokens::Exactly(kv_tokens));
            assert_eq!((policy.sequences, policy.kv_tokens), wanted);
            assert!(policy.prompt_tokens >= 10 && policy.output_tokens == 20);
        }
        // 30 tokens take two pages of 16.
        check(demand(1, 1), 1, 32);
        check(demand(3, 2), 6, 6 * 32);
        check(demand(2000, 1), 1024, 2000 * 32);
    }

    #[test]
    fn prompts_wait_where_only_some_fit() {
        let shortfall = |fitting_kv_tokens| Shortfall {
            weight_bytes: Bytes(0),
            kv_bytes: Bytes(0),
            kv_tokens: 0,
            workspace_bytes: Bytes(0),
            limits: Vec::new(),
            short: None,
            fitting_kv_tokens,
            fits_with_another: None,
            fitting_kv_element_bytes: None,
        };
        let demand = demand(3, 2);
        assert_eq!(demand.fewer_at_once(&shortfall(Some(100))), Some(100));
        assert_eq!(demand.fewer_at_once(&shortfall(Some(63))), None);
        assert_eq!(demand.fewer_at_once(&shortfall(None)), None);
    }
}
