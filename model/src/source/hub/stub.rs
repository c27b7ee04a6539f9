//! A hub for tests: a small server on the loopback device that answers as the hub does.

use std::{
    fmt::{Display, Write as _},
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use sha2::{Digest, Sha256};
use sluicegate_spec::files::ModelFiles;
use tempfile::TempDir;

use super::{access::Access, client::Retries, fetch_with};
use crate::{
    error::SourceError,
    source::{HubModel, Progress, Silent},
};

pub(in crate::source) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Serves the files of one folder as the repository `some/model`, to clients with the token.
pub(in crate::source) struct Hub {
    pub(in crate::source) endpoint: String,
    pub(in crate::source) token: String,
    pub(in crate::source) num_retries: u32,
    pub(in crate::source) files: TempDir,
    pub(in crate::source) cache: TempDir,
    state: Arc<State>,
}

struct State {
    folder: PathBuf,
    commit: Mutex<&'static str>,
    asked: Mutex<Vec<Asked>>,
    trick: Mutex<Trick>,
}

/// Replaces the hub's answer by its reply, if it gives one.
type Trick = Box<dyn FnMut(&Asked) -> Option<Reply> + Send>;

/// A request to the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::source) struct Asked {
    pub(in crate::source) method: String,
    pub(in crate::source) target: String,
    pub(in crate::source) range: Option<String>,
    pub(in crate::source) has_token: bool,
}

impl Asked {
    /// Returns whether it asks for the content of a file.
    pub(in crate::source) fn is_body_of(&self, file: &str) -> bool {
        self.method == "GET" && self.file().is_some_and(|(_, name)| name == file)
    }

    /// Returns commit and name of the file asked for.
    fn file(&self) -> Option<(&str, &str)> {
        self.target.strip_prefix("/some/model/resolve/")?.split_once('/')
    }
}

/// An answer.
pub(in crate::source) struct Reply {
    status: u16,
    headers: String,
    body: Vec<u8>,
    has_length: bool,
    num_sent: usize,
}

impl Reply {
    pub(in crate::source) fn new(status: u16, body: &[u8]) -> Self {
        let (headers, num_sent) = (String::new(), body.len());
        Self { status, headers, body: body.to_vec(), has_length: true, num_sent }
    }

    pub(in crate::source) fn with(mut self, name: &str, value: impl Display) -> Self {
        write!(self.headers, "{name}: {value}\r\n").unwrap();
        self
    }

    /// Breaks off after some bytes of the body.
    pub(in crate::source) fn cut(mut self, num_sent: usize) -> Self {
        self.num_sent = num_sent;
        self
    }

    /// Leaves out the length of the body.
    pub(in crate::source) fn without_length(mut self) -> Self {
        self.has_length = false;
        self.with("Connection", "close")
    }

    /// Sends the answer; returns whether the connection can be used again.
    fn send(&self, mut stream: &TcpStream, method: &str) -> bool {
        let mut text = format!("HTTP/1.1 {} -\r\n{}", self.status, self.headers);
        if self.has_length {
            write!(text, "Content-Length: {}\r\n", self.body.len()).unwrap();
        }
        let sent = if method == "HEAD" { &[] } else { &self.body[..self.num_sent] };
        let bytes = [text.as_bytes(), b"\r\n", sent].concat();
        let is_whole = self.has_length && self.num_sent == self.body.len();
        stream.write_all(&bytes).is_ok() && is_whole
    }
}

/// Returns the hub's name of a content.
pub(in crate::source) fn etag(body: &[u8]) -> String {
    format!("{:x}", Sha256::digest(body))
}

