//! Storage types of tensors, by ggml's type numbers.

/// How the elements of a tensor are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredKind {
    F32,
    F16,
    BF16,
    /// In blocks with their own scales.
    Quantized(BlockType),
}

/// Elements in blocks with their own scales.
///
/// Source: `ggml-common.h` of llama.cpp, `block_q4_0` and following.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlockType {
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
}

impl BlockType {
    /// Returns the number of elements in a block.
    pub const fn block_len(self) -> usize {
        match self {
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => 32,
            Self::Q2K | Self::Q3K | Self::Q4K | Self::Q5K | Self::Q6K => 256,
        }
    }

    /// Returns the bytes of a block.
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
            Self::Q2K => 84,
            Self::Q3K => 110,
            Self::Q4K => 144,
            Self::Q5K => 176,
            Self::Q6K => 210,
        }
    }
}

/// The ggml type numbers of the supported storage types.
const KINDS: [(u32, StoredKind); 13] = [
    (0, StoredKind::F32),
    (1, StoredKind::F16),
    (2, StoredKind::Quantized(BlockType::Q4_0)),
    (3, StoredKind::Quantized(BlockType::Q4_1)),
    (6, StoredKind::Quantized(BlockType::Q5_0)),
    (7, StoredKind::Quantized(BlockType::Q5_1)),
    (8, StoredKind::Quantized(BlockType::Q8_0)),
    (10, StoredKind::Quantized(BlockType::Q2K)),
    (11, StoredKind::Quantized(BlockType::Q3K)),
    (12, StoredKind::Quantized(BlockType::Q4K)),
    (13, StoredKind::Quantized(BlockType::Q5K)),
    (14, StoredKind::Quantized(BlockType::Q6K)),
    (30, StoredKind::BF16),
];

/// The supported types, for messages.
pub(super) const SUPPORTED: &str =
    "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 or Q2_K to Q6_K (types 0-3, 6-8, 10-14, 30)";

impl StoredKind {
    pub(super) fn from_ggml(number: u32) -> Option<Self> {
        KINDS.iter().find(|(known, _)| *known == number).map(|(_, kind)| *kind)
    }

    /// Returns the number of elements in a block; one for unblocked types.
    pub fn block_len(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::BF16 => 1,
            Self::Quantized(kind) => kind.block_len(),
        }
    }

    /// Returns the bytes of a block.
    pub fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::Quantized(kind) => kind.block_bytes(),
        }
    }

    /// Returns the bytes of a tensor; rows run along the last axis of `shape`.
    ///
    /// `None` if an axis is empty, a row is not a whole number of blocks, or the size does not fit
    /// in memory.
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
        // The number of elements must fit too, since kernels index them.
        rows.checked_mul(row).filter(|count| isize::try_from(*count).is_ok())?;
        rows.checked_mul(row / self.block_len())?
            .checked_mul(self.block_bytes())
            .filter(|bytes| isize::try_from(*bytes).is_ok())
    }
}
