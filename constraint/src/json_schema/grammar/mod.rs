//! A schema as a grammar of JSON texts, allowing at least what the schema allows.
//!
//! Each list of schemas that hold for one value together is one part of the grammar, made once. What
//! cannot be said is left out and noted; then a guard has to judge finished values.

mod array;
mod build;
mod chain;
mod conjunct;
mod leaves;
mod literal;
mod object;
mod parts;
mod plan;
mod room;
mod text;

use std::collections::{HashMap, HashSet, VecDeque};

use llguidance::derivre::RegexAst;

use super::document::{
    ArrayRules, Body, Document, KeywordGroup, Keywords, NodeId, ObjectRules, Types,
};
use super::patterns::Patterns;
use crate::spacing::Spacing;
use crate::spec::PropertyOrder;
use conjunct::Conjunct;
use leaves::Leaves;
pub(crate) use object::in_order;
pub(crate) use parts::Grammar;
use parts::PartId;
pub(crate) use room::Room;

/// Values that are told apart, for each schema and altogether at least. Beyond, of schemas for one
/// value only the first counts.
const VALUES_PER_SCHEMA: usize = 2;
const MIN_VALUES: usize = 300;

/// A grammar, and what it does not say.
#[derive(Debug)]
pub(crate) struct Made {
    /// The grammar, or why no text would satisfy it.
    pub(crate) grammar: Result<Grammar, String>,
    /// What it leaves to a guard.
    pub(crate) left: Vec<Left>,
    /// What of [`Coarse`] made a difference.
    pub(crate) coarsened: Coarse,
    pub(crate) warnings: Vec<String>,
}

/// A keyword that the grammar does not express.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    /// The JSON pointer of the schema that holds it.
    pub(crate) at: String,
    pub(crate) keyword: &'static str,
}

/// What is left out because the engine refused it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Coarse {
    /// Patterns, formats and lengths of strings are left out.
    pub(crate) strings: bool,
    /// Of a schema that holds others for the same value only its own keywords stay.
    pub(crate) alone: bool,
    /// Nothing but the types of the whole value stay.
    pub(crate) types_only: bool,
}

impl Coarse {
    /// What to leave out next; none if nothing is left to leave out.
    pub(crate) fn next(self) -> Option<Self> {
        match self {
            Self { types_only: true, .. } => None,
            Self { alone: true, .. } => Some(Self { types_only: true, ..self }),
            Self { strings: true, .. } => Some(Self { alone: true, ..self }),
            Self { .. } => Some(Self { strings: true, ..self }),
        }
    }
}

/// Keywords that speak of an object as a whole.
const OF_OBJECTS: [&str; 13] = [
    "not",
    "if",
    "oneOf",
    "anyOf",
    "allOf",
    "$ref",
    "$dynamicRef",
    "dependentRequired",
    "dependentSchemas",
    "minProperties",
    "maxProperties",
    "unevaluatedProperties",
    "propertyNames",
];

/// Makes the grammar of `document`. `finite` says per node whether a finite value may satisfy it.
///
/// A grammar has to fix an order of properties, since it cannot tell which of many were there. Where
/// a guard judges whole objects anyway, it can see to that too.
pub(crate) fn make(
    document: &Document,
    (order, spacing): (PropertyOrder, Spacing),
    finite: &[bool],
    coarse: Coarse,
    room: Room,
) -> Made {
    let maker = |is_relaxed| Maker {
        document,
        finite,
        coarse,
        coarsened: Coarse::default(),
        room,
        is_relaxed,
        num_unordered: 0,
        max_values: MIN_VALUES.max(VALUES_PER_SCHEMA * document.len()),
        grammar: Grammar::new(spacing),
        patterns: Patterns::default(),
        work: 0,
        hard: HashSet::new(),
        disjoint: HashMap::new(),
        known: HashMap::new(),
        leaves: Leaves::default(),
        any: HashMap::new(),
        todo: VecDeque::new(),
        reasons: HashMap::new(),
        failed: None,
        left: Vec::new(),
        known_left: HashSet::new(),
        warnings: Vec::new(),
    };
    if order == PropertyOrder::Any {
        return maker(true).run();
    }
    let strict = maker(false).run();
    let is_judged = strict.left.iter().any(|left| OF_OBJECTS.contains(&left.keyword));
    if order == PropertyOrder::Auto && is_judged && !coarse.types_only {
        return maker(true).run();
    }
    strict
}

