//! Faults between this machine and the hub, and their meaning for a repository.

use std::time::Duration;

use crate::error::SourceError;

/// Why the hub did not send what was asked for, or why it could not be stored.
#[derive(Debug, thiserror::Error)]
pub(in crate::source) enum HubError {
    #[error("HTTP {status} of {address}{reason}")]
    Status {
        address: String,
        status: u16,
        /// The hub's explanation, after a colon; may be empty.
        reason: String,
        retry_after: Option<Duration>,
    },
    #[error("incomplete answer from {address}")]
    Transport { address: String, source: ureq::Error },
    #[error("{address}: {what}: wanted {wanted}, found {found}")]
    Unexpected { address: String, what: &'static str, wanted: String, found: String },
    #[error("{address}: wanted at most {limit} redirects, found more")]
    Redirects { address: String, limit: usize },
    #[error("{address}: malformed listing")]
    Listing { address: String, source: serde_json::Error },
    #[error("{name}: wanted {wanted}, found {found}")]
    Setting { name: &'static str, wanted: &'static str, found: String },
    /// Of files on this machine.
    #[error(transparent)]
    Local(#[from] SourceError),
}

impl HubError {
    /// Maps the error to the one of fetching `repository`.
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

    /// Returns the status of the answer, if that was the fault.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Returns whether the same request may soon succeed.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            // A rejected certificate stays rejected.
            Self::Transport { source: ureq::Error::Tls(_) | ureq::Error::Rustls(_), .. } => false,
            Self::Transport { source: ureq::Error::Io(error), .. } => {
                error.kind() != std::io::ErrorKind::InvalidData
            }
            error => error.is_outage(),
        }
    }

    /// Returns how long the hub asks to wait.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Returns whether the hub is out of reach or overloaded, as opposed to refusing.
    fn is_outage(&self) -> bool {
        matches!(self, Self::Transport { .. } | Self::Status { status: 408 | 429 | 500.., .. })
    }
}
