//! What a caller may ask of an output. Plain data, unchecked: [`crate::Compiler`] checks it.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use crate::formats::Format;

/// States which outputs are allowed.
#[derive(Clone, Debug, PartialEq)]
pub enum Spec {
    /// Any text; ends with an end token.
    Text,
    /// A JSON value that the schema allows (draft 4 to 2020-12).
    Json { schema: Value, options: JsonOptions },
    /// Any JSON object.
    JsonObject,
    /// Text that the whole regular expression matches (Rust syntax, anchored at both ends).
    Regex(String),
    /// Exactly one of these texts.
    Choice(Vec<String>),
    /// A text of a known shape.
    Format(Format),
    /// Text that a grammar in the engine's dialect of Lark says, by its rule `start`.
    Lark(String),
    /// Text that a grammar in the notation of llama.cpp says, by its rule `root`.
    Gbnf(String),
    /// A thinking section, then what another specification says; not another such section.
    After { thinking: Thinking, then: Box<Spec> },
    /// Text with tagged, constrained parts, in xgrammar's JSON form.
    StructuralTag(Value),
}

impl Spec {
    /// A JSON value that `schema` allows, with the default options.
    pub fn json(schema: Value) -> Self {
        Self::Json { schema, options: JsonOptions::default() }
    }
}

/// Free text in front of an output: what a model thinks before it answers.
///
/// Holds neither end tokens nor other special tokens. A marker that the vocabulary has as a special
/// token of that name is that token; any other is text, whatever its tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thinking {
    /// What the output must begin with; none where the prompt has opened the section already.
    pub begin: Option<String>,
    /// What ends the section. Its last token ends with it: what follows begins with a new one.
    pub end: String,
    /// Tokens between the markers; then the end must come next, even inside a character.
    pub max_tokens: Option<u32>,
}

impl Default for Thinking {
    /// An open section up to `</think>`, of any length.
    fn default() -> Self {
        Self { begin: None, end: "</think>".to_string(), max_tokens: None }
    }
}

/// How JSON is written, and what a schema leaves open.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JsonOptions {
    pub whitespace: Whitespace,
    pub order: PropertyOrder,
    pub extras: Extras,
    /// Schemas that references may lead to, by absolute URI without a fragment.
    pub remotes: Arc<BTreeMap<String, Value>>,
}

/// Whitespace between the parts of a JSON value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Whitespace {
    /// As formatters write it: none before a comma or a colon; behind them and inside brackets none,
    /// one space, or a line break with up to 16 spaces.
    #[default]
    Bounded,
    /// None.
    Compact,
    /// Any amount, as JSON allows; a model may never leave it.
    Flexible,
}

/// In which order an object's properties may come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PropertyOrder {
    /// As the schema lists them, others after them; in any order where the grammar cannot say all
    /// that the schema says of its objects, so that a guard judges them anyway.
    #[default]
    Auto,
    /// As the schema lists them, others after them.
    Schema,
    Any,
}

/// What an object may hold that its schema does not list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Extras {
    /// What JSON Schema says: anything, unless the schema forbids it.
    #[default]
    Specification,
    /// The schema must keep to `OpenAI`'s rules for strict schemas: every object says
    /// `additionalProperties: false` and requires all its properties.
    Strict,
}
