//! Requests to the hub: how they are formed, how answers are read, and what is retried.
//!
//! Parses everything from the hub before anybody uses it. Writes no files.

use std::{thread, time::Duration};

use serde::Deserialize;
use ureq::{Body, http::Response};

use super::{
    access::Access,
    address::{Address, escaped},
    cache::{Etag, is_commit},
    error::HubError,
    web::{Answer, Ask, Web, text, unexpected},
};

const MAX_LISTING_BYTES: u64 = 16 << 20;

/// How often and when a failed request is retried.
#[derive(Debug, Clone, Copy)]
pub(in crate::source) struct Retries {
    pub(in crate::source) count: u32,
    /// Doubled each time, unless the hub asks for a certain pause.
    pub(in crate::source) first_pause: Duration,
    pub(in crate::source) longest_pause: Duration,
}

impl Retries {
    /// For contents that only the hub has.
    pub(super) const PATIENT: Self = Self {
        count: 4,
        first_pause: Duration::from_millis(250),
        longest_pause: Duration::from_secs(30),
    };
    const NONE: Self =
        Self { count: 0, first_pause: Duration::ZERO, longest_pause: Duration::ZERO };
}

/// A client of one hub. Clones share their connections.
#[derive(Clone)]
pub(super) struct Client {
    web: Web,
    endpoint: String,
    retries: Retries,
}

/// The hub's description of a repository.
#[derive(Debug)]
pub(super) struct Listing {
    /// The latest commit.
    pub(super) commit: String,
    /// The paths of all files in the repository.
    pub(super) files: Vec<String>,
}

/// The hub's description of a file.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) address: Address,
    pub(super) etag: Etag,
    pub(super) num_bytes: u64,
}

impl Client {
    /// Prepares for a hub without sending anything.
    ///
    /// # Errors
    /// [`HubError::Setting`] if endpoint or token cannot be used.
    pub(super) fn new(access: &Access) -> Result<Self, HubError> {
        let web = Web::new(&access.endpoint, access.token.as_deref())?;
        Ok(Self { web, endpoint: access.endpoint.clone(), retries: access.retries })
    }

    /// As this client, but without retries, for callers that can do without the hub.
    pub(super) fn hasty(&self) -> Self {
        Self { retries: Retries::NONE, ..self.clone() }
    }

    /// Asks for the latest commit of a repository and its files.
    pub(super) fn list(&self, repository: &str) -> Result<Listing, HubError> {
        #[derive(Deserialize)]
        struct Info {
            sha: String,
            #[serde(default)]
            siblings: Vec<Sibling>,
        }
        #[derive(Deserialize)]
        struct Sibling {
            rfilename: String,
        }
        let address = self.address(&format!("api/models/{repository}/revision/main"))?;
        let bytes = self.patiently(|| self.small_body(&address))?;
        let info: Info = serde_json::from_slice(&bytes)
            .map_err(|source| HubError::Listing { address: address.to_string(), source })?;
        if !is_commit(&info.sha) {
            let wanted = "up to 64 letters and digits".to_owned();
            return Err(unexpected(&address, "commit", wanted, Some(&info.sha)));
        }
        let files = info.siblings.into_iter().map(|sibling| sibling.rfilename).collect();
        Ok(Listing { commit: info.sha, files })
    }

    /// Asks for the description of a file, before fetching it.
    pub(super) fn find(
        &self,
        repository: &str,
        commit: &str,
        file: &str,
    ) -> Result<Wanted, HubError> {
        let address = self.address(&format!("{repository}/resolve/{commit}/{}", escaped(file)))?;
        let Answer { response, trail } = self.patiently(|| self.web.send(&address, Ask::Head))?;
        let any = |name: &str| trail.iter().find_map(|headers| text(headers, name));
        let last = |name: &str| trail.last().and_then(|headers| text(headers, name));
        let found = any("x-repo-commit");
        if found != Some(commit) {
            return Err(unexpected(&address, "commit", commit.to_owned(), found));
        }
        let etag = any("x-linked-etag").or_else(|| last("etag"));
        let Some(plain) = etag.and_then(Etag::parse) else {
            let wanted = "up to 128 letters, digits, `-`, `_` and `.`, as a file name".to_owned();
            return Err(unexpected(&address, "etag", wanted, etag));
        };
        // The length of a redirect is not the file's.
        let length = || last("content-length").filter(|_| response.status().is_success());
        let size = any("x-linked-size").or_else(length);
        let Some(num_bytes) = size.and_then(|size| size.parse().ok()) else {
            return Err(unexpected(&address, "size", "a number of bytes".to_owned(), size));
        };
        Ok(Wanted { address, etag: plain, num_bytes })
    }

    /// Asks for a file from byte `offset` on; the caller must check which bytes come.
    pub(super) fn body(&self, address: &Address, offset: u64) -> Result<Response<Body>, HubError> {
        Ok(self.web.send(address, Ask::Body { offset })?.response)
    }

    /// Retries until success, a permanent failure, or too many failures.
    pub(super) fn patiently<T>(
        &self,
        mut attempt: impl FnMut() -> Result<T, HubError>,
    ) -> Result<T, HubError> {
        let Retries { count, first_pause, longest_pause } = self.retries;
        let mut pause = first_pause;
        for _ in 0..count {
            match attempt() {
                Err(error) if error.is_passing() => {
                    thread::sleep(error.retry_after().unwrap_or(pause).min(longest_pause));
                    pause *= 2;
                }
                outcome => return outcome,
            }
        }
        attempt()
    }

    fn address(&self, path: &str) -> Result<Address, HubError> {
        let text = format!("{}/{path}", self.endpoint);
        Address::parse(&text).ok_or(HubError::Setting {
            name: "HF_ENDPOINT",
            wanted: "an address before a path",
            found: text,
        })
    }

    fn small_body(&self, address: &Address) -> Result<Vec<u8>, HubError> {
        let body = self.web.send(address, Ask::Body { offset: 0 })?.response.into_body();
        let read = body.into_with_config().limit(MAX_LISTING_BYTES).read_to_vec();
        read.map_err(|source| match source {
            ureq::Error::BodyExceedsLimit(limit) => {
                unexpected(address, "listing", format!("at most {limit} bytes"), Some("more"))
            }
            source => HubError::Transport { address: address.to_string(), source },
        })
    }
}
