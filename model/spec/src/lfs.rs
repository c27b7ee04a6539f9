//! Git LFS pointers: the short texts that a clone without LFS has instead of large files.

use std::path::Path;

use crate::error::HeaderError;

/// How every pointer begins. Source: docs/spec.md of git-lfs.
const START: &[u8] = b"version https://git-lfs.github.com/spec/";

/// Refuses a file whose contents begin like a pointer.
///
/// # Errors
/// [`HeaderError::LfsPointer`], which tells how to get the file.
pub fn refuse_pointer(file: &Path, contents: &[u8]) -> Result<(), HeaderError> {
    if contents.starts_with(START) {
        return Err(HeaderError::LfsPointer { file: file.to_owned() });
    }
    Ok(())
}
