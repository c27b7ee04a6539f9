//! Tells whether a value, or the beginning of one, satisfies a schema: yes, no, or unknown.
//!
//! This only guides the search for a valid finish; the validator has the last word.

use serde_json::{Map, Value};

use super::partial::{ArrayTail, ObjectTail, Partial};
use crate::json_schema::document::{
    ArrayRules, Body, Contains, Document, Keywords, NodeId, ObjectRules, StringRules, Types,
};
use crate::json_schema::{Ask, Patterns, format_regex, is_same};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    No,
    Unknown,
    Yes,
}

use Verdict::{No, Unknown, Yes};

impl Verdict {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (No, _) | (_, No) => No,
            (Yes, Yes) => Yes,
            _ => Unknown,
        }
    }

    fn not(self) -> Self {
        match self {
            No => Yes,
            Unknown => Unknown,
            Yes => No,
        }
    }

    fn from_known(known: Option<bool>) -> Self {
        known.map_or(Unknown, |known| if known { Yes } else { No })
    }
}

/// Answers questions about values, with bounded work.
pub(crate) struct Opinion<'a, 'p> {
    pub(crate) document: &'a Document,
    pub(crate) patterns: &'p mut Patterns,
    /// The number of schemas that may still be visited.
    pub(crate) fuel: &'p mut usize,
}

