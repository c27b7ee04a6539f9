//! From the devices that were asked for to the finished plan.

use std::path::Path;

use anyhow::anyhow;
use sluicegate::{Prompt, Request, device::DeviceSelector, sampler::Method};
use sluicegate_model::open::Model;
use sluicegate_placement::{
    self, Cluster, KvTokens, Objective, Placement, Plan, PlanError, Policy, Sequences, Shortfall,
};
use sluicegate_spec::{device::DeviceId, kv::PAGE_TOKENS, profile::ModelProfile, units::UnitRange};

use crate::{
    cli::ModelArgs,
    cluster::{self, Selection},
    error::CliError,
    layers::StageLayers,
    saved,
};

/// What a request is placed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To see what an engine gives that serves others, too: what is tried is what is served.
    Trial,
    /// It is all that there will be.
    Workload,
}

/// Places a model for one request on the devices that the arguments name, or as a file says.
///
/// # Errors
/// If a device is not there, the layers are not the model's, or memory does not suffice.
pub(crate) fn plan(
    args: &ModelArgs,
    model: &Model,
    request: &Request,
    purpose: Purpose,
) -> Result<Plan, CliError> {
    let profile = model.profile(args.kv_type);
    if let Some(path) = &args.plan {
        return saved_plan(path, &profile, args);
    }
    let cluster = cluster::live(&args.into(), args.objective.into())?;
    let demand = Demand::of(request);
    let policy = demand.policy(args);
    // The stages are those of an engine on these devices, if the request fits there; the cache is only
    // what the request needs.
    if purpose == Purpose::Trial
        && let Some(stages) = engine_stages(&profile, &cluster, &policy)
    {
        let placement = Placement::Stages(stages);
        let policy = Policy { placement, ..policy.clone() };
        if let Ok(plan) = sluicegate_placement::plan(&profile, &cluster, &policy) {
            return Ok(plan);
        }
    }
    let planned = match sluicegate_placement::plan(&profile, &cluster, &policy) {
        Err(PlanError::Infeasible(shortfall)) => match demand.fewer_at_once(&shortfall) {
            Some(kv_tokens) => {
                let policy = Policy { kv_tokens: KvTokens::Exactly(kv_tokens), ..policy };
                sluicegate_placement::plan(&profile, &cluster, &policy)
            }
            None => Err(PlanError::Infeasible(shortfall)),
        },
        planned => planned,
    };
    planned.map_err(|error| explain(error, args))
}

/// Where an engine that serves would have the model; none if the caller decides, or wants the least
/// time of a single sequence, or there is no such place.
fn engine_stages(
    profile: &ModelProfile,
    cluster: &Cluster,
    policy: &Policy,
) -> Option<Vec<(DeviceId, UnitRange)>> {
    if policy.placement != Placement::Auto || policy.objective != Objective::Throughput {
        return None;
    }
    let engine = Policy { memory_caps: policy.memory_caps.clone(), ..Policy::default() };
    let plan = sluicegate_placement::plan(profile, cluster, &engine).ok()?;
    Some(plan.stages.iter().map(|stage| (stage.device, stage.units)).collect())
}

/// The plan of a file, if model and devices are still those that it was made for.
fn saved_plan(path: &Path, profile: &ModelProfile, args: &ModelArgs) -> Result<Plan, CliError> {
    let saved = saved::read("--plan", path)?;
    let stages = saved.plan.stages.iter().map(|it| (it.device, saved.plan.layers(it))).collect();
    let selection = Selection::of_plan(&StageLayers(stages), args.cpu_devices);
    let cluster = cluster::live(&selection, args.objective.into())?;
    let differences = saved.differences(profile, &cluster);
    if differences.is_empty() {
        return Ok(saved.plan);
    }
    let error =
        anyhow!("{} is a plan for something else: {}", path.display(), differences.join("; "));
    Err(CliError::usage_at("--plan", error))
}

/// What a request needs of a plan.
#[derive(Debug, PartialEq, Eq)]
struct Demand {
    num_prompts: usize,
    /// Samples or beams of each prompt.
    rows_per_prompt: usize,
    /// Longest prompt and output together, in whole pages.
    context: usize,
    max_tokens: usize,
}

impl Demand {
    fn of(request: &Request) -> Self {
        let num_tokens = |prompt: &Prompt| match prompt {
            Prompt::Tokens(tokens) => tokens.len(),
            // Made of tokens in this binary; a text has no more tokens than bytes.
            Prompt::Text(text) => text.len(),
            Prompt::Chat(messages) => messages.iter().map(|it| it.content.len()).sum(),
        };
        let longest = request.prompts.iter().map(num_tokens).max().unwrap_or(0);
        let pages = longest.saturating_add(request.max_tokens).div_ceil(PAGE_TOKENS);
        Self {
            num_prompts: request.prompts.len(),
            rows_per_prompt: match request.method {
                Method::Beam { width } => width,
                Method::Greedy | Method::Multinomial(_) => request.samples,
            },
            context: pages.saturating_mul(PAGE_TOKENS),
            max_tokens: request.max_tokens,
        }
    }

