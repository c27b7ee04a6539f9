//! An opened model: its headers are read and checked, its weights stay on disk.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use sluicegate_spec::{
    config::ModelConfig,
    files::ModelFiles,
    gguf::{Gguf, Value},
    kv::KvType,
    profile::{self, ComputeType, ElementBytes, ModelProfile},
    units::{Bytes, TokenId},
};

use crate::{chat::ChatTemplate, error::OpenError, tokenizer::Tokenizer, weights::Weights};

/// Everything of a model except its running parts. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Model {
    pub config: ModelConfig,
    pub tokenizer: Tokenizer,
    /// None if the model's files have no chat template.
    pub chat: Option<ChatTemplate>,
    pub weights: Weights,
    /// The model's name: from its metadata, else its file's or directory's name.
    pub name: String,
}

impl Model {
    /// Opens a model: reads headers, configuration and tokenizer, but no weights.
    ///
    /// # Errors
    /// [`OpenError`] with the file and its fault.
    pub fn open(files: &ModelFiles) -> Result<Self, OpenError> {
        let (config, tokenizer, chat, weights, name) = match files {
            ModelFiles::Gguf(path) => {
                let gguf = Gguf::open(path).map_err(crate::error::WeightError::from)?;
                let config = ModelConfig::from_gguf(&gguf)?;
                let tokenizer = Tokenizer::from_gguf(&gguf)?;
                let chat = ChatTemplate::from_gguf(&gguf, &tokenizer);
                let name = match gguf.value("general.name") {
                    Some(Value::Text(name)) => name.clone(),
                    _ => file_name(path),
                };
                let weights = Weights::from_gguf(gguf, &config);
                (config, tokenizer, chat, weights, name)
            }
            ModelFiles::Directory(path) => {
                let config = ModelConfig::from_directory(path)?;
                let tokenizer = Tokenizer::from_directory(path)?;
                let chat = ChatTemplate::from_directory(path, &tokenizer);
                let weights = Weights::open(files, &config)?;
                (config, tokenizer, chat, weights, file_name(path))
            }
        };
        let chat = ChatTemplate::or_unusable(chat);
        let mut model = Self { config, tokenizer, chat, weights, name };
        model.join_ends();
        Ok(model)
    }

    /// Makes a model from a `config.json` alone, under any name, or from the one in a directory.
    /// Its weights are seeded random numbers. A tokenizer next to a `config.json` is used; without
    /// one each byte is a token.
    ///
    /// # Errors
    /// [`OpenError`] with the file and its fault.
    pub fn dummy(path: &Path, seed: u64) -> Result<Self, OpenError> {
        let file = if path.is_dir() { path.join("config.json") } else { path.to_owned() };
        let config = ModelConfig::from_file(&file)?;
        let stored = profile::stored_type(&file)?;
        let mut model = Self::dummy_of(config, stored, seed, &file)?;
        if let Some(directory) = directory_with_tokenizer(&file) {
            model.tokenizer = Tokenizer::from_directory(&directory)?;
            let chat = ChatTemplate::from_directory(&directory, &model.tokenizer);
            model.chat = ChatTemplate::or_unusable(chat);
        }
        model.name = file_name(path);
        model.join_ends();
        Ok(model)
    }

    /// Makes a model from a configuration; errors name `file` as its source.
    ///
    /// # Errors
    /// [`OpenError`] if its vocabulary has no room for all bytes.
    pub fn dummy_of(
        config: ModelConfig,
        stored: ComputeType,
        seed: u64,
        file: &Path,
    ) -> Result<Self, OpenError> {
        let weights = Weights::dummy(file, &config, stored, seed);
        let tokenizer = Tokenizer::letters(file, config.vocab, config.bos, &config.eos)?;
        Ok(Self { config, tokenizer, chat: None, weights, name: file_name(file) })
    }

    /// Returns the costs of the model here, unit by unit, with keys and values kept in `kv_type`.
    pub fn profile(&self, kv_type: KvType) -> ModelProfile {
        let stored = |id| Some(Bytes(self.weights.stored(id)?.bytes.len() as u64));
        let usual = ElementBytes::default();
        let weights = self.weights.dummy_type().map_or(usual.weights, ComputeType::num_bytes);
        let elements = ElementBytes { weights, kv: kv_type.num_bytes(), ..usual };
        ModelProfile::new(&self.config, stored, elements)
    }

    /// Adds the tokenizer's end tokens to those of the configuration, and disables tokens without
    /// an embedding row. Files list such tokens, for example image placeholders or padding added
    /// for training.
    fn join_ends(&mut self) {
        self.tokenizer.limit_to(self.config.vocab);
        for token in self.tokenizer.eos() {
            if !self.config.eos.contains(token) {
                self.config.eos.push(*token);
            }
        }
        let has_row = |token: &TokenId| (*token as usize) < self.config.vocab;
        self.config.bos = self.config.bos.or(self.tokenizer.bos().filter(has_row));
    }
}

/// Returns the directory of a `config.json` that has a tokenizer next to it.
fn directory_with_tokenizer(file: &Path) -> Option<PathBuf> {
    let directory = file.parent().filter(|_| file.ends_with("config.json"))?;
    let has = |name: &str| directory.join(name).is_file();
    (has("tokenizer.json") || has("tekken.json")).then(|| directory.to_owned())
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into())
}
