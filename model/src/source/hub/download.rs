//! Fetches one content into the cache: resumes an earlier fetch, and checks the result.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, Write},
    path::PathBuf,
};

use sha2::{Digest, Sha256};
use ureq::{Body, http::Response};

use super::{
    cache::Folder,
    client::{Client, Wanted},
    error::HubError,
    web::{text, unexpected},
};
use crate::{
    error::SourceError,
    source::{Progress, cache::failed},
};

const CHUNK_BYTES: usize = 64 << 10;

/// Fetches a content unless the cache has it.
pub(super) fn fetch(
    client: &Client,
    folder: &Folder,
    wanted: &Wanted,
    reported: &Reported<'_>,
) -> Result<(), HubError> {
    let is_there = || folder.has_blob(&wanted.etag, wanted.num_bytes);
    if is_there() {
        return Ok(());
    }
    let _lock = folder.lock(&wanted.etag)?;
    // Another process may have fetched it during the wait.
    if is_there() {
        return Ok(());
    }
    reported.start(wanted.num_bytes);
    let fetched = Download::open(client, folder, wanted, reported).and_then(|mut download| {
        let has_old = download.num_bytes > 0;
        if !download.is_whole() {
            client.patiently(|| download.go_on())?;
        }
        // The fault may be in the resumed part.
        if has_old && !download.is_right() {
            download.restart()?;
            client.patiently(|| download.go_on())?;
        }
        download.finish(folder)
    });
    reported.progress.finish();
    fetched
}

/// A file's name, and who is told of the progress of its fetch.
pub(super) struct Reported<'a> {
    pub(super) file: &'a str,
    pub(super) progress: &'a dyn Progress,
}

impl Reported<'_> {
    fn start(&self, num_bytes: u64) {
        self.progress.start(&format!("fetching {}", self.file), num_bytes);
    }
}

/// A content under construction, with its first bytes on disk. The lock is held.
struct Download<'a> {
    client: &'a Client,
    wanted: &'a Wanted,
    reported: &'a Reported<'a>,
    path: PathBuf,
    file: File,
    /// Of the bytes on disk.
    hash: Sha256,
    num_bytes: u64,
}

