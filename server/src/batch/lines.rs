//! Reads a batch file, line by line.

use std::{collections::HashMap, num::NonZero, path::Path};

use anyhow::{Context, anyhow, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::{bounded, error::CliError};

const MAX_BYTES: u64 = 1 << 30;

/// A line and its number.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    /// From 1.
    pub(super) number: usize,
    /// A text or a whole number, different for every line.
    pub(super) id: Value,
    pub(super) prompt: String,
    pub(super) schema: Option<Value>,
    pub(super) max_tokens: Option<NonZero<usize>>,
    pub(super) seed: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    prompt: String,
    id: Option<Value>,
    schema: Option<Value>,
    max_tokens: Option<NonZero<usize>>,
    seed: Option<u64>,
}

/// Reads all lines except empty ones.
///
/// # Errors
/// [`CliError::Usage`] with the number of the line.
pub(super) fn read(file: &Path) -> Result<Vec<Line>, CliError> {
    let read = || {
        let text = bounded::read_text(file, MAX_BYTES)?;
        parse(&text.ok_or_else(|| anyhow!("wanted a file of at most {MAX_BYTES} bytes"))?)
    };
    read()
        .with_context(|| file.display().to_string())
        .map_err(|error| CliError::usage_at("--batch-file", error))
}

fn parse(text: &str) -> anyhow::Result<Vec<Line>> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut lines = Vec::new();
    for (number, text) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let line = parse_line(number, text).with_context(|| format!("line {number}"))?;
        if let Some(other) = seen.insert(line.id.to_string(), number) {
            bail!("line {number}: its id {} is also that of line {other}", line.id);
        }
        lines.push(line);
    }
    if lines.is_empty() {
        bail!("there are no lines; wanted an object with a prompt in each");
    }
    Ok(lines)
}

fn parse_line(number: usize, text: &str) -> anyhow::Result<Line> {
    let fields: Fields = serde_json::from_str(text)?;
    let Fields { prompt, id, schema, max_tokens, seed } = fields;
    if prompt.is_empty() {
        bail!("the prompt is empty; wanted text");
    }
    let id = id.unwrap_or_else(|| number.into());
    if !(id.is_string() || id.is_u64() || id.is_i64()) {
        bail!("the id is {id}; wanted a text or a whole number");
    }
    Ok(Line { number, id, prompt, schema, max_tokens, seed })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lines_say_what_they_need() {
        let text = "{\"prompt\": \"a\"}\n\n{\"prompt\": \"b\", \"id\": \"x\", \"schema\": \
                    {\"type\": \"integer\"}, \"max_tokens\": 4, \"seed\": 7}\n";
        let lines = parse(text).unwrap();
        let first = Line {
            number: 1,
            id: json!(1),
            prompt: "a".to_owned(),
            schema: None,
            max_tokens: None,
            seed: None,
        };
        let second = Line {
            number: 3,
            id: json!("x"),
            prompt: "b".to_owned(),
            schema: Some(json!({"type": "integer"})),
            max_tokens: NonZero::new(4),
            seed: Some(7),
        };
        assert_eq!(lines, [first, second]);
    }

    #[test]
    fn wrong_lines_are_named() {
        #[track_caller]
        fn check(text: &str, want: &str) {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.starts_with(want), "{error}");
        }
        check("\n", "there are no lines");
        check("{\"prompt\": \"a\"}\n{\"promt\": \"b\"}", "line 2: unknown field `promt`");
        check("{\"prompt\": \"\"}", "line 1: the prompt is empty");
        check("{\"prompt\": \"a\", \"max_tokens\": 0}", "line 1: invalid value");
        check("{\"prompt\": \"a\", \"id\": [1]}", "line 1: the id is [1]");
        // The second line's number is the first one's id.
        check(
            "{\"prompt\": \"a\", \"id\": 2}\n{\"prompt\": \"b\"}",
            "line 2: its id 2 is also that of line 1",
        );
    }
}
