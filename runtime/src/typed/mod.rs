//! Outputs as values of Rust types: `engine.json::<Character>("Describe a wizard").run()?`.
//!
//! A thin layer over [`Engine::submit`]: it makes the constraint of a type, and the type of an
//! output. What comes back has the shape of what was asked: one prompt and one sample give a value,
//! several of either a `Vec`, several of both a `Vec` of them for each prompt. A text that was cut
//! is an error that holds it, and never half a value.

mod answer;
mod ask;
mod error;
mod schema;
mod shape;

pub use answer::{Answer, Choice, FreeText, Json, Kind, Text};
pub use ask::{Ask, Prompts};
pub use error::{AnswerError, AskError};
pub use shape::{One, Several, Shape};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use sluicegate_constraint::Format;

use crate::{engine::Engine, request::Prompt};

impl Engine {
    /// Asks for a value of type `T`, as JSON under the schema of the type.
    ///
    /// A type with `#[serde(deny_unknown_fields)]` keeps the model from adding fields of its own.
    pub fn json<T: DeserializeOwned + JsonSchema>(
        &self,
        prompt: impl Into<Prompt>,
    ) -> Ask<'_, Json<T>> {
        self.prompt(prompt).json()
    }

    /// Asks for one of an enum's variants that hold nothing, written as their plain names.
    pub fn choose<T: DeserializeOwned + JsonSchema>(
        &self,
        prompt: impl Into<Prompt>,
    ) -> Ask<'_, Choice<T>> {
        self.prompt(prompt).choose()
    }

    /// Asks for one of these texts.
    pub fn choice<O: Into<String>>(
        &self,
        prompt: impl Into<Prompt>,
        options: impl IntoIterator<Item = O>,
    ) -> Ask<'_, Text> {
        self.prompt(prompt).choice(options)
    }

    /// Asks for a text that the whole regular expression matches.
    pub fn regex(&self, prompt: impl Into<Prompt>, pattern: impl Into<String>) -> Ask<'_, Text> {
        self.prompt(prompt).regex(pattern)
    }

    /// Asks for a text of a known shape, such as a date.
    pub fn format(&self, prompt: impl Into<Prompt>, format: Format) -> Ask<'_, Text> {
        self.prompt(prompt).format(format)
    }

    /// Asks for a text of a context-free grammar in llguidance's dialect of Lark.
    pub fn lark(&self, prompt: impl Into<Prompt>, grammar: impl Into<String>) -> Ask<'_, Text> {
        self.prompt(prompt).lark(grammar)
    }

    /// Asks for a text of a context-free grammar in llama.cpp's notation.
    pub fn gbnf(&self, prompt: impl Into<Prompt>, grammar: impl Into<String>) -> Ask<'_, Text> {
        self.prompt(prompt).gbnf(grammar)
    }

    /// Asks for any text; it may be cut where it has the most tokens.
    pub fn text(&self, prompt: impl Into<Prompt>) -> Ask<'_, FreeText> {
        self.prompt(prompt).text()
    }

    /// Begins with one prompt.
    pub fn prompt(&self, prompt: impl Into<Prompt>) -> Prompts<'_, One> {
        Prompts::new(self, vec![prompt.into()])
    }

    /// Begins with several prompts, which run together.
    pub fn prompts<P: Into<Prompt>>(
        &self,
        prompts: impl IntoIterator<Item = P>,
    ) -> Prompts<'_, Several> {
        Prompts::new(self, prompts.into_iter().map(Into::into).collect())
    }
}
