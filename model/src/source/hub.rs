//! Fetches a repository from the hub into the cache shared with other tools.
//!
//! Chooses what to fetch, and what the cache provides if the hub is not asked or does not answer.
//! Endpoint, token and cache come from the variables that the hub's tools share. With
//! `HF_HUB_OFFLINE` only the cache is used.

pub(super) mod access;
mod address;
mod cache;
pub(super) mod client;
mod download;
mod error;
#[cfg(test)]
pub(super) mod stub;
#[cfg(test)]
mod tests;
mod web;

use std::{
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use sluicegate_spec::safetensors::indexed_files;

use self::{
    access::Access,
    cache::Folder,
    client::{Client, Listing},
    download::Reported,
    error::HubError,
};
use super::{
    HubModel, ModelFiles, Progress,
    choose::{CONFIG, INDEX, SINGLE, Weights},
};
use crate::error::SourceError;

/// How long to wait for the hub if the cache has the model.
const PATIENCE: Duration = Duration::from_secs(5);

/// Fetches the files of a repository, with the access described by the environment.
pub(super) fn fetch(model: &HubModel, progress: &dyn Progress) -> Result<ModelFiles, SourceError> {
    let access = Access::from_env().map_err(|error| error.of(&model.repository))?;
    fetch_with(&access, model, progress)
}

/// Fetches the files of a model, or finds them in the cache if the hub must not be asked or does
/// not answer.
pub(super) fn fetch_with(
    access: &Access,
    model: &HubModel,
    progress: &dyn Progress,
) -> Result<ModelFiles, SourceError> {
    fetch_within(access, model, progress, PATIENCE)
}

/// As [`fetch_with`], with the time to wait for the hub if the cache has the model.
pub(super) fn fetch_within(
    access: &Access,
    model: &HubModel,
    progress: &dyn Progress,
    patience: Duration,
) -> Result<ModelFiles, SourceError> {
    let id = &model.repository;
    let folder = Folder::new(&access.cache, id);
    let cached = cached(&folder, model);
    if access.is_offline {
        return cached;
    }
    let client = Client::new(access).map_err(|error| error.of(id))?;
    let Ok(cached) = cached else {
        let listing = client.list(id).map_err(|error| unlisted(id, error))?;
        return Repository { client, folder, id, listing }.fetch(model, progress);
    };
    // With the model in the cache, the wait is short.
    let client = client.hasty();
    let listed = list_within(&client, id, patience);
    let fetched = listed
        .and_then(|listing| Repository { client, folder, id, listing }.fetch(model, progress));
    match fetched {
        Err(SourceError::Unreachable { source, .. }) => {
            tracing::warn!(
                "cannot reach the hub for {id}, so that its files come from the cache ({}); \
                 HF_HUB_OFFLINE=1 does not ask",
                root_cause(source.as_ref())
            );
            Ok(cached)
        }
        fetched => fetched,
    }
}

/// Returns the root cause. The errors around it repeat the address, which makes messages
/// unreadable.
fn root_cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a dyn std::error::Error {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause
}

/// Asks for the files of a repository, with a time limit.
fn list_within(client: &Client, id: &str, patience: Duration) -> Result<Listing, SourceError> {
    let (sender, answer) = mpsc::channel();
    let (client, repository) = (client.clone(), id.to_owned());
    // The thread is not joined: nobody waits for it after the time limit.
    thread::spawn(move || {
        let _ = sender.send(client.list(&repository));
    });
    let listed = answer.recv_timeout(patience).map_err(|_| SourceError::Unreachable {
        repository: id.to_owned(),
        source: format!("no answer within {patience:?}").into(),
    })?;
    listed.map_err(|error| unlisted(id, error))
}

/// Maps the error of listing a repository.
fn unlisted(id: &str, error: HubError) -> SourceError {
    match error.status() {
        Some(404) => SourceError::NoRepository { repository: id.to_owned() },
        _ => error.of(id),
    }
}

/// Returns whether a path from the hub stays inside the repository's folder.
fn is_inside(path: &str) -> bool {
    let is_name = |part: &str| !part.is_empty() && !part.starts_with('.');
    !path.contains(['\\', ':']) && path.split('/').all(is_name)
}

/// A repository at one commit.
struct Repository<'a> {
    client: Client,
    folder: Folder,
    id: &'a str,
    listing: Listing,
}

