//! `--remotes`: the schemas to which others refer, read from a folder and never fetched.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, anyhow};
use serde_json::Value;

use super::files;
use crate::error::CliError;

/// The address at which the official test suite expects its remote schemas.
const REMOTE_HOST: &str = "http://localhost:1234/";

/// Reads the schemas in a folder, each with its URI in the test suite.
///
/// # Errors
/// [`CliError::Usage`] if the folder or a file in it cannot be read.
pub(crate) fn read(folder: &Path) -> Result<BTreeMap<String, Value>, CliError> {
    let wrong = |error: anyhow::Error| CliError::Usage(error.context("--remotes"));
    let mut files = Vec::new();
    let listed = files::list(folder, &mut files);
    listed.with_context(|| format!("cannot read {}", folder.display())).map_err(wrong)?;
    let mut remotes = BTreeMap::new();
    for file in files {
        let schema = files::read(&file).and_then(|text| files::parse(&text));
        let schema = schema.map_err(|message| wrong(anyhow!("{}: {message}", file.display())))?;
        let below = file.strip_prefix(folder).unwrap_or(&file);
        let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
        remotes.insert(format!("{REMOTE_HOST}{}", parts.join("/")), schema);
    }
    Ok(remotes)
}
