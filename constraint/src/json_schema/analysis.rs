//! What a whole document shows: schemas that never end, and how far the engine would recurse.

use std::collections::HashMap;

use super::document::{Body, Document, Keywords, NodeId, Types};
use super::levels::{self, Start};
use super::widths::Widths;
use crate::error::SpecError;

/// Says for each schema whether some finite value may satisfy it, judged by required parts only:
/// false means that there surely is none.
pub(super) fn finite(document: &Document) -> Vec<bool> {
    // The least fixed point: nothing is finite until shown to be.
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
        let listed = object.properties.iter().filter(|(name, _)| object.required.contains(name));
        listed.map(|(_, schema)| schema).all(&is_finite)
    };
    let array_is = || {
        array.first.iter().take(array.min_items).all(&is_finite)
            && (array.min_items <= array.first.len() || array.rest.iter().all(&is_finite))
    };
    types.has(Types::OBJECT) && object_is() || types.has(Types::ARRAY) && array_is()
}

/// Refuses schemas that lead back to themselves for the same value: they say nothing that could be
/// found out.
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
        keywords.map_or(Vec::new(), |it| {
            it.in_place().filter(|child| Some(*child) != it.dynamic).collect()
        })
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
                        let message = "it leads back to itself without going into the value";
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

/// How much of a document the engine and the validator can take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    /// Schemas on the longest way down.
    pub(super) levels: usize,
    /// Whether the engine can put the properties of each object together.
    pub(super) fits_engine: bool,
    /// Whether it can count them too.
    pub(super) can_count: bool,
    /// Whether few patterns have to hold of one string together.
    pub(super) joins_few: bool,
}

/// Patterns and formats of one string: to intersect them takes the engine time that its fuel does
/// not count.
const MAX_JOINED: usize = 6;
/// Patterns of the property names of one object: the engine compares each two.
const MAX_COMPARED: usize = 200;
/// Schemas of one value that are looked at for them.
const MAX_VISITED: usize = 200;

pub(super) fn size(document: &Document) -> Size {
    Size {
        levels: levels::bound(&starts(document)),
        fits_engine: widths(document, false).check().is_ok(),
        can_count: widths(document, true).check().is_ok(),
        joins_few: document.ids().all(|id| joins_few(document, id)),
    }
}

/// Whether few patterns of property names have to be told apart.
pub(super) fn compares_few(document: &Document) -> bool {
    document.ids().all(|id| {
        let patterns = document.keywords(id).map(|it| it.object.patterns.len());
        patterns.is_none_or(|num_patterns| num_patterns <= MAX_COMPARED)
    })
}

fn joins_few(document: &Document, id: NodeId) -> bool {
    let mut todo = vec![id];
    let mut num_joined = 0;
    for _ in 0..MAX_VISITED {
        let Some(id) = todo.pop() else { break };
        let Some(keywords) = document.keywords(id) else { continue };
        let string = &keywords.string;
        num_joined += usize::from(string.pattern.is_some()) + usize::from(string.format.is_some());
        todo.extend(keywords.all.iter().chain(&keywords.reference).take(MAX_VISITED));
    }
    num_joined <= MAX_JOINED
}

/// The root and the targets of references, as the engine may recurse from them.
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
            let references = [keywords.reference, keywords.dynamic];
            start.edges.extend(keywords.reference.map(|target| start_of[&target]));
            let children = keywords.in_place().filter(|child| !references.contains(&Some(*child)));
            todo.extend(children.chain(keywords.parts()).map(|child| (child, depth + 1)));
        }
        start
    };
    roots.iter().map(start).collect()
}

fn widths(document: &Document, is_counted: bool) -> Widths {
    let mut widths = Widths::default();
    for id in document.ids() {
        widths.push();
        let Some(keywords) = document.keywords(id) else { continue };
        let width = widths.at(id.index());
        width.num_names = keywords.object.properties.len() + keywords.object.required.len();
        width.all = keywords.all.iter().chain(&keywords.reference).map(|id| id.index()).collect();
        let object = &keywords.object;
        let counts = object.min_properties > 0 || object.max_properties.is_some();
        width.is_bounded = is_counted && counts;
        width.any = keywords.any.iter().map(|id| id.index()).collect();
        width.one = keywords.one.iter().map(|id| id.index()).collect();
    }
    widths
}