impl Repository<'_> {
    /// Fetches the files of a model among those in the repository.
    fn fetch(&self, model: &HubModel, progress: &dyn Progress) -> Result<ModelFiles, SourceError> {
        let fetch_all = |files: &[String]| -> Result<Vec<PathBuf>, SourceError> {
            files.iter().map(|file| self.file(file, progress)).collect()
        };
        let nothing = || SourceError::NoWeights {
            repository: self.id.to_owned(),
            found: "no files".to_owned(),
        };
        let files = self.listing.files.iter().filter(|file| is_inside(file));
        let files: Vec<String> = files.cloned().collect();
        let fetched = match Weights::choose(model, &files)? {
            Weights::Gguf(shards) => {
                let first = fetch_all(&shards)?.into_iter().next();
                first.map(ModelFiles::Gguf).ok_or_else(nothing)?
            }
            Weights::SafeTensors { mut small, weights } => {
                let is_index = weights == INDEX;
                small.push(weights);
                let paths = fetch_all(&small)?;
                let directory = paths.last().and_then(|path| path.parent()).ok_or_else(nothing)?;
                if is_index {
                    fetch_all(&shards(self.id, directory)?)?;
                }
                ModelFiles::Directory(directory.to_owned())
            }
        };
        self.folder.set_main(&self.listing.commit)?;
        Ok(fetched)
    }

    /// Returns the path of one file in the cache, fetching it if no commit has had it.
    fn file(&self, file: &str, progress: &dyn Progress) -> Result<PathBuf, SourceError> {
        let commit = &self.listing.commit;
        let path = self.folder.snapshot(commit).join(file);
        if path.is_file() {
            return Ok(path);
        }
        let wanted = self.client.find(self.id, commit, file).map_err(|error| error.of(self.id))?;
        let fetched =
            download::fetch(&self.client, &self.folder, &wanted, &Reported { file, progress });
        fetched.map_err(|error| error.of(self.id))?;
        self.folder.link(&wanted.etag, commit, file)
    }
}

/// Returns the file names of the shards listed by a directory's index.
fn shards(id: &str, directory: &Path) -> Result<Vec<String>, SourceError> {
    let paths = indexed_files(directory, &directory.join(INDEX));
    let paths = paths
        .map_err(|error| SourceError::Hub { repository: id.to_owned(), source: error.into() })?;
    let name = |path: PathBuf| path.file_name()?.to_str().map(str::to_owned);
    Ok(paths.into_iter().filter_map(name).collect())
}

/// Returns the complete files of a repository in the cache.
fn cached(folder: &Folder, model: &HubModel) -> Result<ModelFiles, SourceError> {
    let id = &model.repository;
    let missing = |file: &str| SourceError::Offline {
        repository: id.clone(),
        file: file.to_owned(),
        cache: folder.cache().to_owned(),
    };
    let commit = folder.main().ok_or_else(|| missing(CONFIG))?;
    let snapshot = folder.snapshot(&commit);
    let files = files_in(&snapshot).map_err(|_| missing(CONFIG))?;
    let chosen = match Weights::choose(model, &files) {
        Err(SourceError::Quantisation { found: 0, wanted, .. }) => {
            return Err(missing(&format!("a GGUF file called {wanted}")));
        }
        Err(SourceError::NoWeights { .. }) => return Err(missing(SINGLE)),
        chosen => chosen?,
    };
    let (wanted, found) = match chosen {
        Weights::Gguf(shards) => {
            let path = snapshot.join(&shards[0]);
            (shards, ModelFiles::Gguf(path))
        }
        Weights::SafeTensors { small, weights } => {
            let tokenizer = "tokenizer.json".to_owned();
            if !small.contains(&tokenizer) {
                return Err(missing(&tokenizer));
            }
            let shards = if weights == INDEX { shards(id, &snapshot)? } else { vec![weights] };
            (shards, ModelFiles::Directory(snapshot))
        }
    };
    match wanted.iter().find(|file| !files.contains(file)) {
        Some(file) => Err(missing(file)),
        None => Ok(found),
    }
}

/// Returns the files of a folder and of its direct subfolders, as relative paths.
fn files_in(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let inner = if path.is_dir() { std::fs::read_dir(&path)?.collect() } else { Vec::new() };
        let inner = inner.into_iter().flatten().map(|entry| entry.path());
        // A broken link means that its file is missing.
        let whole = inner.chain([path]).filter(|path| path.is_file());
        let from_here = |path: PathBuf| path.strip_prefix(folder).ok()?.to_str().map(str::to_owned);
        files.extend(whole.filter_map(from_here));
    }
    Ok(files)
}
