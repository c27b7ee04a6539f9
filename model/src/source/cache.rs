//! The cache folder, its locks, and files that appear in it complete or not at all.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use tempfile::{NamedTempFile, TempDir};

use super::Progress;
use crate::error::SourceError;

const CHUNK_BYTES: usize = 1 << 20;

/// Returns the folder of fetched models: `SLUICEGATE_CACHE`, else the user's cache folder.
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

/// Prevents other processes from fetching the same model; held until dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
    folder: PathBuf,
    name: String,
}

/// Name prefixes of a fetch's temporary files.
const DOWNLOAD: &str = ".download-";
const UNFINISHED: &str = ".unfinished-";
const LOCK: &str = ".lock";

impl Lock {
    /// Waits until no other process holds the lock of `name`.
    pub(super) fn take(folder: &Path, name: &str) -> Result<Self, SourceError> {
        fs::create_dir_all(folder).map_err(failed("create", folder))?;
        let path = folder.join(format!("{name}{LOCK}"));
        let open = File::options().create(true).truncate(false).write(true).open(&path);
        let file = open.map_err(failed("open", &path))?;
        file.lock().map_err(failed("lock", &path))?;
        Ok(Self { _file: file, folder: folder.to_owned(), name: name.to_owned() })
    }

    /// Makes a folder for downloads that is removed when dropped.
    pub(super) fn download_folder(&self) -> Result<TempDir, SourceError> {
        let prefix = format!("{DOWNLOAD}{}-", self.name);
        let made = tempfile::Builder::new().prefix(&prefix).tempdir_in(&self.folder);
        made.map_err(failed("create a folder in", &self.folder))
    }

    /// Removes what interrupted fetches left behind: files of this model, since its lock is held;
    /// and files without a model's name, which earlier versions left, if no process is fetching
    /// anything.
    pub(super) fn remove_leftovers(&self) -> Result<(), SourceError> {
        let list = || fs::read_dir(&self.folder).map_err(failed("list", &self.folder));
        let ours = format!("{}-", self.name);
        // Held until all are gone.
        let mut others: Option<Option<Vec<File>>> = None;
        for entry in list()?.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let stem = name.strip_prefix(DOWNLOAD).or_else(|| name.strip_prefix(UNFINISHED));
            let is_left = match stem {
                None => false,
                Some(stem) if stem.starts_with(&ours) => true,
                Some(stem) if stem.contains('-') => false,
                Some(_) => others.get_or_insert_with(|| self.lock_others()).is_some(),
            };
            if is_left {
                let path = entry.path();
                let removed =
                    if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
                removed.map_err(failed("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Takes the locks of all other models; `None` if one of them is held.
    fn lock_others(&self) -> Option<Vec<File>> {
        let own = format!("{}{LOCK}", self.name);
        let mut locks = Vec::new();
        for entry in fs::read_dir(&self.folder).ok()?.flatten() {
            let name = entry.file_name();
            if name.to_string_lossy().ends_with(LOCK) && name != own.as_str() {
                let file = File::options().write(true).open(entry.path()).ok()?;
                file.try_lock().ok()?;
                locks.push(file);
            }
        }
        Some(locks)
    }
}

/// A file under construction: written next to its target, checked, then renamed.
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
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        let file = tempfile::Builder::new()
            .prefix(&format!("{UNFINISHED}{name}-"))
            .tempfile_in(folder)
            .map_err(failed("create a file in", folder))?;
        Ok(Self { file, hash: Sha256::new(), num_bytes: 0, place: place.to_owned() })
    }

    /// Appends everything from `source`, up to `limit` bytes for the whole file.
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

    /// Checks the whole file and renames it to its target.
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

/// Temporary files are private to their owner; cached files need not be.
fn make_readable(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o644))?;
    }
    Ok(())
}
