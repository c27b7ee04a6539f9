//! The vocabulary of `--model`, for commands that need no weights.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use sluicegate::vocabulary;
use sluicegate_constraint::Vocab;
use sluicegate_model::{source::ModelSource, tokenizer::Tokenizer};

use crate::{error::CliError, generate, progress};

/// Reads the tokenizer of a model; fetches the model if it is not on this machine.
///
/// # Errors
/// [`CliError::Usage`] if the model does not exist or has no usable tokenizer.
pub(crate) fn open(name: &str) -> Result<Arc<Vocab>, CliError> {
    let tokenizer = tokenizer(name)?;
    // Logits beyond the tokenizer's tokens are never allowed, so their number does not matter.
    let vocab = vocabulary::of(&tokenizer, tokenizer.vocab_size());
    vocab.map(Arc::new).map_err(|error| CliError::usage_at("--model", error))
}

fn tokenizer(name: &str) -> Result<Tokenizer, CliError> {
    let tokenizer = if let Some(folder) = folder(Path::new(name)) {
        Tokenizer::from_directory(&folder)
    } else {
        let progress = progress::for_stderr();
        let files = ModelSource::parse(name).and_then(|source| source.resolve(progress.as_ref()));
        Tokenizer::from_files(&files.map_err(generate::explain_source)?)
    };
    tokenizer.context("--model").map_err(CliError::Usage)
}

/// Returns the folder of a `tokenizer.json`, which suffices without the rest of a model.
fn folder(path: &Path) -> Option<PathBuf> {
    if path.join("tokenizer.json").is_file() {
        return Some(path.to_owned());
    }
    let is_given = path.ends_with("tokenizer.json") && path.is_file();
    let folder = path.parent().filter(|_| is_given)?;
    Some(if folder == Path::new("") { PathBuf::from(".") } else { folder.to_owned() })
}
