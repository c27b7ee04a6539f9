//! Plans in files: `plan --save FILE`, `generate --plan FILE`, `plan --diff A B`.

use std::{fs::File, io::Write, path::Path};

use anyhow::{Context, anyhow};
use sluicegate_placement::SavedPlan;

use crate::{bounded, error::CliError};

/// Larger than the plan of the largest model on the largest cluster.
const MAX_BYTES: u64 = 64 << 20;

/// Reads a plan; `argument` names the file.
///
/// # Errors
/// The file has no plan, or an inconsistent one.
pub(crate) fn read(argument: &str, path: &Path) -> Result<SavedPlan, CliError> {
    let named = |error: anyhow::Error| {
        CliError::usage_at(argument, error.context(path.display().to_string()))
    };
    let text = bounded::read_text(path, MAX_BYTES).map_err(|error| named(error.into()))?;
    let large = || named(anyhow!("wanted a plan of at most {MAX_BYTES} bytes"));
    let text = text.ok_or_else(large)?;
    let saved: SavedPlan = serde_json::from_str(&text)
        .context("wanted a file written by plan --save")
        .map_err(named)?;
    let (found, wanted) = (saved.version, SavedPlan::VERSION);
    if found != wanted {
        return Err(named(anyhow!("the plan has version {found}; wanted {wanted}")));
    }
    Ok(saved)
}

/// Writes a plan under a temporary name, then renames it, so that an incomplete plan is never read.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write(path: &Path, saved: &SavedPlan) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(saved).context("--save").map_err(CliError::Failed)?;
    let write = || {
        let temporary = path.with_extension("part");
        let mut file = File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write()
        .with_context(|| format!("--save: cannot write {}", path.display()))
        .map_err(CliError::Failed)
}
