//! Fetching from a hub: a small server on the loopback device with the hub's layout.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use hf_hub::HFClientBuilder;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::{Heard, ModelFiles, Progress, Silent};
use crate::{
    error::SourceError,
    source::{
        HubModel,
        hub::{Access, fetch_with, fetch_within},
    },
    warnings::heard,
};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Serves the files of one folder as the repository `some/model`.
struct Hub {
    endpoint: String,
    token: String,
    files: TempDir,
    cache: TempDir,
    /// Method and path of each request, and whether it carried the token.
    requests: Arc<Mutex<Vec<String>>>,
}

impl Hub {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (path, log) = (folder.path().to_owned(), Arc::clone(&requests));
        // Ends with the test process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (path, log) = (path.clone(), Arc::clone(&log));
                thread::spawn(move || serve(&stream, &path, &log));
            }
        });
        let token = "secret".to_owned();
        Self { endpoint, token, files: folder, cache: tempfile::tempdir().unwrap(), requests }
    }

    fn fetch(&self) -> Result<ModelFiles, SourceError> {
        self.fetch_as(false, "some/model", &Silent)
    }

    fn fetch_as(
        &self,
        is_offline: bool,
        name: &str,
        progress: &dyn Progress,
    ) -> Result<ModelFiles, SourceError> {
        let client = || {
            HFClientBuilder::new()
                .endpoint(&self.endpoint)
                .token(&self.token)
                .cache_dir(self.cache.path())
                .retry_max_attempts(0)
        };
        let access = Access { client: &client, is_offline };
        fetch_with(&access, &HubModel::parse(name).unwrap(), progress)
    }

    /// The same hub, which answers no longer.
    fn gone(mut self) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        self.endpoint = format!("http://{}", listener.local_addr().unwrap());
        self
    }

    fn fetched_names(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        let prefix = "GET /some/model/resolve/main/";
        requests.iter().filter_map(|line| line.strip_prefix(prefix)).map(str::to_owned).collect()
    }
}

fn serve(stream: &TcpStream, folder: &Path, log: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request).unwrap_or(0) == 0 {
            return;
        }
        let mut has_token = false;
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header).unwrap_or(0) == 0 || header.trim().is_empty() {
                break;
            }
            has_token |= header.trim().eq_ignore_ascii_case("authorization: Bearer secret");
        }
        let mut words = request.split_whitespace();
        let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let target = target.split('?').next().unwrap_or("");
        log.lock().unwrap().push(format!("{method} {target}"));
        let (status, headers, body) = answer(target, folder, has_token);
        let mut reply =
            format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len())
                .into_bytes();
        if method != "HEAD" {
            reply.extend_from_slice(&body);
        }
        let mut writer = stream;
        if writer.write_all(&reply).is_err() {
            return;
        }
    }
}

fn answer(target: &str, folder: &Path, has_token: bool) -> (&'static str, String, Vec<u8>) {
    if !has_token {
        return ("401 Unauthorized", String::new(), b"no token".to_vec());
    }
    if target == "/api/models/some/model" {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.push("sub/extra.safetensors".to_owned());
        let siblings: Vec<_> =
            names.iter().map(|name| serde_json::json!({"rfilename": name})).collect();
        let info = serde_json::json!({"id": "some/model", "sha": COMMIT, "siblings": siblings});
        let headers = "Content-Type: application/json\r\n".to_owned();
        return ("200 OK", headers, info.to_string().into_bytes());
    }
    let file: Option<PathBuf> =
        target.strip_prefix("/some/model/resolve/main/").map(|name| folder.join(name));
    let Some(body) = file.and_then(|file| fs::read(file).ok()) else {
        let headers = "X-Error-Code: RepoNotFound\r\n".to_owned();
        return ("404 Not Found", headers, b"nothing here".to_vec());
    };
    let etag = format!("{:x}", Sha256::digest(&body));
    let headers = format!("ETag: \"{etag}\"\r\nX-Repo-Commit: {COMMIT}\r\n");
    ("200 OK", headers, body)
}

