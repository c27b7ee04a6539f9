//! Fetching a repository from the hub, into the cache that other tools share.
//!
//! The `hf-hub` crate honours the variables for endpoint, token and cache. `HF_HUB_OFFLINE` is
//! honoured here: then only the cache is looked at.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use hf_hub::{
    HFClient, HFClientBuilder, HFClientSync, HFError, HFRepositorySync,
    progress::{DownloadEvent, ProgressEvent, ProgressHandler},
    repository::RepoTypeModel,
};

use super::{
    HubModel, ModelFiles, Progress,
    choose::{CONFIG, INDEX, SINGLE, Weights},
};
use crate::{error::SourceError, weights::indexed_files};

/// How long the hub may take to answer where the cache could.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where to look for repositories.
pub(super) struct Access<'a> {
    /// Begins a client; several may be made.
    pub(super) client: &'a dyn Fn() -> HFClientBuilder,
    pub(super) is_offline: bool,
}

/// The files of a repository, fetched with the access that the environment describes.
pub(super) fn fetch(model: &HubModel, progress: &dyn Progress) -> Result<ModelFiles, SourceError> {
    let value = std::env::var("HF_HUB_OFFLINE").unwrap_or_default().to_ascii_uppercase();
    let is_offline = matches!(value.as_str(), "1" | "ON" | "YES" | "TRUE");
    fetch_with(&Access { client: &HFClientBuilder::new, is_offline }, model, progress)
}

/// Fetches what makes a model, or finds it in the cache where the hub is not to be asked, or does
/// not answer.
pub(super) fn fetch_with(
    access: &Access<'_>,
    model: &HubModel,
    progress: &dyn Progress,
) -> Result<ModelFiles, SourceError> {
    fetch_within(access, model, progress, PATIENCE)
}

/// As [`fetch_with`], for as long as the hub is waited for where the cache has the model.
pub(super) fn fetch_within(
    access: &Access<'_>,
    model: &HubModel,
    progress: &dyn Progress,
    patience: Duration,
) -> Result<ModelFiles, SourceError> {
    let build = |client: HFClientBuilder| {
        client.build().map_err(|error| hub_error(&model.repository, error))
    };
    let client = build((access.client)())?;
    let cached = cached(client.cache_dir(), model);
    if access.is_offline {
        return cached;
    }
    let repository = Repository::new(client, &model.repository)?;
    let Ok(cached) = cached else {
        return repository.fetch(model, &repository.list()?, progress);
    };
    // What can be had without the hub is not waited for long.
    let hasty = build((access.client)().retry_max_attempts(0))?;
    let listed = Repository::new(hasty, &model.repository)?.list_within(patience);
    match listed.and_then(|files| repository.fetch(model, &files, progress)) {
        Err(SourceError::Unreachable { source, .. }) => {
            tracing::warn!(
                "cannot reach the hub for {}, so that its files come from the cache ({}); \
                 HF_HUB_OFFLINE=1 does not ask",
                model.repository,
                root_cause(source.as_ref())
            );
            Ok(cached)
        }
        fetched => fetched,
    }
}

/// What began it: the errors around it repeat the address, which makes no line that is read.
fn root_cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a dyn std::error::Error {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause
}

fn other_error(
    repository: &str,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> SourceError {
    SourceError::Hub { repository: repository.to_owned(), source: error.into() }
}

/// Tells a hub that does not answer from one that refuses.
fn hub_error(repository: &str, error: HFError) -> SourceError {
    let repository = repository.to_owned();
    let status = match &error {
        HFError::Http { context }
        | HFError::AuthRequired { context }
        | HFError::Forbidden { context }
        | HFError::RateLimited { context, .. }
        | HFError::RepoNotFound { context: Some(context), .. } => Some(context.status.as_u16()),
        _ => None,
    };
    match (&error, status) {
        (_, Some(401)) => SourceError::NoAccess { repository, status: 401 },
        (_, Some(403)) => SourceError::NoAccess { repository, status: 403 },
        (HFError::RepoNotFound { .. }, _) => SourceError::NoRepository { repository },
        (HFError::Request { .. }, _) | (_, Some(429 | 500..)) => {
            SourceError::Unreachable { repository, source: error.into() }
        }
        _ => SourceError::Hub { repository, source: error.into() },
    }
}

/// The plain names of the shards that a directory's index lists.
fn shards(id: &str, directory: &Path) -> Result<Vec<String>, SourceError> {
    let paths = indexed_files(directory, &directory.join(INDEX));
    let paths = paths.map_err(|error| other_error(id, error))?;
    let name = |path: PathBuf| path.file_name()?.to_str().map(str::to_owned);
    Ok(paths.into_iter().filter_map(name).collect())
}

/// The files of a repository that the cache holds, whole.
fn cached(cache: &Path, model: &HubModel) -> Result<ModelFiles, SourceError> {
    let id = &model.repository;
    let missing = |file: &str| SourceError::Offline {
        repository: id.clone(),
        file: file.to_owned(),
        cache: cache.to_owned(),
    };
    let folder = cache.join(format!("models--{}", id.replace('/', "--")));
    let commit = std::fs::read_to_string(folder.join("refs").join("main"));
    let commit = commit.map_err(|_| missing(CONFIG))?;
    let commit = commit.trim();
    // A commit is a name in the cache; nothing else is followed.
    if commit.is_empty() || !commit.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(missing(CONFIG));
    }
    let snapshot = folder.join("snapshots").join(commit);
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

/// The files of a folder and of the folders in it, by their paths from there.
fn files_in(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let inner = if path.is_dir() { std::fs::read_dir(&path)?.collect() } else { Vec::new() };
        let inner = inner.into_iter().flatten().map(|entry| entry.path());
        // What a broken link stands for is not there.
        let whole = inner.chain([path]).filter(|path| path.is_file());
        let from_here = |path: PathBuf| path.strip_prefix(folder).ok()?.to_str().map(str::to_owned);
        files.extend(whole.filter_map(from_here));
    }
    Ok(files)
}

