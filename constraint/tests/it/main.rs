//! Tests of the whole crate over a small byte-level vocabulary.

mod hostile;
mod json;
mod matcher;
mod regex_choice;
mod support;
mod vocab;
mod walks;
