//! Prints texts and reports on stdout, as they come or when complete.

use std::io::{self, Write};

use anyhow::anyhow;
use serde::Serialize;
use sluicegate::{Completion, Event, Output, engine::GenerationError, stream::OutputId};

use sluicegate::request::WrittenPrompt;

use crate::{counted::counted, error::CliError};

/// Prints the text of a single output as it comes, and collects everything.
///
/// # Errors
/// The request fails, or stdout does; an incomplete line is ended first.
pub(crate) fn stream(
    events: impl Iterator<Item = Result<Event, GenerationError>>,
    out: &mut impl Write,
) -> Result<Completion, CliError> {
    let mut line = Line::default();
    let collected = collect(events, |text| line.print(text, out));
    match collected {
        Ok(_) => end_line(out)?,
        // Nothing can be printed any more.
        Err(CliError::OutputClosed) => {}
        Err(_) => line.end_begun(out)?,
    }
    collected
}

/// Collects the outputs, by prompt and index, and passes on text as it comes.
///
/// # Errors
/// The request fails or is interrupted, or `take` fails.
pub(crate) fn collect(
    events: impl Iterator<Item = Result<Event, GenerationError>>,
    mut take: impl FnMut(&str) -> io::Result<()>,
) -> Result<Completion, CliError> {
    let mut outputs = Vec::new();
    for event in events {
        match event.map_err(CliError::failed)? {
            Event::Text { text, .. } => take(&text)?,
            Event::Output(output) => outputs.push(output),
            Event::Finished { usage, timings } => {
                outputs.sort_by_key(|output| output.id);
                return Ok(Completion { outputs, usage, timings });
            }
        }
    }
    Err(CliError::failed(anyhow!("the engine ended before the request was complete")))
}

/// Prints complete outputs, each with a header if there are several.
pub(crate) fn complete(outputs: &[Output], out: &mut impl Write) -> io::Result<()> {
    for output in outputs {
        if outputs.len() > 1 {
            writeln!(out, "{}", header(output))?;
        }
        out.write_all(output.text.as_bytes())?;
        end_line(out)?;
    }
    Ok(())
}

/// Prints each prompt as the model gets it.
pub(crate) fn prompts(prompts: &[WrittenPrompt], out: &mut impl Write) -> io::Result<()> {
    for (number, prompt) in (1..).zip(prompts) {
        let WrittenPrompt { text, tokens } = prompt;
        let text = text.as_deref().unwrap_or_default();
        let ids: Vec<String> = tokens.iter().map(ToString::to_string).collect();
        writeln!(out, "--- prompt {number}, {}", counted(tokens.len(), "token"))?;
        writeln!(out, "{text}\n--- ids\n{}", ids.join(" "))?;
    }
    Ok(())
}

/// Prints a report as JSON, in one write, since stdout is line-buffered.
pub(crate) fn json(report: &(impl Serialize + ?Sized), out: &mut impl Write) -> io::Result<()> {
    out.write_all(&serde_json::to_vec_pretty(report)?)?;
    end_line(out)
}

fn header(output: &Output) -> String {
    let OutputId { prompt, index } = output.id;
    let (prompt, index) = (prompt + 1, index + 1);
    let Output { finish_reason, score, .. } = output;
    format!("--- prompt {prompt}, output {index} ({finish_reason}, score {score:.3})")
}

/// Tracks whether the text so far ends a line.
#[derive(Debug, Default)]
struct Line {
    is_begun: bool,
}

impl Line {
    fn print(&mut self, text: &str, out: &mut impl Write) -> io::Result<()> {
        if !text.is_empty() {
            self.is_begun = !text.ends_with('\n');
            out.write_all(text.as_bytes())?;
        }
        out.flush()
    }

    fn end_begun(self, out: &mut impl Write) -> io::Result<()> {
        if self.is_begun { end_line(out) } else { Ok(()) }
    }
}

/// Adds a line break after a text, even if it ends with one: the text stays exact.
fn end_line(out: &mut impl Write) -> io::Result<()> {
    writeln!(out)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use sluicegate::stream::{FinishReason, Timings, Usage};

    use super::*;

    fn output(prompt: usize, index: usize, text: &str) -> Output {
        Output {
            id: OutputId { prompt, index },
            text: text.to_owned(),
            token_ids: vec![1],
            tokens: Vec::new(),
            finish_reason: FinishReason::EndToken,
            score: -1.25,
        }
    }

    fn piece(text: &str) -> Event {
        Event::Text {
            output: OutputId { prompt: 0, index: 0 },
            text: text.to_owned(),
            tokens: Vec::new(),
        }
    }

    #[test]
    fn pieces_come_out_as_they_are() {
        let usage = Usage { prompt_tokens: 3, completion_tokens: 2, ..Usage::default() };
        let events = [
            Ok(piece("one ")),
            Ok(piece("two")),
            Ok(Event::Output(output(0, 0, "one two"))),
            Ok(Event::Finished { usage, timings: Timings::default() }),
        ];
        let mut out = Vec::new();
        let completion = stream(events.into_iter(), &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "one two\n");
        assert_eq!((completion.usage, completion.outputs.len()), (usage, 1));
    }

    #[test]
    fn a_failure_ends_the_line_that_was_begun() {
        let mut out = Vec::new();
        let events = [Ok(piece("one ")), Err(GenerationError::ShutDown)];
        let error = stream(events.into_iter(), &mut out).unwrap_err();
        assert!(matches!(error, CliError::Failed(_)));
        assert_eq!(String::from_utf8(out).unwrap(), "one \n");
    }

    #[test]
    fn outputs_are_sorted_and_an_engine_that_dies_is_an_error() {
        let (usage, timings) = (Usage::default(), Timings::default());
        let events = [
            Ok(Event::Output(output(1, 0, "c"))),
            Ok(Event::Output(output(0, 1, "b"))),
            Ok(Event::Output(output(0, 0, "a"))),
        ];
        let error = collect(events.clone().into_iter(), |_| Ok(())).unwrap_err();
        assert!(matches!(error, CliError::Failed(_)));
        let events = events.into_iter().chain([Ok(Event::Finished { usage, timings })]);
        let completion = collect(events, |_| Ok(())).unwrap();
        let texts: Vec<&str> = completion.outputs.iter().map(|it| it.text.as_str()).collect();
        assert_eq!(texts, ["a", "b", "c"]);
    }

    #[test]
    fn several_outputs_have_headers() {
        let mut out = Vec::new();
        complete(&[output(0, 0, "a")], &mut out).unwrap();
        complete(&[output(0, 0, "a"), output(1, 1, "b")], &mut out).unwrap();
        let want = "a\n--- prompt 1, output 1 (end_token, score -1.250)\na\n\
                    --- prompt 2, output 2 (end_token, score -1.250)\nb\n";
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }

    #[test]
    fn prompts_are_shown_with_their_ids() {
        let prompt = WrittenPrompt { text: Some("<s>a".to_owned()), tokens: vec![1, 70] };
        let mut out = Vec::new();
        prompts(&[prompt], &mut out).unwrap();
        let want = "--- prompt 1, 2 tokens\n<s>a\n--- ids\n1 70\n";
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }

    #[test]
    fn a_closed_pipe_ends_quietly() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let error = stream([Ok(piece("one"))].into_iter(), &mut Closed).unwrap_err();
        assert!(matches!(error, CliError::OutputClosed));
    }
}
