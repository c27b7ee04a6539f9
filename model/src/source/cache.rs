//! The cache folder, its locks, and files that appear in it whole or not at all.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::Progress;
use crate::error::SourceError;

const CHUNK_BYTES: usize = 1 << 20;

/// The folder that fetched models lie in: `SLUICEGATE_CACHE`, else the user's cache folder.
///
/// # Errors
/// [`SourceError::NoCache`] if neither is known.
pub fn folder() -> Result<PathBuf, SourceError> {
    match std::env::var_os("SLUICEGATE_CACHE").filter(|folder| !folder.is_empty()) {
        Some(folder) => Ok(PathBuf::from(folder)),
        None => dirs::cache_dir().map(|dir| dir.join("sluicegate")).ok_or(SourceError::NoCache),
    }
}

pub(super) fn failed(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> SourceError + use<> {
    let path = path.to_owned();
    move |source| SourceError::Io { action, path, source }
}

/// Keeps other processes from fetching the same model; held until dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits until no other process holds the lock of `name`.
    pub(super) fn take(folder: &Path, name: &str) -> Result<Self, SourceError> {
        fs::create_dir_all(folder).map_err(failed("create", folder))?;
        let path = folder.join(format!("{name}.lock"));
        let open = File::options().create(true).truncate(false).write(true).open(&path);
        let file = open.map_err(failed("open", &path))?;
        file.lock().map_err(failed("lock", &path))?;
        Ok(Self { _file: file })
    }
}

/// A file under construction: written beside its place, checked, then renamed into it.
#[derive(Debug)]
pub(super) struct Unfinished {
    file: NamedTempFile,
    hash: Sha256,
    num_bytes: u64,
    place: PathBuf,
}

impl Unfinished {
    pub(super) fn new(place: &Path) -> Result<Self, SourceError> {
        let folder = place.parent().unwrap_or(Path::new("."));
        let file = tempfile::Builder::new()
            .prefix(".unfinished-")
            .tempfile_in(folder)
            .map_err(failed("create a file in", folder))?;
        Ok(Self { file, hash: Sha256::new(), num_bytes: 0, place: place.to_owned() })
    }

    /// Appends all that `source` gives, up to `limit` bytes for the whole file.
    pub(super) fn append(
        &mut self,
        mut source: impl Read,
        limit: u64,
        progress: &dyn Progress,
    ) -> Result<(), SourceError> {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let count = source.read(&mut chunk).map_err(failed("read a piece of", &self.place))?;
            if count == 0 {
                return Ok(());
            }
            self.num_bytes += count as u64;
            if self.num_bytes > limit {
                return Err(SourceError::Hash {
                    what: self.place.display().to_string(),
                    wanted: format!("of {limit} bytes"),
                    found: "more bytes".to_owned(),
                });
            }
            self.hash.update(&chunk[..count]);
            self.file.write_all(&chunk[..count]).map_err(failed("write", &self.place))?;
            progress.advance(count as u64);
        }
    }

    /// Checks the whole file and puts it into its place.
    pub(super) fn finish(self, wanted: &str) -> Result<(), SourceError> {
        let found = format!("{:x}", self.hash.finalize());
        if found != wanted {
            return Err(SourceError::Hash {
                what: self.place.display().to_string(),
                wanted: wanted.to_owned(),
                found,
            });
        }
        self.file.as_file().sync_all().map_err(failed("write", &self.place))?;
        make_readable(self.file.path()).map_err(failed("write", &self.place))?;
        let place = &self.place;
        self.file.persist(place).map_err(|error| failed("write", place)(error.error))?;
        Ok(())
    }
}

/// Temporary files are for their owner alone; what is in the cache need not be.
fn make_readable(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o644))?;
    }
    Ok(())
}
