//! The header of a GGUF file: metadata and tensor entries, without the data after them.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    cursor::Cursor,
    shards::ShardName,
    tensor::TensorInfo,
    value::{Array, Value, ValueType},
};
use crate::{
    error::{HeaderError, Unusable, malformed},
    lfs::refuse_pointer,
    mapped::MappedFile,
};

const MAX_KEY_BYTES: u64 = 65_535;
const DEFAULT_ALIGNMENT: u64 = 32;
/// The fewest bytes of a metadata entry: key length, value type, one byte.
const MIN_ENTRY_BYTES: u64 = 8 + 4 + 1;
/// The fewest bytes of a tensor entry: name length, dimension count, one dimension, type, offset.
const MIN_TENSOR_BYTES: u64 = 8 + 4 + 8 + 4 + 8;
/// How much of a file is mapped at first when searching for the header's end.
const FIRST_BYTES: usize = 1 << 20;

/// The header of a GGUF model, in one file or split over several. Clones share everything.
#[derive(Debug, Clone)]
pub struct GgufHeader {
    /// Metadata are in the first file, tensors in each.
    files: Arc<[MappedFile]>,
    entries: Arc<Entries>,
}

#[derive(Debug)]
struct Entries {
    metadata: HashMap<String, Value>,
    tensors: HashMap<String, Entry>,
}

/// A fault in a tensor's entry matters only when the tensor is used.
type Entry = Result<TensorInfo, BadTensor>;

/// Why a tensor is unusable, and which file lists it.
#[derive(Debug)]
struct BadTensor {
    shard_idx: usize,
    why: Unusable,
}

/// Whether a file must contain the data that its header announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Data {
    Required,
    Ignored,
}

impl GgufHeader {
    /// Reads a file's header; no data need follow it. For a split model it reads the headers of all
    /// files, whichever is named.
    ///
    /// Maps a mebibyte of each file, or less than four times its header's size where that is more.
    ///
    /// # Errors
    /// [`HeaderError`] if a file is missing or unreadable, or its header is inconsistent.
    pub fn open(path: &Path) -> Result<Self, HeaderError> {
        Self::read(path, Data::Ignored)
    }

    /// As [`GgufHeader::open`], for files that must contain their data.
    pub(super) fn of_whole(path: &Path) -> Result<Self, HeaderError> {
        Self::read(path, Data::Required)
    }

    fn read(path: &Path, data: Data) -> Result<Self, HeaderError> {
        let given = read_one(path, 0, data)?;
        let paths = shards(path, &given.1)?;
        let Some((first, others)) = paths.split_first() else {
            return Ok(Self::new(vec![given.0], given.1));
        };
        let (file, mut all) = read_one(first, 0, data)?;
        check_number(first, &all, 0)?;
        let mut files = vec![file];
        for (shard_idx, path) in (1..).zip(others) {
            let (file, entries) = read_one(path, shard_idx, data)?;
            check_number(path, &entries, shard_idx)?;
            for (name, entry) in entries.tensors {
                if all.tensors.contains_key(&name) {
                    let place = format!("tensor `{name}`");
                    return Err(malformed(path, place, "each name once", "it again"));
                }
                all.tensors.insert(name, entry);
            }
            files.push(file);
        }
        Ok(Self::new(files, all))
    }

    fn new(files: Vec<MappedFile>, entries: Entries) -> Self {
        Self { files: files.into(), entries: Arc::new(entries) }
    }

    /// Returns the file, or the first of several.
    fn file(&self) -> &MappedFile {
        &self.files[0]
    }

    pub(super) fn file_of(&self, info: &TensorInfo) -> &MappedFile {
        &self.files[info.shard_idx]
    }

    /// Returns the path of the file, or of the first of several.
    pub fn path(&self) -> &Path {
        self.file().path()
    }

    /// Returns the path of the file with a tensor.
    pub fn path_of(&self, info: &TensorInfo) -> &Path {
        self.file_of(info).path()
    }

    pub fn value(&self, key: &str) -> Option<&Value> {
        self.entries.metadata.get(key)
    }

    #[cfg(test)]
    pub(super) fn values(&self) -> impl Iterator<Item = &Value> {
        self.entries.metadata.values()
    }

    /// Returns whether there is a tensor with this name, usable or not.
    pub fn contains(&self, name: &str) -> bool {
        self.entries.tensors.contains_key(name)
    }

    /// Returns shape and position of a tensor; `None` if there is no tensor with this name.
    ///
    /// # Errors
    /// [`HeaderError::Malformed`] if the tensor is empty or has an unsupported type.
    pub fn tensor(&self, name: &str) -> Result<Option<&TensorInfo>, HeaderError> {
        self.entries.tensors.get(name).map(|entry| self.usable(entry)).transpose()
    }

