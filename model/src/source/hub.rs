//! Fetching a repository from the hub, into the cache that other tools share.
//!
//! The `hf-hub` crate honours the variables for endpoint, token and cache. `HF_HUB_OFFLINE` is
//! honoured here: then only the cache is looked at.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
};

use hf_hub::{
    HFClientBuilder, HFClientSync, HFRepositorySync,
    progress::{DownloadEvent, ProgressEvent, ProgressHandler},
    repository::RepoTypeModel,
};

use super::{ModelFiles, Progress};
use crate::{error::SourceError, weights::indexed_files};

const CONFIG: &str = "config.json";
const INDEX: &str = "model.safetensors.index.json";
const SINGLE: &str = "model.safetensors";
/// What is fetched beside the weights, where the repository has it.
const SMALL_FILES: [&str; 5] = [
    CONFIG,
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "chat_template.jinja",
];

/// Where to look for repositories.
pub(super) struct Access {
    pub(super) client: HFClientBuilder,
    pub(super) is_offline: bool,
}

/// The files of a repository, fetched with the access that the environment describes.
pub(super) fn fetch(id: &str, progress: &dyn Progress) -> Result<ModelFiles, SourceError> {
    let value = std::env::var("HF_HUB_OFFLINE").unwrap_or_default().to_ascii_uppercase();
    let is_offline = matches!(value.as_str(), "1" | "ON" | "YES" | "TRUE");
    fetch_with(Access { client: HFClientBuilder::new(), is_offline }, id, progress)
}

pub(super) fn fetch_with(
    access: Access,
    id: &str,
    progress: &dyn Progress,
) -> Result<ModelFiles, SourceError> {
    let client = access.client.build().map_err(|error| hub_error(id, error))?;
    if access.is_offline {
        return cached(client.cache_dir(), id);
    }
    let client = HFClientSync::from_inner(client).map_err(|error| hub_error(id, error))?;
    let (owner, name) = hf_hub::split_id(id);
    let repository = Repository { inner: client.model(owner, name), id };
    match Weights::choose(id, &repository.list()?)? {
        Weights::Gguf(file) => repository.download(&file, progress).map(ModelFiles::Gguf),
        Weights::SafeTensors { small, weights } => {
            let mut directory = None;
            for file in small.iter().chain([&weights]) {
                let path = repository.download(file, progress)?;
                directory = path.parent().map(Path::to_owned);
            }
            let directory = directory.ok_or_else(|| no_weights(id, "no files".to_owned()))?;
            if weights == INDEX {
                for shard in shards(id, &directory)? {
                    repository.download(&shard, progress)?;
                }
            }
            Ok(ModelFiles::Directory(directory))
        }
    }
}

fn hub_error(id: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> SourceError {
    SourceError::Hub { repository: id.to_owned(), source: error.into() }
}

fn no_weights(id: &str, found: String) -> SourceError {
    SourceError::NoWeights { repository: id.to_owned(), found }
}

/// Which files of a repository make the model.
enum Weights {
    Gguf(String),
    /// `weights` is the one file, or the index of several.
    SafeTensors {
        small: Vec<String>,
        weights: String,
    },
}

impl Weights {
    /// Chooses among the files at the root of a repository.
    fn choose(id: &str, files: &[String]) -> Result<Self, SourceError> {
        let has = |name: &str| files.iter().any(|file| file == name);
        let ending = |end: &str| -> Vec<&String> {
            let is_wanted =
                |file: &&String| Path::new(file).extension().is_some_and(|found| found == end);
            files.iter().filter(is_wanted).collect()
        };
        let tensors = ending("safetensors");
        let weights = match tensors.as_slice() {
            _ if has(INDEX) => Some(INDEX),
            _ if has(SINGLE) => Some(SINGLE),
            [only] => Some(only.as_str()),
            _ => None,
        };
        if let Some(weights) = weights.filter(|_| has(CONFIG)) {
            let small = SMALL_FILES.into_iter().filter(|name| has(name)).map(str::to_owned);
            return Ok(Self::SafeTensors { small: small.collect(), weights: weights.to_owned() });
        }
        let ggufs = ending("gguf");
        match ggufs.as_slice() {
            [only] if tensors.is_empty() => Ok(Self::Gguf((*only).clone())),
            _ => {
                let (tensors, ggufs) = (tensors.len(), ggufs.len());
                let config = if has(CONFIG) { "a" } else { "no" };
                let found = format!(
                    "{config} {CONFIG}, {tensors} .safetensors files without an index and \
                     {ggufs} .gguf files"
                );
                Err(no_weights(id, found))
            }
        }
    }
}

/// The plain names of the shards that a directory's index lists.
fn shards(id: &str, directory: &Path) -> Result<Vec<String>, SourceError> {
    let paths = indexed_files(directory, &directory.join(INDEX));
    let paths = paths.map_err(|error| hub_error(id, error))?;
    let name = |path: PathBuf| path.file_name()?.to_str().map(str::to_owned);
    Ok(paths.into_iter().filter_map(name).collect())
}

/// The files of a repository that the cache holds, whole.
fn cached(cache: &Path, id: &str) -> Result<ModelFiles, SourceError> {
    let missing = |file: &str| SourceError::Offline {
        repository: id.to_owned(),
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
    let entries = std::fs::read_dir(&snapshot).map_err(|_| missing(CONFIG))?;
    let files: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    match Weights::choose(id, &files).map_err(|_| missing(SINGLE))? {
        Weights::Gguf(file) => Ok(ModelFiles::Gguf(snapshot.join(file))),
        Weights::SafeTensors { small, weights } => {
            let tokenizer = "tokenizer.json".to_owned();
            if !small.contains(&tokenizer) {
                return Err(missing(&tokenizer));
            }
            let shards = if weights == INDEX { shards(id, &snapshot)? } else { vec![weights] };
            match shards.iter().find(|shard| !files.contains(shard)) {
                Some(shard) => Err(missing(shard)),
                None => Ok(ModelFiles::Directory(snapshot)),
            }
        }
    }
}

struct Repository<'a> {
    inner: HFRepositorySync<RepoTypeModel>,
    id: &'a str,
}

impl Repository<'_> {
    /// The files at the root.
    fn list(&self) -> Result<Vec<String>, SourceError> {
        let info = self.inner.info().send().map_err(|error| hub_error(self.id, error))?;
        let siblings = info.siblings.unwrap_or_default();
        let names = siblings.into_iter().map(|sibling| sibling.rfilename);
        Ok(names.filter(|name| !name.contains(['/', '\\'])).collect())
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
            Ok(downloaded) => downloaded.map_err(|error| hub_error(self.id, error)),
            Err(_) => Err(hub_error(self.id, format!("the download of {file} panicked"))),
        }
    }
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
