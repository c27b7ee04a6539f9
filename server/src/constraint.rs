//! `--schema`, `--regex` and `--choice`, made into a specification.

use std::{fs::File, io::Read};

use anyhow::{Context, anyhow};
use serde_json::Value;
use sluicegate_constraint::Spec;

use crate::{cli::ConstraintArgs, error::CliError};

/// The most bytes of a schema; the compiler's own limits are far below.
const MAX_SCHEMA_BYTES: u64 = 16 << 20;

impl ConstraintArgs {
    /// What the output must be. A schema is read here, and compiled with the request.
    ///
    /// # Errors
    /// If the schema cannot be read or is no JSON; says in which file, line and column.
    pub(crate) fn spec(&self) -> Result<Spec, CliError> {
        if let Some(schema) = &self.schema {
            return read_schema(schema).map(Spec::JsonSchema).map_err(CliError::usage);
        }
        if let Some(regex) = &self.regex {
            return Ok(Spec::Regex(regex.clone()));
        }
        if self.choice.is_empty() { Ok(Spec::Text) } else { Ok(Spec::Choice(self.choice.clone())) }
    }
}

fn read_schema(schema: &str) -> anyhow::Result<Value> {
    if schema.trim_start().starts_with('{') {
        return parse("--schema", schema.as_bytes());
    }
    let wanted =
        || format!("--schema: cannot read {schema}; wanted a file, or JSON that starts with `{{`");
    let mut text = Vec::new();
    let file = File::open(schema).with_context(wanted)?;
    file.take(MAX_SCHEMA_BYTES + 1).read_to_end(&mut text).with_context(wanted)?;
    if text.len() as u64 > MAX_SCHEMA_BYTES {
        return Err(anyhow!(
            "{schema}: larger than {MAX_SCHEMA_BYTES} bytes, the most for a schema"
        ));
    }
    parse(schema, &text)
}

fn parse(place: &str, text: &[u8]) -> anyhow::Result<Value> {
    serde_json::from_slice(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let message = error.to_string();
        let reason = message.split(" at line ").next().unwrap_or_default();
        anyhow!("{place}:{line}:{column}: not valid JSON: {reason}")
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[track_caller]
    fn check(schema: &str, want: &str) {
        let got = match read_schema(schema) {
            Ok(value) => value.to_string(),
            Err(error) => format!("error: {error:#}"),
        };
        assert_eq!(got, want);
    }

    #[test]
    fn schemas_are_given_inline_or_as_a_file() {
        check(" {\"type\": \"string\"}", r#"{"type":"string"}"#);
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"true\n").unwrap();
        check(file.path().to_str().unwrap(), "true");
    }

    #[test]
    fn bad_json_names_file_line_and_column() {
        check("{\n  \"a\": }", "error: --schema:2:8: not valid JSON: expected value");
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"{\n\"type\": \"object\",\n}").unwrap();
        let path = file.path().to_str().unwrap();
        check(path, &format!("error: {path}:3:1: not valid JSON: trailing comma"));
    }

    #[test]
    fn a_missing_file_says_what_may_be_given() {
        let wanted = "wanted a file, or JSON that starts with `{`";
        check(
            "no/such.json",
            &format!(
                "error: --schema: cannot read no/such.json; {wanted}: No such file or directory \
                 (os error 2)"
            ),
        );
    }
}
