//! Files mapped into memory, read-only, and spans of them that keep the map alive.
//!
//! Owns the one `unsafe` of reading models. Interprets nothing.

use std::{
    fs::File,
    io,
    ops::{Deref, Range},
    path::{Path, PathBuf},
    sync::Arc,
};

use memmap2::{Mmap, MmapMut, MmapOptions};

/// A file in memory. Clones share the map.
#[derive(Debug, Clone)]
pub struct MappedFile {
    path: Arc<PathBuf>,
    map: Arc<Mmap>,
}

impl MappedFile {
    /// Maps a file.
    ///
    /// # Errors
    /// What the system says where the file cannot be opened or mapped.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self::open_start(path, usize::MAX)?.0)
    }

    /// Maps the first `limit` bytes of a file, or all if it is shorter, and says whether it is all.
    pub(crate) fn open_start(path: &Path, limit: usize) -> io::Result<(Self, bool)> {
        let file = File::open(path)?;
        let num_bytes = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        let len = num_bytes.min(limit);
        // SAFETY: the map is only read. As with every memory-mapped model, a process that shortens
        // the file while it is mapped can end this one; the cache never changes a file in place.
        let map = unsafe { MmapOptions::new().len(len).map(&file)? };
        Ok((Self { path: Arc::new(path.to_owned()), map: Arc::new(map) }, len == num_bytes))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A span of the file.
    ///
    /// # Panics
    /// If the span does not lie in the file: headers are checked before spans are made.
    pub fn span(&self, span: Range<usize>) -> TensorBytes {
        assert!(span.start <= span.end && span.end <= self.map.len(), "span checked by its header");
        TensorBytes { storage: Storage::Mapped(Arc::clone(&self.map)), span }
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

/// The bytes of one tensor: a span of a mapped file, or a copy in an order of our own.
#[derive(Debug)]
pub struct TensorBytes {
    storage: Storage,
    span: Range<usize>,
}

#[derive(Debug)]
enum Storage {
    Mapped(Arc<Mmap>),
    Copied(MmapMut),
}

impl TensorBytes {
    /// A page-aligned copy of `num_bytes` bytes, filled by `fill`.
    ///
    /// # Errors
    /// The system has no room for it.
    pub fn copied(num_bytes: usize, fill: impl FnOnce(&mut [u8])) -> io::Result<Self> {
        let mut copy = MmapMut::map_anon(num_bytes)?;
        fill(&mut copy);
        Ok(Self { storage: Storage::Copied(copy), span: 0..num_bytes })
    }

    /// The bytes of a span of these, counted from their start.
    ///
    /// # Panics
    /// If the span does not lie in them.
    #[must_use]
    pub fn part(self, part: Range<usize>) -> Self {
        assert!(part.start <= part.end && part.end <= self.len(), "part checked by its shape");
        let start = self.span.start;
        Self { span: start + part.start..start + part.end, ..self }
    }
}

impl Deref for TensorBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let bytes: &[u8] = match &self.storage {
            Storage::Mapped(map) => map,
            Storage::Copied(copy) => copy,
        };
        &bytes[self.span.clone()]
    }
}
