//! Writes a document as a single schema of draft 2020-12. Components that read schemas themselves
//! get this one, so that all of them agree with this crate's reading.

use std::collections::BTreeSet;

use serde_json::{Map, Number, Value, json};

use super::super::regexes;
use super::{
    ArrayRules, Body, Bound, Document, Keywords, Node, NodeId, NumberRules, ObjectRules,
    StringRules, Types,
};

/// Who reads the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// The validator, which checks values by the specification.
    Validator,
    /// The engine, which makes a grammar. It reads Rust's patterns, none of our formats and no
    /// `not`.
    Engine,
}

impl Document {
    /// Writes the schema for a reader.
    pub(crate) fn to_schema(&self, reader: Reader) -> Value {
        let referred = self.ids().filter_map(|id| self.keywords(id)?.reference);
        let targets: BTreeSet<NodeId> = referred.collect();
        let writer = Writer { document: self, reader, targets: &targets };
        let definition = |id: &NodeId| (id.index().to_string(), writer.whole(*id));
        let definitions: Map<String, Value> = targets.iter().map(definition).collect();
        let mut root = writer.whole(Self::ROOT);
        if !root.is_object() {
            root = json!({ "allOf": [root] });
        }
        root["$defs"] = Value::Object(definitions);
        root
    }
}

struct Writer<'a> {
    document: &'a Document,
    reader: Reader,
    /// The targets of references, each written once.
    targets: &'a BTreeSet<NodeId>,
}

