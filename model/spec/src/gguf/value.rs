//! Metadata values of a GGUF file. Arrays stay in the file until they are needed.

use std::ops::Range;

use super::cursor::Cursor;
use crate::error::HeaderError;

/// The longest string of a scalar value; chat templates are the longest in practice.
const MAX_TEXT_BYTES: u64 = 16 << 20;
/// The deepest nesting of arrays.
const MAX_DEPTH: usize = 4;

/// The type of a value, by the format's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    Text,
    Array,
    U64,
    I64,
    F64,
}

/// The types in the order of their numbers.
const VALUE_TYPES: [ValueType; 13] = [
    ValueType::U8,
    ValueType::I8,
    ValueType::U16,
    ValueType::I16,
    ValueType::U32,
    ValueType::I32,
    ValueType::F32,
    ValueType::Bool,
    ValueType::Text,
    ValueType::Array,
    ValueType::U64,
    ValueType::I64,
    ValueType::F64,
];

impl ValueType {
    pub(super) fn read(cursor: &mut Cursor<'_>, what: &str) -> Result<Self, HeaderError> {
        let start = cursor.offset();
        let number = cursor.u32(what)?;
        VALUE_TYPES.get(number as usize).copied().ok_or_else(|| {
            let wanted = "a value type from 0 to 12".to_owned();
            cursor.malformed_at(start, what, wanted, number.to_string())
        })
    }

    /// Returns the fewest bytes that a value takes in the file.
    fn min_bytes(self) -> u64 {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 | Self::Text => 8,
            Self::Array => 12,
        }
    }
}

/// A metadata value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    /// A string that is not UTF-8; an error only for callers that need it as text.
    Bytes(Vec<u8>),
    Array(Array),
}

/// The position of an array in the file. Its items were checked when the header was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Array {
    pub kind: ValueType,
    pub len: usize,
    pub(super) span: Range<usize>,
}

impl Value {
    pub(super) fn read(
        cursor: &mut Cursor<'_>,
        kind: ValueType,
        what: &str,
    ) -> Result<Self, HeaderError> {
        Ok(match kind {
            ValueType::U8 => Self::Unsigned(u8::from_le_bytes(cursor.array(what)?).into()),
            ValueType::U16 => Self::Unsigned(u16::from_le_bytes(cursor.array(what)?).into()),
            ValueType::U32 => Self::Unsigned(u32::from_le_bytes(cursor.array(what)?).into()),
            ValueType::U64 => Self::Unsigned(u64::from_le_bytes(cursor.array(what)?)),
            ValueType::I8 => Self::Signed(i8::from_le_bytes(cursor.array(what)?).into()),
            ValueType::I16 => Self::Signed(i16::from_le_bytes(cursor.array(what)?).into()),
            ValueType::I32 => Self::Signed(i32::from_le_bytes(cursor.array(what)?).into()),
            ValueType::I64 => Self::Signed(i64::from_le_bytes(cursor.array(what)?)),
            ValueType::F32 => Self::Float(f32::from_le_bytes(cursor.array(what)?).into()),
            ValueType::F64 => Self::Float(f64::from_le_bytes(cursor.array(what)?)),
            ValueType::Bool => {
                let start = cursor.offset();
                match cursor.array::<1>(what)? {
                    [0] => Self::Bool(false),
                    [1] => Self::Bool(true),
                    [other] => {
                        let wanted = "a bool of 0 or 1".to_owned();
                        return Err(cursor.malformed_at(start, what, wanted, other.to_string()));
                    }
                }
            }
            ValueType::Text => {
                let bytes = cursor.string(what, MAX_TEXT_BYTES)?.to_owned();
                match String::from_utf8(bytes) {
                    Ok(text) => Self::Text(text),
                    Err(error) => Self::Bytes(error.into_bytes()),
                }
            }
            ValueType::Array => Self::Array(Array::read(cursor, what, 1)?),
        })
    }

    /// Describes the value for messages.
    pub fn describe(&self) -> String {
        match self {
            Self::Unsigned(number) => number.to_string(),
            Self::Signed(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Bool(flag) => flag.to_string(),
            Self::Text(text) => format!("\"{}\"", text.chars().take(60).collect::<String>()),
            Self::Bytes(bytes) => format!("{} bytes that are not UTF-8", bytes.len()),
            Self::Array(array) => format!("an array of {} {:?}", array.len, array.kind),
        }
    }
}

impl Array {
    fn read(cursor: &mut Cursor<'_>, what: &str, depth: usize) -> Result<Self, HeaderError> {
        let start = cursor.offset();
        if depth > MAX_DEPTH {
            let wanted = format!("arrays at most {MAX_DEPTH} deep");
            return Err(cursor.malformed_at(start, what, wanted, "deeper ones".to_owned()));
        }
        let kind = ValueType::read(cursor, what)?;
        let len = cursor.u64(what)?;
        cursor.want(len.saturating_mul(kind.min_bytes()), what)?;
        let begin = cursor.offset();
        match kind {
            ValueType::Array => {
                for _ in 0..len {
                    Self::read(cursor, what, depth + 1)?;
                }
            }
            ValueType::Text => {
                for _ in 0..len {
                    let num_bytes = cursor.u64(what)?;
                    cursor.skip(num_bytes, what)?;
                }
            }
            _ => {
                cursor.skip(len * kind.min_bytes(), what)?;
            }
        }
        // Fits, because the items were found in a file whose length is a usize.
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        Ok(Self { kind, len, span: begin..cursor.offset() })
    }
}
