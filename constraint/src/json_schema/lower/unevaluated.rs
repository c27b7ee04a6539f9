//! `unevaluatedProperties`: names that no schema for the same value knows.

use std::collections::{HashSet, VecDeque};

use serde_json::{Map, Value, json};

use super::super::document::{Document, Keywords, NodeId};
use super::super::regexes;
use super::{Lowering, Parts};

/// Names and patterns that some schema for the same value may evaluate.
struct Evaluated<'a> {
    names: Vec<&'a str>,
    patterns: Vec<&'a str>,
}

impl Lowering<'_> {
    /// Rules out names that no schema for the value knows. Which of these schemas hold, and so whose
    /// names count, is left to the guard.
    pub(super) fn unevaluated(&mut self, id: NodeId, keywords: &Keywords, parts: &mut Parts) {
        let Some(unevaluated) = keywords.object.unevaluated else { return };
        if self.document.is_always(unevaluated) {
            return;
        }
        self.leave(id, "unevaluatedProperties");
        if self.relaxed[id.index()] {
            return;
        }
        let Some(known) = evaluated(self.document, id) else { return };
        let patterns: Option<Map<String, Value>> = known
            .patterns
            .iter()
            .map(|pattern| Some((regexes::for_engine(pattern)?, json!({}))))
            .collect();
        let Some(patterns) = patterns.filter(|it| it.len() <= 1) else { return };
        let names = known.names.iter().map(|name| ((*name).to_owned(), json!({})));
        let mut closed = Map::new();
        closed.insert("properties".to_owned(), Value::Object(names.collect()));
        if !patterns.is_empty() {
            closed.insert("patternProperties".to_owned(), Value::Object(patterns));
        }
        closed.insert("additionalProperties".to_owned(), self.schema(unevaluated));
        parts.more.push(Value::Object(closed));
    }
}

/// None if some schema may evaluate any name.
fn evaluated(document: &Document, id: NodeId) -> Option<Evaluated<'_>> {
    let mut known = Evaluated { names: Vec::new(), patterns: Vec::new() };
    let mut seen = HashSet::from([id]);
    let mut todo = VecDeque::from([id]);
    while let Some(next) = todo.pop_front() {
        let Some(keywords) = document.keywords(next) else { continue };
        let object = &keywords.object;
        let is_open = object.additional.is_some() || next != id && object.unevaluated.is_some();
        if is_open || keywords.dynamic.is_some() {
            return None;
        }
        known.names.extend(object.properties.iter().map(|(name, _)| name.as_str()));
        known.patterns.extend(object.patterns.iter().map(|(pattern, _)| pattern.as_str()));
        todo.extend(keywords.in_place().filter(|child| seen.insert(*child)));
    }
    Some(known)
}
