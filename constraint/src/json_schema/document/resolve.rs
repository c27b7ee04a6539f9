//! Resolves references: the registry of a schema and of the schemas it may refer to.

use referencing::{Draft, Registry, ResourceRef, Uri};
use serde_json::Value;

use super::super::pointer::escape;
use crate::error::SpecError;
use crate::spec::JsonOptions;

/// The URI of a schema without one of its own.
pub(crate) const ROOT: &str = "json-schema:///";

/// A schema as given, and the draft by which it is read.
#[derive(Debug)]
pub(crate) struct Source {
    /// Without an unknown `$schema` or an invalid root id.
    pub(crate) schema: Value,
    pub(crate) draft: Draft,
}

/// Determines the draft. An unknown `$schema` and an invalid root id are dropped, with a warning.
pub(super) fn rooted(schema: &Value, options: &JsonOptions, warnings: &mut Vec<String>) -> Source {
    let mut schema = schema.clone();
    let named = schema.get("$schema").and_then(Value::as_str).map(str::to_owned);
    let mut draft = Draft::default();
    if let Some(named) = named {
        draft = Draft::from_schema_uri(named.trim_end_matches('#'));
        if matches!(draft, Draft::Unknown) {
            draft = Draft::default();
            let is_there = options.remotes.contains_key(named.trim_end_matches('#'));
            if !is_there && let Some(object) = schema.as_object_mut() {
                object.shift_remove("$schema");
                warnings.push(format!("`$schema` {named:?} is unknown; read as draft 2020-12"));
            }
        }
    }
    let keyword = draft.id_keyword();
    let id = schema.get(keyword).and_then(Value::as_str);
    let is_wrong =
        id.is_some_and(|id| referencing::uri::resolve_against(&root().borrow(), id).is_err());
    if let (true, Some(object)) = (is_wrong, schema.as_object_mut()) {
        object.shift_remove(keyword);
        warnings.push(format!("`{keyword}` is ignored at the root: it is no URI"));
    }
    Source { schema, draft }
}

fn root() -> Uri<String> {
    referencing::uri::from_str(ROOT).expect("it is one")
}

/// Makes the registry, and returns it with the schema's URI in it.
pub(super) fn registry<'a>(
    rooted: &'a Source,
    options: &'a JsonOptions,
) -> Result<(Registry<'a>, Uri<String>), SpecError> {
    let wrong = |error: &referencing::Error| SpecError::Schema {
        at: pointer_of(&rooted.schema, &error.to_string()),
        message: error.to_string(),
    };
    let id = rooted.schema.get(rooted.draft.id_keyword());
    // In old drafts a fragment of the id names a location, not the document.
    let uri = id.and_then(Value::as_str).and_then(|id| id.split('#').next());
    let uri = uri.filter(|uri| !uri.is_empty()).unwrap_or(ROOT);
    let uri =
        referencing::uri::resolve_against(&root().borrow(), uri).map_err(|error| wrong(&error))?;
    let remotes = options.remotes.iter().map(|(uri, schema)| (uri.as_str(), schema));
    let resource = ResourceRef::new(&rooted.schema, rooted.draft);
    let registry = Registry::new()
        .draft(rooted.draft)
        .extend(remotes)
        .and_then(|builder| builder.add(uri.as_str(), resource))
        .and_then(referencing::RegistryBuilder::prepare)
        .map_err(|error| wrong(&error))?;
    Ok((registry, uri))
}

/// Finds the `$ref` that an error message mentions, and returns its JSON pointer.
fn pointer_of(schema: &Value, message: &str) -> Option<String> {
    let mut todo = vec![(schema, String::new())];
    while let Some((value, at)) = todo.pop() {
        match value {
            Value::Object(object) => {
                let names = |text: &str| {
                    let target = text.split('#').next().unwrap_or_default();
                    !target.is_empty() && message.contains(target)
                };
                if object.get("$ref").and_then(Value::as_str).is_some_and(names) {
                    return Some(format!("{at}/$ref"));
                }
                for (name, value) in object {
                    todo.push((value, format!("{at}/{}", escape(name))));
                }
            }
            Value::Array(items) => {
                todo.extend(
                    items.iter().enumerate().map(|(idx, item)| (item, format!("{at}/{idx}"))),
                );
            }
            _ => {}
        }
    }
    None
}
