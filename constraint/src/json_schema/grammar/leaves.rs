//! Schemas that refer to no other: equal ones are one part of the grammar.

use std::collections::HashMap;

use serde_json::Value;

use super::super::document::{Document, Keywords, NodeId};
use super::super::regexes;

/// The schemas that were met so far, with the first of those that say the same.
#[derive(Default)]
pub(super) struct Leaves<'a> {
    first: HashMap<&'a Keywords, NodeId>,
    known: HashMap<NodeId, NodeId>,
    /// For each first one the others.
    others: HashMap<NodeId, Vec<NodeId>>,
}

impl<'a> Leaves<'a> {
    /// The first schema that says the same as this one; itself, if it must be told apart.
    pub(super) fn meant(&mut self, document: &'a Document, id: NodeId) -> NodeId {
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

    /// The other schemas for which this one stands.
    pub(super) fn others(&self, id: NodeId) -> &[NodeId] {
        self.others.get(&id).map_or(&[], Vec::as_slice)
    }
}

/// Whether a schema refers to no other and says no more than its equals. Each unknown format is
/// warned of; and listed objects that are equal may have their members in different orders.
fn may_be_joined(keywords: &Keywords) -> bool {
    let format = keywords.string.format.as_deref().map(regexes::format);
    keywords.is_leaf()
        && format != Some(regexes::Format::Unknown)
        && !keywords.literals.iter().flatten().any(has_object)
}

/// Whether an object is in a listed value. Recurses as deep as a schema may be nested.
fn has_object(literal: &Value) -> bool {
    match literal {
        Value::Object(_) => true,
        Value::Array(items) => items.iter().any(has_object),
        _ => false,
    }
}
