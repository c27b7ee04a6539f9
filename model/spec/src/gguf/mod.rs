//! GGUF files: the header is read once and checked against the file's length before it is trusted.
//!
//! Owns the format (versions 2 and 3, little endian). The readers of configuration, weights and
//! tokenizer know what keys and tensors mean. A count in the file never determines an allocation.
//! Source: docs/gguf.md of ggml.

mod cursor;
mod header;
mod kind;
mod shards;
mod tensor;
mod value;

use std::{ops::Deref, path::Path};

pub use header::GgufHeader;
pub use kind::{BlockType, StoredKind};
pub use shards::ShardName;
pub use tensor::TensorInfo;
pub use value::{Array, Value, ValueType};

use crate::{error::HeaderError, mapped::TensorBytes};

/// An open GGUF model, in one file or split over several: its header and its data. Clones share
/// everything.
#[derive(Debug, Clone)]
pub struct Gguf {
    header: GgufHeader,
}

impl Gguf {
    /// Maps a file and reads its header; for a split model all files, whichever is named.
    ///
    /// # Errors
    /// [`HeaderError`] if a file is missing or unreadable, or its header is inconsistent.
    pub fn open(path: &Path) -> Result<Self, HeaderError> {
        Ok(Self { header: GgufHeader::of_whole(path)? })
    }

    /// Returns the stored bytes of a tensor of this model.
    pub fn bytes(&self, info: &TensorInfo) -> TensorBytes {
        self.header.file_of(info).span(info.span.clone())
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
#[cfg(any(test, feature = "writer"))]
pub mod writer;
