//! The header of a GGUF file: metadata and tensor entries, without the data behind them.

use std::{collections::HashMap, path::Path, sync::Arc};

use super::{
    cursor::Cursor,
    tensor::TensorInfo,
    value::{Array, Kind, Value},
};
use crate::{error::HeaderError, mapped::MappedFile};

const MAX_KEY_BYTES: u64 = 65_535;
const DEFAULT_ALIGNMENT: u64 = 32;
/// The least bytes of a metadata entry: key length, value type, one byte.
const MIN_ENTRY_BYTES: u64 = 8 + 4 + 1;
/// The least bytes of a tensor entry: name length, dimension count, one dimension, type, offset.
const MIN_TENSOR_BYTES: u64 = 8 + 4 + 8 + 4 + 8;
/// What is mapped of a file in search of its header's end, at first.
const FIRST_BYTES: usize = 1 << 20;

/// What a GGUF file says before its data. Clones share everything.
#[derive(Debug, Clone)]
pub struct GgufHeader {
    pub(super) file: MappedFile,
    entries: Arc<Entries>,
}

#[derive(Debug)]
struct Entries {
    metadata: HashMap<String, Value>,
    tensors: HashMap<String, TensorInfo>,
}

/// Whether a file must hold the data that its header announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Data {
    Required,
    Ignored,
}

impl GgufHeader {
    /// Reads the header of a file, which need not hold anything behind it.
    ///
    /// No more of the file is mapped than the header takes, to within a factor of four.
    ///
    /// # Errors
    /// [`HeaderError`] if the file cannot be read or its header does not hold together.
    pub fn open(path: &Path) -> Result<Self, HeaderError> {
        let io = |source| HeaderError::Io { file: path.to_owned(), source };
        let mut limit = FIRST_BYTES;
        loop {
            let (file, is_whole) = MappedFile::open_start(path, limit).map_err(io)?;
            match Self::read(file, Data::Ignored) {
                Err(HeaderError::Truncated { .. }) if !is_whole => {
                    limit = limit.saturating_mul(4);
                }
                read => return read,
            }
        }
    }

    /// Reads the header at the start of a file that holds its data, too.
    pub(super) fn of_whole(file: MappedFile) -> Result<Self, HeaderError> {
        Self::read(file, Data::Required)
    }

    fn read(file: MappedFile, data: Data) -> Result<Self, HeaderError> {
        let entries = Arc::new(Entries::read(&file, data)?);
        Ok(Self { file, entries })
    }

    pub fn path(&self) -> &Path {
        self.file.path()
    }

    pub fn value(&self, key: &str) -> Option<&Value> {
        self.entries.metadata.get(key)
    }

    #[cfg(test)]
    pub(super) fn values(&self) -> impl Iterator<Item = &Value> {
        self.entries.metadata.values()
    }

    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.entries.tensors.get(name)
    }

    pub fn tensors(&self) -> impl Iterator<Item = (&str, &TensorInfo)> {
        self.entries.tensors.iter().map(|(name, info)| (name.as_str(), info))
    }

    /// The items of an array of strings, in order; `None` if the array holds something else.
    ///
    /// Bytes that are not UTF-8 are kept as they are.
    pub fn texts(&self, array: &Array) -> Option<impl Iterator<Item = &[u8]>> {
        let mut rest = (array.kind == Kind::Text).then(|| &self.file[array.span.clone()])?;
        Some((0..array.len).map_while(move |_| {
            let (len, tail) = rest.split_first_chunk::<8>()?;
            let (text, tail) =
                tail.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
            rest = tail;
            Some(text)
        }))
    }

    /// The items of an array of numbers, in order; `None` if the array holds something else.
    pub fn numbers(&self, array: &Array) -> Option<Vec<f64>> {
        let bytes = &self.file[array.span.clone()];
        macro_rules! items {
            ($number:ty) => {
                bytes
                    .as_chunks::<{ size_of::<$number>() }>()
                    .0
                    .iter()
                    .map(|item| f64::from(<$number>::from_le_bytes(*item)))
                    .collect()
            };
        }
        Some(match array.kind {
            Kind::U8 | Kind::Bool => items!(u8),
            Kind::I8 => items!(i8),
            Kind::U16 => items!(u16),
            Kind::I16 => items!(i16),
            Kind::U32 => items!(u32),
            Kind::I32 => items!(i32),
            Kind::F32 => items!(f32),
            Kind::F64 => items!(f64),
            Kind::Text | Kind::Array | Kind::U64 | Kind::I64 => return None,
        })
    }
}

