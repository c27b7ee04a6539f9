//! Writing a conversation as the prompt that a model was trained on.
//!
//! Owns the template engine and its limits: templates come with models and are not trusted.

mod date;
mod json;
#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use minijinja::{Environment, ErrorKind, context, syntax::SyntaxConfig};
use minijinja_contrib::pycompat;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    config::read_json,
    error::{ChatError, ConfigError},
    gguf::{self, Gguf},
    source::ModelFiles,
    tokenizer::{Tokenizer, token_text},
};

/// Instructions that one rendering may use; usual templates need some hundreds per message.
const FUEL: u64 = 5_000_000;
const MAX_TEMPLATE_BYTES: usize = 1 << 20;
const MAX_PROMPT_BYTES: usize = 16 << 20;
const NAME: &str = "chat";
/// Marks the error that a template raises itself.
const REFUSED: &str = "refused by the template: ";

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`, as the model's template knows them.
    pub role: String,
    pub content: String,
}

impl Message {
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }

    fn to_value(&self) -> minijinja::Value {
        minijinja::Value::from_pairs([
            ("role", self.role.as_str()),
            ("content", self.content.as_str()),
        ])
    }
}

/// A model's chat template, ready to render. Clones share it.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    environment: Arc<Environment<'static>>,
    bos: String,
    eos: String,
}

impl ChatTemplate {
    /// Reads the chat template of a model.
    ///
    /// # Errors
    /// [`ChatError::NoTemplate`] if the model has none, others if it has one that is unusable.
    pub fn from_files(files: &ModelFiles, tokenizer: &Tokenizer) -> Result<Self, ChatError> {
        match files {
            ModelFiles::Gguf(path) => Self::from_gguf(&Gguf::open(path)?, tokenizer),
            ModelFiles::Directory(path) => Self::from_directory(path, tokenizer),
        }
    }

    /// Reads the template from the metadata of a GGUF file.
    pub fn from_gguf(gguf: &Gguf, tokenizer: &Tokenizer) -> Result<Self, ChatError> {
        let name = |token: Option<u32>| token.and_then(|token| tokenizer.name(token));
        let key = "tokenizer.chat_template";
        match gguf.value(key) {
            None => Err(ChatError::NoTemplate { model: gguf.path().to_owned() }),
            Some(gguf::Value::Text(source)) => Self::new(
                source.clone(),
                name(tokenizer.bos()).unwrap_or_default(),
                name(tokenizer.eos().first().copied()).unwrap_or_default(),
            ),
            Some(other) => Err(ChatError::Value {
                file: gguf.path().to_owned(),
                key,
                wanted: "a string",
                found: other.describe(),
            }),
        }
    }

    /// Reads the template from `chat_template.jinja` or `tokenizer_config.json` of a directory.
    pub fn from_directory(directory: &Path, tokenizer: &Tokenizer) -> Result<Self, ChatError> {
        let config_file = directory.join("tokenizer_config.json");
        let config = if config_file.exists() {
            read_json(&config_file).map_err(read_error)?
        } else {
            serde_json::Map::new()
        };
        let source = match template_file(directory)? {
            Some(source) => source,
            None => configured(&config_file, config.get("chat_template"))?
                .ok_or_else(|| ChatError::NoTemplate { model: directory.to_owned() })?,
        };
        let name = |key: &str, token: Option<u32>| {
            let named = config.get(key).and_then(token_text).map(str::to_owned);
            named.or_else(|| tokenizer.name(token?)).unwrap_or_default()
        };
        Self::new(
            source,
            name("bos_token", tokenizer.bos()),
            name("eos_token", tokenizer.eos().first().copied()),
        )
    }

    /// Parses a template; `bos` and `eos` are the tokens' texts that it may write.
    ///
    /// # Errors
    /// [`ChatError::Template`] if it does not parse.
    pub fn new(source: String, bos: String, eos: String) -> Result<Self, ChatError> {
        if source.len() > MAX_TEMPLATE_BYTES {
            return Err(ChatError::TooLong { limit: MAX_TEMPLATE_BYTES });
        }
        let template = |source| ChatError::Template { source };
        let mut environment = Environment::new();
        environment.set_syntax(
            SyntaxConfig::builder()
                .trim_blocks(true)
                .lstrip_blocks(true)
                .build()
                .map_err(template)?,
        );
        environment.set_fuel(Some(FUEL));
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_unknown_method_callback(pycompat::unknown_method_callback);
        environment.add_filter("tojson", json::tojson);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime_now);
        environment.add_template_owned(NAME, source).map_err(template)?;
        Ok(Self { environment: Arc::new(environment), bos, eos })
    }

    /// The prompt of a conversation; `add_generation_prompt` opens the assistant's next turn.
    ///
    /// # Errors
    /// [`ChatError`] if the template refuses the messages, fails, or uses up its limits.
    pub fn render(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<String, ChatError> {
        let template =
            self.environment.get_template(NAME).map_err(|source| ChatError::Template { source })?;
        let values = context! {
            messages => messages.iter().map(Message::to_value).collect::<minijinja::Value>(),
            add_generation_prompt,
            bos_token => self.bos.as_str(),
            eos_token => self.eos.as_str(),
        };
        let prompt = template.render(values).map_err(|source| match refusal(&source) {
            Some(reason) => ChatError::Refused { reason },
            None => ChatError::Render { source },
        })?;
        if prompt.len() > MAX_PROMPT_BYTES {
            return Err(ChatError::TooLong { limit: MAX_PROMPT_BYTES });
        }
        Ok(prompt)
    }
}

fn raise_exception(message: &str) -> Result<String, minijinja::Error> {
    Err(minijinja::Error::new(ErrorKind::InvalidOperation, format!("{REFUSED}{message}")))
}

fn strftime_now(format: &str) -> String {
    date::strftime(format, SystemTime::now())
}

fn refusal(error: &minijinja::Error) -> Option<String> {
    error.detail()?.strip_prefix(REFUSED).map(str::to_owned)
}

fn read_error(error: ConfigError) -> ChatError {
    match error {
        ConfigError::Io { file, source } => ChatError::Io { file, source },
        ConfigError::Json { file, source } => ChatError::Json { file, source },
        other => ChatError::Io { file: PathBuf::new(), source: std::io::Error::other(other) },
    }
}

fn template_file(directory: &Path) -> Result<Option<String>, ChatError> {
    let file = directory.join("chat_template.jinja");
    let io = |source| ChatError::Io { file: file.clone(), source };
    let num_bytes = match std::fs::metadata(&file) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    if num_bytes > MAX_TEMPLATE_BYTES as u64 {
        return Err(ChatError::TooLong { limit: MAX_TEMPLATE_BYTES });
    }
    std::fs::read_to_string(&file).map(Some).map_err(io)
}

/// The template of `tokenizer_config.json`: one, or the default one of several.
fn configured(file: &Path, value: Option<&Value>) -> Result<Option<String>, ChatError> {
    let source = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(source)) => Some(source.as_str()),
        Some(Value::Array(named)) => named
            .iter()
            .find(|entry| entry.get("name").and_then(Value::as_str) == Some("default"))
            .and_then(|entry| entry.get("template")?.as_str()),
        Some(_) => None,
    };
    source.map(|source| Some(source.to_owned())).ok_or_else(|| ChatError::Value {
        file: file.to_owned(),
        key: "chat_template",
        wanted: "a string, or a list with one named default",
        found: "something else".to_owned(),
    })
}
