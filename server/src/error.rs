//! Errors of the command: one line on stderr, and an exit code that tells usage errors from
//! failures.

use std::{
    fmt,
    io::{self, Write},
    process::ExitCode,
};

use sluicegate::engine::SubmitError;

/// Why the command stops before its work is done.
#[derive(Debug)]
pub(crate) enum CliError {
    /// The arguments are wrong: exit code 2.
    Usage(anyhow::Error),
    /// The arguments are right, but the command failed: exit code 1.
    Failed(anyhow::Error),
    /// The reader of stdout is gone, which is not an error.
    OutputClosed,
    /// The answer is no, and is already printed: exit code 1.
    Refused,
}

impl CliError {
    pub(crate) fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self::Usage(error.into())
    }

    /// A usage error at an argument or variable.
    pub(crate) fn usage_at(argument: &str, error: impl Into<anyhow::Error>) -> Self {
        Self::Usage(error.into().context(argument.to_owned()))
    }

    pub(crate) fn failed(error: impl Into<anyhow::Error>) -> Self {
        Self::Failed(error.into())
    }

    /// Adds the argument at which the error is.
    pub(crate) fn at(self, argument: &str) -> Self {
        match self {
            Self::Usage(error) => Self::Usage(error.context(argument.to_owned())),
            Self::Failed(error) => Self::Failed(error.context(argument.to_owned())),
            other => other,
        }
    }

    /// Prints the error and returns the exit code.
    pub(crate) fn exit(self) -> ExitCode {
        let (error, code) = match self {
            Self::Usage(error) => (error, 2),
            Self::Failed(error) => (error, 1),
            Self::OutputClosed => return ExitCode::SUCCESS,
            Self::Refused => return ExitCode::from(1),
        };
        complain(&chain(&error));
        ExitCode::from(code)
    }
}

impl From<SubmitError> for CliError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Failed(_) | SubmitError::ShutDown | SubmitError::Tokenizer { .. } => {
                Self::failed(error)
            }
            SubmitError::Parameter { name, found, wanted } => {
                let argument = match name {
                    "the number of prompts" => "PROMPT".to_owned(),
                    "the number of stop strings" | "a stop string" => "--stop".to_owned(),
                    name => format!("--{}", name.replace('_', "-")),
                };
                Self::usage_at(&argument, anyhow::anyhow!("wanted {wanted}, found {found}"))
            }
            // The library's message uses the names of its own fields.
            error => {
                let error = anyhow::Error::new(error);
                Self::usage(anyhow::anyhow!(chain(&error).replace("max_tokens", "--max-tokens")))
            }
        }
    }
}

/// Only for stdout: a closed pipe is not a failure.
impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::OutputClosed;
        }
        Self::Failed(anyhow::Error::new(error).context("cannot write to stdout"))
    }
}

/// Ends the command after arguments that do not parse, or after `--help` and `--version`.
pub(crate) fn exit_with_clap(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // If the reader is gone, the help text is not needed.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let is_bare = error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if is_bare {
        let _ = error.print();
    } else {
        complain(&one_line(&error.render().to_string()));
    }
    ExitCode::from(2)
}

/// Writes the line to stderr. If that fails, there is no other place for it.
fn complain(line: &str) {
    let _ = writeln!(io::stderr().lock(), "error: {line}");
}

/// Joins an error and its causes by `: `, in one line.
///
/// Omits a cause with which the message before it already ends.
pub(crate) fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = flat(cause);
        if !text.ends_with(&cause) {
            let join = if text.is_empty() { "" } else { ": " };
            text = format!("{text}{join}{cause}");
        }
    }
    text
}

/// Joins the lines of a message. A line of carets becomes the position that it marks.
fn flat(message: impl fmt::Display) -> String {
    let message = message.to_string();
    if !message.contains('\n') {
        return message;
    }
    let mut parts: Vec<String> = Vec::new();
    let mut indent_above = 0;
    for line in message.lines() {
        let words = line.trim();
        let indent = line.len() - line.trim_start().len();
        if words.starts_with('^') && words.chars().all(|c| c == '^') {
            parts.push(format!("at character {}:", indent.saturating_sub(indent_above) + 1));
        } else {
            parts.extend(words.split_whitespace().map(str::to_owned));
        }
        indent_above = indent;
    }
    parts.join(" ")
}

/// Joins the lines of clap's message, without its usage summary.
fn one_line(rendered: &str) -> String {
    let text = rendered.trim_start().trim_start_matches("error: ");
    let parts = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let mut line = String::new();
    for part in parts {
        let join = match part.starts_with("tip:") {
            _ if line.is_empty() => "",
            true => "; ",
            false => " ",
        };
        line = format!("{line}{join}{part}");
    }
    format!("{line}; see --help")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_joined_in_one_line_and_not_repeated() {
        let error = anyhow::anyhow!("parse error:\n    b(a\n     ^\nerror: unclosed group");
        let error = error.context("--regex");
        assert_eq!(
            chain(&error),
            "--regex: parse error: b(a at character 2: error: unclosed group"
        );
        let error = anyhow::anyhow!("no space").context("stage 1 failed: no space");
        assert_eq!(chain(&error), "stage 1 failed: no space");
    }

    #[test]
    fn clap_errors_become_one_line() {
        use clap::Parser;
        #[track_caller]
        fn check(args: &[&str], want: &str) {
            let args = ["sluicegate", "generate"].iter().chain(args);
            let error = crate::cli::Cli::try_parse_from(args).unwrap_err();
            assert_eq!(one_line(&error.render().to_string()), want);
        }
        check(
            &["--max-tokens", "x", "hello"],
            "invalid value 'x' for '--max-tokens <N>': wanted a whole number of at least 1; see --help",
        );
        check(
            &["--sed", "1", "hello"],
            "unexpected argument '--sed' found; tip: a similar argument exists: '--seed'; see --help",
        );
        check(
            &["--regex", "a", "--choice", "b", "hello"],
            "the argument '--regex <REGEX>' cannot be used with '--choice <TEXT>'; see --help",
        );
    }

    #[test]
    fn errors_name_flags_and_not_fields() {
        #[track_caller]
        fn check(error: SubmitError, want: &str) {
            let CliError::Usage(error) = CliError::from(error) else { panic!("a wrong call") };
            assert_eq!(chain(&error), want);
        }
        let parameter = |name, wanted| SubmitError::Parameter { name, found: "0".into(), wanted };
        check(parameter("top_k", "at least 1"), "--top-k: wanted at least 1, found 0");
        check(
            parameter("the number of stop strings", "at most 16"),
            "--stop: wanted at most 16, found 0",
        );
        check(
            SubmitError::TooLong { prompt: 0, prompt_tokens: 9, max_tokens: 5, context: 10 },
            "prompt 1 has 9 tokens and may get 5 more, but the model's context is 10; shorten the \
             prompt or lower --max-tokens",
        );
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let closed = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(matches!(CliError::from(closed), CliError::OutputClosed));
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(matches!(CliError::from(full), CliError::Failed(_)));
    }
}
