//! The output file of a batch: reads its existing lines, and appends to it.

use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
};

use anyhow::{Context, anyhow};
use serde::Serialize;
use serde_json::Value;
use sluicegate::{Completion, stream::Usage};
use sluicegate_model::tokenizer::Tokenizer;

use super::Outcome;
use crate::{
    error::{self, CliError},
    report::OutputReport,
};

/// A file to which answers are appended, a line each; existing lines stay.
#[derive(Debug)]
pub(super) struct Answers {
    file: File,
    name: String,
    /// In JSON form.
    ids: HashSet<String>,
}

/// A line of the file.
#[derive(Serialize)]
struct Answer<'a> {
    id: &'a Value,
    #[serde(flatten)]
    outcome: OutcomeReport<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum OutcomeReport<'a> {
    Completed { outputs: Vec<OutputReport<'a>>, usage: Usage },
    Failed { error: String },
}

impl Answers {
    /// Opens or creates the file. Removes a line that an interrupted run has left incomplete.
    ///
    /// # Errors
    /// [`CliError::Usage`] if it is `input`, has other contents, or cannot be written.
    pub(super) fn open(path: &Path, input: &Path) -> Result<Self, CliError> {
        let open = || {
            let same = |a: &Path, b: &Path| Some(a.canonicalize().ok()? == b.canonicalize().ok()?);
            if same(path, input) == Some(true) {
                return Err(anyhow!("this is the batch file itself; wanted another"));
            }
            let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
            let ids = read(&mut file)?;
            Ok(Self { file, name: path.display().to_string(), ids })
        };
        open()
            .with_context(|| path.display().to_string())
            .map_err(|error| CliError::usage_at("--output", error))
    }

    pub(super) fn has(&self, id: &Value) -> bool {
        self.ids.contains(&id.to_string())
    }

    /// Appends the outcome of a line, in one write.
    ///
    /// # Errors
    /// [`CliError::Failed`] if the file cannot be written.
    pub(super) fn write(
        &mut self,
        id: &Value,
        outcome: &Outcome,
        is_json: bool,
        tokenizer: &Tokenizer,
    ) -> Result<(), CliError> {
        let outcome = match outcome {
            Ok(Completion { outputs, usage, .. }) => {
                let outputs =
                    outputs.iter().map(|it| OutputReport::new(it, is_json, tokenizer)).collect();
                OutcomeReport::Completed { outputs, usage: *usage }
            }
            Err(error) => OutcomeReport::Failed { error: error::chain(error) },
        };
        let write = || -> anyhow::Result<()> {
            let mut line = serde_json::to_vec(&Answer { id, outcome })?;
            line.push(b'\n');
            Ok(self.file.write_all(&line)?)
        };
        let written = write();
        written
            .with_context(|| format!("--output: cannot write {}", self.name))
            .map_err(CliError::Failed)
    }
}

/// Returns the ids of all lines. Removes everything after the last line break.
fn read(file: &mut File) -> anyhow::Result<HashSet<String>> {
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let mut ids = HashSet::new();
    for (number, line) in (1..).zip(text[..end].split_inclusive(|byte| *byte == b'\n')) {
        let known: Option<Value> = serde_json::from_slice(line).ok();
        let id = known.as_ref().and_then(|answer| answer.get("id"));
        let id = id.with_context(|| {
            format!("line {number} has no id; wanted a new file, or the output of a batch")
        })?;
        ids.insert(id.to_string());
    }
    if end < text.len() {
        let rest = &text[end..];
        if !rest.starts_with(b"{\"id\":") && !b"{\"id\":".starts_with(rest) {
            return Err(anyhow!("not a file of lines; wanted a new file"));
        }
        file.set_len(end as u64)?;
        file.seek(SeekFrom::End(0))?;
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_an_interrupted_run_has_written_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (input, output) = (folder.path().join("in.jsonl"), folder.path().join("out.jsonl"));
        std::fs::write(&input, "").unwrap();
        std::fs::write(&output, "{\"id\":\"a\",\"outputs\":[]}\n{\"id\":7,\"outp").unwrap();
        let mut answers = Answers::open(&output, &input).unwrap();
        assert!(answers.has(&json!("a")) && !answers.has(&json!(7)));
        let tokenizer = Tokenizer::letters(Path::new("letters"), 300, None, &[]).unwrap();
        answers.write(&json!(7), &Err(anyhow!("why")), false, &tokenizer).unwrap();
        let text = std::fs::read_to_string(&output).unwrap();
        assert_eq!(text, "{\"id\":\"a\",\"outputs\":[]}\n{\"id\":7,\"error\":\"why\"}\n");
        assert!(Answers::open(&output, &input).unwrap().has(&json!(7)));
    }

    #[test]
    fn other_files_are_not_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("in.jsonl"), "{\"prompt\": \"a\"}\n").unwrap();
        for text in ["a letter\n", "a letter", "{\"prompt\": \"a\"}\n"] {
            std::fs::write(path("other"), text).unwrap();
            let refused = Answers::open(&path("other"), &path("in.jsonl"));
            assert!(matches!(refused, Err(CliError::Usage(_))), "{text}");
            assert_eq!(std::fs::read_to_string(path("other")).unwrap(), text);
        }
        let refused = Answers::open(&path("in.jsonl"), &path("in.jsonl"));
        assert!(matches!(refused, Err(CliError::Usage(_))));
        let refused = Answers::open(&path("no/such/out.jsonl"), &path("in.jsonl"));
        assert!(matches!(refused, Err(CliError::Usage(_))));
    }
}