impl<'a> Download<'a> {
    /// Resumes an earlier fetch, if the result can be checked.
    fn open(
        client: &'a Client,
        folder: &Folder,
        wanted: &'a Wanted,
        reported: &'a Reported<'a>,
    ) -> Result<Self, HubError> {
        let path = folder.incomplete(&wanted.etag);
        let mut options = File::options();
        let open = options.create(true).truncate(false).read(true).write(true).open(&path);
        let file = open.map_err(failed("open", &path))?;
        let left = file.metadata().map_err(failed("read", &path))?.len();
        let (hash, num_bytes) = (Sha256::new(), 0);
        let mut download = Self { client, wanted, reported, path, file, hash, num_bytes };
        if wanted.etag.sha256().is_none() || left > wanted.num_bytes {
            download.clear()?;
        }
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = download.file.read(&mut chunk);
            match read.map_err(failed("read", &download.path))? {
                0 => return Ok(download),
                count => download.count(&chunk[..count]),
            }
        }
    }

    /// Returns whether nothing is left to fetch. An empty content is always fetched, since it
    /// cannot be told from a missing one.
    fn is_whole(&self) -> bool {
        self.num_bytes > 0 && self.num_bytes == self.wanted.num_bytes
    }

    /// Returns whether the bytes have the announced checksum, if there is one.
    fn is_right(&self) -> bool {
        self.wanted.etag.sha256().is_none_or(|wanted| wanted == self.sha256())
    }

    fn sha256(&self) -> String {
        format!("{:x}", self.hash.clone().finalize())
    }

    /// Fetches the rest, as far as the hub sends it.
    fn go_on(&mut self) -> Result<(), HubError> {
        let mut body = self.body()?.into_body().into_reader();
        let broke_off = |source: io::Error| HubError::Transport {
            address: self.wanted.address.to_string(),
            source: source.into(),
        };
        let mut chunk = vec![0; CHUNK_BYTES];
        while self.num_bytes < self.wanted.num_bytes {
            let rest = self.wanted.num_bytes - self.num_bytes;
            let room = usize::try_from(rest).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            let count = body.read(&mut chunk[..room]).map_err(broke_off)?;
            if count == 0 {
                return Err(broke_off(io::ErrorKind::UnexpectedEof.into()));
            }
            self.file.write_all(&chunk[..count]).map_err(failed("write", &self.path))?;
            self.count(&chunk[..count]);
        }
        // Read to its end, so that the connection can be used again.
        if body.read(&mut chunk[..1]).is_ok_and(|count| count > 0) {
            self.clear()?;
            return Err(self.other_size("more"));
        }
        Ok(())
    }

    /// Checks the content and moves it to its place in the cache.
    fn finish(self, folder: &Folder) -> Result<(), HubError> {
        if !self.is_right() {
            fs::remove_file(&self.path).map_err(failed("remove", &self.path))?;
            let (what, found) = (self.wanted.address.to_string(), self.sha256());
            let wanted = self.wanted.etag.to_string();
            return Err(SourceError::Hash { what, wanted, found }.into());
        }
        self.file.sync_all().map_err(failed("write", &self.path))?;
        drop(self.file);
        let blob = folder.blob(&self.wanted.etag);
        fs::rename(&self.path, &blob).map_err(failed("rename to", &blob))?;
        Ok(())
    }

    /// Returns an answer whose body continues the content.
    fn body(&mut self) -> Result<Response<Body>, HubError> {
        let offset = self.num_bytes;
        match self.ask(offset)? {
            Some((start, response)) if start == offset => return Ok(response),
            Some((0, response)) => {
                self.restart()?;
                return Ok(response);
            }
            _ => self.restart()?,
        }
        if let Some((0, response)) = self.ask(0)? {
            return Ok(response);
        }
        let wanted = format!("all {} bytes", self.wanted.num_bytes);
        Err(unexpected(&self.wanted.address, "range", wanted, Some("others")))
    }

    /// Asks for the bytes from `offset` on; also returns where the answer begins. `None` if the hub
    /// does not have this range of this content.
    fn ask(&self, offset: u64) -> Result<Option<(u64, Response<Body>)>, HubError> {
        let response = match self.client.body(&self.wanted.address, offset) {
            Err(error) if error.status() == Some(416) => return Ok(None),
            response => response?,
        };
        let header = |name| text(response.headers(), name);
        if response.status() == 206 {
            let range = header("content-range");
            let start = range.and_then(|range| range_start(range, self.wanted.num_bytes));
            return Ok(start.map(|start| (start, response)));
        }
        match header("content-length") {
            Some(length) if length.parse() != Ok(self.wanted.num_bytes) => {
                Err(self.other_size(length))
            }
            _ => Ok(Some((0, response))),
        }
    }

    fn count(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.num_bytes += bytes.len() as u64;
        self.reported.progress.advance(bytes.len() as u64);
    }

    /// Starts over, and reports that.
    fn restart(&mut self) -> Result<(), HubError> {
        if self.num_bytes > 0 {
            self.reported.progress.finish();
            self.reported.start(self.wanted.num_bytes);
        }
        self.clear()
    }

    fn clear(&mut self) -> Result<(), HubError> {
        let cleared = self.file.set_len(0).and_then(|()| self.file.rewind());
        cleared.map_err(failed("write", &self.path))?;
        (self.hash, self.num_bytes) = (Sha256::new(), 0);
        Ok(())
    }

    fn other_size(&self, found: &str) -> HubError {
        let wanted = format!("{} bytes", self.wanted.num_bytes);
        unexpected(&self.wanted.address, "body", wanted, Some(found))
    }
}

/// Parses the first byte of a range of a content with that many bytes: `bytes 5-9/10`.
fn range_start(range: &str, num_bytes: u64) -> Option<u64> {
    let (span, total) = range.trim().strip_prefix("bytes ")?.split_once('/')?;
    let start = span.split_once('-')?.0.parse().ok()?;
    (total.parse() == Ok(num_bytes)).then_some(start)
}
