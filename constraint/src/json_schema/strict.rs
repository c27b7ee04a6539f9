//! `OpenAI`'s rules for strict schemas.

use super::document::{Document, Keywords, Types};
use crate::error::SpecError;

/// Checks that every object is closed and requires all its properties.
///
/// # Errors
/// [`SpecError::NotStrict`] for the first violation, worded as by the API.
pub(super) fn check(document: &Document) -> Result<(), SpecError> {
    for id in document.ids() {
        let Some(keywords) = document.keywords(id) else { continue };
        if !is_object(keywords) {
            continue;
        }
        let wrong = |message: String| SpecError::NotStrict {
            context: context(&document.node(id).at),
            message,
        };
        let object = &keywords.object;
        if !object.additional.is_some_and(|it| document.is_never(it)) {
            let message = "'additionalProperties' is required to be supplied and to be false.";
            return Err(wrong(message.to_owned()));
        }
        let mut names = object.properties.iter().map(|(name, _)| name);
        if let Some(name) = names.find(|name| !object.required.contains(name)) {
            return Err(wrong(format!(
                "'required' is required to be supplied and to be an array including every key in \
                 properties. Missing '{name}'."
            )));
        }
    }
    Ok(())
}

fn is_object(keywords: &Keywords) -> bool {
    keywords.types.is_some_and(|types| types.has(Types::OBJECT))
        || !keywords.object.properties.is_empty()
}

/// Formats a JSON pointer as the tuple that the API shows.
fn context(pointer: &str) -> String {
    let pointer = pointer.rsplit_once('#').map_or(pointer, |(_, pointer)| pointer);
    let parts = pointer.split('/').skip(1);
    let parts: Vec<String> =
        parts.map(|part| format!("'{}'", part.replace("~1", "/").replace("~0", "~"))).collect();
    match parts.as_slice() {
        [one] => format!("({one},)"),
        parts => format!("({})", parts.join(", ")),
    }
}