    /// The cache of one prompt's rows: with less, the request cannot run at all.
    fn least_kv_tokens(&self) -> usize {
        self.context.saturating_mul(self.rows_per_prompt)
    }

    fn policy(&self, args: &ModelArgs) -> Policy {
        let all_kv_tokens = self.least_kv_tokens().saturating_mul(self.num_prompts);
        let num_rows = self.num_prompts.saturating_mul(self.rows_per_prompt);
        Policy {
            objective: args.objective.into(),
            sequences: Sequences::Exactly(num_rows.clamp(1, Policy::MAX_SEQUENCES)),
            prompt_tokens: self.context - self.max_tokens.min(self.context),
            output_tokens: self.max_tokens,
            kv_tokens: KvTokens::Exactly(all_kv_tokens.max(PAGE_TOKENS)),
            memory_caps: args.max_memory.clone().unwrap_or_default().0,
            placement: args
                .layers
                .as_ref()
                .map_or(Placement::Auto, |layers| Placement::Layers(layers.0.clone())),
            ..Policy::default()
        }
    }

    /// The cache that fits where that of all prompts does not: the others wait for their turn.
    fn fewer_at_once(&self, shortfall: &Shortfall) -> Option<usize> {
        shortfall.fitting_kv_tokens.filter(|tokens| *tokens >= self.least_kv_tokens())
    }
}

/// Adds which argument would help, and whose turn it is.
fn explain(error: PlanError, args: &ModelArgs) -> CliError {
    match error {
        PlanError::UnknownDevice { device, known, .. } => {
            let is_placed = args.layers.as_ref().is_some_and(|it| it.devices().contains(&device));
            let place = if is_placed { "--layers" } else { "--max-memory" };
            let hint = match args.device {
                Some(DeviceSelector::List(_)) => "; name it in --device, too",
                _ => "; --cpu-devices N shows more logical CPU devices",
            };
            CliError::usage_at(
                place,
                anyhow!("{device} is not used; the devices are {known}{hint}"),
            )
        }
        PlanError::Infeasible(shortfall) => {
            let mut hints = Vec::new();
            if shortfall.fitting_kv_tokens.is_some() {
                hints.push("lower --max-tokens");
            }
            // No type of the cache has numbers of one byte.
            if shortfall.fitting_kv_element_bytes == Some(2) {
                hints.push("halve the cache with --kv-type f16");
            }
            if args.max_memory.is_some() {
                hints.push("raise --max-memory");
            }
            if args.layers.is_some() {
                hints.push("move --layers");
            }
            hints.push("use more or larger devices");
            CliError::failed(anyhow!("{shortfall}; {}", hints.join(", or ")))
        }
        error @ (PlanError::TooSlow(_)
        | PlanError::NoTime
        | PlanError::Profile { .. }
        | PlanError::KvGroup { .. }
        | PlanError::TooManyLayers { .. }
        | PlanError::Invalid(_)) => CliError::failed(error),
        error if args.layers.is_some() => CliError::usage_at("--layers", error),
        error => CliError::usage(error),
    }
}

#[cfg(test)]
mod tests {
    use sluicegate_spec::units::Bytes;

    use super::*;
    use crate::cli::parse_generate;

    fn request(num_prompts: usize, samples: usize, method: Method) -> Request {
        let prompts = vec![Prompt::Tokens(vec![1; 10]); num_prompts];
        let request = Request::new(Prompt::Tokens(vec![1]));
        Request { prompts, samples, method, max_tokens: 20, ..request }
    }

    #[test]
    fn the_cache_covers_every_row() {
        #[track_caller]
        fn check(request: &Request, sequences: usize, kv_tokens: usize) {
            let policy = Demand::of(request).policy(&parse_generate(&[]).model);
            let wanted = (Sequences::Exactly(sequences), KvTokens::Exactly(kv_tokens));
            assert_eq!((policy.sequences, policy.kv_tokens), wanted);
            assert!(policy.prompt_tokens >= 10 && policy.output_tokens == 20);
        }
        // 30 tokens take two pages of 16.
        check(&request(1, 1, Method::Greedy), 1, 32);
        check(&request(3, 2, Method::Greedy), 6, 6 * 32);
        check(&request(1, 1, Method::Beam { width: 4 }), 4, 4 * 32);
        check(&request(2000, 1, Method::Greedy), 1024, 2000 * 32);
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
        let demand = Demand::of(&request(3, 2, Method::Greedy));
        assert_eq!(demand.fewer_at_once(&shortfall(Some(100))), Some(100));
        assert_eq!(demand.fewer_at_once(&shortfall(Some(63))), None);
        assert_eq!(demand.fewer_at_once(&shortfall(None)), None);
    }
}
