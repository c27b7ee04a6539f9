//! Renders a conversation as the prompt format on which a model was trained.
//!
//! Owns the template engine and its limits: templates come with models and are not trusted.

mod date;
mod json;
mod tags;
#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use minijinja::{Environment, ErrorKind, context, syntax::SyntaxConfig};
use minijinja_contrib::pycompat;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sluicegate_spec::{
    config::read_json,
    error::ConfigError,
    files::ModelFiles,
    gguf::{self, Gguf},
    lfs::refuse_pointer,
};

use crate::{
    error::ChatError,
    tokenizer::{Tokenizer, token_text},
};

/// Instructions per rendering; usual templates need some hundreds per message.
const FUEL: u64 = 5_000_000;
const MAX_TEMPLATE_BYTES: usize = 1 << 20;
const MAX_PROMPT_BYTES: usize = 16 << 20;
const NAME: &str = "chat";
/// Prefix of errors that a template raises itself.
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

/// A model's chat template. Clones share it.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    /// An unusable template is reported to whoever needs it.
    environment: Result<Arc<Environment<'static>>, Arc<ChatError>>,
    /// Names and texts of the special tokens available to the template.
    tokens: Vec<(&'static str, String)>,
}

/// Special tokens that transformers passes to templates under these names, besides those that begin
/// and end a text.
const TOKEN_NAMES: [&str; 5] = ["unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

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
                source,
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
        let mut template = Self::new(
            &source,
            name("bos_token", tokenizer.bos()),
            name("eos_token", tokenizer.eos().first().copied()),
        )?;
        let named = |key| Some((key, token_text(config.get(key)?)?.to_owned()));
        template.tokens.extend(TOKEN_NAMES.into_iter().filter_map(named));
        Ok(template)
    }

    /// Keeps an unusable template, whose error is reported when it is rendered: prompts work
    /// without it. None if the model has no template.
    pub(crate) fn or_unusable(read: Result<Self, ChatError>) -> Option<Self> {
        match read {
            Ok(template) => Some(template),
            Err(ChatError::NoTemplate { .. }) => None,
            Err(error) => Some(Self { environment: Err(Arc::new(error)), tokens: Vec::new() }),
        }
    }

    /// Parses a template. `bos` and `eos` are the token texts available to it.
    ///
    /// # Errors
    /// [`ChatError::Template`] if it does not parse.
    pub fn new(source: &str, bos: String, eos: String) -> Result<Self, ChatError> {
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
        environment.add_template_owned(NAME, tags::without_generation(source)).map_err(template)?;
        let tokens = vec![("bos_token", bos), ("eos_token", eos)];
        Ok(Self { environment: Ok(Arc::new(environment)), tokens })
    }

    /// Renders the prompt of a conversation; `add_generation_prompt` opens the assistant's next
    /// turn.
    ///
    /// # Errors
    /// [`ChatError`] if the template is unusable, refuses the messages, fails, or exceeds its
    /// limits.
    pub fn render(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<String, ChatError> {
        let environment = self.environment.as_ref().map_err(Arc::clone)?;
        let template =
            environment.get_template(NAME).map_err(|source| ChatError::Template { source })?;
        let tokens = self.tokens.iter().map(|(name, text)| (*name, text.as_str()));
        let values = context! {
            messages => messages.iter().map(Message::to_value).collect::<minijinja::Value>(),
            add_generation_prompt,
            // As in transformers, these are defined but none.
            tools => (),
            documents => (),
            ..minijinja::Value::from_pairs(tokens)
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
    date::strftime(format, Timestamp::now())
}

fn refusal(error: &minijinja::Error) -> Option<String> {
    error.detail()?.strip_prefix(REFUSED).map(str::to_owned)
}

fn read_error(error: ConfigError) -> ChatError {
    match error {
        ConfigError::Io { file, source } => ChatError::Io { file, source },
        ConfigError::Json { file, source } => ChatError::Json { file, source },
        ConfigError::Header(error) => ChatError::Header(error),
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
    let bytes = std::fs::read(&file).map_err(io)?;
    refuse_pointer(&file, &bytes)?;
    String::from_utf8(bytes).map(Some).map_err(|error| ChatError::Value {
        file,
        key: "the template",
        wanted: "UTF-8",
        found: error.utf8_error().to_string(),
    })
}

/// Returns the template in `tokenizer_config.json`: the only one, or the default one of several.
fn configured(file: &Path, value: Option<&Value>) -> Result<Option<String>, ChatError> {
    let wrong = |found: String| ChatError::Value {
        file: file.to_owned(),
        key: "chat_template",
        wanted: "a string, or a list with one named default",
        found,
    };
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(source)) => Ok(Some(source.clone())),
        Some(Value::Array(named)) => {
            let text = |entry: &Value, key: &str| Some(entry.get(key)?.as_str()?.to_owned());
            let names: Vec<_> = named.iter().filter_map(|entry| text(entry, "name")).collect();
            let default = |entry: &&Value| text(entry, "name").as_deref() == Some("default");
            let source = named.iter().find(default).and_then(|entry| text(entry, "template"));
            let found = || wrong(format!("a list with {}", names.join(", ")));
            source.map(Some).ok_or_else(found)
        }
        Some(_) => Err(wrong("something else".to_owned())),
    }
}
