//! Why an engine cannot be built, a request is refused, or a request fails.

use std::{sync::Arc, time::Duration};

use sluicegate_constraint::{SpecError, VocabError};
use sluicegate_core::{
    messages::RowError,
    scheduler::{AdmitError, OutOfBounds},
    serve::{MatcherError, RequestError},
};
use sluicegate_model::{
    error::{ChatError, TokenizerError},
    threads::UnknownCore,
};
use sluicegate_placement::StageId;
use sluicegate_spec::{kv::KvType, placed::Misplaced, units::Bytes};

use crate::{
    device::{TransferError, devices::DeviceError},
    pipeline::StageFailure,
};

/// Why an engine cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("a device of the plan cannot be used")]
    Device(#[from] DeviceError),
    #[error("the tokenizer's vocabulary cannot be used for constraints")]
    Vocab(#[from] VocabError),
    #[error("the plan is for a model of {found} layers, wanted {wanted}")]
    WrongPlan { wanted: usize, found: usize },
    #[error(
        "the pages of {stage} take {found} in {kv_type}, but the plan has {planned} for them; plan \
         for {} bytes per cached number, or take a smaller type", kv_type.num_bytes()
    )]
    KvType { stage: StageId, kv_type: KvType, planned: Bytes, found: Bytes },
    #[error(transparent)]
    Core(#[from] UnknownCore),
    #[error("{found} cores are given to {wanted} threads; wanted one for each")]
    Cores { wanted: usize, found: usize },
    #[error(transparent)]
    Stage(#[from] StageFailure),
    #[error("the journal cannot be written")]
    Journal(#[source] std::io::Error),
    #[error("a thread could not be started")]
    Spawn(#[from] std::io::Error),
}

/// Why a request is refused. Nothing was scheduled. Prompts are indices here, and numbers from 1 in
/// messages.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    #[error("a request needs at least one prompt")]
    NoPrompt,
    #[error("prompt {} has no tokens", prompt + 1)]
    EmptyPrompt { prompt: usize },
    #[error("prompt {} has token {token}, but the vocabulary ends at {vocab}", prompt + 1)]
    UnknownToken { prompt: usize, token: u32, vocab: usize },
    #[error(
        "prompt {} has {prompt_tokens} tokens and may get {max_tokens} more, but the model's \
         context is {context}; shorten the prompt or lower max_tokens", prompt + 1
    )]
    TooLong { prompt: usize, prompt_tokens: usize, max_tokens: usize, context: usize },
    #[error("{name} is {found}, wanted {wanted}")]
    Parameter { name: &'static str, found: String, wanted: &'static str },
    #[error("the constraint cannot be used")]
    Spec(#[from] SpecError),
    #[error("prompt {} cannot be tokenised", prompt + 1)]
    Tokenizer { prompt: usize, source: TokenizerError },
    #[error("the model has no chat template; send the prompt as text")]
    NoChatTemplate,
    #[error("prompt {} does not go through the model's chat template", prompt + 1)]
    Chat { prompt: usize, source: ChatError },
    #[error("the request cannot run here")]
    Admit(#[from] AdmitError),
    #[error("{waiting} prompts are waiting already, as many as may; try again later")]
    Busy { waiting: usize },
    #[error("the engine has failed and must be rebuilt")]
    Failed(#[source] Arc<EngineFailure>),
    #[error("the engine is shut down")]
    ShutDown,
}

/// Why the whole engine stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineFailure {
    #[error(transparent)]
    Stage(#[from] StageFailure),
    #[error("the tokens of a step did not reach the host")]
    Tokens(#[from] Misplaced),
    #[error("the scheduler's order is wrong")]
    Bounds(#[from] OutOfBounds),
    /// They came over another link than that of tokens; their copy itself does not fail.
    #[error("the tokens of a step could not be received")]
    Transfer(#[from] TransferError),
    #[error("a stage or the mask worker is gone without a word")]
    Disconnected,
    #[error("masks did not reach the last stage")]
    Masks(#[source] TransferError),
    #[error("its thread panicked: {0}")]
    Panicked(String),
}

/// Why a request ended without its outputs. Prompts are indices here, and numbers from 1 in
/// messages.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum GenerationError {
    #[error("the engine failed")]
    Engine(#[source] Arc<EngineFailure>),
    #[error("no token can be chosen for prompt {}", prompt + 1)]
    Row { prompt: usize, source: RowError },
    #[error("the constraint failed on prompt {}", prompt + 1)]
    Constraint { prompt: usize, source: MatcherError },
    #[error("it waited longer than {limit:?} for its turn; try again later")]
    WaitedTooLong { limit: Duration },
    #[error("the engine was shut down")]
    ShutDown,
}

impl GenerationError {
    /// What ended a request, with the failure that came last of a stage.
    pub(super) fn of(error: RequestError, stage_failure: Option<&Arc<EngineFailure>>) -> Self {
        match error {
            RequestError::Row { prompt, source } => Self::Row { prompt, source },
            RequestError::Constraint { prompt, source } => Self::Constraint { prompt, source },
            RequestError::WaitedTooLong { limit } => Self::WaitedTooLong { limit },
            RequestError::StageLost => {
                let failure = stage_failure.map(Arc::clone);
                Self::Engine(failure.unwrap_or_else(|| Arc::new(EngineFailure::Disconnected)))
            }
            RequestError::ShutDown => Self::ShutDown,
        }
    }
}
