//! Turns a schema into a grammar of JSON texts that allows at least what the schema allows.
//!
//! Each list of schemas that apply to one value becomes one part of the grammar, made once. What a
//! grammar cannot express is left out and recorded; then a guard must validate finished values.

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

/// The number of values kept apart: this many per schema, and at least this many in all. Beyond it
/// only the first schema of a value counts.
const VALUES_PER_SCHEMA: usize = 2;
const MIN_VALUES: usize = 300;

/// A grammar, and what it leaves out.
#[derive(Debug)]
pub(crate) struct Made {
    /// The grammar, or the reason why no text matches it.
    pub(crate) grammar: Result<Grammar, String>,
    /// Keywords that are left to a guard.
    pub(crate) left: Vec<Left>,
    /// The parts of [`Coarse`] that made a difference.
    pub(crate) coarsened: Coarse,
    pub(crate) warnings: Vec<String>,
}

/// A keyword that the grammar does not express.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    /// The JSON pointer of its schema.
    pub(crate) at: String,
    pub(crate) keyword: &'static str,
}

/// What is left out because the engine refused a finer grammar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Coarse {
    /// Leaves out patterns, formats and lengths of strings.
    pub(crate) strings: bool,
    /// Where a schema has keywords of its own and others for the same value, keeps only its own.
    pub(crate) alone: bool,
    /// Keeps only the type of the whole value.
    pub(crate) types_only: bool,
}

impl Coarse {
    /// Returns the next coarser level; none after the last.
    pub(crate) fn next(self) -> Option<Self> {
        match self {
            Self { types_only: true, .. } => None,
            Self { alone: true, .. } => Some(Self { types_only: true, ..self }),
            Self { strings: true, .. } => Some(Self { alone: true, ..self }),
            Self { .. } => Some(Self { strings: true, ..self }),
        }
    }
}

/// Keywords about an object as a whole.
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

/// Makes the grammar of `document`. `finite` tells for each node whether a finite value may satisfy
/// it.
///
/// A grammar must fix the order of properties, since it cannot tell which of many have come. Where
/// a guard validates whole objects anyway, it can check that as well.
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
    let is_guarded = strict.left.iter().any(|left| OF_OBJECTS.contains(&left.keyword));
    if order == PropertyOrder::Auto && is_guarded && !coarse.types_only {
        return maker(true).run();
    }
    strict
}

struct Maker<'a> {
    document: &'a Document,
    finite: &'a [bool],
    coarse: Coarse,
    /// The parts of `coarse` that made a difference so far.
    coarsened: Coarse,
    room: Room,
    /// Whether properties may come in any order.
    is_relaxed: bool,
    /// The number of listed objects whose properties come in any order.
    num_unordered: usize,
    max_values: usize,
    grammar: Grammar,
    patterns: Patterns,
    /// The number of schemas joined so far.
    work: usize,
    /// Choices that have too many ways by themselves.
    hard: HashSet<(NodeId, &'static str)>,
    /// For each `oneOf`, whether its options exclude each other.
    disjoint: HashMap<NodeId, bool>,
    /// The part of each list of schemas that apply together.
    known: HashMap<Vec<NodeId>, PartId>,
    leaves: Leaves<'a>,
    /// The part of each container type without restrictions.
    any: HashMap<Types, PartId>,
    /// Parts to define, breadth first, so that what is dropped for size lies deep inside.
    todo: VecDeque<(Vec<NodeId>, PartId)>,
    /// Why no text matches a part.
    reasons: HashMap<PartId, String>,
    failed: Option<String>,
    left: Vec<(NodeId, &'static str)>,
    known_left: HashSet<(NodeId, &'static str)>,
    warnings: Vec<String>,
}

/// The alternatives of a value: scalars, which become one lexeme, and other parts.
#[derive(Default)]
struct Value {
    scalars: Vec<RegexAst>,
    parts: Vec<PartId>,
    /// The container types and schemas that have a part already; ways may differ in other keywords
    /// only.
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

    /// Returns what was left out, for all schemas that share a part.
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

    /// Returns why no value can be complete.
    fn reason(&self, dead: &[PartId]) -> String {
        let mut known = dead.iter().filter_map(|part| self.reasons.get(part));
        let reason = known.rfind(|reason| !reason.is_empty());
        reason.map_or("the schemas for one value contradict each other".to_owned(), String::clone)
    }

    fn is_too_large(&self) -> bool {
        self.grammar.len() > self.room.parts
    }

    /// Records that a keyword is left to the guard.
    fn leave(&mut self, id: NodeId, keyword: &'static str) {
        if self.known_left.insert((id, keyword)) {
            self.left.push((id, keyword));
        }
    }

    /// Records why a value has no alternatives.
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

    /// Returns the part of a value to which all these schemas apply.
    fn value(&mut self, ids: Vec<NodeId>) -> PartId {
        let mut seen = HashSet::new();
        let mut ids: Vec<NodeId> = ids.into_iter().map(|id| self.canonical(id)).collect();
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
        // Their order determines the order of properties where it matters; but there may be many
        // orders.
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

    /// Follows schemas that are only a reference, then returns the first equal schema.
    fn canonical(&mut self, mut id: NodeId) -> NodeId {
        let document = self.document;
        while let Some(keywords) = document.keywords(id)
            && let ([KeywordGroup::Reference], Some(target)) =
                (&keywords.order[..], keywords.reference)
            && keywords.dynamic.is_none()
        {
            id = target;
        }
        self.leaves.canonical(document, id)
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

    /// Adds the alternatives of one way.
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

    /// Returns the part of an unrestricted array or object.
    fn any(&mut self, kind: Types, make: fn(&mut Self, &Conjunct<'a>) -> PartId) -> PartId {
        if let Some(known) = self.any.get(&kind) {
            return *known;
        }
        let part = make(self, &Conjunct::default());
        self.any.insert(kind, part);
        part
    }

    /// Returns the types of a way without those that `not` excludes.
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

/// Returns the types that a schema allows, if it has no other keywords.
fn only_types(keywords: &Keywords) -> Option<Types> {
    let types = keywords.types;
    let plain = Keywords { order: vec![KeywordGroup::Own], types, ..Keywords::default() };
    types.filter(|_| *keywords == plain)
}

#[cfg(test)]
mod widths;
