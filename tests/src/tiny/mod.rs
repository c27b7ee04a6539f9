//! Tiny models with seeded weights, in every format that the readers know.
//!
//! A model is its `config.json` and a seed: `tests/fixtures/README.md` has the same formula.

mod config;
mod formula;
mod gguf;
mod hub;
mod tokenizer;

use std::path::Path;

use candle_core::quantized::GgmlDType;
use serde_json::Value;
use sluicegate_spec::{config::Architecture, files::ModelFiles};
use tempfile::TempDir;

pub use config::{TINY_LAYERS, TINY_WINDOW, longrope};
pub use formula::TinyTensor;
pub use hub::StoredType;
pub use tokenizer::{TINY_BOS, TINY_EOS, TINY_MERGES, TINY_TOKENS};

/// A model whose weights follow from its configuration and a seed.
#[derive(Debug, Clone)]
pub struct TinyModel {
    config: Value,
    seed: u64,
}

/// A model in files, which are removed when this is dropped.
#[derive(Debug)]
pub struct TinyFiles {
    pub files: ModelFiles,
    directory: TempDir,
}

impl TinyFiles {
    /// The folder that holds the files.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl TinyModel {
    /// Seven layers, four heads over two, hidden 64, a window of 8 where the family has one.
    pub fn new(architecture: Architecture) -> Self {
        Self { config: config::preset(architecture), seed: 1 }
    }

    /// The model that a `config.json` describes. It must state what its class would assume.
    pub fn from_config(config: Value, seed: u64) -> Self {
        Self { config, seed }
    }

    /// Replaces an entry of `config.json`; null removes it.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        let entries = self.config.as_object_mut().expect("a configuration is an object");
        match value.into() {
            Value::Null => drop(entries.remove(key)),
            value => drop(entries.insert(key.to_owned(), value)),
        }
        self
    }

    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Whether head and embedding share their weights.
    #[must_use]
    pub fn tied(self, tied: bool) -> Self {
        self.with("tie_word_embeddings", tied)
    }

    /// Rows of 256 and 512 weights, as the types with wide blocks need.
    #[must_use]
    pub fn wide(self) -> Self {
        self.with("hidden_size", 256).with("intermediate_size", 512).with_head_dim(64)
    }

    /// Heads of another size, and divisors of frequencies as they need.
    #[must_use]
    pub fn with_head_dim(self, head_dim: usize) -> Self {
        let is_long = self.config["rope_scaling"]["type"] == "longrope";
        let model = self.with("head_dim", head_dim);
        if is_long { model.with("rope_scaling", longrope(head_dim / 2)) } else { model }
    }

    /// The `config.json`.
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// All weights, by their names in a safetensors file.
    pub fn tensors(&self) -> Vec<TinyTensor> {
        formula::tensors(&self.config, self.seed)
    }

    /// Writes the model as a directory in Hugging Face layout.
    pub fn directory(&self, stored: StoredType) -> TinyFiles {
        let directory = TempDir::new().expect("a temporary folder");
        hub::write(self, directory.path(), stored);
        TinyFiles { files: ModelFiles::Directory(directory.path().to_owned()), directory }
    }

    /// Writes the model as a GGUF file, with all matrices in one type.
    pub fn gguf(&self, kind: GgmlDType) -> TinyFiles {
        self.gguf_with(|_| kind)
    }

    /// Writes the model as a GGUF file; `kind` chooses the type of a matrix by its GGUF name.
    pub fn gguf_with(&self, kind: impl Fn(&str) -> GgmlDType) -> TinyFiles {
        let directory = TempDir::new().expect("a temporary folder");
        let path = directory.path().join("tiny.gguf");
        gguf::write(self, &path, kind);
        TinyFiles { files: ModelFiles::Gguf(path), directory }
    }

    fn size(&self, key: &str) -> usize {
        config::size(&self.config, key)
    }
}
