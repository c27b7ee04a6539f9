//! A schema in the words that the engine knows, allowing at least what the original allows.
//!
//! What cannot be said is left out and noted; then a guard has to judge finished values.

mod array;
mod object;
mod relax;
mod scalar;
mod unevaluated;

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value, json};

use super::disjoint;
use super::document::{Body, Document, Group, Keywords, NodeId, Types};
use crate::spec::PropertyOrder;

/// A schema for the engine.
#[derive(Debug)]
pub(crate) struct Lowered {
    pub(crate) schema: Value,
    /// What it leaves to a guard.
    pub(crate) left: Vec<Left>,
    pub(crate) warnings: Vec<String>,
}

/// A keyword that the engine's schema does not express.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    /// The JSON pointer of the schema that holds it.
    pub(crate) at: String,
    pub(crate) keyword: &'static str,
}

/// What is left out because the engine refused it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a decision of its own")]
pub(crate) struct Coarse {
    /// Patterns of property names become one.
    pub(crate) patterns: bool,
    /// Bounds on the number of properties are left out.
    pub(crate) counts: bool,
    /// Of a reference and its neighbours only the reference stays.
    pub(crate) neighbours: bool,
    /// Of schemas for the same value only the schema's own keywords stay, or else the first list.
    pub(crate) merging: bool,
    /// Patterns and lengths of strings are left out.
    pub(crate) strings: bool,
    /// Nothing but the types of the whole value stay.
    pub(crate) types_only: bool,
}

/// Restates `document`. `finite` says per node whether a finite value may satisfy it.
pub(crate) fn lower(
    document: &Document,
    order: PropertyOrder,
    finite: &[bool],
    coarse: Coarse,
) -> Lowered {
    let lowering = Lowering {
        document,
        finite,
        coarse,
        relaxed: vec![false; document.len()],
        definitions: BTreeMap::new(),
        todo: Vec::new(),
        left: Vec::new(),
        known_left: HashSet::new(),
        warnings: Vec::new(),
    };
    let strict = lowering.clone().run();
    let relaxed = relax::relaxed(document, &strict.left, order);
    if coarse.types_only || !relaxed.contains(&true) {
        return strict;
    }
    Lowering { relaxed, ..lowering }.run()
}

#[derive(Clone)]
struct Lowering<'a> {
    document: &'a Document,
    finite: &'a [bool],
    coarse: Coarse,
    /// Per node, whether its properties may come in any order.
    relaxed: Vec<bool>,
    /// What references lead to.
    definitions: BTreeMap<NodeId, Value>,
    todo: Vec<NodeId>,
    left: Vec<Left>,
    known_left: HashSet<(NodeId, &'static str)>,
    warnings: Vec<String>,
}

/// The parts of one schema for the engine, which all hold. A keyword that is said twice is said in a
/// schema of its own.
#[derive(Default)]
struct Parts {
    map: Map<String, Value>,
    more: Vec<Value>,
}

impl Parts {
    fn add(&mut self, keyword: &str, value: Value) {
        if self.map.contains_key(keyword) {
            self.more.push(json!({ keyword: value }));
        } else {
            self.map.insert(keyword.to_owned(), value);
        }
    }

    fn into_schema(mut self) -> Value {
        if !self.more.is_empty() {
            match self.map.get_mut("allOf").and_then(Value::as_array_mut) {
                Some(all) => all.append(&mut self.more),
                None => drop(self.map.insert("allOf".to_owned(), Value::Array(self.more))),
            }
        }
        Value::Object(self.map)
    }
}