const INDEX: &str = r#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#;

#[test]
fn only_what_makes_the_model_is_fetched_and_offline_finds_it_again() {
    let hub = Hub::new(&[
        ("config.json", "{}"),
        ("tokenizer.json", "{\"a\": 1}"),
        ("tokenizer_config.json", "{\"b\": 2}"),
        ("model.safetensors.index.json", INDEX),
        ("model-1.safetensors", "one"),
        ("model-2.safetensors", "two"),
        ("consolidated.safetensors", "the same again"),
        ("pytorch_model.bin", "no"),
        ("README.md", "no"),
    ]);
    let heard = Heard::default();
    let files = hub.fetch_as(false, "some/model", &heard).unwrap();
    let ModelFiles::Directory(directory) = &files else { panic!("{files:?}") };
    assert_eq!(fs::read_to_string(directory.join("model-2.safetensors")).unwrap(), "two");
    assert!(directory.starts_with(hub.cache.path()));
    let mut names = hub.fetched_names();
    names.sort();
    names.dedup();
    assert_eq!(
        names,
        [
            "config.json",
            "model-1.safetensors",
            "model-2.safetensors",
            "model.safetensors.index.json",
            "tokenizer.json",
            "tokenizer_config.json",
        ]
    );
    assert!(heard.parts.lock().unwrap().contains(&"fetching model-1.safetensors 3".to_owned()));
    // A second run asks, but fetches nothing.
    hub.requests.lock().unwrap().clear();
    assert_eq!(hub.fetch().unwrap(), files);
    assert_eq!(hub.fetched_names(), Vec::<String>::new());
    hub.requests.lock().unwrap().clear();
    assert_eq!(hub.fetch_as(true, "some/model", &Silent).unwrap(), files);
    assert_eq!(hub.requests.lock().unwrap().len(), 0);
    // What is missing is named, without a request.
    fs::remove_file(directory.join("model-2.safetensors")).unwrap();
    let error = hub.fetch_as(true, "some/model", &Silent).unwrap_err().to_string();
    for part in ["some/model: model-2.safetensors is not in the cache", "HF_HUB_OFFLINE"] {
        assert!(error.contains(part), "{error}");
    }
    let error = hub.fetch_as(true, "other/model", &Silent).unwrap_err();
    assert!(matches!(error, SourceError::Offline { .. }), "{error}");
    assert_eq!(hub.requests.lock().unwrap().len(), 0);
}

