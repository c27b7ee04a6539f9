//! Errors of reading the headers and the configuration of a model.
//!
//! Every message names the file, the key or tensor if there is one, and what was wanted and found.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Why the header of a weight file (GGUF or safetensors) is invalid.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    #[error("cannot read {}", file.display())]
    Io { file: PathBuf, source: io::Error },
    #[error(
        "{}: truncated at byte {offset}: {what} needs {wanted} bytes, found {found}",
        file.display()
    )]
    Truncated { file: PathBuf, offset: usize, what: String, wanted: u64, found: u64 },
    #[error("{}: {place}: wanted {wanted}, found {found}", file.display())]
    Malformed { file: PathBuf, place: String, wanted: String, found: String },
    #[error(
        "{} is a Git LFS pointer, not the file itself; run `git lfs pull` where it was cloned, or \
         download the file",
        file.display()
    )]
    LfsPointer { file: PathBuf },
    #[error("{} is not a valid weight index", file.display())]
    Index { file: PathBuf, source: serde_json::Error },
    #[error(
        "{} is missing; wanted all {count} files of the split model beside {}",
        file.display(),
        given.display()
    )]
    MissingShard { file: PathBuf, given: PathBuf, count: usize },
}

/// A fault in one tensor's header entry, reported only when the tensor is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    pub place: String,
    pub wanted: String,
    pub found: String,
}

impl Unusable {
    /// Makes the error for the caller that needs the tensor.
    pub fn error(&self, file: &Path) -> HeaderError {
        let Self { place, wanted, found } = self.clone();
        HeaderError::Malformed { file: file.to_owned(), place, wanted, found }
    }
}

/// Makes the error for a header value that is not as wanted.
pub fn malformed(
    file: &Path,
    place: String,
    wanted: impl Into<String>,
    found: impl Into<String>,
) -> HeaderError {
    HeaderError::Malformed {
        file: file.to_owned(),
        place,
        wanted: wanted.into(),
        found: found.into(),
    }
}

/// Why a model's configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {}", file.display())]
    Io { file: PathBuf, source: io::Error },
    #[error("{} is not valid JSON", file.display())]
    Json { file: PathBuf, source: serde_json::Error },
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("{}: architecture `{found}` is not supported; wanted {supported}", file.display())]
    Architecture { file: PathBuf, found: String, supported: String },
    #[error("{}: `{key}` is missing", file.display())]
    Missing { file: PathBuf, key: String },
    #[error("{}: `{key}`: wanted {wanted}, found {found}", file.display())]
    Value { file: PathBuf, key: String, wanted: String, found: String },
}

/// Why a file cannot be profiled.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    #[error("cannot read {}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is not a model: wanted a .gguf or .json file, or a directory", path.display())]
    Kind { path: PathBuf },
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Header(#[from] HeaderError),
}