impl Lowering<'_> {
    fn run(mut self) -> Lowered {
        let root = Document::ROOT;
        let mut schema = if self.coarse.types_only { self.types_only() } else { self.schema(root) };
        while let Some(id) = self.todo.pop() {
            let definition = self.schema(id);
            self.definitions.insert(id, definition);
        }
        if !self.definitions.is_empty() {
            let named = self.definitions.into_iter().map(|(id, it)| (id.index().to_string(), it));
            let named = Value::Object(named.collect());
            match schema.as_object_mut() {
                Some(object) => drop(object.insert("$defs".to_owned(), named)),
                None => schema = json!({ "allOf": [schema], "$defs": named }),
            }
        }
        Lowered { schema, left: self.left, warnings: self.warnings }
    }

    /// Notes that a keyword is left to the guard.
    fn leave(&mut self, id: NodeId, keyword: &'static str) {
        if self.known_left.insert((id, keyword)) {
            self.left.push(Left { at: self.document.node(id).at.clone(), keyword });
        }
    }

    fn types_only(&mut self) -> Value {
        let root = Document::ROOT;
        self.leave(root, "type");
        let types = self.document.keywords(root).and_then(|keywords| keywords.types);
        match types.and_then(Types::names) {
            Some(names) => json!({ "type": names }),
            None => json!({}),
        }
    }

    fn schema(&mut self, id: NodeId) -> Value {
        if !self.finite[id.index()] {
            return Value::Bool(false);
        }
        match &self.document.node(id).body {
            Body::Always => json!({}),
            Body::Never => Value::Bool(false),
            Body::Keywords(keywords) => self.keywords(id, keywords),
        }
    }

    fn schemas(&mut self, ids: &[NodeId]) -> Vec<Value> {
        ids.iter().map(|id| self.schema(*id)).collect()
    }

    fn keywords(&mut self, id: NodeId, keywords: &Keywords) -> Value {
        let mut parts = Parts::default();
        let has_reference = keywords.reference.is_some();
        for group in &keywords.order {
            let is_alone = keywords.order.len() == 1;
            if !is_alone && self.is_left_out(*group, has_reference, keywords) {
                self.leave(id, name(*group));
                continue;
            }
            match group {
                Group::Own => self.own(id, keywords, &mut parts),
                Group::Literals => self.literals(id, keywords, &mut parts),
                Group::All => parts.add("allOf", Value::Array(self.schemas(&keywords.all))),
                Group::Any => parts.add("anyOf", Value::Array(self.schemas(&keywords.any))),
                Group::One => self.one(id, keywords, &mut parts),
                Group::Reference => self.reference(id, keywords, &mut parts),
                Group::Condition => self.condition(id, keywords, &mut parts),
            }
        }
        self.unevaluated(id, keywords, &mut parts);
        parts.into_schema()
    }

    /// Whether a group is left out beside others, since the engine could not put them together.
    fn is_left_out(&self, group: Group, has_reference: bool, keywords: &Keywords) -> bool {
        if self.coarse.neighbours && has_reference {
            return group != Group::Reference;
        }
        if !self.coarse.merging {
            return false;
        }
        let first = keywords.order.iter().find(|it| matches!(it, Group::Own | Group::Literals));
        let kept = first.or(keywords.order.first());
        kept != Some(&group)
    }

    fn one(&mut self, id: NodeId, keywords: &Keywords, parts: &mut Parts) {
        let options = &keywords.one;
        if !disjoint::are_disjoint(self.document, options) {
            self.leave(id, "oneOf");
        }
        parts.add("anyOf", Value::Array(self.schemas(options)));
    }

    fn reference(&mut self, id: NodeId, keywords: &Keywords, parts: &mut Parts) {
        if keywords.dynamic.is_some() {
            self.leave(id, "$dynamicRef");
        }
        let Some(target) = keywords.reference else { return };
        match &self.document.node(target).body {
            Body::Always => return,
            Body::Never => return parts.add("allOf", json!([false])),
            Body::Keywords(_) => {}
        }
        self.definitions.entry(target).or_insert_with(|| {
            self.todo.push(target);
            Value::Null
        });
        parts.add("$ref", json!(format!("#/$defs/{}", target.index())));
    }

    /// One of both branches holds. That the test decides which is left to the guard.
    fn condition(&mut self, id: NodeId, keywords: &Keywords, parts: &mut Parts) {
        let Some(condition) = keywords.condition else { return };
        if condition.then.is_none() && condition.otherwise.is_none() {
            return;
        }
        self.leave(id, "if");
        let Some(otherwise) = condition.otherwise else { return };
        let mut chosen = vec![self.schema(condition.test)];
        chosen.extend(condition.then.map(|then| self.schema(then)));
        let otherwise = self.schema(otherwise);
        parts.add("anyOf", json!([{ "allOf": chosen }, otherwise]));
    }

    /// Keywords that stand for themselves.
    fn own(&mut self, id: NodeId, keywords: &Keywords, parts: &mut Parts) {
        let types = self.types(id, keywords);
        if let Some(types) = types {
            match types.names() {
                Some(names) if names.len() == 1 => parts.add("type", json!(names[0])),
                Some(names) if names.is_empty() => parts.add("allOf", json!([false])),
                Some(names) => parts.add("type", json!(names)),
                None => parts.add("type", json!("number")),
            }
        }
        let types = types.unwrap_or(Types::ALL);
        if types.has(Types::NUMBER) {
            self.numbers(id, &keywords.number, parts);
        }
        if types.has(Types::STRING) {
            self.strings(id, &keywords.string, parts);
        }
        if types.has(Types::ARRAY) {
            self.arrays(id, &keywords.array, parts);
        }
        if types.has(Types::OBJECT) {
            self.objects(id, keywords, parts);
        }
    }

    /// The types, without those that `not` rules out.
    fn types(&mut self, id: NodeId, keywords: &Keywords) -> Option<Types> {
        let Some(not) = keywords.not else { return keywords.types };
        let excluded = match &self.document.node(not).body {
            Body::Always => Some(Types::ALL),
            Body::Never => Some(Types::NONE),
            Body::Keywords(excluded) => only_types(excluded),
        };
        let Some(excluded) = excluded else {
            self.leave(id, "not");
            return keywords.types;
        };
        if excluded.is_empty() {
            return keywords.types;
        }
        let left = keywords.types.unwrap_or(Types::ALL).intersection(excluded.complement());
        if left.names().is_none() {
            // Fractions alone have no name.
            self.leave(id, "not");
        }
        Some(left)
    }
}

/// The types that a schema allows, if it says nothing else.
fn only_types(keywords: &Keywords) -> Option<Types> {
    let types = keywords.types;
    let plain = Keywords { order: vec![Group::Own], types, ..Keywords::default() };
    types.filter(|_| *keywords == plain)
}

fn name(group: Group) -> &'static str {
    match group {
        Group::Own => "type",
        Group::Literals => "enum",
        Group::All => "allOf",
        Group::Any => "anyOf",
        Group::One => "oneOf",
        Group::Reference => "$ref",
        Group::Condition => "if",
    }
}
