//! Plain data about the KV cache: its element types and its page size.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Tokens in one page of KV cache.
pub const PAGE_TOKENS: usize = 16;

/// The type in which keys and values are cached. Attention always computes in f32.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KvType {
    /// As computed.
    #[default]
    F32,
    /// Half the memory; 11 significant bits, values up to 65,504.
    F16,
    /// Half the memory; 8 significant bits, the range of f32.
    Bf16,
}

impl KvType {
    /// All types.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Bf16];

    /// Returns the bytes of one element.
    pub const fn num_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// Returns the usual name.
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
