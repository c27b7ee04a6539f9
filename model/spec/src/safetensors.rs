//! The headers of the safetensors files in a directory.
//!
//! A header is a JSON object with a length prefix. It is checked against the file's length before
//! it is parsed, and every tensor's range against its shape and type.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Range,
    path::{Component, Path, PathBuf},
};

use serde_json::{Map, Value};

use crate::{
    error::{HeaderError, Unusable, malformed},
    gguf::StoredKind,
    lfs::refuse_pointer,
    mapped::MappedFile,
};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// The limit of the safetensors crate.
pub const MAX_HEADER_BYTES: u64 = 100_000_000;
const MAX_INDEX_BYTES: usize = 100_000_000;
const MAX_DIMS: usize = 8;

/// The tensors of all weight files in a directory.
#[derive(Debug)]
pub struct SafeTensors {
    directory: PathBuf,
    tensors: HashMap<String, View>,
}

/// One tensor and its position.
#[derive(Debug)]
pub struct View {
    pub file: MappedFile,
    pub layout: Result<Layout, Unusable>,
    pub span: Range<usize>,
}

/// How a tensor's bytes are to be interpreted.
#[derive(Debug)]
pub struct Layout {
    pub shape: Vec<usize>,
    pub kind: StoredKind,
}

impl SafeTensors {
    pub fn open(directory: &Path) -> Result<Self, HeaderError> {
        let mut tensors = HashMap::new();
        for path in weight_files(directory)? {
            let file = MappedFile::open(&path)
                .map_err(|source| HeaderError::Io { file: path.clone(), source })?;
            for (name, view) in read_header(&file)? {
                if tensors.contains_key(&name) {
                    let place = format!("tensor `{name}`");
                    return Err(malformed(&path, place, "each name once", "it again"));
                }
                tensors.insert(name, view);
            }
        }
        Ok(Self { directory: directory.to_owned(), tensors })
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn tensor(&self, name: &str) -> Option<&View> {
        self.tensors.get(name)
    }
}

/// Returns the weight files: those in the index, else `model.safetensors`, else the only one.
fn weight_files(directory: &Path) -> Result<Vec<PathBuf>, HeaderError> {
    let files = candidate_files(directory)?;
    if files.len() == 1 || directory.join(INDEX).exists() {
        return Ok(files);
    }
    let wanted = format!("{SINGLE}, {INDEX} or one *.safetensors file");
    let found = format!("{} files", files.len());
    Err(malformed(directory, "weights".to_owned(), &wanted, &found))
}

/// Returns the weight files that a directory should have, which may be none. Files named by the
/// index need not exist.
pub fn candidate_files(directory: &Path) -> Result<Vec<PathBuf>, HeaderError> {
    let index = directory.join(INDEX);
    if index.exists() {
        return indexed_files(directory, &index);
    }
    let single = directory.join(SINGLE);
    if single.exists() {
        return Ok(vec![single]);
    }
    let io = |source| HeaderError::Io { file: directory.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            files.push(path);
        }
    }
    Ok(files)
}

/// Returns the files named by an index, each once, as paths in the directory.
pub fn indexed_files(directory: &Path, index: &Path) -> Result<Vec<PathBuf>, HeaderError> {
    let file = MappedFile::open(index)
        .map_err(|source| HeaderError::Io { file: index.to_owned(), source })?;
    refuse_pointer(index, &file)?;
    if file.len() > MAX_INDEX_BYTES {
        let wanted = format!("at most {MAX_INDEX_BYTES} bytes");
        let found = format!("{} bytes", file.len());
        return Err(malformed(index, "the index".to_owned(), &wanted, &found));
    }
    let root: Map<String, Value> = serde_json::from_slice(&file)
        .map_err(|source| HeaderError::Index { file: index.to_owned(), source })?;
    let place = "`weight_map`";
    let Some(Value::Object(map)) = root.get("weight_map") else {
        return Err(malformed(index, place.to_owned(), "an object", "something else"));
    };
    let mut names = BTreeSet::new();
    for (tensor, name) in map {
        let plain = name.as_str().filter(|name| is_plain_name(name));
        let Some(name) = plain else {
            let place = format!("{place}, tensor `{tensor}`");
            let found = name.to_string();
            let wanted = "a plain file name in the same directory, ending in .safetensors";
            return Err(malformed(index, place, wanted, &found));
        };
        names.insert(name);
    }
    Ok(names.into_iter().map(|name| directory.join(name)).collect())
}

