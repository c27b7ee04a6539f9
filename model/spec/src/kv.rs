//! The KV cache as plain data: its numbers and its pages.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Tokens in one page of KV cache.
pub const PAGE_TOKENS: usize = 16;

/// In what keys and values are kept. Attention computes in f32 from either.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KvType {
    /// As they were computed.
    #[default]
    F32,
    /// Half of the memory; 11 bits of each number, which must lie within 65,504.
    F16,
    /// Half of the memory; 8 bits of each number, with the range of f32.
    Bf16,
}

impl KvType {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Bf16];

    /// Bytes of one number.
    pub const fn num_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// Its usual name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }
}

impl fmt::Display for KvType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for KvType {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or("wanted f32, f16 or bf16")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for kind in KvType::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert_eq!("int8".parse::<KvType>(), Err("wanted f32, f16 or bf16"));
    }
}
