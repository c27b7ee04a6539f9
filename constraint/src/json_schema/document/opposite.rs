//! Derives schemas of values that fail a schema by one of its keywords. They state `not` in
//! positive terms: what a value may be instead.

use std::collections::{HashMap, HashSet, VecDeque};

use serde_json::Value;

use super::super::patterns::{Ask, Patterns};
use super::{
    ArrayRules, Body, Bound, Contains, Document, KeywordGroup, Keywords, Node, NodeId, ObjectRules,
    Types,
};

/// The most schemas added in all, and per keyword with a list.
const MAX_ADDED: usize = 600;
const MAX_LISTED: usize = 12;
/// Fuel for finding a name that matches a pattern.
const NAME_FUEL: usize = 2_000;

impl Document {
    /// Adds opposites of the schemas that a value may have to fail, for builders of such values.
    /// They need not be complete, and a value of an opposite may still satisfy the schema.
    pub(crate) fn add_opposites(&mut self) {
        let all = || self.ids().filter_map(|id| self.keywords(id));
        let nots = all().filter_map(|it| it.not);
        let tests = all().filter_map(|it| it.condition).map(|it| it.test);
        let options = all().flat_map(|it| &it.one).copied();
        let todo: VecDeque<NodeId> = nots.chain(tests).chain(options).collect();
        let mut made = Opposites {
            document: self,
            added: Vec::new(),
            negated: HashMap::new(),
            todo,
            patterns: Patterns::default(),
        };
        let mut opposites = HashMap::new();
        let mut seen = HashSet::new();
        while let Some(id) = made.todo.pop_front() {
            if made.added.len() >= MAX_ADDED {
                break;
            }
            if let Some(keywords) = made.document.keywords(id).filter(|_| seen.insert(id)) {
                let of_it = made.of(keywords);
                opposites.insert(id, of_it);
            }
        }
        let added = made.added;
        self.nodes.extend(added.into_iter().map(|body| Node { at: String::new(), body }));
        self.opposites = opposites;
    }

    /// Returns schemas of values that fail a schema.
    pub(crate) fn opposites(&self, id: NodeId) -> &[NodeId] {
        self.opposites.get(&id).map_or(&[], Vec::as_slice)
    }
}

struct Opposites<'a> {
    document: &'a Document,
    added: Vec<Body>,
    negated: HashMap<NodeId, NodeId>,
    todo: VecDeque<NodeId>,
    patterns: Patterns,
}

impl<'a> Opposites<'a> {
    fn add(&mut self, body: Body) -> NodeId {
        let idx = self.document.len() + self.added.len();
        self.added.push(body);
        NodeId(u32::try_from(idx).expect("schemas are limited"))
    }

    fn schema(&mut self, keywords: Keywords) -> NodeId {
        self.add(Body::Keywords(Box::new(keywords)))
    }

    fn typed(&mut self, types: Types) -> NodeId {
        self.schema(Keywords {
            order: vec![KeywordGroup::Own],
            types: Some(types),
            ..Keywords::default()
        })
    }

    fn array(&mut self, array: ArrayRules) -> NodeId {
        let (order, types) = (vec![KeywordGroup::Own], Some(Types::ARRAY));
        self.schema(Keywords { order, types, array, ..Keywords::default() })
    }

    fn object(&mut self, object: ObjectRules) -> NodeId {
        let (order, types) = (vec![KeywordGroup::Own], Some(Types::OBJECT));
        self.schema(Keywords { order, types, object, ..Keywords::default() })
    }

    fn all(&mut self, all: Vec<NodeId>) -> NodeId {
        self.schema(Keywords { order: vec![KeywordGroup::All], all, ..Keywords::default() })
    }

    /// Returns the negation of a schema; none if the schema allows everything.
    fn not(&mut self, id: NodeId) -> Option<NodeId> {
        if self.document.is_always(id) {
            return None;
        }
        if let Some(known) = self.negated.get(&id) {
            return Some(*known);
        }
        let body = if self.document.is_never(id) {
            Body::Always
        } else {
            self.todo.push_back(id);
            let (order, not) = (vec![KeywordGroup::Own], Some(id));
            Body::Keywords(Box::new(Keywords { order, not, ..Keywords::default() }))
        };
        let negated = self.add(body);
        self.negated.insert(id, negated);
        Some(negated)
    }

