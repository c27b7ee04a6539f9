//! GGUF files: the header, read once and checked against the file's length before it is believed.
//!
//! Owns the format (versions 2 and 3, little endian). What keys and tensors mean is the business
//! of the configuration, weight and tokenizer readers. Nothing is allocated on a count's word.
//! Source: docs/gguf.md of ggml.

mod cursor;
mod header;
mod kind;
mod tensor;
mod value;

use std::{ops::Deref, path::Path};

pub use header::GgufHeader;
pub use kind::StoredKind;
pub use tensor::TensorInfo;
pub use value::{Array, Kind, Value};

use crate::{
    error::HeaderError,
    mapped::{MappedFile, TensorBytes},
};

/// An open GGUF file: its header, and the data that it announces. Clones share everything.
#[derive(Debug, Clone)]
pub struct Gguf {
    header: GgufHeader,
}

impl Gguf {
    /// Maps a file and reads its header.
    ///
    /// # Errors
    /// [`HeaderError`] if the file cannot be read or its header does not hold together.
    pub fn open(path: &Path) -> Result<Self, HeaderError> {
        let file = MappedFile::open(path)
            .map_err(|source| HeaderError::Io { file: path.to_owned(), source })?;
        Ok(Self { header: GgufHeader::of_whole(file)? })
    }

    /// The stored bytes of a tensor of this file.
    pub fn bytes(&self, info: &TensorInfo) -> TensorBytes {
        self.header.file.span(info.span.clone())
    }
}

impl Deref for Gguf {
    type Target = GgufHeader;

    fn deref(&self) -> &GgufHeader {
        &self.header
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod writer;