#[test]
fn a_single_gguf_file_is_a_model() {
    let hub = Hub::new(&[("model.gguf", "GGUF"), ("mmproj-f16.gguf", "no"), ("README.md", "no")]);
    let ModelFiles::Gguf(file) = hub.fetch().unwrap() else { panic!("not a GGUF file") };
    assert_eq!(fs::read_to_string(file).unwrap(), "GGUF");
    assert!(matches!(hub.fetch_as(true, "some/model", &Silent), Ok(ModelFiles::Gguf(_))));
    fs::write(hub.files.path().join("other.gguf"), "GGUF").unwrap();
    let error = hub.fetch().unwrap_err().to_string();
    for part in ["several GGUF models", "some/model:Q4_K_M", "model.gguf, other.gguf"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_quantisation_picks_one_of_several_gguf_files() {
    let hub = Hub::new(&[
        ("m-Q4_K_M.gguf", "four"),
        ("m-Q8_0-00001-of-00002.gguf", "eight"),
        ("m-Q8_0-00002-of-00002.gguf", "more"),
    ]);
    let text = |files: ModelFiles| fs::read_to_string(files.path()).unwrap();
    assert_eq!(text(hub.fetch_as(false, "some/model:q4_k_m", &Silent).unwrap()), "four");
    let eight = hub.fetch_as(false, "some/model:Q8_0", &Silent).unwrap();
    assert!(eight.path().with_file_name("m-Q8_0-00002-of-00002.gguf").is_file());
    assert_eq!(text(eight.clone()), "eight");
    assert_eq!(hub.fetch_as(true, "some/model:Q8_0", &Silent).unwrap(), eight);
    let error = hub.fetch_as(true, "some/model:Q5_0", &Silent).unwrap_err().to_string();
    assert!(error.contains("a GGUF file called Q5_0 is not in the cache"), "{error}");
    let error = hub.fetch_as(false, "some/model:Q5_0", &Silent).unwrap_err().to_string();
    let listed = "m-Q4_K_M.gguf, m-Q8_0-00001-of-00002.gguf";
    assert!(error.contains("`Q5_0` names 0") && error.contains(listed), "{error}");
    // Part of a split model is not the model.
    fs::remove_file(eight.path().with_file_name("m-Q8_0-00002-of-00002.gguf")).unwrap();
    let error = hub.fetch_as(true, "some/model:Q8_0", &Silent).unwrap_err().to_string();
    assert!(error.contains("m-Q8_0-00002-of-00002.gguf is not in the cache"), "{error}");
}

#[test]
fn the_cache_serves_while_the_hub_is_out_of_reach() {
    let hub = Hub::new(&[("model.gguf", "GGUF")]);
    let (files, warnings) = heard(|| hub.fetch().unwrap());
    assert_eq!(warnings, Vec::<String>::new());
    let hub = hub.gone();
    let (found, warnings) = heard(|| hub.fetch().unwrap());
    assert_eq!(found, files);
    let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
    for part in ["cannot reach the hub for some/model", "from the cache", "HF_HUB_OFFLINE=1"] {
        assert!(warning.contains(part), "{warning}");
    }
    assert_eq!(warning.lines().count(), 1);
    let error = hub.fetch_as(false, "some/other", &Silent).unwrap_err();
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("HF_HUB_OFFLINE=1"), "{error}");
}

#[test]
fn a_hub_that_does_not_answer_is_not_waited_for() {
    let hub = Hub::new(&[("model.gguf", "GGUF")]);
    let files = hub.fetch().unwrap();
    // Takes connections, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let hub = Hub { endpoint: format!("http://{}", silent.local_addr().unwrap()), ..hub };
    let client = || HFClientBuilder::new().endpoint(&hub.endpoint).cache_dir(hub.cache.path());
    let access = Access { client: &client, is_offline: false };
    let (found, warnings) = heard(|| {
        let model = HubModel::parse("some/model").unwrap();
        fetch_within(&access, &model, &Silent, Duration::from_millis(50)).unwrap()
    });
    assert_eq!((found, warnings.len()), (files, 1));
}

#[test]
fn a_hub_that_refuses_is_told_from_one_out_of_reach() {
    let mut hub = Hub::new(&[("model.gguf", "GGUF")]);
    hub.token = "wrong".to_owned();
    let error = hub.fetch().unwrap_err();
    assert!(matches!(error, SourceError::NoAccess { status: 401, .. }), "{error}");
    assert!(error.to_string().contains("HF_TOKEN"), "{error}");
}

#[test]
fn an_index_cannot_lead_out_of_the_directory() {
    let index = r#"{"weight_map": {"a": "../../escape.safetensors"}}"#;
    let files = [("config.json", "{}"), ("model.safetensors.index.json", index)];
    let error = Hub::new(&files).fetch().unwrap_err();
    assert!(matches!(error, SourceError::Hub { .. }), "{error}");
}

#[test]
fn an_unknown_repository_is_an_error() {
    let hub = Hub::new(&[]);
    let error = hub.fetch_as(false, "some/other", &Silent).unwrap_err();
    assert!(matches!(error, SourceError::NoRepository { .. }), "{error}");
    assert!(error.to_string().contains("the hub has no repository some/other"), "{error}");
}
