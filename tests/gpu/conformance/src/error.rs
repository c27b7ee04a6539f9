//! What ends a case early, and what ends the program.

/// Why a case did not reach its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    #[error("wanted {wanted}, found {found}")]
    Failed { wanted: String, found: String },
    #[error("{reason}")]
    Skipped { reason: String },
}

/// What a case or one of its steps returns.
pub(crate) type Outcome<T = ()> = Result<T, Stop>;

impl Stop {
    #[expect(clippy::needless_pass_by_value, reason = "callers make values for it alone")]
    pub(crate) fn failed(wanted: impl Into<String>, found: impl ToString) -> Self {
        Self::Failed { wanted: wanted.into(), found: found.to_string() }
    }

    pub(crate) fn skipped(reason: impl Into<String>) -> Self {
        Self::Skipped { reason: reason.into() }
    }
}

/// Why the program cannot do what it is asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramError {
    #[error("there is no driver: {0}")]
    NoDriver(String),
    #[error("the driver has no GPU: {0}")]
    NoDevice(String),
    #[error("no case is called `{0}`; --list names them all")]
    NoCase(String),
    #[error("wanted --list, --record FILE, --compare FILE or names of cases, found `{0}`")]
    Argument(String),
    #[error("cannot write `{path}`")]
    Record { path: String, source: std::io::Error },
    #[error("cannot read `{path}`")]
    Recorded { path: String, source: std::io::Error },
    #[error("`{path}` is no record of cases")]
    NoRecord { path: String, source: Option<serde_json::Error> },
    #[error("cannot start a process for a case")]
    Process(#[source] std::io::Error),
}
