//! Why there is no value.

use crate::{
    engine::{GenerationError, SubmitError},
    stream::{FinishReason, OutputId},
};

/// Why a call gives nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    #[error(transparent)]
    Submit(#[from] SubmitError),
    #[error(transparent)]
    Generation(#[from] GenerationError),
    #[error(transparent)]
    Answer(#[from] AnswerError),
    #[error("{type_name} is no choice: wanted an enum whose variants hold nothing")]
    NoChoice { type_name: &'static str },
    /// A beam search may find fewer texts than it was asked for, but never none.
    #[error("prompt {} has no output, wanted one", prompt + 1)]
    NoOutput { prompt: usize },
}

/// Why an output is no value. It holds the text, since that may still be of use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    #[error(
        "output {} of prompt {} was cut by {finish_reason} after {num_tokens} tokens: {text:?}",
        output.index + 1,
        output.prompt + 1
    )]
    Cut { output: OutputId, text: String, finish_reason: FinishReason, num_tokens: usize },
    /// The schema of the type allows what its `Deserialize` refuses.
    #[error(
        "output {} of prompt {} is no {type_name}: {text:?}", output.index + 1, output.prompt + 1
    )]
    Parse { output: OutputId, text: String, type_name: &'static str, source: serde_json::Error },
}

impl AnswerError {
    /// The text that the model wrote.
    pub fn text(&self) -> &str {
        match self {
            Self::Cut { text, .. } | Self::Parse { text, .. } => text,
        }
    }
}
