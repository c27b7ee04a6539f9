//! The locations of a model's files.

use std::path::{Path, PathBuf};

/// The files of a model on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelFiles {
    Gguf(PathBuf),
    /// Holds `config.json`, `tokenizer.json` and `*.safetensors`.
    Directory(PathBuf),
}

impl ModelFiles {
    pub fn path(&self) -> &Path {
        match self {
            Self::Gguf(path) | Self::Directory(path) => path,
        }
    }
}