    /// Returns all tensors, with an error for each unusable one.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, Result<&TensorInfo, HeaderError>)> {
        self.entries.tensors.iter().map(|(name, entry)| (name.as_str(), self.usable(entry)))
    }

    fn usable<'a>(&self, entry: &'a Entry) -> Result<&'a TensorInfo, HeaderError> {
        entry.as_ref().map_err(|bad| bad.why.error(self.files[bad.shard_idx].path()))
    }

    /// Returns the items of an array of strings in order; `None` for other arrays.
    ///
    /// Invalid UTF-8 is kept as it is.
    pub fn texts(&self, array: &Array) -> Option<impl Iterator<Item = &[u8]>> {
        let mut rest = (array.kind == ValueType::Text).then(|| &self.file()[array.span.clone()])?;
        Some((0..array.len).map_while(move |_| {
            let (len, tail) = rest.split_first_chunk::<8>()?;
            let (text, tail) =
                tail.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
            rest = tail;
            Some(text)
        }))
    }

    /// Returns the items of an array of numbers in order; `None` for other arrays.
    pub fn numbers(&self, array: &Array) -> Option<Vec<f64>> {
        let bytes = &self.file()[array.span.clone()];
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
            ValueType::U8 | ValueType::Bool => items!(u8),
            ValueType::I8 => items!(i8),
            ValueType::U16 => items!(u16),
            ValueType::I16 => items!(i16),
            ValueType::U32 => items!(u32),
            ValueType::I32 => items!(i32),
            ValueType::F32 => items!(f32),
            ValueType::F64 => items!(f64),
            ValueType::Text | ValueType::Array | ValueType::U64 | ValueType::I64 => return None,
        })
    }
}

impl Entries {
    fn read(file: &MappedFile, shard_idx: usize, data: Data) -> Result<Self, HeaderError> {
        refuse_pointer(file.path(), file)?;
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
            let info = TensorInfo::read(&mut cursor, name, shard_idx)?;
            let info = info.map_err(|why| BadTensor { shard_idx, why });
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

/// Reads the header of one file.
fn read_one(
    path: &Path,
    shard_idx: usize,
    data: Data,
) -> Result<(MappedFile, Entries), HeaderError> {
    let io = |source| HeaderError::Io { file: path.to_owned(), source };
    let mut limit = if data == Data::Required { usize::MAX } else { FIRST_BYTES };
    loop {
        let (file, is_whole) = MappedFile::open_start(path, limit).map_err(io)?;
        match Entries::read(&file, shard_idx, data) {
            Err(HeaderError::Truncated { .. }) if !is_whole => limit = limit.saturating_mul(4),
            read => return Ok((file, read?)),
        }
    }
}

/// Returns the files of the split model to which `path` belongs, in order; empty if the model is
/// not split.
fn shards(path: &Path, entries: &Entries) -> Result<Vec<PathBuf>, HeaderError> {
    let count = match entries.metadata.get("split.count") {
        None => return Ok(Vec::new()),
        Some(Value::Unsigned(count)) => usize::try_from(*count).ok(),
        Some(Value::Signed(count)) => usize::try_from(*count).ok(),
        Some(_) => None,
    };
    if matches!(count, Some(0 | 1)) {
        return Ok(Vec::new());
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let shard = ShardName::parse(&name).filter(|shard| Some(shard.count) == count);
    let (Some(shard), Some(count)) = (shard, count) else {
        let number = count.map_or_else(|| "a number".to_owned(), |count| format!("{count:05}"));
        let wanted = format!("-of-{number}.gguf at the end of the file's name, to find the others");
        return Err(malformed(path, "`split.count`".to_owned(), wanted, name));
    };
    let paths = shard.paths(path);
    match paths.iter().find(|path| !path.exists()) {
        None => Ok(paths),
        Some(missing) => {
            let (file, given) = (missing.clone(), path.to_owned());
            Err(HeaderError::MissingShard { file, given, count })
        }
    }
}

/// Checks that a file is the shard that its name says.
fn check_number(path: &Path, entries: &Entries, shard_idx: usize) -> Result<(), HeaderError> {
    match entries.metadata.get("split.no") {
        None => Ok(()),
        Some(Value::Unsigned(number)) if *number == shard_idx as u64 => Ok(()),
        Some(other) => {
            let wanted = format!("{shard_idx}, as its name says");
            Err(malformed(path, "`split.no`".to_owned(), wanted, other.describe()))
        }
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
        let kind = ValueType::read(cursor, &what)?;
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
        // Blocks are read in place, and the widest number in them has at most eight bytes.
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

/// Converts the tensors' offsets to ranges of the file.
fn place_tensors(
    file: &MappedFile,
    cursor: &Cursor<'_>,
    alignment: u64,
    tensors: &mut HashMap<String, Entry>,
) -> Result<(), HeaderError> {
    let data_start = (cursor.offset() as u64).next_multiple_of(alignment);
    for (name, info) in tensors {
        let Ok(info) = info else { continue };
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