struct Maker<'a> {
    document: &'a Document,
    finite: &'a [bool],
    coarse: Coarse,
    /// What of it made a difference so far.
    coarsened: Coarse,
    room: Room,
    /// Whether properties may come in any order.
    is_relaxed: bool,
    /// Listed objects so far whose properties come in any order.
    num_unordered: usize,
    max_values: usize,
    grammar: Grammar,
    patterns: Patterns,
    /// Schemas that were joined.
    work: usize,
    /// Choices that have too many ways by themselves.
    hard: HashSet<(NodeId, &'static str)>,
    /// Whether the options of a `oneOf` exclude each other.
    disjoint: HashMap<NodeId, bool>,
    /// The part for each list of schemas that hold together.
    known: HashMap<Vec<NodeId>, PartId>,
    leaves: Leaves<'a>,
    /// The part of each kind of value of which nothing is said.
    any: HashMap<Types, PartId>,
    /// From the outside to the inside, so that what is left out for want of room is deep inside.
    todo: VecDeque<(Vec<NodeId>, PartId)>,
    /// Why no text satisfies a part.
    reasons: HashMap<PartId, String>,
    failed: Option<String>,
    left: Vec<(NodeId, &'static str)>,
    known_left: HashSet<(NodeId, &'static str)>,
    warnings: Vec<String>,
}

/// What a value may be: scalars, which are one lexeme together, and others.
#[derive(Default)]
struct Value {
    scalars: Vec<RegexAst>,
    parts: Vec<PartId>,
    /// What was made parts of, since ways may differ in other things: schemas for a kind.
    made: HashSet<(Types, Vec<NodeId>)>,
}

impl Value {
    fn len(&self) -> usize {
        self.scalars.len() + self.parts.len()
    }
}

impl<'a> Maker<'a> {
    fn run(mut self) -> Made {
        let root = if self.coarse.types_only {
            self.types_only()
        } else {
            self.value(vec![Document::ROOT])
        };
        self.grammar.set_root(root);
        while let Some((ids, part)) = self.todo.pop_front() {
            let body = self.body(&ids);
            if body == self.grammar.marks.never {
                self.reasons.insert(part, self.failed.take().unwrap_or_default());
            }
            self.failed = None;
            self.grammar.define(part, body);
        }
        let dead = self.grammar.dead_ends();
        let grammar = if dead.is_empty() { Ok(()) } else { Err(self.reason(&dead)) };
        let left = self.all_left();
        let grammar = grammar.map(|()| self.grammar);
        Made { grammar, left, coarsened: self.coarsened, warnings: self.warnings }
    }

    /// What was left out, of all schemas that say the same.
    fn all_left(&mut self) -> Vec<Left> {
        let mut all = Vec::new();
        for (id, keyword) in std::mem::take(&mut self.left) {
            let others = self.leaves.others(id).iter().copied();
            let others = others.filter(|other| self.known_left.insert((*other, keyword)));
            for id in std::iter::once(id).chain(others) {
                all.push(Left { at: self.document.node(id).at.clone(), keyword });
            }
        }
        all
    }

    /// Why no value can be whole.
    fn reason(&self, dead: &[PartId]) -> String {
        let mut known = dead.iter().filter_map(|part| self.reasons.get(part));
        let reason = known.rfind(|reason| !reason.is_empty());
        reason.map_or("the schemas for one value contradict each other".to_owned(), String::clone)
    }

    fn is_too_large(&self) -> bool {
        self.grammar.len() > self.room.parts
    }

    /// Notes that a keyword is left to the guard.
    fn leave(&mut self, id: NodeId, keyword: &'static str) {
        if self.known_left.insert((id, keyword)) {
            self.left.push((id, keyword));
        }
    }

    /// Notes why there is nothing that a value can be.
    fn fail(&mut self, reason: &str) -> PartId {
        self.failed = Some(reason.to_owned());
        self.grammar.marks.never
    }

    fn types_only(&mut self) -> PartId {
        self.coarsened.types_only = true;
        let root = Document::ROOT;
        self.leave(root, "type");
        let types = self.document.keywords(root).and_then(|keywords| keywords.types);
        let way = Conjunct::default();
        let mut value = Value::default();
        self.of_types(&way, types.unwrap_or(Types::ALL), &mut value);
        self.either(value)
    }

    /// The part of a value for which all these schemas hold.
    fn value(&mut self, ids: Vec<NodeId>) -> PartId {
        let mut seen = HashSet::new();
        let mut ids: Vec<NodeId> = ids.into_iter().map(|id| self.meant(id)).collect();
        ids.retain(|id| !self.document.is_always(*id) && seen.insert(*id));
        if ids.iter().any(|id| self.document.is_never(*id) || !self.finite[id.index()]) {
            return self.fail("a schema here allows nothing");
        }
        if self.known.len() >= self.max_values {
            for id in ids.drain(1.min(ids.len())..).collect::<Vec<_>>() {
                self.leave(id, "allOf");
            }
        }
        let mut key = ids.clone();
        // Their order is that of properties, where there is one; but there may be many orders.
        if self.is_relaxed || self.known.len() >= MIN_VALUES {
            key.sort_unstable();
        }
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        let part = self.grammar.declare();
        self.known.insert(key, part);
        self.todo.push_back((ids, part));
        part
    }

    /// What a schema refers to, if it does nothing else; the first of those that say the same.
    fn meant(&mut self, mut id: NodeId) -> NodeId {
        let document = self.document;
        while let Some(keywords) = document.keywords(id)
            && let ([KeywordGroup::Reference], Some(target)) =
                (&keywords.order[..], keywords.reference)
            && keywords.dynamic.is_none()
        {
            id = target;
        }
        self.leaves.meant(document, id)
    }

    fn body(&mut self, ids: &[NodeId]) -> PartId {
        let mut value = Value::default();
        if let [id] = ids
            && let Some(options) = self.only_choice(*id)
        {
            for option in options {
                let ways = self.ways(&option);
                let is_scalar = |way: &Conjunct<'_>| {
                    let of_each = way.all.iter().map(|(id, _)| self.types_of(*id));
                    !of_each.fold(way.types(), Types::intersection).has(Types::CONTAINERS)
                };
                if ways.iter().all(is_scalar) {
                    for way in &ways {
                        self.way(way, &mut value);
                    }
                } else {
                    value.parts.push(self.value(option));
                }
            }
        } else {
            let ways = self.ways(ids);
            for way in &ways {
                self.way(way, &mut value);
            }
        }
        if value.len() == 0 {
            if self.failed.is_none() {
                self.fail("the types that are wanted exclude each other");
            }
            return self.grammar.marks.never;
        }
        self.either(value)
    }

    fn either(&mut self, Value { mut scalars, parts, .. }: Value) -> PartId {
        let mut options = Vec::new();
        if !scalars.is_empty() {
            let text = if scalars.len() == 1 { scalars.remove(0) } else { RegexAst::Or(scalars) };
            options.push(self.grammar.lexeme(text));
        }
        options.extend(parts);
        self.grammar.alt(options)
    }

    /// Adds what a value may be in one way.
    fn way(&mut self, way: &Conjunct<'a>, value: &mut Value) {
        if let Some(literals) = self.literals_of(way) {
            self.literals(way, &literals, value);
        } else {
            let types = self.types(way);
            self.of_types(way, types, value);
        }
    }

    fn of_types(&mut self, way: &Conjunct<'a>, types: Types, value: &mut Value) {
        if types.has(Types::NULL) {
            value.scalars.push(RegexAst::Literal("null".to_owned()));
        }
        if types.has(Types::BOOLEAN) {
            value.scalars.push(RegexAst::Regex("true|false".to_owned()));
        }
        if types.has(Types::NUMBER) {
            value.scalars.extend(self.numbers(way, types));
        }
        if types.has(Types::STRING) {
            value.scalars.extend(self.strings(way, None));
        }
        for (kind, make) in [
            (Types::ARRAY, Self::array as fn(&mut Self, &Conjunct<'a>) -> PartId),
            (Types::OBJECT, Self::object),
        ] {
            if !types.has(kind) {
                continue;
            }
            let speaks = |(_, keywords): &&(NodeId, &Keywords)| match kind {
                Types::ARRAY => keywords.array != ArrayRules::default(),
                _ => keywords.object != ObjectRules::default(),
            };
            let speaking: Vec<NodeId> = way.all.iter().filter(speaks).map(|(id, _)| *id).collect();
            let part = if self.is_too_large() || speaking.is_empty() {
                for id in &speaking {
                    self.leave(*id, "type");
                }
                self.any(kind, make)
            } else if value.made.insert((kind, speaking)) {
                make(self, way)
            } else {
                continue;
            };
            if part != self.grammar.marks.never && !value.parts.contains(&part) {
                value.parts.push(part);
            }
        }
    }

    /// The part of an array or object of which nothing is said.
    fn any(&mut self, kind: Types, make: fn(&mut Self, &Conjunct<'a>) -> PartId) -> PartId {
        if let Some(known) = self.any.get(&kind) {
            return *known;
        }
        let part = make(self, &Conjunct::default());
        self.any.insert(kind, part);
        part
    }

    /// The types of a way, without those that `not` rules out.
    fn types(&mut self, way: &Conjunct<'a>) -> Types {
        let mut types = way.types();
        for (id, keywords) in &way.all {
            let Some(not) = keywords.not else { continue };
            let excluded = match &self.document.node(not).body {
                Body::Always => Some(Types::ALL),
                Body::Never => Some(Types::NONE),
                Body::Keywords(excluded) => only_types(excluded),
            };
            match excluded {
                Some(excluded) => types = types.intersection(excluded.complement()),
                None => self.leave(*id, "not"),
            }
        }
        types
    }
}

/// The types that a schema allows, if it says nothing else.
fn only_types(keywords: &Keywords) -> Option<Types> {
    let types = keywords.types;
    let plain = Keywords { order: vec![KeywordGroup::Own], types, ..Keywords::default() };
    types.filter(|_| *keywords == plain)
}

#[cfg(test)]
mod widths;