    /// Makes a schema of objects in which a property violates `schema`.
    fn with(&mut self, name: &str, schema: NodeId) -> Option<NodeId> {
        let properties = vec![(name.to_owned(), self.not(schema)?)];
        let required = vec![name.to_owned()];
        Some(self.object(ObjectRules { properties, required, ..ObjectRules::default() }))
    }

    /// Makes a schema of objects without the property `name`, but with those in `required`.
    fn without(&mut self, name: &str, required: Vec<String>) -> NodeId {
        let never = self.add(Body::Never);
        let properties = vec![(name.to_owned(), never)];
        self.object(ObjectRules { properties, required, ..ObjectRules::default() })
    }

    fn of(&mut self, keywords: &'a Keywords) -> Vec<NodeId> {
        let mut found = Vec::new();
        self.of_scalars(keywords, &mut found);
        self.of_array(&keywords.array, &mut found);
        self.of_object(&keywords.object, &mut found);
        self.of_parts(keywords, &mut found);
        let other = keywords.types.map(Types::complement).filter(|types| !types.is_empty());
        found.extend(other.map(|types| self.typed(types)));
        found
    }

    fn of_scalars(&mut self, keywords: &Keywords, found: &mut Vec<NodeId>) {
        let number = &keywords.number;
        let beyond = |bound: &Bound| {
            Some(Bound { value: bound.value.clone(), is_exclusive: !bound.is_exclusive })
        };
        for (bound, is_least) in [(&number.minimum, true), (&number.maximum, false)] {
            let Some(bound) = bound else { continue };
            let mut other = Keywords { order: vec![KeywordGroup::Own], ..Keywords::default() };
            other.types = Some(Types::NUMBER);
            let side = if is_least { &mut other.number.maximum } else { &mut other.number.minimum };
            *side = beyond(bound);
            found.push(self.schema(other));
        }
        let string = &keywords.string;
        let lengths = [
            string.min_length.checked_sub(1).map(|max| (0, Some(max))),
            string.max_length.map(|max| (max + 1, None)),
        ];
        for (min_length, max_length) in lengths.into_iter().flatten() {
            let mut other = Keywords { order: vec![KeywordGroup::Own], ..Keywords::default() };
            other.types = Some(Types::STRING);
            (other.string.min_length, other.string.max_length) = (min_length, max_length);
            found.push(self.schema(other));
        }
        // Most values of the type are no multiple, have no such format and do not match.
        if number.multiple_of.is_some() {
            found.push(self.typed(Types::NUMBER));
        }
        if string.pattern.is_some() || string.format.is_some() {
            found.push(self.typed(Types::STRING));
        }
    }

    fn of_array(&mut self, rules: &ArrayRules, found: &mut Vec<NodeId>) {
        let most = |max| ArrayRules { max_items: Some(max), ..ArrayRules::default() };
        let least = |min_items| ArrayRules { min_items, ..ArrayRules::default() };
        found.extend(rules.min_items.checked_sub(1).map(|max| self.array(most(max))));
        found.extend(rules.max_items.map(|max| self.array(least(max + 1))));
        // The solver builds equal items for equal schemas, so two items break uniqueness.
        found.extend(rules.is_unique.then(|| self.array(least(2))));
        for (idx, schema) in rules.first.iter().enumerate().take(MAX_LISTED) {
            let Some(other) = self.not(*schema) else { continue };
            let any = self.add(Body::Always);
            let first = [vec![any; idx], vec![other]].concat();
            found.push(self.array(ArrayRules { first, ..least(idx + 1) }));
        }
        if let Some(schema) = rules.rest.and_then(|schema| self.not(schema)) {
            let contains = Some(Contains { schema, min: 1, max: None });
            found.push(self.array(ArrayRules { contains, ..least(rules.first.len() + 1) }));
        }
        if let Some(Contains { schema, min, max }) = rules.contains {
            match (min, self.not(schema)) {
                (0, _) => {}
                (1, Some(rest)) => {
                    found.push(self.array(ArrayRules { rest: Some(rest), ..least(0) }));
                }
                _ => found.push(self.array(most(min - 1))),
            }
            let more = max.map(|max| Contains { schema, min: max + 1, max: None });
            let more = more.map(|it| ArrayRules { contains: Some(it), ..least(0) });
            found.extend(more.map(|it| self.array(it)));
        }
    }

