//! Reads the model of a plan; only its header.

use std::path::{Path, PathBuf};

use anyhow::Context;
use sluicegate_model::source::ModelSource;
use sluicegate_placement::Cluster;
use sluicegate_spec::{
    device::DeviceId,
    files::ModelFiles,
    profile::{ModelProfile, Target},
};

use crate::{error::CliError, generate, progress};

/// Returns the types in which the devices would compute.
pub(super) fn target(cluster: &Cluster, kv_element_bytes: Option<usize>) -> Target {
    let on_cpu = cluster.devices.iter().all(|device| matches!(device.id, DeviceId::Cpu(_)));
    let target = if on_cpu { Target::CPU } else { Target::ACCELERATOR };
    Target { kv_element_bytes: kv_element_bytes.or(target.kv_element_bytes), ..target }
}

/// Reads the profile and the name of a model. Fetches it if it is not on this machine.
pub(super) fn read(name: &str, target: Target) -> Result<(String, ModelProfile), CliError> {
    let path = Path::new(name);
    let path = if is_described_by(path) { path.to_owned() } else { resolve(name)? };
    let profile = ModelProfile::read(&path, target).context("--model").map_err(CliError::Usage)?;
    Ok((name.to_owned(), profile))
}

/// Returns whether a file or folder suffices for planning, with or without weights.
fn is_described_by(path: &Path) -> bool {
    let has_ending = |ending| path.extension().is_some_and(|it| it.eq_ignore_ascii_case(ending));
    has_ending("json") || has_ending("gguf") || path.join("config.json").is_file()
}

fn resolve(name: &str) -> Result<PathBuf, CliError> {
    let progress = progress::for_stderr();
    let files = ModelSource::parse(name).and_then(|source| source.resolve(progress.as_ref()));
    match files.map_err(generate::explain_source)? {
        ModelFiles::Gguf(path) | ModelFiles::Directory(path) => Ok(path),
    }
}