impl Hub {
    pub(in crate::source) fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            folder: folder.path().to_owned(),
            commit: Mutex::new(COMMIT),
            asked: Mutex::default(),
            trick: Mutex::new(Box::new(|_| None)),
        });
        let shared = Arc::clone(&state);
        // Ends with the test process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                thread::spawn(move || state.serve(&stream));
            }
        });
        let (token, cache) = ("secret".to_owned(), tempfile::tempdir().unwrap());
        Self { endpoint, token, num_retries: 0, files: folder, cache, state }
    }

    pub(in crate::source) fn access(&self) -> Access {
        let pause = Duration::ZERO;
        Access {
            endpoint: self.endpoint.clone(),
            token: Some(self.token.clone()),
            cache: self.cache.path().to_owned(),
            is_offline: false,
            retries: Retries { count: self.num_retries, first_pause: pause, longest_pause: pause },
        }
    }

    pub(in crate::source) fn fetch(&self) -> Result<ModelFiles, SourceError> {
        self.fetch_as(false, "some/model", &Silent)
    }

    pub(in crate::source) fn fetch_as(
        &self,
        is_offline: bool,
        name: &str,
        progress: &dyn Progress,
    ) -> Result<ModelFiles, SourceError> {
        let model = HubModel::parse(name).unwrap();
        fetch_with(&Access { is_offline, ..self.access() }, &model, progress)
    }

    /// The same hub at another address, where a different server is, or none once it is dropped.
    pub(in crate::source) fn moved(mut self, server: &TcpListener) -> Self {
        self.endpoint = format!("http://{}", server.local_addr().unwrap());
        self
    }

    /// Adds a commit with the files in the folder.
    pub(in crate::source) fn commit(&self, commit: &'static str) {
        *self.state.commit.lock().unwrap() = commit;
    }

    /// Replaces answers by the trick's replies.
    pub(in crate::source) fn play(
        &self,
        trick: impl FnMut(&Asked) -> Option<Reply> + Send + 'static,
    ) {
        *self.state.trick.lock().unwrap() = Box::new(trick);
    }

    /// Returns the requests since the last call.
    pub(in crate::source) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.state.asked.lock().unwrap())
    }

    /// Returns the files whose contents were asked for since the last call.
    pub(in crate::source) fn fetched_names(&self) -> Vec<String> {
        let mut asked = self.asked();
        asked.retain(|asked| asked.method == "GET");
        asked.iter().filter_map(|asked| Some(asked.file()?.1.to_owned())).collect()
    }

    /// The repository's folder in the cache.
    pub(in crate::source) fn folder(&self) -> PathBuf {
        self.cache.path().join("models--some--model")
    }
}

impl State {
    fn serve(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some(asked) = read(&mut reader) {
            self.asked.lock().unwrap().push(asked.clone());
            let tricked = (self.trick.lock().unwrap())(&asked);
            let reply = tricked.unwrap_or_else(|| self.answer(&asked));
            if !reply.send(stream, &asked.method) {
                return;
            }
        }
    }

    fn answer(&self, asked: &Asked) -> Reply {
        let latest = *self.commit.lock().unwrap();
        if !asked.has_token {
            return Reply::new(401, b"no token");
        }
        if asked.target == "/api/models/some/model/revision/main" {
            let names = fs::read_dir(&self.folder).unwrap();
            let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let names = names.chain(["sub/extra.safetensors".to_owned()]);
            let siblings: Vec<_> =
                names.map(|name| serde_json::json!({"rfilename": name})).collect();
            let info = serde_json::json!({"id": "some/model", "sha": latest, "siblings": siblings});
            return Reply::new(200, info.to_string().as_bytes());
        }
        let file = asked.file().filter(|(commit, _)| *commit == latest);
        let Some(body) = file.and_then(|(_, name)| fs::read(self.folder.join(name)).ok()) else {
            return Reply::new(404, b"nothing here");
        };
        let start = asked.range.as_ref().and_then(|range| range.strip_suffix('-')?.parse().ok());
        let (start, end, total): (usize, _, _) = (start.unwrap_or(0), body.len(), body.len());
        let (status, range) = if start == 0 {
            (200, String::new())
        } else {
            (206, format!("bytes {start}-{}/{total}", end.saturating_sub(1)))
        };
        let reply = Reply::new(status, &body[start..])
            .with("ETag", format!("\"{}\"", etag(&body)))
            .with("X-Repo-Commit", latest);
        if range.is_empty() { reply } else { reply.with("Content-Range", range) }
    }
}

/// Reads a request; `None` at the end of the connection.
fn read(reader: &mut BufReader<&TcpStream>) -> Option<Asked> {
    let mut line = String::new();
    if reader.read_line(&mut line).unwrap_or(0) == 0 {
        return None;
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let mut asked = Asked { method, target, range: None, has_token: false };
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header).unwrap_or(0) == 0 || header.trim().is_empty() {
            return Some(asked);
        }
        let header = header.trim().to_ascii_lowercase();
        asked.has_token |= header == "authorization: bearer secret";
        if let Some(range) = header.strip_prefix("range: bytes=") {
            asked.range = Some(range.to_owned());
        }
    }
}