    fn of_object(&mut self, rules: &ObjectRules, found: &mut Vec<NodeId>) {
        for name in rules.required.iter().take(MAX_LISTED) {
            found.push(self.without(name, Vec::new()));
        }
        for (name, schema) in rules.properties.iter().take(MAX_LISTED) {
            found.extend(self.with(name, *schema));
        }
        for (pattern, schema) in rules.patterns.iter().take(MAX_LISTED) {
            let ask = Ask { patterns: vec![pattern.clone()], ..Ask::default() };
            let name = self.patterns.continuation(&ask, "", 0, &mut { NAME_FUEL });
            found.extend(name.and_then(|name| self.with(&name, *schema)));
        }
        if let Some(schema) = rules.additional {
            let is_other = |name: &String| {
                !rules.properties.iter().any(|(known, _)| known == name)
                    && rules
                        .patterns
                        .iter()
                        .all(|(pattern, _)| self.patterns.matches(pattern, name) == Some(false))
            };
            let name = ('a'..='z').map(String::from).find(is_other);
            found.extend(name.and_then(|name| self.with(&name, schema)));
        }
        for (name, needed) in rules.needs.iter().take(MAX_LISTED) {
            let other = needed.iter().find(|other| *other != name);
            found.extend(other.map(|other| self.without(other, vec![name.clone()])));
        }
        for (name, schema) in rules.dependent.iter().take(MAX_LISTED) {
            let Some(other) = self.not(*schema) else { continue };
            let required = vec![name.clone()];
            let object = self.object(ObjectRules { required, ..ObjectRules::default() });
            found.push(self.all(vec![object, other]));
        }
        // A name that `propertyNames` excludes by a list is itself an opposite.
        let document = self.document;
        let unlike = rules.names.and_then(|names| document.keywords(names)?.not);
        let listed = unlike.and_then(|it| document.keywords(it)?.literals.as_ref());
        for name in listed.into_iter().flatten().filter_map(Value::as_str).take(MAX_LISTED) {
            let required = vec![name.to_owned()];
            found.push(self.object(ObjectRules { required, ..ObjectRules::default() }));
        }
        let names = rules.names.and_then(|names| self.not(names));
        let least = |min_properties| ObjectRules { min_properties, ..ObjectRules::default() };
        found.extend(names.map(|_| self.object(ObjectRules { names, ..least(1) })));
        found.extend(rules.max_properties.map(|max| self.object(least(max + 1))));
        let most = rules.min_properties.checked_sub(1);
        let most = most.map(|max| ObjectRules { max_properties: Some(max), ..least(0) });
        found.extend(most.map(|it| self.object(it)));
    }

    /// Adds opposites that come from schemas for the same value.
    fn of_parts(&mut self, keywords: &Keywords, found: &mut Vec<NodeId>) {
        let Keywords { all, any, one, not, condition, reference, dynamic, .. } = keywords;
        for id in all.iter().take(MAX_LISTED).chain(reference).chain(dynamic) {
            found.extend(self.not(*id));
        }
        found.extend(*not);
        for options in [any, one] {
            let none: Option<Vec<NodeId>> = options.iter().map(|id| self.not(*id)).collect();
            found.extend(none.filter(|none| !none.is_empty()).map(|none| self.all(none)));
        }
        for pair in one.windows(2).take(MAX_LISTED) {
            found.push(self.all(pair.to_vec()));
        }
        let Some(condition) = condition else { return };
        if let Some(then) = condition.then.and_then(|then| self.not(then)) {
            found.push(self.all(vec![condition.test, then]));
        }
        let otherwise = condition.otherwise.and_then(|it| self.not(it));
        if let (Some(test), Some(otherwise)) = (self.not(condition.test), otherwise) {
            found.push(self.all(vec![test, otherwise]));
        }
    }
}
