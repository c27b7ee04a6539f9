//! Literals, numbers and strings.

use serde_json::{Number, Value, json};

use super::super::document::{Bound, Keywords, NodeId, NumberRules, StringRules};
use super::super::{numbers, regexes};
use super::{Lowering, Parts};

impl Lowering<'_> {
    pub(super) fn literals(&mut self, id: NodeId, keywords: &Keywords, parts: &mut Parts) {
        let Some(literals) = &keywords.literals else { return };
        if literals.is_empty() {
            return parts.add("allOf", json!([false]));
        }
        if literals.iter().all(is_literal_exact) {
            return parts.add("enum", json!(literals));
        }
        // Any value of these types: the guard picks.
        self.leave(id, "enum");
        let kinds: Vec<Value> = literals.iter().map(loosened).collect();
        parts.add("anyOf", Value::Array(kinds));
    }

    pub(super) fn numbers(&mut self, id: NodeId, rules: &NumberRules, parts: &mut Parts) {
        let mut bound = |bound: &Option<Bound>, loose: &'static str, strict: &str| {
            let Some(Bound { value, is_exclusive }) = bound else { return };
            if numbers::is_exact(value) {
                parts.add(if *is_exclusive { strict } else { loose }, json!(value));
            } else {
                self.leave(id, loose);
            }
        };
        bound(&rules.minimum, "minimum", "exclusiveMinimum");
        bound(&rules.maximum, "maximum", "exclusiveMaximum");
        let Some(multiple) = &rules.multiple_of else { return };
        if numbers::is_small_decimal(multiple) && !self.coarse.strings {
            parts.add("multipleOf", json!(multiple));
        } else {
            self.leave(id, "multipleOf");
        }
    }

    pub(super) fn strings(&mut self, id: NodeId, rules: &StringRules, parts: &mut Parts) {
        let StringRules { min_length, max_length, pattern, format } = rules;
        let has_length = *min_length > 0 || max_length.is_some();
        if self.coarse.strings {
            if has_length {
                self.leave(id, "minLength");
            }
            if pattern.is_some() {
                self.leave(id, "pattern");
            }
        } else {
            if *min_length > 0 {
                parts.add("minLength", json!(min_length));
            }
            if let Some(max_length) = max_length {
                parts.add("maxLength", json!(max_length));
            }
            if let Some(pattern) = pattern {
                let known = regexes::parts(pattern).unwrap_or_default();
                if known.must.is_empty() || !known.must_not.is_empty() {
                    self.leave(id, "pattern");
                }
                known.must.iter().for_each(|it| parts.add("pattern", json!(it)));
            }
        }
        if let Some(format) = format {
            self.format(id, format, parts);
        }
    }

    /// A format that nobody knows is an annotation, as the specification says.
    fn format(&mut self, id: NodeId, format: &str, parts: &mut Parts) {
        match regexes::format(format) {
            regexes::Format::Regex(_) if self.coarse.strings => self.leave(id, "format"),
            regexes::Format::Regex(regex) => {
                parts.add("pattern", json!(format!("^(?:{regex})$")));
            }
            regexes::Format::Judged => self.leave(id, "format"),
            regexes::Format::Unknown => {
                let at = &self.document.node(id).at;
                let place = if at.is_empty() { "the schema's root" } else { at };
                let warning = format!("format {format:?} is not enforced at {place}");
                if !self.warnings.contains(&warning) && self.warnings.len() < 50 {
                    self.warnings.push(warning);
                }
            }
        }
    }
}

/// Whether the engine writes this literal as it is.
fn is_literal_exact(literal: &Value) -> bool {
    match literal {
        Value::Null | Value::Bool(_) => true,
        Value::Number(number) => numbers::is_exact(number),
        Value::String(text) => is_writable(text),
        Value::Array(items) => items.iter().all(is_literal_exact),
        Value::Object(object) => {
            // The engine recurses over properties.
            object.len() <= 1_000
                && object.iter().all(|(name, it)| is_writable(name) && is_literal_exact(it))
        }
    }
}

/// Whether a string can be written with the escapes that are allowed.
pub(super) fn is_writable(text: &str) -> bool {
    text.chars().all(|c| c >= ' ' && c != '\u{7f}' || "\n\r\t\u{8}\u{c}".contains(c))
}

fn loosened(literal: &Value) -> Value {
    match literal {
        exact if is_literal_exact(exact) => json!({ "const": exact }),
        Value::Number(number) if !is_float(number) => json!({ "type": "integer" }),
        Value::Number(_) => json!({ "type": "number" }),
        Value::String(_) => json!({ "type": "string" }),
        Value::Array(_) => json!({ "type": "array" }),
        _ => json!({ "type": "object" }),
    }
}

fn is_float(number: &Number) -> bool {
    !number.is_i64() && !number.is_u64()
}
