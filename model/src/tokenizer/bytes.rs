//! Converts a token's spelling in the vocabulary to its true bytes.

use std::{collections::HashMap, sync::LazyLock};

/// How a vocabulary spells bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// One printable character per byte, as GPT-2 does.
    ByteLevel,
    /// `▁` for a space and `<0xNN>` for a byte, as `SentencePiece` does.
    Metaspace { byte_fallback: bool },
}

/// The character for a space in `SentencePiece` vocabularies.
pub(super) const METASPACE: char = '\u{2581}';

static BYTE_OF_CHAR: LazyLock<HashMap<char, u8>> =
    LazyLock::new(|| (0..=255).map(|byte| (byte_level_char(byte), byte)).collect());

/// Returns the character that GPT-2 uses for a byte: the same if it is printable, else one from
/// U+0100 on.
///
/// Source: `bytes_to_unicode` of GPT-2.
fn byte_level_char(byte: u8) -> char {
    let prints = |byte: u8| matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    if prints(byte) {
        return char::from(byte);
    }
    let rank = (0..byte).filter(|earlier| !prints(*earlier)).count();
    u32::try_from(rank).ok().and_then(|rank| char::from_u32(0x100 + rank)).unwrap_or('\u{FFFD}')
}

impl Spelling {
    /// Returns the bytes of a token that is not an added one.
    pub(super) fn bytes(self, token: &str) -> Vec<u8> {
        match self {
            Self::ByteLevel => byte_level(token),
            Self::Metaspace { byte_fallback } => match byte_fallback.then(|| byte_of(token)) {
                Some(Some(byte)) => vec![byte],
                _ => token.replace(METASPACE, " ").into_bytes(),
            },
        }
    }
}

fn byte_level(token: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(token.len());
    for character in token.chars() {
        match BYTE_OF_CHAR.get(&character) {
            Some(byte) => bytes.push(*byte),
            // A character outside the alphabet stands for itself.
            None => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

/// Returns the byte of a token `<0xNN>`.
pub(super) fn byte_of(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    let is_plain = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_plain.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}
