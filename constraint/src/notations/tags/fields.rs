//! Reads the fields of a format object; each error has a JSON pointer.

use serde_json::{Map, Value};

use crate::error::SpecError;

/// A format object and its JSON pointer.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    object: &'a Map<String, Value>,
    pub(super) at: &'a str,
}

impl<'a> Fields<'a> {
    pub(super) fn new(value: &'a Value, at: &'a str) -> Result<Self, SpecError> {
        let object = value.as_object().ok_or_else(|| wrong(at, "wanted an object"))?;
        Ok(Self { object, at })
    }

    /// Refuses unknown fields: to ignore one could allow too much.
    pub(super) fn known(self, names: &[&str]) -> Result<Self, SpecError> {
        match self.object.keys().find(|key| *key != "type" && !names.contains(&key.as_str())) {
            None => Ok(self),
            Some(key) => {
                Err(SpecError::unsupported(key, Some(self.at), "the field is unknown here"))
            }
        }
    }

    pub(super) fn has(self, name: &str) -> bool {
        self.object.contains_key(name)
    }

    pub(super) fn get(self, name: &str) -> Result<&'a Value, SpecError> {
        let missing = || wrong(self.at, &format!("wanted a field `{name}`"));
        self.object.get(name).ok_or_else(missing)
    }

    /// Returns the JSON pointer of a field.
    pub(super) fn pointer(self, name: &str) -> String {
        format!("{}/{name}", self.at)
    }

    pub(super) fn text(self, name: &str) -> Result<&'a str, SpecError> {
        let value = self.get(name)?;
        value.as_str().ok_or_else(|| wrong(&self.pointer(name), "wanted a string"))
    }

    pub(super) fn flag(self, name: &str, default: bool) -> Result<bool, SpecError> {
        match self.object.get(name) {
            None => Ok(default),
            Some(value) => {
                value.as_bool().ok_or_else(|| wrong(&self.pointer(name), "wanted a boolean"))
            }
        }
    }

    /// Reads a count; `null` and an absent field mean the same.
    pub(super) fn count(self, name: &str) -> Result<Option<u32>, SpecError> {
        match self.object.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_u64().and_then(|count| u32::try_from(count).ok()) {
                Some(count) => Ok(Some(count)),
                None => Err(wrong(&self.pointer(name), "wanted a number from 0 to 4294967295")),
            },
        }
    }

    pub(super) fn list(self, name: &str) -> Result<&'a [Value], SpecError> {
        match self.get(name)? {
            Value::Array(items) => Ok(items),
            _ => Err(wrong(&self.pointer(name), "wanted an array")),
        }
    }

    /// Reads a list that must not be empty.
    pub(super) fn some(self, name: &str) -> Result<&'a [Value], SpecError> {
        match self.list(name)? {
            [] => Err(wrong(&self.pointer(name), "wanted at least one")),
            items => Ok(items),
        }
    }

    /// Reads a list of non-empty texts. An absent field is an empty list.
    pub(super) fn texts(self, name: &str) -> Result<Vec<String>, SpecError> {
        if !self.has(name) {
            return Ok(Vec::new());
        }
        let text =
            |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_string);
        let texts: Option<Vec<String>> = self.list(name)?.iter().map(text).collect();
        texts.ok_or_else(|| wrong(&self.pointer(name), "wanted strings that are not empty"))
    }
}

pub(super) fn wrong(at: &str, message: &str) -> SpecError {
    SpecError::Schema { at: Some(at.to_string()), message: message.to_string() }
}

/// Prefixes the location of an error about a part with the location of the part.
pub(super) fn within(error: SpecError, pointer: &str) -> SpecError {
    let moved = |at: Option<String>| Some(format!("{pointer}{}", at.unwrap_or_default()));
    match error {
        SpecError::Schema { at, message } => SpecError::Schema { at: moved(at), message },
        SpecError::Unsupported { keyword, at, message } => {
            SpecError::Unsupported { keyword, at: moved(at), message }
        }
        SpecError::Syntax { line, column, message } => {
            SpecError::Syntax { line, column, message: format!("{message} (in {pointer})") }
        }
        SpecError::Regex { message } => {
            SpecError::Regex { message: format!("{message} (in {pointer})") }
        }
        SpecError::UnknownToken { name, at } => {
            SpecError::UnknownToken { name, at: format!("{at} of {pointer}") }
        }
        other => other,
    }
}
