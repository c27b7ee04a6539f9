//! What a caller may ask of an output. Plain data, unchecked: [`crate::Compiler`] checks it.

/// States which outputs are allowed.
#[derive(Clone, Debug, PartialEq)]
pub enum Spec {
    /// Any text; ends with an end token.
    Text,
    /// A JSON value that the schema allows. Properties come in the schema's order.
    JsonSchema(serde_json::Value),
    /// Text that the whole regular expression matches (Rust syntax, anchored at both ends).
    Regex(String),
    /// Exactly one of these texts.
    Choice(Vec<String>),
}
