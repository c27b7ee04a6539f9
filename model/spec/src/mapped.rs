//! Read-only memory-mapped files, and ranges of them that keep the mapping alive.
//!
//! Owns the only `unsafe` code of reading models. Interprets nothing.

use std::{
    fs::File,
    io,
    ops::{Deref, Range},
    path::{Path, PathBuf},
    sync::Arc,
};

use memmap2::{Mmap, MmapMut, MmapOptions};

/// A memory-mapped file. Clones share the mapping.
#[derive(Debug, Clone)]
pub struct MappedFile {
    path: Arc<PathBuf>,
    map: Arc<Mmap>,
}

impl MappedFile {
    /// Maps a file.
    ///
    /// # Errors
    /// The system's error, if the file cannot be opened or mapped.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self::open_start(path, usize::MAX)?.0)
    }

    /// Maps at most the first `limit` bytes of a file. Also returns whether that is all of it.
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

    /// Returns a range of the file.
    ///
    /// # Panics
    /// The range is outside the file. Headers are checked before ranges are made.
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

/// The bytes of one tensor: a range of a mapped file, or a reordered copy.
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
    /// Makes a page-aligned copy of `num_bytes` bytes, written by `fill`.
    ///
    /// # Errors
    /// The system has no memory for it.
    pub fn copied(num_bytes: usize, fill: impl FnOnce(&mut [u8])) -> io::Result<Self> {
        let mut copy = MmapMut::map_anon(num_bytes)?;
        fill(&mut copy);
        Ok(Self { storage: Storage::Copied(copy), span: 0..num_bytes })
    }

    /// Returns a part of these bytes, counted from their start.
    ///
    /// # Panics
    /// The part is outside these bytes.
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
