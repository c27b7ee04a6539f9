//! Turns a specification of an output into token masks: which tokens may come next so that the
//! whole output stays valid.
//!
//! The crate owns
//! - the vocabulary as constraints see it ([`Vocab`]);
//! - the specifications that a caller may ask for ([`Spec`]: JSON Schema, any JSON object, regex,
//!   choice, typed formats, Lark and GBNF grammars, structural tags, plain text, and a thinking
//!   section before any of these);
//! - their compilation ([`Compiler`]);
//! - the state of one sequence ([`Matcher`]) and the mask for its next token ([`Mask`]).
//!
//! It runs on the CPU, in the caller's thread, on plain data. It must not know tensors, devices or
//! tokenizer crates, start threads, read clocks or do I/O. It fails closed: a state that it cannot
//! vouch for is an error, never a mask that allows everything.
//!
//! A [`Compiled`] may be shared between threads. A [`Matcher`] belongs to one sequence and may move
//! between threads, but a matcher and its [`Matcher::fork`]s should stay on the same thread.

#[cfg(feature = "baseline")]
pub mod baseline;
mod build;
mod cache;
mod closing;
mod compile;
mod compiled;
mod encoded;
mod engine;
mod error;
mod formats;
mod guard;
mod json_schema;
mod json_text;
mod lexed;
mod limits;
mod mask;
mod matcher;
mod notations;
mod regex;
mod search;
mod spacing;
mod spec;
mod template;
mod thinking;
mod token_kinds;
mod vocab;

pub use cache::{Cache, CacheLimits, CacheStats};
pub use compile::Compiler;
pub use compiled::Compiled;
pub use encoded::{EncodedMask, MaskForm};
pub use error::{MaskDecodeError, MatchError, SpecError, UnknownFormat, VocabError};
pub use formats::Format;
pub use limits::Limits;
pub use mask::Mask;
pub use matcher::{CancelHandle, Event, Matcher};
pub use spec::{Extras, JsonOptions, PropertyOrder, Spec, Thinking, Whitespace};
pub use vocab::{Encode, TokenBytes, Vocab, VocabSource};

/// A token's index in the vocabulary and in the logits.
pub type TokenId = u32;
