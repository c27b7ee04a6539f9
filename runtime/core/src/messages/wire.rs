//! The one encoding of every message: two bytes that say version and kind, then the value as
//! [postcard](https://postcard.jamesmunns.com/wire-format) writes it.
//!
//! Bytes may come from another process: their number is bounded before they are read, and lists are
//! allocated as their items come, a megabyte ahead at most. What a batch indexes is checked by
//! [`OrderBounds`](crate::scheduler::OrderBounds): by the loop before it is sent, and by whoever
//! takes one from another process.

use postcard::ser_flavors::Size;
use serde::{Serialize, de::DeserializeOwned};

/// The form of all messages. A change of any of them makes another version, and only the same
/// version is read: the processes of one pipeline are of one build.
pub const VERSION: u8 = 2;

/// The longest message: page tables of a thousand rows with 128,000 tokens each take half of it. In
/// memory a message takes at most a hundred times what it takes here, while a list grows.
pub const MAX_BYTES: usize = 64 << 20;

/// Version and kind.
const HEADER_BYTES: usize = 2;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum MessageKind {
    Batch = 1,
    Masks = 2,
    Sampled = 3,
}

/// Plain data that travels between the host and the stages.
pub trait Message: Serialize + DeserializeOwned {
    const KIND: MessageKind;
}

/// Why bytes are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("a message has {found} bytes, wanted {MAX_BYTES} at most")]
    TooLong { found: usize },
    #[error("a message is of version {found}, wanted {VERSION}")]
    Version { found: u8 },
    #[error("a message is of kind {found}, wanted {} ({wanted:?})", *wanted as u8)]
    Kind { wanted: MessageKind, found: u8 },
    #[error("a message of kind {kind:?} cannot be read")]
    Malformed {
        kind: MessageKind,
        #[source]
        error: postcard::Error,
    },
    #[error("a message of kind {kind:?} has {found} bytes behind its end")]
    Trailing { kind: MessageKind, found: usize },
    #[error("a message has {found} bytes, wanted {HEADER_BYTES} at least")]
    TooShort { found: usize },
}

/// How many bytes a message takes.
pub fn num_bytes<T: Message>(message: &T) -> usize {
    HEADER_BYTES + serialize(message, Size::default())
}

/// Encodes a message. One that is too long is refused where it is decoded.
pub fn encode<T: Message>(message: &T) -> Vec<u8> {
    let flavor = postcard::ser_flavors::AllocVec::new();
    let body = serialize(message, flavor);
    [&[VERSION, T::KIND as u8], &body[..]].concat()
}

fn serialize<T: Message, F: postcard::ser_flavors::Flavor>(message: &T, flavor: F) -> F::Output {
    let written = postcard::serialize_with_flavor(message, flavor);
    written.expect("memory takes what is written, and every length is known")
}

/// Decodes a message.
///
/// # Errors
/// [`DecodeError`] for anything but the whole bytes of one message of this kind.
pub fn decode<T: Message>(bytes: &[u8]) -> Result<T, DecodeError> {
    let (kind, found) = (T::KIND, bytes.len());
    if found > MAX_BYTES {
        return Err(DecodeError::TooLong { found });
    }
    let Some((&[version, found_kind], body)) = bytes.split_first_chunk() else {
        return Err(DecodeError::TooShort { found });
    };
    if version != VERSION {
        return Err(DecodeError::Version { found: version });
    }
    if found_kind != kind as u8 {
        return Err(DecodeError::Kind { wanted: kind, found: found_kind });
    }
    let read = postcard::take_from_bytes(body);
    let (message, rest) = read.map_err(|error| DecodeError::Malformed { kind, error })?;
    match rest.len() {
        0 => Ok(message),
        found => Err(DecodeError::Trailing { kind, found }),
    }
}

/// Index arrays as little-endian bytes; in text, such as JSON, as numbers.
pub(super) mod words {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(
        words: &[u32],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return words.serialize(serializer);
        }
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        serializer.serialize_bytes(&bytes)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, T: From<Vec<u32>>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        if deserializer.is_human_readable() {
            return Vec::deserialize(deserializer).map(T::from);
        }
        let bytes = super::bytes::deserialize(deserializer)?;
        let (words, rest) = bytes.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(D::Error::invalid_length(bytes.len(), &"a multiple of four bytes"));
        }
        Ok(words.iter().map(|word| u32::from_le_bytes(*word)).collect::<Vec<u32>>().into())
    }
}

/// Bytes as such; in text, such as JSON, as numbers.
pub(super) mod bytes {
    use std::fmt;

    use serde::{
        Deserialize, Deserializer, Serialize, Serializer,
        de::{Error, Visitor},
    };

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return bytes.serialize(serializer);
        }
        serializer.serialize_bytes(bytes)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Box<[u8]>, D::Error> {
        if deserializer.is_human_readable() {
            return Box::deserialize(deserializer);
        }
        deserializer.deserialize_byte_buf(Bytes)
    }

    struct Bytes;

    impl Visitor<'_> for Bytes {
        type Value = Box<[u8]>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
            Ok(bytes.into())
        }
    }
}
