//! Finds and reads the files of a benchmark.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::{bounded, error::CliError};

/// The most bytes of a file; the largest known schema has four million.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// A schema and instances with the expected results.
#[derive(Debug, Deserialize)]
pub(super) struct Case {
    #[serde(default)]
    pub(super) description: String,
    pub(super) schema: Value,
    #[serde(default)]
    pub(super) tests: Vec<Test>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Test {
    #[serde(default)]
    pub(super) description: String,
    pub(super) valid: bool,
    /// As written in the file, since numbers may not fit any type.
    pub(super) data: Box<RawValue>,
}

/// Lists the files in `paths`: themselves, or every `.json` file in a folder.
///
/// # Errors
/// [`CliError::Usage`] if a path does not exist, or there is no file.
pub(super) fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>, CliError> {
    let mut files = Vec::new();
    for path in paths {
        let found = list(path, &mut files);
        found
            .with_context(|| format!("cannot read {}", path.display()))
            .map_err(CliError::Usage)?;
    }
    if files.is_empty() {
        return Err(CliError::usage(anyhow!("no file ends in .json; wanted at least one")));
    }
    Ok(files)
}

/// Adds a file, or the files of a folder, in order. Links to folders are not followed.
pub(super) fn list(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !fs::metadata(path)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let mut entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let is_json = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("json"));
        if entry.file_type()?.is_dir() {
            list(&path, files)?;
        } else if is_json && path.is_file() {
            files.push(path);
        }
    }
    Ok(())
}

/// Reads the cases of a file: one object, or a list of them. An invalid case becomes a message.
///
/// # Errors
/// A message, if the file cannot be read at all.
pub(super) fn cases(path: &Path) -> Result<Vec<Result<Case, String>>, String> {
    let text = read(path)?;
    let text = text.trim_start_matches('\u{feff}').trim_start();
    match text.bytes().next() {
        Some(b'[') => {
            let items: Vec<&RawValue> = parse(text)?;
            Ok(items.into_iter().map(|item| parse(item.get())).collect())
        }
        Some(b'{') => Ok(vec![Ok(parse(text)?)]),
        _ => Err("wanted an object or a list of objects".to_owned()),
    }
}

pub(super) fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

pub(super) fn read(path: &Path) -> Result<String, String> {
    let text = bounded::read_text(path, MAX_FILE_BYTES).map_err(|error| error.to_string())?;
    text.ok_or_else(|| format!("larger than {MAX_FILE_BYTES} bytes, the most that are read"))
}

/// Returns whether a file's schema comes from real use, by the benchmark's own names.
pub(super) fn is_real(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    !name.starts_with("Synthesized") && !name.starts_with("Handwritten")
}

/// Returns whether implementations may differ on a file's tests, by the test suite's own folders.
pub(super) fn is_optional(path: &Path) -> bool {
    path.iter().any(|part| part == "optional")
}