struct Repository {
    inner: HFRepositorySync<RepoTypeModel>,
    id: String,
}

impl Repository {
    fn new(client: HFClient, id: &str) -> Result<Self, SourceError> {
        let client = HFClientSync::from_inner(client).map_err(|error| hub_error(id, error))?;
        let (owner, name) = hf_hub::split_id(id);
        Ok(Self { inner: client.model(owner, name), id: id.to_owned() })
    }

    /// The paths of all files.
    fn list(&self) -> Result<Vec<String>, SourceError> {
        let info = self.inner.info().send().map_err(|error| hub_error(&self.id, error))?;
        let siblings = info.siblings.unwrap_or_default();
        Ok(siblings
            .into_iter()
            .map(|sibling| sibling.rfilename)
            .filter(|path| is_inside(path))
            .collect())
    }

    /// As [`Repository::list`], given up after a time.
    fn list_within(self, patience: Duration) -> Result<Vec<String>, SourceError> {
        let (sender, answer) = mpsc::channel();
        let repository = self.id.clone();
        // Nobody waits for it any longer than for its answer.
        thread::spawn(move || {
            let _ = sender.send(self.list());
        });
        answer.recv_timeout(patience).unwrap_or_else(|_| {
            let source = format!("no answer within {patience:?}").into();
            Err(SourceError::Unreachable { repository, source })
        })
    }

    /// Fetches the files of a model among those that there are.
    fn fetch(
        &self,
        model: &HubModel,
        files: &[String],
        progress: &dyn Progress,
    ) -> Result<ModelFiles, SourceError> {
        let fetch_all = |files: &[String]| -> Result<Vec<PathBuf>, SourceError> {
            files.iter().map(|file| self.download(file, progress)).collect()
        };
        let nothing =
            || SourceError::NoWeights { repository: self.id.clone(), found: "no files".to_owned() };
        match Weights::choose(model, files)? {
            Weights::Gguf(shards) => {
                let first = fetch_all(&shards)?.into_iter().next();
                first.map(ModelFiles::Gguf).ok_or_else(nothing)
            }
            Weights::SafeTensors { mut small, weights } => {
                let is_index = weights == INDEX;
                small.push(weights);
                let paths = fetch_all(&small)?;
                let directory = paths.last().and_then(|path| path.parent()).ok_or_else(nothing)?;
                if is_index {
                    fetch_all(&shards(&self.id, directory)?)?;
                }
                Ok(ModelFiles::Directory(directory.to_owned()))
            }
        }
    }

    /// Fetches one file into the cache; returns its path there.
    fn download(&self, file: &str, progress: &dyn Progress) -> Result<PathBuf, SourceError> {
        let (sender, events) = mpsc::channel();
        let result = thread::scope(|scope| {
            let download = scope.spawn(move || {
                let handler = Forward(sender);
                self.inner.download_file().filename(file).progress(handler).send()
            });
            follow(file, &events, progress);
            download.join()
        });
        match result {
            Ok(downloaded) => downloaded.map_err(|error| hub_error(&self.id, error)),
            Err(_) => Err(other_error(&self.id, format!("the download of {file} panicked"))),
        }
    }
}

/// Whether a path of the hub's stays in the repository's folder.
fn is_inside(path: &str) -> bool {
    let is_name = |part: &str| !part.is_empty() && !part.starts_with('.');
    !path.contains(['\\', ':']) && path.split('/').all(is_name)
}

/// Hands events to the thread that may call the caller's [`Progress`].
struct Forward(mpsc::Sender<DownloadEvent>);

impl ProgressHandler for Forward {
    fn on_progress(&self, event: &ProgressEvent) {
        if let ProgressEvent::Download(event) = event {
            // A receiver that is gone no longer wants to know.
            let _ = self.0.send(event.clone());
        }
    }
}

fn follow(file: &str, events: &mpsc::Receiver<DownloadEvent>, progress: &dyn Progress) {
    let mut seen: HashMap<String, u64> = HashMap::new();
    let mut has_started = false;
    let mut advance = |name: &str, completed: u64| {
        let before = seen.insert(name.to_owned(), completed).unwrap_or(0);
        progress.advance(completed.saturating_sub(before));
    };
    for event in events {
        match event {
            DownloadEvent::Start { total_bytes, .. } => {
                progress.start(&format!("fetching {file}"), total_bytes);
                has_started = true;
            }
            DownloadEvent::Progress { files } => {
                for part in files {
                    advance(&part.filename, part.bytes_completed);
                }
            }
            DownloadEvent::AggregateProgress { bytes_completed, .. } => {
                advance(file, bytes_completed);
            }
            DownloadEvent::Complete => {}
        }
    }
    if has_started {
        progress.finish();
    }
}
