//! `--instance`: the bytes of a file, or of the argument itself.

use std::path::Path;

use anyhow::{Context, anyhow};
use serde_json::value::RawValue;

use crate::bounded;

/// The most bytes of an instance.
const MAX_BYTES: u64 = 16 << 20;

/// A text to check, and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Instance {
    /// The file's name; `None` for JSON on the command line.
    pub(super) file: Option<String>,
    pub(super) bytes: Vec<u8>,
}

impl Instance {
    /// Reads the argument as an existing file, else as JSON.
    ///
    /// # Errors
    /// It is neither, or the file cannot be read or is too large.
    pub(super) fn read(argument: &str) -> anyhow::Result<Self> {
        if Path::new(argument).exists() {
            let context = || format!("--instance {argument}: cannot be read");
            let large = || {
                anyhow!(
                    "--instance {argument}: larger than {MAX_BYTES} bytes, the most for an instance"
                )
            };
            let bytes = bounded::read_file(argument, MAX_BYTES).with_context(context)?;
            return Ok(Self { file: Some(argument.to_owned()), bytes: bytes.ok_or_else(large)? });
        }
        let is_begun = argument.trim_start().starts_with(['{', '[', '"']);
        if is_begun || serde_json::from_str::<&RawValue>(argument).is_ok() {
            return Ok(Self { file: None, bytes: argument.as_bytes().to_vec() });
        }
        Err(anyhow!("--instance {argument}: there is no such file, and it is not JSON"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_files_or_json() {
        let inline = Instance::read(" {\"a\": ").unwrap();
        assert_eq!((inline.file, inline.bytes), (None, b" {\"a\": ".to_vec()));
        assert_eq!(Instance::read("-5").unwrap().bytes, b"-5");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "tru\n").unwrap();
        let path = file.path().to_str().unwrap();
        let read = Instance::read(path).unwrap();
        assert_eq!((read.file.as_deref(), read.bytes), (Some(path), b"tru\n".to_vec()));
        let error = Instance::read("no-such.json").unwrap_err().to_string();
        assert!(error.contains("no such file, and it is not JSON"), "{error}");
    }
}
