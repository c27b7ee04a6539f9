//! Whole-document analyses: schemas without finite values, and how deep the engine would recurse.

use std::collections::{HashMap, HashSet};

use super::document::{Body, Document, Keywords, NodeId, Types};
use super::levels::{self, Start};
use crate::error::SpecError;

/// Returns for each schema whether some finite value may satisfy it, by its required parts only.
/// False is certain: there is no such value.
pub(super) fn finite(document: &Document) -> Vec<bool> {
    // Computes the least fixed point: a schema is finite only once this is shown.
    let mut finite = vec![false; document.len()];
    let mut changed = true;
    while changed {
        changed = false;
        for id in document.ids().rev() {
            if !finite[id.index()] && shows_finite(document, id, &finite) {
                finite[id.index()] = true;
                changed = true;
            }
        }
    }
    finite
}

fn shows_finite(document: &Document, id: NodeId, finite: &[bool]) -> bool {
    let keywords = match &document.node(id).body {
        Body::Always => return true,
        Body::Never => return false,
        Body::Keywords(keywords) => keywords,
    };
    let is_finite = |id: &NodeId| finite[id.index()];
    keywords.reference.iter().all(is_finite)
        && keywords.all.iter().all(is_finite)
        && [&keywords.any, &keywords.one]
            .iter()
            .all(|any| any.is_empty() || any.iter().any(is_finite))
        && own_are_finite(keywords, is_finite)
}

fn own_are_finite(keywords: &Keywords, is_finite: impl Fn(&NodeId) -> bool) -> bool {
    let types = keywords.types.unwrap_or(Types::ALL);
    let containers = Types::ARRAY.union(Types::OBJECT);
    if types.has(containers.complement()) {
        return true;
    }
    let (object, array) = (&keywords.object, &keywords.array);
    let object_is = || {
        let required: HashSet<&String> = object.required.iter().collect();
        let listed = object.properties.iter().filter(|(name, _)| required.contains(name));
        listed.map(|(_, schema)| schema).all(&is_finite)
    };
    let array_is = || {
        array.first.iter().take(array.min_items).all(&is_finite)
            && (array.min_items <= array.first.len() || array.rest.iter().all(&is_finite))
    };
    types.has(Types::OBJECT) && object_is() || types.has(Types::ARRAY) && array_is()
}

/// Refuses schemas that refer back to themselves for the same value: they define nothing.
pub(super) fn check_cycles(document: &Document) -> Result<(), SpecError> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; document.len()];
    let children = |id: NodeId| -> Vec<NodeId> {
        let keywords = document.keywords(id);
        keywords.map_or(Vec::new(), |it| it.own_in_place().chain(it.reference).collect())
    };
    for root in document.ids() {
        let mut stack = vec![(root, false)];
        while let Some((id, is_done)) = stack.pop() {
            if is_done {
                marks[id.index()] = Mark::Done;
                continue;
            }
            if marks[id.index()] != Mark::New {
                continue;
            }
            marks[id.index()] = Mark::Open;
            stack.push((id, true));
            for child in children(id) {
                match marks[child.index()] {
                    Mark::Open => {
                        let message = "it refers back to itself for the same value";
                        let at = Some(document.node(child).at.clone());
                        return Err(SpecError::Schema { at, message: message.to_owned() });
                    }
                    Mark::New => stack.push((child, false)),
                    Mark::Done => {}
                }
            }
        }
    }
    Ok(())
}

/// Returns the number of schemas on the longest path down the document.
pub(super) fn levels(document: &Document) -> usize {
    levels::bound(&starts(document))
}

/// Returns the root and the targets of references, the schemas from which the engine may recurse.
fn starts(document: &Document) -> Vec<Start> {
    let mut roots = vec![Document::ROOT];
    let mut start_of = HashMap::from([(Document::ROOT, 0)]);
    for target in document.ids().filter_map(|id| document.keywords(id)?.reference) {
        start_of.entry(target).or_insert_with(|| {
            roots.push(target);
            roots.len() - 1
        });
    }
    let start = |root: &NodeId| {
        let mut start = Start::default();
        let mut todo = vec![(*root, 1)];
        while let Some((id, depth)) = todo.pop() {
            start.height = start.height.max(depth);
            let Some(keywords) = document.keywords(id) else { continue };
            start.edges.extend(keywords.reference.map(|target| start_of[&target]));
            todo.extend(
                keywords.own_in_place().chain(keywords.parts()).map(|child| (child, depth + 1)),
            );
        }
        start
    };
    roots.iter().map(start).collect()
}
