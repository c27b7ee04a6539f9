//! Fetching a repository from the hub, into the cache that other tools share.
//!
//! Endpoint, token and cache are those of the hub's own variables. With `HF_HUB_OFFLINE` only the cache
//! is looked at.

use std::{
    env,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use hf_hub::{
    Cache, CacheRepo, Repo, RepoType,
    api::sync::{Api, ApiBuilder, ApiError, ApiRepo},
};

use super::{
    HubModel, ModelFiles, Progress,
    choose::{CONFIG, INDEX, SINGLE, Weights},
};
use crate::{error::SourceError, weights::indexed_files};

/// How long the hub may take to list a repository that the cache has, and another one.
const PATIENCE: Duration = Duration::from_secs(5);
const LONG: Duration = Duration::from_mins(1);
/// How often a download goes on that broke off.
const RETRIES: usize = 5;

/// Where to look for repositories.
#[derive(Debug, Clone)]
pub(super) struct Access {
    /// None for the public hub.
    pub(super) endpoint: Option<String>,
    pub(super) token: Option<String>,
    pub(super) cache: PathBuf,
    pub(super) is_offline: bool,
}

impl Access {
    /// As the environment describes it.
    fn from_env() -> Self {
        let set = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let cache =
            set("HF_HUB_CACHE").map_or_else(Cache::from_env, |path| Cache::new(path.into()));
        let is_offline = set("HF_HUB_OFFLINE").unwrap_or_default().to_ascii_uppercase();
        Self {
            endpoint: set("HF_ENDPOINT"),
            token: set("HF_TOKEN").or_else(|| Cache::from_env().token()),
            cache: cache.path().clone(),
            is_offline: matches!(is_offline.as_str(), "1" | "ON" | "YES" | "TRUE"),
        }
    }

    fn api(&self) -> Result<Api, ApiError> {
        let builder = ApiBuilder::from_cache(Cache::new(self.cache.clone()))
            .with_token(self.token.clone())
            .with_retries(RETRIES)
            .with_progress(false);
        match &self.endpoint {
            Some(endpoint) => builder.with_endpoint(endpoint.clone()).build(),
            None => builder.build(),
        }
    }
}

/// The files of a repository, fetched with the access that the environment describes.
pub(super) fn fetch(model: &HubModel, progress: &dyn Progress) -> Result<ModelFiles, SourceError> {
    fetch_with(&Access::from_env(), model, progress)
}

/// Fetches what makes a model, or finds it in the cache where the hub is not to be asked, or does
/// not answer.
pub(super) fn fetch_with(
    access: &Access,
    model: &HubModel,
    progress: &dyn Progress,
) -> Result<ModelFiles, SourceError> {
    fetch_within(access, model, progress, PATIENCE)
}

/// As [`fetch_with`], for as long as the hub is waited for where the cache has the model.
pub(super) fn fetch_within(
    access: &Access,
    model: &HubModel,
    progress: &dyn Progress,
    patience: Duration,
) -> Result<ModelFiles, SourceError> {
    let cached = cached(&access.cache, model);
    if access.is_offline {
        return cached;
    }
    let api = access.api().map_err(|error| hub_error(&model.repository, error))?;
    let patience = if cached.is_ok() { patience } else { LONG };
    let listed = Listed::within(&api, &model.repository, patience);
    let fetched = listed.and_then(|listed| {
        Repository::new(&api, &access.cache, &model.repository, &listed).fetch(model, progress)
    });
    match (fetched, cached) {
        (Err(SourceError::Unreachable { source, .. }), Ok(cached)) => {
            tracing::warn!(
                "cannot reach the hub for {}, so that its files come from the cache ({}); \
                 HF_HUB_OFFLINE=1 does not ask",
                model.repository,
                root_cause(source.as_ref())
            );
            Ok(cached)
        }
        (fetched, _) => fetched,
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
fn hub_error(repository: &str, error: ApiError) -> SourceError {
    let owned = repository.to_owned();
    match error {
        ApiError::TooManyRetries(error) => hub_error(repository, *error),
        ApiError::RequestError(error) => match *error {
            ureq::Error::StatusCode(status @ (401 | 403)) => {
                SourceError::NoAccess { repository: owned, status }
            }
            ureq::Error::StatusCode(404) => SourceError::NoRepository { repository: owned },
            error @ (ureq::Error::StatusCode(429 | 500..)
            | ureq::Error::Io(_)
            | ureq::Error::Timeout(_)
            | ureq::Error::HostNotFound
            | ureq::Error::ConnectionFailed) => {
                SourceError::Unreachable { repository: owned, source: error.into() }
            }
            error => other_error(repository, error),
        },
        error => other_error(repository, error),
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
    if !is_name(commit) {
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

/// What the hub says of a repository.
struct Listed {
    /// Its latest commit.
    commit: String,
    /// The paths of all files.
    files: Vec<String>,
}

impl Listed {
    /// Asks the hub, for no longer than a time.
    fn within(api: &Api, id: &str, patience: Duration) -> Result<Self, SourceError> {
        let (sender, answer) = mpsc::channel();
        let (repository, asked) = (api.model(id.to_owned()), id.to_owned());
        // Nobody waits for it any longer than for its answer.
        thread::spawn(move || {
            let _ = sender.send(Self::of(&repository, &asked));
        });
        answer.recv_timeout(patience).unwrap_or_else(|_| {
            let source = format!("no answer within {patience:?}").into();
            Err(SourceError::Unreachable { repository: id.to_owned(), source })
        })
    }

    fn of(repository: &ApiRepo, id: &str) -> Result<Self, SourceError> {
        let info = repository.info().map_err(|error| hub_error(id, error))?;
        // It becomes a name in the cache.
        if !is_name(&info.sha) {
            let error = format!("wanted letters and digits as its commit, found {:?}", info.sha);
            return Err(other_error(id, error));
        }
        let paths = info.siblings.into_iter().map(|sibling| sibling.rfilename);
        Ok(Self { commit: info.sha, files: paths.filter(|path| is_inside(path)).collect() })
    }
}

/// One commit of a repository.
struct Repository<'a> {
    api: &'a Api,
    remote: ApiRepo,
    cached: CacheRepo,
    /// What the cache calls its latest commit.
    main: CacheRepo,
    listed: &'a Listed,
    id: &'a str,
}

impl<'a> Repository<'a> {
    fn new(api: &'a Api, cache: &Path, id: &'a str, listed: &'a Listed) -> Self {
        let commit = listed.commit.clone();
        let repo = || Repo::with_revision(id.to_owned(), RepoType::Model, commit.clone());
        let cache = Cache::new(cache.to_owned());
        Self {
            api,
            remote: api.repo(repo()),
            cached: cache.repo(repo()),
            main: cache.model(id.to_owned()),
            listed,
            id,
        }
    }

    /// Fetches the files of a model among those that there are.
    fn fetch(&self, model: &HubModel, progress: &dyn Progress) -> Result<ModelFiles, SourceError> {
        let fetch_all = |files: &[String]| -> Result<Vec<PathBuf>, SourceError> {
            files.iter().map(|file| self.file(file, progress)).collect()
        };
        let nothing = || SourceError::NoWeights {
            repository: self.id.to_owned(),
            found: "no files".to_owned(),
        };
        let fetched = match Weights::choose(model, &self.listed.files)? {
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
        // Whoever looks without the hub finds this commit.
        let named = self.main.create_ref(&self.listed.commit);
        named.map_err(|error| other_error(self.id, error))?;
        Ok(fetched)
    }

    /// One file in the cache, fetched if no commit has had it.
    fn file(&self, file: &str, progress: &dyn Progress) -> Result<PathBuf, SourceError> {
        let path = self.cached.pointer_path(&self.listed.commit).join(file);
        if path.is_file() {
            return Ok(path);
        }
        let hub_error = |error| match hub_error(self.id, error) {
            SourceError::NoRepository { .. } => {
                other_error(self.id, format!("the hub lists {file}, but does not have it"))
            }
            error => error,
        };
        let metadata = self.api.metadata(&self.remote.url(file)).map_err(hub_error)?;
        if !is_name(metadata.etag()) || metadata.commit_hash() != self.listed.commit {
            let error = format!("wanted {file} of commit {}", self.listed.commit);
            return Err(other_error(self.id, error));
        }
        let blob = self.cached.blob_path(metadata.etag());
        if blob.is_file() {
            link(&blob, &path).map_err(|error| other_error(self.id, error))?;
            return Ok(path);
        }
        let download = Download { file, progress, has_started: false };
        self.remote.download_with_progress(file, download).map_err(hub_error)
    }
}

/// Makes a file of an earlier commit one of this.
fn link(blob: &Path, path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::os::unix::fs::symlink(blob, path)
}

/// Letters, digits and dashes: a name in the cache, and no way out of it.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Whether a path of the hub's stays in the repository's folder.
fn is_inside(path: &str) -> bool {
    let is_name = |part: &str| !part.is_empty() && !part.starts_with('.');
    !path.contains(['\\', ':']) && path.split('/').all(is_name)
}

/// Tells a caller how far a download is.
struct Download<'a> {
    file: &'a str,
    progress: &'a dyn Progress,
    has_started: bool,
}

impl hf_hub::api::Progress for Download<'_> {
    /// Begins again where a download goes on that broke off.
    fn init(&mut self, size: usize, _file: &str) {
        if !self.has_started {
            self.progress.start(&format!("fetching {}", self.file), size as u64);
            self.has_started = true;
        }
    }

    fn update(&mut self, size: usize) {
        self.progress.advance(size as u64);
    }

    fn finish(&mut self) {
        self.progress.finish();
    }
}
