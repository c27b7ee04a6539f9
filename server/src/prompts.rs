//! Reads prompts from arguments and stdin.

use std::io::{IsTerminal, Read};

use anyhow::Context;

use crate::{bounded, error::CliError};

/// The most bytes to read from stdin: far more than any context has room for.
const MAX_STDIN_BYTES: u64 = 64 << 20;

/// Returns the prompts of the arguments, with `-` replaced by stdin.
///
/// # Errors
/// There is no prompt, one is empty, or stdin cannot be read.
pub(crate) fn read(args: &[String]) -> Result<Vec<String>, CliError> {
    let stdin = std::io::stdin();
    if args.is_empty() && stdin.is_terminal() {
        let hint = "no prompt; wanted text as an argument, or - to read it from stdin";
        return Err(CliError::usage(anyhow::anyhow!(hint)));
    }
    resolve(args, stdin.lock())
}

fn resolve(args: &[String], stdin: impl Read) -> Result<Vec<String>, CliError> {
    let wrong = |message: String| Err(CliError::usage(anyhow::anyhow!(message)));
    let stdin_args = args.iter().filter(|arg| *arg == "-").count();
    if stdin_args > 1 {
        return wrong(format!("`-` is given {stdin_args} times, but stdin can be read only once"));
    }
    let mut prompts = args.to_vec();
    if prompts.is_empty() {
        prompts.push("-".to_owned());
    }
    if let Some(prompt) = prompts.iter_mut().find(|prompt| *prompt == "-") {
        *prompt = read_all(stdin)?;
        if prompt.trim().is_empty() {
            return wrong("the prompt from stdin is empty; wanted text".to_owned());
        }
    }
    match prompts.iter().position(String::is_empty) {
        Some(prompt_idx) => wrong(format!("prompt {} is empty; wanted text", prompt_idx + 1)),
        None => Ok(prompts),
    }
}

/// Reads all of stdin, without the line break at its end.
fn read_all(stdin: impl Read) -> Result<String, CliError> {
    let bytes = bounded::read(stdin, MAX_STDIN_BYTES).context("cannot read stdin");
    let Some(bytes) = bytes.map_err(CliError::Failed)? else {
        let message =
            format!("stdin holds more than {MAX_STDIN_BYTES} bytes, the most for a prompt");
        return Err(CliError::usage(anyhow::anyhow!(message)));
    };
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        CliError::usage(anyhow::anyhow!("the prompt from stdin is not UTF-8 at byte {at}"))
    })?;
    let trimmed = text.strip_suffix('\n').unwrap_or(&text);
    Ok(trimmed.strip_suffix('\r').unwrap_or(trimmed).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(args: &[&str], stdin: &[u8], want: &str) {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let got = match resolve(&args, stdin) {
            Ok(prompts) => prompts.join("|"),
            Err(CliError::Usage(error)) => format!("usage: {error}"),
            Err(other) => format!("{other:?}"),
        };
        assert_eq!(got, want);
    }

    #[test]
    fn a_dash_reads_stdin() {
        check(&["one", "two"], b"unread", "one|two");
        check(&["one", "-"], b"from\nstdin\n", "one|from\nstdin");
        check(&[], b"piped\r\n", "piped");
        check(&["--"], b"", "--");
    }

    #[test]
    fn prompts_that_say_nothing_are_refused() {
        check(&[], b"\n", "usage: the prompt from stdin is empty; wanted text");
        check(&["a", ""], b"", "usage: prompt 2 is empty; wanted text");
        check(&["-", "-"], b"", "usage: `-` is given 2 times, but stdin can be read only once");
        check(&["-"], b"ab\xff", "usage: the prompt from stdin is not UTF-8 at byte 2");
    }
}