/// Returns whether a name is a single path component, so that it stays in the directory.
fn is_plain_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let is_one = matches!(components.next(), Some(Component::Normal(only)) if only == name);
    is_one
        && components.next().is_none()
        && !name.contains(['\\', ':', '\0'])
        && Path::new(name).extension().is_some_and(|extension| extension == "safetensors")
}

fn read_header(file: &MappedFile) -> Result<Vec<(String, View)>, HeaderError> {
    let path = file.path();
    refuse_pointer(path, file)?;
    let truncated = |offset: usize, what: &str, wanted: u64| HeaderError::Truncated {
        file: path.to_owned(),
        offset,
        what: what.to_owned(),
        wanted,
        found: (file.len() - offset) as u64,
    };
    let Some((len, rest)) = file.split_first_chunk::<8>() else {
        return Err(truncated(0, "the header's length", 8));
    };
    let header_len = u64::from_le_bytes(*len);
    if header_len > MAX_HEADER_BYTES {
        let wanted = format!("at most {MAX_HEADER_BYTES} bytes");
        let found = format!("{header_len} bytes");
        return Err(malformed(path, "the header's length".to_owned(), wanted, found));
    }
    let header = usize::try_from(header_len).ok().and_then(|len| rest.get(..len));
    let header = header.ok_or_else(|| truncated(8, "the header", header_len))?;
    let root: Map<String, Value> = serde_json::from_slice(header).map_err(|error| {
        malformed(path, "the header".to_owned(), "a JSON object", error.to_string())
    })?;
    let data_start = 8 + header.len();
    let data = data_start..file.len();
    let entries = root.iter().filter(|(name, _)| *name != "__metadata__");
    entries.map(|(name, entry)| read_view(file, &data, name, entry)).collect()
}

/// Reads the position of a tensor. A fault in its type or shape matters only if it is used.
fn read_view(
    file: &MappedFile,
    data: &Range<usize>,
    name: &str,
    entry: &Value,
) -> Result<(String, View), HeaderError> {
    let offsets = sizes(entry, "data_offsets");
    let Some((begin, end)) = offsets.as_deref().and_then(|offsets| match *offsets {
        [begin, end] if begin <= end => Some((begin, end)),
        _ => None,
    }) else {
        let Unusable { place, wanted, found } =
            wrong(name, entry, "data_offsets", "two offsets in order");
        return Err(malformed(file.path(), place, wanted, found));
    };
    if end > data.len() {
        return Err(HeaderError::Truncated {
            file: file.path().to_owned(),
            offset: data.start,
            what: format!("data of tensor `{name}`"),
            wanted: end as u64,
            found: data.len() as u64,
        });
    }
    let layout = read_layout(name, entry, end - begin);
    let span = data.start + begin..data.start + end;
    Ok((name.to_owned(), View { file: file.clone(), layout, span }))
}

fn read_layout(name: &str, entry: &Value, stored: usize) -> Result<Layout, Unusable> {
    let wrong = |key: &str, wanted: &str| wrong(name, entry, key, wanted);
    let kind = match entry.get("dtype").and_then(Value::as_str) {
        Some("F32") => StoredKind::F32,
        Some("F16") => StoredKind::F16,
        Some("BF16") => StoredKind::BF16,
        _ => return Err(wrong("dtype", "F32, F16 or BF16")),
    };
    let shape = sizes(entry, "shape").ok_or_else(|| wrong("shape", "a list of at most 8 sizes"))?;
    let num_bytes = kind
        .num_bytes(&shape)
        .ok_or_else(|| wrong("shape", "axes of 1 or more whose product fits in memory"))?;
    if num_bytes != stored {
        return Err(wrong("data_offsets", &format!("{num_bytes} bytes, as the shape needs")));
    }
    Ok(Layout { shape, kind })
}

fn sizes(entry: &Value, key: &str) -> Option<Vec<usize>> {
    let list = entry.get(key)?.as_array().filter(|list| list.len() <= MAX_DIMS)?;
    list.iter().map(|size| usize::try_from(size.as_u64()?).ok()).collect()
}

fn wrong(name: &str, entry: &Value, key: &str, wanted: &str) -> Unusable {
    let found = entry.get(key).map_or_else(|| "nothing".to_owned(), ToString::to_string);
    Unusable { place: format!("tensor `{name}`, `{key}`"), wanted: wanted.to_owned(), found }
}
