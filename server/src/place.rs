//! Plans the placement of the model on the selected devices.

use std::path::Path;

use anyhow::anyhow;
use sluicegate::{Request, device::DeviceSelector};
use sluicegate_model::open::Model;
use sluicegate_placement::{Placement, Plan, PlanError, Policy, Purpose};
use sluicegate_spec::profile::ModelProfile;

use crate::{
    cli::ModelArgs,
    cluster::{self, Selection},
    error::CliError,
    layers::StageLayers,
    saved,
};

/// Places the model for one request on the selected devices, or as in a saved plan.
///
/// # Errors
/// A device does not exist, the layers are not the model's, or memory does not suffice.
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
    let cluster = cluster::live(&args.into(), args.objective.into(), args.route.into())?;
    let demand = request.demand(model).map_err(CliError::failed)?;
    let planned = demand.plan(&profile, &cluster, &policy(args), purpose);
    planned.map_err(|error| explain(error, args))
}

/// Returns the policy that the arguments describe for any request.
fn policy(args: &ModelArgs) -> Policy {
    let layers = args.layers.as_ref();
    Policy {
        objective: args.objective.into(),
        memory_caps: args.max_memory.clone().unwrap_or_default().0,
        placement: layers.map_or(Placement::Auto, |it| Placement::Layers(it.0.clone())),
        ..Policy::default()
    }
}

/// Reads a saved plan, if it is for this model and these devices.
fn saved_plan(path: &Path, profile: &ModelProfile, args: &ModelArgs) -> Result<Plan, CliError> {
    let saved = saved::read("--plan", path)?;
    let stages = saved.plan.stages.iter().map(|it| (it.device, saved.plan.layers(it))).collect();
    let selection = Selection::of_plan(&StageLayers(stages), args.cpu_devices);
    let cluster = cluster::live(&selection, args.objective.into(), args.route.into())?;
    let differences = saved.differences(profile, &cluster);
    if differences.is_empty() {
        return Ok(saved.plan);
    }
    let error =
        anyhow!("{} is a plan for something else: {}", path.display(), differences.join("; "));
    Err(CliError::usage_at("--plan", error))
}

/// Adds the arguments to change; maps the error to a usage error (exit 2) or a failure (exit 1).
fn explain(error: PlanError, args: &ModelArgs) -> CliError {
    match error {
        PlanError::UnknownDevice { device, known, .. } => {
            let is_placed = args.layers.as_ref().is_some_and(|it| it.devices().contains(&device));
            let argument = if is_placed { "--layers" } else { "--max-memory" };
            let hint = match args.device {
                Some(DeviceSelector::List(_)) => "; name it in --device, too",
                _ => "; --cpu-devices N shows more logical CPU devices",
            };
            CliError::usage_at(
                argument,
                anyhow!("{device} is not used; the devices are {known}{hint}"),
            )
        }
        PlanError::Infeasible(shortfall) => {
            let mut hints = Vec::new();
            if shortfall.fitting_kv_tokens.is_some() {
                hints.push("lower --max-tokens");
            }
            // The cache has no type with one byte per number.
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
