//! How the numbers of a tensor are stored, by the format's type numbers.

use candle_core::{DType, quantized::GgmlDType};

/// How the numbers of a tensor are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredKind {
    F32,
    F16,
    BF16,
    /// In blocks with their own scales.
    Quantized(GgmlDType),
}

/// Type numbers of ggml that models of the supported kinds use.
const KINDS: [(u32, StoredKind); 13] = [
    (0, StoredKind::F32),
    (1, StoredKind::F16),
    (2, StoredKind::Quantized(GgmlDType::Q4_0)),
    (3, StoredKind::Quantized(GgmlDType::Q4_1)),
    (6, StoredKind::Quantized(GgmlDType::Q5_0)),
    (7, StoredKind::Quantized(GgmlDType::Q5_1)),
    (8, StoredKind::Quantized(GgmlDType::Q8_0)),
    (10, StoredKind::Quantized(GgmlDType::Q2K)),
    (11, StoredKind::Quantized(GgmlDType::Q3K)),
    (12, StoredKind::Quantized(GgmlDType::Q4K)),
    (13, StoredKind::Quantized(GgmlDType::Q5K)),
    (14, StoredKind::Quantized(GgmlDType::Q6K)),
    (30, StoredKind::BF16),
];

/// The kinds, for messages.
pub(super) const SUPPORTED: &str =
    "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 or Q2_K to Q6_K (types 0-3, 6-8, 10-14, 30)";

impl StoredKind {
    pub(super) fn from_ggml(number: u32) -> Option<Self> {
        KINDS.iter().find(|(known, _)| *known == number).map(|(_, kind)| *kind)
    }

    /// Numbers in one block; one where numbers stand alone.
    pub fn block_len(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::BF16 => 1,
            Self::Quantized(kind) => kind.block_size(),
        }
    }

    /// Bytes of one block.
    pub fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::Quantized(kind) => kind.type_size(),
        }
    }

    /// Bytes of a tensor whose rows are `shape`'s last axis.
    ///
    /// `None` if there is an empty axis, a row is not made of whole blocks, or the size does not
    /// fit in memory.
    pub fn num_bytes(self, shape: &[usize]) -> Option<usize> {
        let row = shape.last().copied().unwrap_or(1);
        if !row.is_multiple_of(self.block_len()) || shape.contains(&0) {
            return None;
        }
        let rows = shape
            .iter()
            .rev()
            .skip(1)
            .try_fold(1usize, |product, axis| product.checked_mul(*axis))?;
        // The count of numbers too must fit, since kernels index them.
        rows.checked_mul(row).filter(|count| isize::try_from(*count).is_ok())?;
        rows.checked_mul(row / self.block_len())?
            .checked_mul(self.block_bytes())
            .filter(|bytes| isize::try_from(*bytes).is_ok())
    }

    /// candle's type for numbers that stand alone.
    pub(crate) fn dense(self) -> Option<DType> {
        match self {
            Self::F32 => Some(DType::F32),
            Self::F16 => Some(DType::F16),
            Self::BF16 => Some(DType::BF16),
            Self::Quantized(_) => None,
        }
    }
}
