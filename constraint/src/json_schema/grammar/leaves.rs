//! Shares one part of the grammar among equal schemas without subschemas.

use std::collections::HashMap;

use serde_json::Value;

use super::super::document::{Document, Keywords, NodeId};
use super::super::regexes;

/// The schemas visited so far, each with the first one that equals it.
#[derive(Default)]
pub(super) struct Leaves<'a> {
    first: HashMap<&'a Keywords, NodeId>,
    known: HashMap<NodeId, NodeId>,
    /// The duplicates of each first schema.
    others: HashMap<NodeId, Vec<NodeId>>,
}

impl<'a> Leaves<'a> {
    /// Returns the first schema that equals this one; the schema itself if it must be kept
    /// separate.
    pub(super) fn canonical(&mut self, document: &'a Document, id: NodeId) -> NodeId {
        if let Some(known) = self.known.get(&id) {
            return *known;
        }
        let leaf = document.keywords(id).filter(|it| may_be_joined(it));
        let first = leaf.map_or(id, |leaf| *self.first.entry(leaf).or_insert(id));
        self.known.insert(id, first);
        if first != id {
            self.others.entry(first).or_default().push(id);
        }
        first
    }

    /// Returns the duplicates of a schema.
    pub(super) fn others(&self, id: NodeId) -> &[NodeId] {
        self.others.get(&id).map_or(&[], Vec::as_slice)
    }
}

/// Returns whether a schema may share its part with equal ones. It must have no subschemas. Unknown
/// formats need a warning each, and listed objects that are equal may order their members
/// differently.
fn may_be_joined(keywords: &Keywords) -> bool {
    let format = keywords.string.format.as_deref().map(regexes::format);
    keywords.is_leaf()
        && format != Some(regexes::Format::Unknown)
        && !keywords.literals.iter().flatten().any(has_object)
}

/// Returns whether a listed value contains an object. Recurses as deep as a schema may be nested.
fn has_object(literal: &Value) -> bool {
    match literal {
        Value::Object(_) => true,
        Value::Array(items) => items.iter().any(has_object),
        _ => false,
    }
}
