//! What an output is read as.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::AnswerError;
use crate::stream::{FinishReason, Output};

/// An output, and the value that it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer<T> {
    pub value: T,
    pub output: Output,
}

/// A way to read outputs.
pub trait Kind {
    type Value;

    /// Reads an output.
    ///
    /// # Errors
    /// [`AnswerError`], which holds the text.
    fn read(output: &Output) -> Result<Self::Value, AnswerError>;
}

/// JSON, as a value of the type that its schema was made of.
#[derive(Debug)]
pub struct Json<T>(PhantomData<fn() -> T>);

/// The name of a variant.
#[derive(Debug)]
pub struct Choice<T>(PhantomData<fn() -> T>);

/// A whole text under a constraint.
#[derive(Debug)]
pub enum Text {}

/// Any text, cut or not.
#[derive(Debug)]
pub enum FreeText {}

impl<T: DeserializeOwned> Kind for Json<T> {
    type Value = T;

    fn read(output: &Output) -> Result<T, AnswerError> {
        check_whole(output)?;
        serde_json::from_str(&output.text).map_err(|source| no_value::<T>(output, source))
    }
}

impl<T: DeserializeOwned> Kind for Choice<T> {
    type Value = T;

    fn read(output: &Output) -> Result<T, AnswerError> {
        check_whole(output)?;
        let name = Value::String(output.text.clone());
        serde_json::from_value(name).map_err(|source| no_value::<T>(output, source))
    }
}

impl Kind for Text {
    type Value = String;

    fn read(output: &Output) -> Result<String, AnswerError> {
        check_whole(output)?;
        Ok(output.text.clone())
    }
}

impl Kind for FreeText {
    type Value = String;

    fn read(output: &Output) -> Result<String, AnswerError> {
        Ok(output.text.clone())
    }
}

/// A cut number may still be a number, but not the one that was meant.
fn check_whole(output: &Output) -> Result<(), AnswerError> {
    match output.finish_reason {
        FinishReason::EndToken | FinishReason::Constraint => Ok(()),
        finish_reason @ (FinishReason::StopString | FinishReason::Length) => {
            Err(AnswerError::Cut {
                output: output.id,
                text: output.text.clone(),
                finish_reason,
                num_tokens: output.token_ids.len(),
            })
        }
    }
}

fn no_value<T>(output: &Output, source: serde_json::Error) -> AnswerError {
    let type_name = std::any::type_name::<T>();
    AnswerError::Parse { output: output.id, text: output.text.clone(), type_name, source }
}
