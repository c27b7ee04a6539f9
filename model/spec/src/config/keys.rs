//! Typed access to the keys of a configuration file; errors name file and key.

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::ConfigError;

/// The keys of one JSON object in a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keys<'a> {
    pub(crate) file: &'a Path,
    /// The path of the object in the file: empty, or ending in a dot.
    pub(crate) prefix: &'a str,
    pub(crate) values: &'a Map<String, Value>,
}

impl<'a> Keys<'a> {
    /// Returns a value that is present and not null.
    pub(crate) fn get(&self, key: &str) -> Option<&'a Value> {
        self.values.get(key).filter(|value| !value.is_null())
    }

    pub(crate) fn wrong(&self, key: &str, wanted: impl Into<String>) -> ConfigError {
        let mut found =
            self.get(key).map_or_else(|| "nothing".to_owned(), std::string::ToString::to_string);
        if found.len() > 80 {
            found = found.chars().take(80).chain("…".chars()).collect();
        }
        ConfigError::Value {
            file: self.file.to_owned(),
            key: format!("{}{key}", self.prefix),
            wanted: wanted.into(),
            found,
        }
    }

    pub(crate) fn required<T>(&self, key: &str, value: Option<T>) -> Result<T, ConfigError> {
        value.ok_or_else(|| ConfigError::Missing {
            file: self.file.to_owned(),
            key: format!("{}{key}", self.prefix),
        })
    }

    pub(crate) fn size(&self, key: &str) -> Result<Option<usize>, ConfigError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let size = value.as_u64().and_then(|size| usize::try_from(size).ok());
        size.map(Some).ok_or_else(|| self.wrong(key, "a non-negative whole number"))
    }

    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>, ConfigError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_f64().map(Some).ok_or_else(|| self.wrong(key, "a number"))
    }

    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| self.wrong(key, "true or false"))
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<&'a str>, ConfigError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| self.wrong(key, "a string"))
    }

    pub(crate) fn list(&self, key: &str) -> Result<Option<&'a [Value]>, ConfigError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let list = value.as_array().map(Vec::as_slice);
        list.map(Some).ok_or_else(|| self.wrong(key, "a list"))
    }

    pub(crate) fn object(&self, key: &str) -> Result<Option<&'a Map<String, Value>>, ConfigError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_object().map(Some).ok_or_else(|| self.wrong(key, "an object"))
    }

    /// Refuses a key with a value that the decoder does not support.
    pub(crate) fn refuse(
        &self,
        key: &str,
        wanted: &str,
        is_harmless: impl Fn(&Value) -> bool,
    ) -> Result<(), ConfigError> {
        match self.get(key) {
            Some(value) if !is_harmless(value) => Err(self.wrong(key, wanted)),
            _ => Ok(()),
        }
    }
}