impl<'a> Opinion<'a, '_> {
    /// Returns whether a whole value satisfies the schema.
    pub(crate) fn of(&mut self, id: NodeId, value: &Value) -> Verdict {
        let keywords = match &self.document.node(id).body {
            Body::Always => return Yes,
            Body::Never => return No,
            Body::Keywords(keywords) => &**keywords,
        };
        if *self.fuel == 0 {
            return Unknown;
        }
        *self.fuel -= 1;
        let own = self.own(keywords, value);
        if own == No { No } else { own.and(self.in_place(keywords, value)) }
    }

    /// Returns whether a whole value satisfies the schema's own keywords.
    pub(super) fn own(&mut self, keywords: &'a Keywords, value: &Value) -> Verdict {
        let kind = Types::of(value);
        if keywords.types.is_some_and(|types| !types.has(kind)) {
            return No;
        }
        if keywords.literals.as_ref().is_some_and(|all| !all.iter().any(|it| is_same(it, value))) {
            return No;
        }
        match value {
            Value::Number(number) => Verdict::from_known(keywords.number.allows(number)),
            Value::String(text) => self.of_text(&keywords.string, text),
            Value::Array(items) => self.of_array(&keywords.array, items),
            Value::Object(members) => self.of_object(&keywords.object, members),
            Value::Null | Value::Bool(_) => Yes,
        }
    }

    fn in_place(&mut self, keywords: &'a Keywords, value: &Value) -> Verdict {
        let mut verdict = Yes;
        for id in keywords.all.iter().chain(&keywords.reference).chain(&keywords.dynamic) {
            verdict = verdict.and(self.of(*id, value));
        }
        if verdict != No && !keywords.any.is_empty() {
            let any = keywords.any.iter().map(|id| self.of(*id, value));
            verdict = verdict.and(any.fold(No, |all, it| all.not().and(it.not()).not()));
        }
        if verdict != No && !keywords.one.is_empty() {
            let all: Vec<Verdict> = keywords.one.iter().map(|id| self.of(*id, value)).collect();
            let count = |wanted| all.iter().filter(|it| **it == wanted).count();
            verdict = verdict.and(match (count(Yes), count(Unknown)) {
                (1, 0) => Yes,
                (0, 0) => No,
                (0 | 1, _) => Unknown,
                _ => No,
            });
        }
        if verdict != No
            && let Some(not) = keywords.not
        {
            verdict = verdict.and(self.of(not, value).not());
        }
        if verdict != No
            && let Some(condition) = keywords.condition
        {
            let branch = match self.of(condition.test, value) {
                Yes => condition.then.map_or(Yes, |then| self.of(then, value)),
                No => condition.otherwise.map_or(Yes, |it| self.of(it, value)),
                Unknown => Unknown,
            };
            verdict = verdict.and(branch);
        }
        verdict
    }

    fn of_text(&mut self, rules: &StringRules, text: &str) -> Verdict {
        let StringRules { min_length, max_length, pattern, format } = rules;
        if *min_length > 0 || max_length.is_some() {
            let length = text.chars().count();
            if length < *min_length || max_length.is_some_and(|max| length > max) {
                return No;
            }
        }
        let pattern = pattern.as_ref();
        let fits = pattern.map_or(Yes, |it| Verdict::from_known(self.patterns.matches(it, text)));
        let format = format.as_ref();
        fits.and(format.map_or(Yes, |it| Verdict::from_known(self.patterns.is_of_format(it, text))))
    }

    fn of_array(&mut self, rules: &ArrayRules, items: &[Value]) -> Verdict {
        let len = items.len();
        if len < rules.min_items || rules.max_items.is_some_and(|max| len > max) {
            return No;
        }
        let mut verdict = if rules.unevaluated.is_some() { Unknown } else { Yes };
        for (idx, item) in items.iter().enumerate() {
            let schema = rules.first.get(idx).copied().or(rules.rest);
            verdict = verdict.and(schema.map_or(Yes, |id| self.of(id, item)));
        }
        if rules.is_unique && has_same(items) {
            return No;
        }
        match rules.contains {
            Some(contains) if verdict != No => verdict.and(self.contains(contains, items)),
            _ => verdict,
        }
    }

    fn contains(&mut self, contains: Contains, items: &[Value]) -> Verdict {
        let all: Vec<Verdict> = items.iter().map(|it| self.of(contains.schema, it)).collect();
        let surely = all.iter().filter(|it| **it == Yes).count();
        let perhaps = all.iter().filter(|it| **it == Unknown).count();
        if surely + perhaps < contains.min || contains.max.is_some_and(|max| surely > max) {
            No
        } else if perhaps == 0 {
            Yes
        } else {
            Unknown
        }
    }

    fn of_object(&mut self, rules: &ObjectRules, members: &Map<String, Value>) -> Verdict {
        let len = members.len();
        let is_short = len < rules.min_properties;
        if is_short || rules.required.iter().any(|name| !members.contains_key(name)) {
            return No;
        }
        let lacks = |needed: &Vec<String>| needed.iter().any(|name| !members.contains_key(name));
        if rules.needs.iter().any(|(name, needed)| members.contains_key(name) && lacks(needed)) {
            return No;
        }
        let mut verdict = if rules.unevaluated.is_some() { Unknown } else { Yes };
        verdict = verdict.and(self.members(rules, members));
        for (name, schema) in &rules.dependent {
            if verdict != No && members.contains_key(name) {
                let whole = Value::Object(members.clone());
                verdict = verdict.and(self.of(*schema, &whole));
            }
        }
        verdict
    }

    /// Returns whether the members satisfy the rules, ignoring required properties.
    fn members(&mut self, rules: &ObjectRules, members: &Map<String, Value>) -> Verdict {
        if rules.max_properties.is_some_and(|max| members.len() > max) {
            return No;
        }
        let mut verdict = Yes;
        for (name, value) in members {
            for id in self.schemas_of(rules, name) {
                verdict = verdict.and(self.of(id, value));
            }
            if let Some(names) = rules.names {
                verdict = verdict.and(self.of(names, &Value::String(name.clone())));
            }
            if verdict == No {
                return No;
            }
        }
        verdict
    }

    /// Returns the schemas of a property with this name.
    pub(crate) fn schemas_of(&mut self, rules: &ObjectRules, name: &str) -> Vec<NodeId> {
        let listed = rules.properties.iter().find(|(known, _)| known == name);
        let mut found: Vec<NodeId> = listed.map(|(_, schema)| *schema).into_iter().collect();
        for (pattern, schema) in &rules.patterns {
            if self.patterns.matches(pattern, name) != Some(false) {
                found.push(*schema);
            }
        }
        if found.is_empty() {
            found.extend(rules.additional);
        }
        found
    }

    /// Returns whether a value with this beginning may satisfy the schema; true if unknown.
    pub(crate) fn may_hold(&mut self, id: NodeId, partial: &Partial) -> bool {
        let keywords = match &self.document.node(id).body {
            Body::Always => return true,
            Body::Never => return false,
            Body::Keywords(keywords) => &**keywords,
        };
        if let Partial::Whole(value) = partial {
            return self.of(id, value) != No;
        }
        if *self.fuel == 0 {
            return true;
        }
        *self.fuel -= 1;
        let kind = kind(partial);
        if keywords.types.is_some_and(|types| !types.has(kind))
            || keywords.literals.as_ref().is_some_and(|all| {
                all.iter().all(|it| super::finish::as_value(partial, it).is_none())
            })
        {
            return false;
        }
        let own = match partial {
            Partial::Text(text) => {
                let StringRules { max_length, pattern, format, .. } = &keywords.string;
                let patterns = pattern.iter().cloned().collect();
                let formats =
                    format.iter().filter(|it| format_regex(it).is_some()).cloned().collect();
                let ask = Ask { patterns, formats, max_length: *max_length, ..Ask::default() };
                ask == Ask::default() || self.patterns.may_begin(ask, &text.text)
            }
            Partial::Array { items, tail } => self.array_may(&keywords.array, items, tail),
            Partial::Object { members, tail } => self.object_may(&keywords.object, members, tail),
            _ => true,
        };
        own && self.in_place_may(keywords, partial)
    }

    fn in_place_may(&mut self, keywords: &'a Keywords, partial: &Partial) -> bool {
        let all = keywords.all.iter().chain(&keywords.reference).chain(&keywords.dynamic);
        for id in all {
            if !self.may_hold(*id, partial) {
                return false;
            }
        }
        [&keywords.any, &keywords.one]
            .iter()
            .all(|any| any.is_empty() || any.iter().any(|id| self.may_hold(*id, partial)))
    }

    fn array_may(&mut self, rules: &ArrayRules, items: &[Value], tail: &ArrayTail) -> bool {
        let is_longer = matches!(tail, ArrayTail::Comma | ArrayTail::In(_));
        let len = items.len() + usize::from(is_longer);
        if rules.max_items.is_some_and(|max| len > max) || rules.is_unique && has_same(items) {
            return false;
        }
        let schema = |idx: usize| rules.first.get(idx).copied().or(rules.rest);
        for (idx, item) in items.iter().enumerate() {
            if schema(idx).is_some_and(|id| self.of(id, item) == No) {
                return false;
            }
        }
        match tail {
            ArrayTail::In(open) => schema(items.len()).is_none_or(|id| self.may_hold(id, open)),
            _ => true,
        }
    }

    fn object_may(
        &mut self,
        rules: &ObjectRules,
        members: &Map<String, Value>,
        tail: &ObjectTail,
    ) -> bool {
        if self.members(rules, members) == No {
            return false;
        }
        match tail {
            ObjectTail::Name(name) | ObjectTail::Colon(name) => {
                let ids = self.schemas_of(rules, name);
                !ids.iter().any(|id| self.document.is_never(*id))
            }
            ObjectTail::In(name, open) => {
                self.schemas_of(rules, name).iter().all(|id| self.may_hold(*id, open))
            }
            _ => true,
        }
    }
}

/// Returns the types that a value with this beginning may have.
pub(super) fn kind(partial: &Partial) -> Types {
    match partial {
        Partial::Nothing => Types::ALL,
        Partial::Whole(value) => Types::of(value),
        Partial::Word { word: "null", .. } => Types::NULL,
        Partial::Word { .. } => Types::BOOLEAN,
        Partial::Number(_) => Types::NUMBER,
        Partial::Text(_) => Types::STRING,
        Partial::Array { .. } => Types::ARRAY,
        Partial::Object { .. } => Types::OBJECT,
    }
}

/// Returns whether two items are equal.
pub(super) fn has_same(items: &[Value]) -> bool {
    items.iter().enumerate().any(|(idx, item)| items[..idx].iter().any(|it| is_same(it, item)))
}
