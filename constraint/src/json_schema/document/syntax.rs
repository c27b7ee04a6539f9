//! Reads the values of keywords and checks their shape.

use serde_json::{Map, Number, Value};

use super::super::pointer::escape;
use super::Types;
use crate::error::SpecError;
use crate::limits::check_limit;

/// The engine counts in 32 bits and reserves the last value for "unbounded".
const MAX_COUNT: u64 = u32::MAX as u64 - 1;
/// Longer names would make JSON pointers costly.
const MAX_NAME_BYTES: usize = 512;

/// A schema object and its JSON pointer.
#[derive(Clone, Copy)]
pub(super) struct SchemaObject<'a, 'p> {
    pub(super) object: &'a Map<String, Value>,
    pub(super) at: &'p str,
}

impl<'a> SchemaObject<'a, '_> {
    pub(super) fn get(&self, keyword: &str) -> Option<&'a Value> {
        self.object.get(keyword)
    }

    /// Returns the error for a keyword whose value has the wrong shape.
    pub(super) fn wrong(&self, keyword: &str, wanted: &str) -> SpecError {
        let found = self.object.get(keyword).map_or(String::new(), short);
        SpecError::Schema {
            at: Some(format!("{}/{}", self.at, escape(keyword))),
            message: format!("wanted {wanted}, found {found}"),
        }
    }

    pub(super) fn text(&self, keyword: &str) -> Result<Option<&'a str>, SpecError> {
        let Some(value) = self.get(keyword) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| self.wrong(keyword, "a string"))
    }

    pub(super) fn count(&self, keyword: &str) -> Result<Option<usize>, SpecError> {
        let Some(value) = self.get(keyword) else { return Ok(None) };
        let whole = value.as_f64().filter(|float| float.fract() == 0.0 && *float >= 0.0);
        let float = whole.ok_or_else(|| self.wrong(keyword, "a whole number from 0"))?;
        // The clamped value is still beyond the limit.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        let count = float.min(1e18) as u64;
        if count > MAX_COUNT {
            return Err(SpecError::TooLarge { limit: "a length", found: count, max: MAX_COUNT });
        }
        Ok(Some(usize::try_from(count).expect("it fits 32 bits")))
    }

    pub(super) fn number(&self, keyword: &str) -> Result<Option<Number>, SpecError> {
        match self.get(keyword) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(Some(number.clone())),
            Some(_) => Err(self.wrong(keyword, "a number")),
        }
    }

    pub(super) fn flag(&self, keyword: &str) -> Result<bool, SpecError> {
        let Some(value) = self.get(keyword) else { return Ok(false) };
        value.as_bool().ok_or_else(|| self.wrong(keyword, "true or false"))
    }

    pub(super) fn list(&self, keyword: &str) -> Result<&'a [Value], SpecError> {
        let Some(value) = self.get(keyword) else { return Ok(&[]) };
        value.as_array().map(Vec::as_slice).ok_or_else(|| self.wrong(keyword, "a list"))
    }

    pub(super) fn map(
        &self,
        keyword: &str,
    ) -> Result<impl Iterator<Item = (&'a String, &'a Value)> + use<'a>, SpecError> {
        let map = match self.get(keyword) {
            None => None,
            Some(value) => {
                Some(value.as_object().ok_or_else(|| self.wrong(keyword, "names with schemas"))?)
            }
        };
        for name in map.into_iter().flat_map(Map::keys) {
            check_limit("bytes of a name in a schema", name.len(), MAX_NAME_BYTES)?;
        }
        Ok(map.into_iter().flatten())
    }

    pub(super) fn names(&self, keyword: &str) -> Result<Vec<String>, SpecError> {
        let names = self.list(keyword)?;
        let name = |name: &Value| {
            name.as_str().map(str::to_owned).ok_or_else(|| self.wrong(keyword, "a list of names"))
        };
        let mut names: Vec<String> = names.iter().map(name).collect::<Result<_, _>>()?;
        let mut seen = std::collections::HashSet::new();
        names.retain(|name| seen.insert(name.clone()));
        Ok(names)
    }

    pub(super) fn types(&self) -> Result<Option<Types>, SpecError> {
        let named = |name: &Value| {
            let types = name.as_str().and_then(Types::named);
            types.ok_or_else(|| self.wrong("type", "names of JSON types"))
        };
        match self.get("type") {
            None => Ok(None),
            Some(Value::Array(names)) => {
                let union = |all: Types, name| Ok(all.union(named(name)?));
                names.iter().try_fold(Types::NONE, union).map(Some)
            }
            Some(name) => named(name).map(Some),
        }
    }
}

/// Formats a value briefly, for a message.
fn short(value: &Value) -> String {
    const MAX_CHARS: usize = 60;
    let text = match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        scalar => scalar.to_string(),
    };
    let mut chars = text.chars();
    let short: String = chars.by_ref().take(MAX_CHARS).collect();
    if chars.next().is_some() { short + "…" } else { short }
}
