//! `--what-if "+1 h100"`, `-cuda:1`, `kv=32768`: changes the task of a plan.

use anyhow::anyhow;
use sluicegate_placement::{KvTokens, Sequences};
use sluicegate_spec::device::DeviceId;

use super::Task;
use crate::error::CliError;

const WANTED: &str =
    "wanted +N DEVICE, -DEVICE such as -cuda:1, kv=N, batch=N, prompt=N or output=N";

/// Returns the task with all changes.
pub(super) fn apply(task: &Task, changes: &[String]) -> Result<Task, CliError> {
    let mut changed = task.clone();
    for change in changes {
        one(&mut changed, change.trim())?;
    }
    changed.check_length("prompt=N or output=N").map_err(|error| error.at("--what-if"))?;
    Ok(changed)
}

fn one(task: &mut Task, change: &str) -> Result<(), CliError> {
    let wrong = || CliError::usage_at("--what-if", anyhow!("`{change}` is not a change; {WANTED}"));
    if let Some(added) = change.strip_prefix('+') {
        let cluster = task.cluster.extended(added.trim());
        task.cluster = cluster.map_err(|error| CliError::usage_at("--what-if", error))?;
        return Ok(());
    }
    if let Some(removed) = change.strip_prefix('-') {
        let removed: DeviceId = removed.trim().parse().map_err(|_| wrong())?;
        return remove(task, removed);
    }
    let (name, value) = change.split_once('=').ok_or_else(wrong)?;
    let value: usize = value.trim().parse().ok().filter(|it| *it > 0).ok_or_else(wrong)?;
    match name.trim() {
        "kv" => task.policy.kv_tokens = KvTokens::Exactly(value),
        "batch" => task.policy.sequences = Sequences::Exactly(value),
        "prompt" => task.policy.prompt_tokens = value,
        "output" => task.policy.output_tokens = value,
        _ => return Err(wrong()),
    }
    Ok(())
}

fn remove(task: &mut Task, removed: DeviceId) -> Result<(), CliError> {
    let cluster = &mut task.cluster;
    let num_devices = cluster.devices.len();
    cluster.devices.retain(|device| device.id != removed);
    if cluster.devices.len() == num_devices {
        let error = anyhow!("there is no device {removed} to remove");
        return Err(CliError::usage_at("--what-if", error));
    }
    cluster.links.retain(|link| link.source != removed && link.target != removed);
    task.policy.memory_caps.remove(&removed);
    task.policy.forbidden.remove(&removed);
    Ok(())
}
