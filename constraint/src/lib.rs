//! Grammar in, token bits out: which tokens may come next so that the whole output is allowed.
//!
//! Owns the vocabulary as the constraint sees it ([`Vocab`]), the specifications a caller may ask
//! for ([`Spec`]: JSON Schema, regex, choice, plain text), their compilation ([`Compiler`]), the
//! state of one sequence ([`Matcher`]), the bits for its next token ([`Mask`]) and stop strings
//! ([`StopStrings`]). It runs on the CPU, in the caller's thread, on plain data: it must not know
//! tensors, devices or tokenizer crates, start threads, read clocks or do I/O. It fails
//! closed: a state that it cannot vouch for is an error, never a mask that allows everything.
//!
//! A [`Compiled`] is shared between threads; a [`Matcher`] belongs to one sequence and may move
//! between threads, but a matcher and its [`Matcher::fork`]s should stay on one (see there).

mod compile;
mod error;
mod grammar;
mod json_schema;
mod mask;
mod matcher;
mod spec;
mod stop;
mod vocab;

pub use compile::{Compiled, Compiler, Limits};
pub use error::{MatchError, SpecError, VocabError};
pub use mask::Mask;
pub use matcher::{Event, Matcher};
pub use spec::Spec;
pub use stop::{StopOutcome, StopStrings};
pub use vocab::{Encode, TokenBytes, Vocab, VocabSource};

/// A token's index in the vocabulary and in the logits.
pub type TokenId = u32;
