//! Turns `--schema`, `--regex`, `--choice` and the other constraints into a specification.

use std::path::Path;

use anyhow::{Context, anyhow};
use serde_json::Value;
use sluicegate_constraint::Spec;

use crate::{bounded, cli::ConstraintArgs, error::CliError};

/// The most bytes of a schema; the compiler's own limits are far lower.
const MAX_SCHEMA_BYTES: u64 = 16 << 20;

impl ConstraintArgs {
    /// Returns the constraint of the output. Reads the schema; it is compiled with the request.
    ///
    /// # Errors
    /// The schema cannot be read or is not JSON, with file, line and column.
    pub(crate) fn spec(&self) -> Result<Spec, CliError> {
        let options = self.json_form.options();
        if let Some(schema) = &self.schema {
            let schema = read_schema(schema).map_err(CliError::usage)?;
            return Ok(Spec::Json { schema, options });
        }
        if let Some(tag) = &self.structural_tag {
            let (argument, text) = read("--structural-tag", tag)?;
            return parse(&argument, text.as_bytes())
                .map(Spec::StructuralTag)
                .map_err(CliError::usage);
        }
        if let Some(lark) = &self.lark {
            return read("--lark", lark).map(|(_, text)| Spec::Lark(text));
        }
        if let Some(gbnf) = &self.gbnf {
            return read("--gbnf", gbnf).map(|(_, text)| Spec::Gbnf(text));
        }
        Ok(match (&self.regex, self.format) {
            (Some(regex), _) => Spec::Regex(regex.clone()),
            (None, Some(format)) => Spec::Format(format),
            (None, None) if self.json_object => {
                Spec::Json { schema: serde_json::json!({ "type": "object" }), options }
            }
            (None, None) if self.choice.is_empty() => Spec::Text,
            (None, None) => Spec::Choice(self.choice.clone()),
        })
    }

    /// Warns of JSON options without a JSON constraint.
    pub(crate) fn warn_of_idle(&self) {
        if self.schema.is_none() && !self.json_object {
            for name in self.json_form.given() {
                tracing::warn!("{name} has no effect without --schema or --json-object");
            }
        }
    }

    /// Returns the argument of the constraint, for messages.
    pub(crate) fn argument(&self) -> String {
        match &self.schema {
            Some(schema) => schema_argument(schema),
            None => self.other_argument(),
        }
    }

    fn other_argument(&self) -> String {
        let files = [
            ("--lark", &self.lark),
            ("--gbnf", &self.gbnf),
            ("--structural-tag", &self.structural_tag),
        ];
        let file = files.into_iter().find_map(|(name, file)| Some((name, file.as_ref()?)));
        match file {
            Some((name, file)) => format!("{name} {}", file.display()),
            None if self.regex.is_some() => "--regex".to_owned(),
            None if self.format.is_some() => "--format".to_owned(),
            None if self.json_object => "--json-object".to_owned(),
            None => "--choice".to_owned(),
        }
    }
}

/// Returns the argument of a schema, for messages.
pub(crate) fn schema_argument(schema: &str) -> String {
    if is_inline(schema) { "--schema".to_owned() } else { format!("--schema {schema}") }
}

/// Reads the file of a grammar; also returns its argument for messages.
fn read(name: &str, file: &Path) -> Result<(String, String), CliError> {
    let argument = format!("{name} {}", file.display());
    let wanted = || format!("{name}: cannot read {}; wanted a text file", file.display());
    let large =
        || anyhow!("{argument}: larger than {MAX_SCHEMA_BYTES} bytes, the most for a grammar");
    let text = bounded::read_text(file, MAX_SCHEMA_BYTES).with_context(wanted);
    let text = text.and_then(|text| text.ok_or_else(large)).map_err(CliError::usage)?;
    Ok((argument, text))
}

fn is_inline(schema: &str) -> bool {
    schema.trim_start().starts_with('{')
}

/// Reads `--schema`: a file, or JSON.
///
/// # Errors
/// With file, line and column.
pub(crate) fn read_schema(schema: &str) -> anyhow::Result<Value> {
    if is_inline(schema) {
        return parse("--schema", schema.as_bytes());
    }
    let wanted =
        || format!("--schema: cannot read {schema}; wanted a file, or JSON that starts with `{{`");
    let large = || anyhow!("{schema}: larger than {MAX_SCHEMA_BYTES} bytes, the most for a schema");
    let text = bounded::read_file(schema, MAX_SCHEMA_BYTES).with_context(wanted)?;
    parse(schema, &text.ok_or_else(large)?)
}

fn parse(source: &str, text: &[u8]) -> anyhow::Result<Value> {
    serde_json::from_slice(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let message = error.to_string();
        let reason = message.split(" at line ").next().unwrap_or_default();
        anyhow!("{source}:{line}:{column}: not valid JSON: {reason}")
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
