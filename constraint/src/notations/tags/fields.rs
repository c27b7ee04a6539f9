//! Reading the fields of one format object, each error with its JSON pointer.

use serde_json::{Map, Value};

use crate::error::SpecError;

/// A format object and where it is.
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

    /// Refuses fields that are not among those known: ignored, they could allow too much.
    pub(super) fn known(self, names: &[&str]) -> Result<Self, SpecError> {
        match self.object.keys().find(|key| *key != "type" && !names.contains(&key.as_str())) {
            None => Ok(self),
            Some(key) => {
                Err(SpecError::unsupported(key, Some(self.at), "no such field is known here"))
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

    /// Where a field is.
    pub(super) fn place(self, name: &str) -> String {
        format!("{}/{name}", self.at)
    }

    pub(super) fn text(self, name: &str) -> Result<&'a str, SpecError> {
        let value = self.get(name)?;
        value.as_str().ok_or_else(|| wrong(&self.place(name), "wanted a string"))
    }

    pub(super) fn flag(self, name: &str, default: bool) -> Result<bool, SpecError> {
        match self.object.get(name) {
            None => Ok(default),
            Some(value) => {
                value.as_bool().ok_or_else(|| wrong(&self.place(name), "wanted a boolean"))
            }
        }
    }

    /// A number of things; `null` and absence are the same.
    pub(super) fn count(self, name: &str) -> Result<Option<u32>, SpecError> {
        match self.object.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_u64().and_then(|count| u32::try_from(count).ok()) {
                Some(count) => Ok(Some(count)),
                None => Err(wrong(&self.place(name), "wanted a number from 0 to 4294967295")),
            },
        }
    }

    pub(super) fn list(self, name: &str) -> Result<&'a [Value], SpecError> {
        match self.get(name)? {
            Value::Array(items) => Ok(items),
            _ => Err(wrong(&self.place(name), "wanted an array")),
        }
    }

    /// A list of at least one thing.
    pub(super) fn some(self, name: &str) -> Result<&'a [Value], SpecError> {
        match self.list(name)? {
            [] => Err(wrong(&self.place(name), "wanted at least one")),
            items => Ok(items),
        }
    }

    /// A list of texts, none of them empty; none is an empty list.
    pub(super) fn texts(self, name: &str) -> Result<Vec<String>, SpecError> {
        if !self.has(name) {
            return Ok(Vec::new());
        }
        let text =
            |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_string);
        let texts: Option<Vec<String>> = self.list(name)?.iter().map(text).collect();
        texts.ok_or_else(|| wrong(&self.place(name), "wanted strings that are not empty"))
    }
}

pub(super) fn wrong(at: &str, message: &str) -> SpecError {
    SpecError::Schema { at: Some(at.to_string()), message: message.to_string() }
}

/// Moves an error about a part to where the part is.
pub(super) fn within(error: SpecError, place: &str) -> SpecError {
    let moved = |at: Option<String>| Some(format!("{place}{}", at.unwrap_or_default()));
    match error {
        SpecError::Schema { at, message } => SpecError::Schema { at: moved(at), message },
        SpecError::Unsupported { keyword, at, message } => {
            SpecError::Unsupported { keyword, at: moved(at), message }
        }
        SpecError::Syntax { line, column, message } => {
            SpecError::Syntax { line, column, message: format!("{message} (in {place})") }
        }
        SpecError::Regex { message } => {
            SpecError::Regex { message: format!("{message} (in {place})") }
        }
        SpecError::UnknownToken { name, at } => {
            SpecError::UnknownToken { name, at: format!("{at} of {place}") }
        }
        other => other,
    }
}
