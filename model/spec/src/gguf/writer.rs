//! Writes small GGUF files for tests, valid or not.

use std::io::Write;

use tempfile::NamedTempFile;

/// A GGUF file under construction. Entries are raw bytes, so that tests can make them invalid.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Writer {
    pub entries: Vec<Vec<u8>>,
    pub tensors: Vec<Vec<u8>>,
    pub data: Vec<u8>,
}

pub fn text(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

impl Writer {
    pub fn entry(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        let mut entry = text(key);
        entry.extend_from_slice(&kind.to_le_bytes());
        entry.extend_from_slice(value);
        self.entries.push(entry);
        self
    }

    pub fn u32(self, key: &str, value: u32) -> Self {
        self.entry(key, 4, &value.to_le_bytes())
    }

    pub fn f32(self, key: &str, value: f32) -> Self {
        self.entry(key, 6, &value.to_le_bytes())
    }

    pub fn flag(self, key: &str, value: bool) -> Self {
        self.entry(key, 7, &[u8::from(value)])
    }

    pub fn text(self, key: &str, value: &str) -> Self {
        self.entry(key, 8, &text(value))
    }

    pub fn array(self, key: &str, kind: u32, len: usize, items: &[u8]) -> Self {
        let mut value = kind.to_le_bytes().to_vec();
        value.extend_from_slice(&(len as u64).to_le_bytes());
        value.extend_from_slice(items);
        self.entry(key, 9, &value)
    }

    pub fn texts(self, key: &str, values: &[&str]) -> Self {
        let items: Vec<u8> = values.iter().flat_map(|value| text(value)).collect();
        self.array(key, 8, values.len(), &items)
    }

    pub fn f32s(self, key: &str, values: &[f32]) -> Self {
        let items: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.array(key, 6, values.len(), &items)
    }

    pub fn i32s(self, key: &str, values: &[i32]) -> Self {
        let items: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.array(key, 5, values.len(), &items)
    }

    /// Adds a tensor's entry without data; any of its values may be wrong. `shape` is row-major.
    pub fn tensor_entry(mut self, name: &str, shape: &[u64], kind: u32, offset: u64) -> Self {
        let mut entry = text(name);
        let num_dims = u32::try_from(shape.len()).expect("a few axes");
        entry.extend_from_slice(&num_dims.to_le_bytes());
        for dim in shape.iter().rev() {
            entry.extend_from_slice(&dim.to_le_bytes());
        }
        entry.extend_from_slice(&kind.to_le_bytes());
        entry.extend_from_slice(&offset.to_le_bytes());
        self.tensors.push(entry);
        self
    }

    /// Adds a tensor with its stored bytes.
    pub fn tensor(mut self, name: &str, shape: &[u64], kind: u32, bytes: &[u8]) -> Self {
        self.data.resize(self.data.len().next_multiple_of(32), 0);
        let offset = self.data.len() as u64;
        self.data.extend_from_slice(bytes);
        self.tensor_entry(name, shape, kind, offset)
    }

    pub fn f32_tensor(self, name: &str, shape: &[u64], values: &[f32]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensor(name, shape, 0, &bytes)
    }

    pub fn header(&self) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend_from_slice(&3u32.to_le_bytes());
        bytes.extend_from_slice(&(self.tensors.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&(self.entries.len() as u64).to_le_bytes());
        bytes.extend(self.entries.iter().flatten());
        bytes.extend(self.tensors.iter().flatten());
        bytes
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.header();
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        bytes.extend_from_slice(&self.data);
        bytes
    }

    pub fn save(&self) -> NamedTempFile {
        save(&self.bytes())
    }
}

/// Writes bytes into a temporary file.
pub fn save(bytes: &[u8]) -> NamedTempFile {
    const WRITES: &str = "a temporary folder is writable";
    let mut file = tempfile::Builder::new().suffix(".gguf").tempfile().expect(WRITES);
    file.write_all(bytes).expect(WRITES);
    file.flush().expect(WRITES);
    file
}
