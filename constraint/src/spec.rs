//! What a caller may ask of an output. Plain, unchecked data; [`crate::Compiler`] checks it.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use crate::formats::Format;

/// Specifies which outputs are allowed.
#[derive(Clone, Debug, PartialEq)]
pub enum Spec {
    /// Any text up to an end token.
    Text,
    /// A JSON value that the schema allows (draft 4 to 2020-12).
    Json { schema: Value, options: JsonOptions },
    /// Any JSON object.
    JsonObject,
    /// Text that the whole regular expression matches (Rust syntax, anchored at both ends).
    Regex(String),
    /// Exactly one of these texts.
    Choice(Vec<String>),
    /// A typed text, such as a date.
    Format(Format),
    /// Text of a grammar in the engine's dialect of Lark; the rule `start` is its root.
    Lark(String),
    /// Text of a grammar in llama.cpp's notation; the rule `root` is its root.
    Gbnf(String),
    /// A thinking section, then the output of another specification, which must not be `After`.
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

/// Free text before the output, in which a model thinks.
///
/// It contains no special tokens and no end tokens. A marker that names a special token of the
/// vocabulary is that token; any other marker is text, in any tokenisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thinking {
    /// What the output must begin with; none where the prompt has already opened the section.
    pub begin: Option<String>,
    /// What ends the section. The text after it begins with a new token.
    pub end: String,
    /// The most tokens between the markers. After them the end marker is due, even inside a
    /// character.
    pub max_tokens: Option<u32>,
}

impl Default for Thinking {
    /// An already open section that ends at `</think>`, of any length.
    fn default() -> Self {
        Self { begin: None, end: "</think>".to_string(), max_tokens: None }
    }
}

/// How JSON is written, and how to treat what a schema leaves open.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JsonOptions {
    pub whitespace: Whitespace,
    pub order: PropertyOrder,
    pub extras: Extras,
    /// Schemas that references may target, by absolute URI without a fragment.
    pub remotes: Arc<BTreeMap<String, Value>>,
}

/// Whitespace between the parts of a JSON value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Whitespace {
    /// As formatters write it: nothing before a comma or colon; after them and inside brackets
    /// nothing, one space, or a line break with up to 16 spaces.
    #[default]
    Bounded,
    /// None.
    Compact,
    /// Any amount, as JSON allows. A model may write whitespace for ever.
    Flexible,
}

/// The order of an object's properties.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PropertyOrder {
    /// As the schema lists them, then others. Any order where the grammar cannot express every rule
    /// about the schema's objects, since a guard checks those objects anyway.
    #[default]
    Auto,
    /// As the schema lists them, then others.
    Schema,
    Any,
}

/// Which properties an object may have beyond those that its schema lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Extras {
    /// As in JSON Schema: any, unless the schema forbids them.
    #[default]
    Specification,
    /// The schema must follow `OpenAI`'s rules for strict schemas: every object sets
    /// `additionalProperties: false` and requires all its properties.
    Strict,
}
