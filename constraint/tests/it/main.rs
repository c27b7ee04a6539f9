//! Tests of the whole crate over a small byte-level vocabulary.

#![expect(clippy::unwrap_used, reason = "a test ends where its set-up fails")]

mod admitted;
mod bounds;
mod cache;
mod encoded;
mod formats;
mod gbnf;
mod gbnf_random;
mod guarded;
mod hostile;
mod hostile_specs;
mod json;
mod keywords;
mod lark;
mod matcher;
mod prefixes;
mod random_schemas;
mod random_sources;
mod regex_choice;
mod support;
mod tags;
mod thinking;
mod vocab;
mod walks;
mod wide;
mod workers;
