//! The header entry of one tensor.

use std::ops::Range;

use super::{
    cursor::Cursor,
    kind::{SUPPORTED, StoredKind},
};
use crate::error::{HeaderError, Unusable};

const MAX_DIMS: u32 = 4;

/// Shape, storage type and position of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Row-major: the last axis is the contiguous one.
    pub shape: Vec<usize>,
    pub kind: StoredKind,
    /// Bytes of the tensor in the file.
    pub num_bytes: u64,
    /// The file of a split model that contains it.
    pub(super) shard_idx: usize,
    /// From the start of the data section.
    pub(super) offset: u64,
    /// The range in that file; empty until the start of the data section is known.
    pub(super) span: Range<usize>,
}

impl TensorInfo {
    /// Reads an entry. The inner error concerns this tensor alone, and matters only if it is used.
    pub(super) fn read(
        cursor: &mut Cursor<'_>,
        name: &str,
        shard_idx: usize,
    ) -> Result<Result<Self, Unusable>, HeaderError> {
        let what = format!("tensor `{name}`");
        let start = cursor.offset();
        let num_dims = cursor.u32(&what)?;
        if !(1..=MAX_DIMS).contains(&num_dims) {
            let wanted = format!("1 to {MAX_DIMS} dimensions");
            return Err(cursor.malformed_at(start, &what, wanted, num_dims.to_string()));
        }
        let mut dims = Vec::new();
        for _ in 0..num_dims {
            dims.push(cursor.u64(&what)?);
        }
        // The file lists the contiguous axis first.
        dims.reverse();
        let kind_at = cursor.offset();
        let number = cursor.u32(&what)?;
        let offset = cursor.u64(&what)?;
        let unusable = |at: usize, wanted, found| {
            Ok(Err(Unusable { place: format!("{what} at byte {at}"), wanted, found }))
        };
        let Some(kind) = StoredKind::from_ggml(number) else {
            return unusable(kind_at, SUPPORTED.to_owned(), format!("type {number}"));
        };
        let shape: Option<Vec<usize>> = dims.iter().map(|dim| usize::try_from(*dim).ok()).collect();
        let sized = shape.and_then(|shape| kind.num_bytes(&shape).map(|bytes| (shape, bytes)));
        let Some((shape, num_bytes)) = sized else {
            let wanted = format!("axes of 1 or more, rows of whole blocks of {}", kind.block_len());
            return unusable(start, wanted, format!("{dims:?}"));
        };
        let num_bytes = num_bytes as u64;
        Ok(Ok(Self { shape, kind, num_bytes, shard_idx, offset, span: 0..0 }))
    }
}
