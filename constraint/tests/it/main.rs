//! Tests of the whole crate over a small byte-level vocabulary.

#![expect(clippy::unwrap_used, reason = "a test ends where its set-up fails")]

mod hostile;
mod json;
mod matcher;
mod regex_choice;
mod support;
mod vocab;
mod walks;