impl Entries {
    fn read(file: &MappedFile, data: Data) -> Result<Self, HeaderError> {
        let mut cursor = Cursor::new(file, 0);
        check_magic(&mut cursor)?;
        let num_tensors = cursor.u64("tensor count")?;
        let num_entries = cursor.u64("metadata count")?;
        let least = num_entries
            .saturating_mul(MIN_ENTRY_BYTES)
            .saturating_add(num_tensors.saturating_mul(MIN_TENSOR_BYTES));
        let what = format!("a header of {num_tensors} tensors and {num_entries} metadata entries");
        cursor.want(least, &what)?;
        let metadata = read_metadata(&mut cursor, num_entries)?;
        let mut tensors = HashMap::new();
        for _ in 0..num_tensors {
            let start = cursor.offset();
            let name = cursor.text("tensor name", MAX_KEY_BYTES)?;
            let info = TensorInfo::read(&mut cursor, name)?;
            if tensors.insert(name.to_owned(), info).is_some() {
                let what = format!("tensor `{name}`");
                return Err(cursor.malformed_at(
                    start,
                    &what,
                    "each name once".to_owned(),
                    "it again".to_owned(),
                ));
            }
        }
        if data == Data::Required {
            place_tensors(file, &cursor, alignment(&cursor, &metadata)?, &mut tensors)?;
        }
        Ok(Self { metadata, tensors })
    }
}

fn check_magic(cursor: &mut Cursor<'_>) -> Result<(), HeaderError> {
    let magic = cursor.array::<4>("magic")?;
    if &magic != b"GGUF" {
        let found = format!("\"{}\"", magic.escape_ascii());
        return Err(cursor.malformed_at(0, "magic", "\"GGUF\"".to_owned(), found));
    }
    let version = cursor.u32("version")?;
    if matches!(version, 2 | 3) {
        return Ok(());
    }
    let found = match version.swap_bytes() {
        swapped @ (2 | 3) => format!("version {swapped}, big endian"),
        _ => version.to_string(),
    };
    Err(cursor.malformed_at(4, "version", "2 or 3, little endian".to_owned(), found))
}

fn read_metadata(
    cursor: &mut Cursor<'_>,
    num_entries: u64,
) -> Result<HashMap<String, Value>, HeaderError> {
    let mut metadata = HashMap::new();
    for _ in 0..num_entries {
        let start = cursor.offset();
        let key = cursor.text("metadata key", MAX_KEY_BYTES)?;
        let what = format!("`{key}`");
        let kind = Kind::read(cursor, &what)?;
        let value = Value::read(cursor, kind, &what)?;
        if metadata.insert(key.to_owned(), value).is_some() {
            let wanted = "each key once".to_owned();
            return Err(cursor.malformed_at(start, &what, wanted, "it again".to_owned()));
        }
    }
    Ok(metadata)
}

fn alignment(cursor: &Cursor<'_>, metadata: &HashMap<String, Value>) -> Result<u64, HeaderError> {
    match metadata.get("general.alignment") {
        None => Ok(DEFAULT_ALIGNMENT),
        // Blocks are read where they lie, and the widest number in them takes eight bytes at most.
        Some(Value::Unsigned(alignment))
            if alignment.is_power_of_two() && (8..=1 << 20).contains(alignment) =>
        {
            Ok(*alignment)
        }
        Some(other) => {
            let wanted = "a power of two from 8 to 1048576".to_owned();
            Err(cursor.malformed_at(0, "`general.alignment`", wanted, other.describe()))
        }
    }
}

/// Turns the tensors' offsets into spans of the file.
fn place_tensors(
    file: &MappedFile,
    cursor: &Cursor<'_>,
    alignment: u64,
    tensors: &mut HashMap<String, TensorInfo>,
) -> Result<(), HeaderError> {
    let data_start = (cursor.offset() as u64).next_multiple_of(alignment);
    for (name, info) in tensors {
        let what = format!("data of tensor `{name}`");
        if !info.offset.is_multiple_of(alignment) {
            return Err(HeaderError::Malformed {
                file: file.path().to_owned(),
                place: what,
                wanted: format!("an offset that is a multiple of {alignment}"),
                found: info.offset.to_string(),
            });
        }
        let start = usize::try_from(data_start.saturating_add(info.offset)).unwrap_or(usize::MAX);
        info.span = Cursor::new(file, start).skip(info.num_bytes, &what)?;
    }
    Ok(())
}
