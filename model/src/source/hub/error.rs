//! What can go wrong between this machine and the hub, and what it means for a repository.

use std::time::Duration;

use crate::error::SourceError;

/// Why the hub did not give what was asked for, or it could not be kept.
#[derive(Debug, thiserror::Error)]
pub(in crate::source) enum HubError {
    #[error("HTTP {status} of {address}{reason}")]
    Status {
        address: String,
        status: u16,
        /// What the hub says of it, after a colon; may be empty.
        reason: String,
        retry_after: Option<Duration>,
    },
    #[error("no whole answer of {address}")]
    Transport { address: String, source: ureq::Error },
    #[error("{address}: {what}: wanted {wanted}, found {found}")]
    Unexpected { address: String, what: &'static str, wanted: String, found: String },
    #[error("{address}: wanted at most {limit} redirects, found more")]
    Redirects { address: String, limit: usize },
    #[error("{address}: the listing is not what it should be")]
    Listing { address: String, source: serde_json::Error },
    #[error("{name}: wanted {wanted}, found {found}")]
    Setting { name: &'static str, wanted: &'static str, found: String },
    /// Of this machine's files.
    #[error(transparent)]
    Local(#[from] SourceError),
}

impl HubError {
    /// What it means for the repository that is fetched.
    pub(super) fn of(self, repository: &str) -> SourceError {
        let repository = repository.to_owned();
        match self {
            Self::Local(error) => error,
            Self::Status { status: status @ (401 | 403), .. } => {
                SourceError::NoAccess { repository, status }
            }
            error if error.is_outage() => {
                SourceError::Unreachable { repository, source: error.into() }
            }
            error => SourceError::Hub { repository, source: error.into() },
        }
    }

    /// What the hub answered, where it is that which went wrong.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the same request may succeed soon.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            // A certificate that does not convince stays so.
            Self::Transport { source: ureq::Error::Tls(_) | ureq::Error::Rustls(_), .. } => false,
            Self::Transport { source: ureq::Error::Io(error), .. } => {
                error.kind() != std::io::ErrorKind::InvalidData
            }
            error => error.is_outage(),
        }
    }

    /// How long the hub wants to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether the hub is out of reach or overloaded, rather than of another mind.
    fn is_outage(&self) -> bool {
        matches!(self, Self::Transport { .. } | Self::Status { status: 408 | 429 | 500.., .. })
    }
}
