//! A repository's folder in the cache, in the layout that the hub's other tools use.
//!
//! `blobs/` has each content once, `snapshots/<commit>/` links to it by the files' names, and
//! `refs/main` names the latest commit. Names from outside are parsed here.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::{error::SourceError, source::cache::failed};

/// The folder of one repository.
#[derive(Debug)]
pub(super) struct Folder {
    cache: PathBuf,
    /// `models--owner--name`.
    name: String,
}

/// The hub's name of a content, which is also the name of its blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Etag(String);

impl Etag {
    /// Parses the `ETag` header; `None` if it is no plain file name.
    pub(super) fn parse(header: &str) -> Option<Self> {
        let text = header.trim();
        let text = text.strip_prefix("W/").unwrap_or(text).trim_matches('"');
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_name = (1..=128).contains(&text.len()) && text.bytes().all(is_plain);
        (is_name && !text.starts_with('.')).then(|| Self(text.to_owned()))
    }

    /// Returns the SHA-256 of the content in lower-case hexadecimal, if the name is one.
    pub(super) fn sha256(&self) -> Option<String> {
        let is_hash = self.0.len() == 64 && self.0.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hash.then(|| self.0.to_ascii_lowercase())
    }
}

impl fmt::Display for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns whether a text may be a commit. It becomes a name in the cache, so nothing else is
/// accepted.
pub(super) fn is_commit(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

impl Folder {
    /// The folder of `owner/name`; it may be missing.
    pub(super) fn new(cache: &Path, repository: &str) -> Self {
        let name = format!("models--{}", repository.replace('/', "--"));
        Self { cache: cache.to_owned(), name }
    }

    /// Returns the folder of all repositories.
    pub(super) fn cache(&self) -> &Path {
        &self.cache
    }

    /// Returns the latest commit fetched.
    pub(super) fn main(&self) -> Option<String> {
        let text = fs::read_to_string(self.path().join("refs").join("main")).ok()?;
        Some(text.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// Returns the folder of a commit's files.
    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.path().join("snapshots").join(commit)
    }

    /// Returns the path of a content.
    pub(super) fn blob(&self, etag: &Etag) -> PathBuf {
        self.path().join("blobs").join(&etag.0)
    }

    /// Returns the path of a content while it is fetched.
    pub(super) fn incomplete(&self, etag: &Etag) -> PathBuf {
        self.path().join("blobs").join(format!("{etag}.incomplete"))
    }

    /// Returns whether the content is in the cache. Only complete contents get there.
    pub(super) fn has_blob(&self, etag: &Etag, num_bytes: u64) -> bool {
        fs::metadata(self.blob(etag))
            .is_ok_and(|metadata| metadata.is_file() && metadata.len() == num_bytes)
    }

    /// Locks the content against other processes until dropped, waiting for one that fetches it.
    pub(super) fn lock(&self, etag: &Etag) -> Result<File, SourceError> {
        let folder = self.cache.join(".locks").join(&self.name);
        for folder in [&folder, &self.path().join("blobs")] {
            fs::create_dir_all(folder).map_err(failed("create", folder))?;
        }
        let path = folder.join(format!("{etag}.lock"));
        let open = File::options().create(true).truncate(false).write(true).open(&path);
        let file = open.map_err(failed("open", &path))?;
        file.lock().map_err(failed("lock", &path))?;
        Ok(file)
    }

    /// Makes a content in the cache a file of a commit; returns its path.
    pub(super) fn link(
        &self,
        etag: &Etag,
        commit: &str,
        file: &str,
    ) -> Result<PathBuf, SourceError> {
        let path = self.snapshot(commit).join(file);
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(failed("create", folder))?;
        let (up, blob) = ("../".repeat(2 + file.matches('/').count()), self.blob(etag));
        let target = PathBuf::from(format!("{up}blobs/{etag}"));
        let make = |path: &Path| {
            symlink(&target, path)
                .or_else(|_| fs::hard_link(&blob, path))
                .or_else(|_| fs::copy(&blob, path).map(drop))
        };
        // Another process may do the same, and a broken link may exist.
        let made = tempfile::Builder::new().make_in(folder, make);
        let linked = made.and_then(|made| Ok(made.persist(&path)?));
        linked.map_err(failed("link", &path))?;
        Ok(path)
    }

    /// Makes a commit the latest, for readers that do not ask the hub.
    pub(super) fn set_main(&self, commit: &str) -> Result<(), SourceError> {
        if self.main().as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.path().join("refs").join("main");
        let write = || {
            fs::create_dir_all(self.path().join("refs"))?;
            // Not in `refs`: every file there counts as the name of a commit.
            let mut file = temporary(&self.path())?;
            file.write_all(commit.as_bytes())?;
            file.persist(&path)?;
            Ok(())
        };
        write().map_err(failed("write", &path))
    }

    fn path(&self) -> PathBuf {
        self.cache.join(&self.name)
    }
}

fn symlink(target: &Path, path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    return std::os::unix::fs::symlink(target, path);
    #[cfg(windows)]
    return std::os::windows::fs::symlink_file(target, path);
    #[cfg(not(any(unix, windows)))]
    return Err(io::ErrorKind::Unsupported.into());
}

/// Makes a file that is removed unless it is persisted, and then is as readable as any other.
fn temporary(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}