impl Writer<'_> {
    fn schema(&self, id: NodeId) -> Value {
        if self.targets.contains(&id) {
            json!({ "$ref": definition_pointer(id) })
        } else {
            self.whole(id)
        }
    }

    /// Writes a schema and its subschemas, but not the targets of references. Recurses as deep as
    /// the source is nested.
    fn whole(&self, id: NodeId) -> Value {
        let Node { body, .. } = self.document.node(id);
        match body {
            Body::Always => Value::Bool(true),
            Body::Never => Value::Bool(false),
            Body::Keywords(keywords) => Value::Object(self.keywords(keywords)),
        }
    }

    fn schemas(&self, ids: &[NodeId]) -> Option<Value> {
        let all = || ids.iter().map(|id| self.schema(*id)).collect();
        (!ids.is_empty()).then(|| Value::Array(all()))
    }

    fn keywords(&self, keywords: &Keywords) -> Map<String, Value> {
        let mut out = Map::new();
        let mut add = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                out.insert(name.to_owned(), value);
            }
        };
        let one = |id: Option<NodeId>| id.map(|id| self.schema(id));
        add("type", self.types(keywords));
        add("enum", keywords.literals.clone().map(Value::Array));
        add("allOf", self.all(keywords));
        add("anyOf", self.schemas(&keywords.any));
        add("oneOf", self.schemas(&keywords.one));
        add("not", one(keywords.not.filter(|_| self.reader == Reader::Validator)));
        add("$ref", keywords.reference.map(|id| json!(definition_pointer(id))));
        if let Some(condition) = keywords.condition {
            add("if", one(Some(condition.test)));
            add("then", one(condition.then));
            add("else", one(condition.otherwise));
        }
        let NumberRules { minimum, maximum, multiple_of } = &keywords.number;
        bound(minimum.as_ref(), ["minimum", "exclusiveMinimum"], &mut add);
        bound(maximum.as_ref(), ["maximum", "exclusiveMaximum"], &mut add);
        add("multipleOf", multiple_of.clone().map(Value::Number));
        let StringRules { min_length, max_length, pattern, format } = &keywords.string;
        add("minLength", above_zero(*min_length));
        add("maxLength", max_length.map(|max| json!(max)));
        add("pattern", pattern.as_ref().map(|it| json!(self.pattern(it))));
        let format = format.as_ref().filter(|_| self.reader == Reader::Validator);
        add("format", format.map(|it| json!(it)));
        self.array(&keywords.array, &mut add);
        self.object(&keywords.object, &mut add);
        out
    }

    fn pattern(&self, pattern: &str) -> String {
        match self.reader {
            Reader::Validator => pattern.to_owned(),
            Reader::Engine => regexes::restated(pattern),
        }
    }

    /// Returns `type`. For the engine, the types that `not` excludes are removed.
    fn types(&self, keywords: &Keywords) -> Option<Value> {
        let not = keywords.not.filter(|_| self.reader == Reader::Engine);
        let excluded = not.map(|not| match self.document.keywords(not) {
            Some(excluded) => excluded.types.unwrap_or(Types::NONE),
            None if self.document.is_always(not) => Types::ALL,
            None => Types::NONE,
        });
        let named = keywords.types.unwrap_or(Types::ALL);
        match excluded {
            None => keywords.types.map(types),
            Some(excluded) => Some(types(named.intersection(excluded.complement()))),
        }
    }

    /// Returns `allOf`: the schema's own members, and keywords that one object cannot hold twice.
    fn all(&self, keywords: &Keywords) -> Option<Value> {
        let mut all: Vec<Value> = keywords.all.iter().map(|id| self.schema(*id)).collect();
        let format = keywords.string.format.as_ref().filter(|_| self.reader == Reader::Engine);
        if let Some(regex) = format.and_then(|format| regexes::format_regex(format)) {
            all.push(json!({ "pattern": format!("^(?:{regex})$") }));
        }
        let mut seen = BTreeSet::new();
        for (pattern, schema) in &keywords.object.patterns {
            // Two spellings of the same pattern.
            if !seen.insert(pattern) {
                let schema = self.schema(*schema);
                all.push(json!({ "patternProperties": { (self.pattern(pattern)): schema } }));
            }
        }
        (!all.is_empty()).then_some(Value::Array(all))
    }

    fn array(&self, rules: &ArrayRules, add: &mut dyn FnMut(&str, Option<Value>)) {
        add("prefixItems", self.schemas(&rules.first));
        add("items", rules.rest.map(|id| self.schema(id)));
        add("minItems", above_zero(rules.min_items));
        add("maxItems", rules.max_items.map(|max| json!(max)));
        add("uniqueItems", rules.is_unique.then_some(Value::Bool(true)));
        add("unevaluatedItems", rules.unevaluated.map(|id| self.schema(id)));
        if let Some(contains) = rules.contains {
            add("contains", Some(self.schema(contains.schema)));
            add("minContains", Some(json!(contains.min)));
            add("maxContains", contains.max.map(|max| json!(max)));
        }
    }

    fn object(&self, rules: &ObjectRules, add: &mut dyn FnMut(&str, Option<Value>)) {
        let named = |all: &[(String, NodeId)], by_pattern: bool| {
            let name = |name: &String| if by_pattern { self.pattern(name) } else { name.clone() };
            // If a pattern has two spellings, the first one is written here.
            let all = all.iter().rev().map(|(key, id)| (name(key), self.schema(*id)));
            let mut all: Map<String, Value> = all.collect();
            all = all.into_iter().rev().collect();
            (!all.is_empty()).then_some(Value::Object(all))
        };
        let one = |id: Option<NodeId>| id.map(|id| self.schema(id));
        add("properties", named(&rules.properties, false));
        add("patternProperties", named(&rules.patterns, true));
        add("additionalProperties", one(rules.additional));
        let required = &rules.required;
        add("required", (!required.is_empty()).then(|| json!(required)));
        add("minProperties", above_zero(rules.min_properties));
        add("maxProperties", rules.max_properties.map(|max| json!(max)));
        add("propertyNames", one(rules.names));
        let needs: Map<String, Value> =
            rules.needs.iter().map(|(name, needs)| (name.clone(), json!(needs))).collect();
        add("dependentRequired", (!needs.is_empty()).then_some(Value::Object(needs)));
        add("dependentSchemas", named(&rules.dependent, false));
        add("unevaluatedProperties", one(rules.unevaluated));
    }
}

fn definition_pointer(id: NodeId) -> String {
    format!("#/$defs/{}", id.index())
}

fn bound(
    bound: Option<&Bound>,
    [within, beyond]: [&str; 2],
    add: &mut dyn FnMut(&str, Option<Value>),
) {
    let Some(Bound { value, is_exclusive }) = bound else { return };
    let value: &Number = value;
    add(if *is_exclusive { beyond } else { within }, Some(Value::Number(value.clone())));
}

fn above_zero(count: usize) -> Option<Value> {
    (count > 0).then(|| json!(count))
}

fn types(types: Types) -> Value {
    let names = Types::NAMED.iter().filter(|(_, named)| types.has_all(*named));
    Value::Array(names.map(|(name, _)| json!(name)).collect())
}
