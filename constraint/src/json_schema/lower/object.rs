//! Objects.

use serde_json::{Map, Value, json};

use super::super::document::{Body, Keywords, NodeId, ObjectRules};
use super::super::regexes;
use super::scalar::is_writable;
use super::{Lowering, Parts};

/// The engine writes alternatives for bounded numbers of properties: quadratic in size, cubic in
/// time.
const MAX_COUNTED: usize = 60;
/// Kinds of properties that are told apart where they come in any order.
const MAX_GROUPS: usize = 8;

/// What properties that are not listed may be.
#[derive(Default)]
struct Others {
    patterns: Vec<(String, Value)>,
    additional: Option<Value>,
}

impl Lowering<'_> {
    pub(super) fn objects(&mut self, id: NodeId, keywords: &Keywords, parts: &mut Parts) {
        let rules = &keywords.object;
        let mut others = Others {
            patterns: self.patterns(id, rules),
            additional: rules.additional.map(|it| self.schema(it)),
        };
        self.names(id, rules, &mut others);
        let properties = self.properties(id, rules);
        let is_relaxed = self.relaxed[id.index()];
        if is_relaxed {
            self.in_any_order(id, rules, properties, &mut others);
        } else {
            if !properties.is_empty() {
                parts.add("properties", Value::Object(properties.into_iter().collect()));
            }
            let required: Vec<&String> =
                rules.required.iter().filter(|name| is_writable(name)).collect();
            if !required.is_empty() {
                parts.add("required", json!(required));
            }
        }
        let Others { patterns, additional } = others;
        if !patterns.is_empty() {
            let patterns = self.one_pattern(id, patterns);
            parts.add("patternProperties", Value::Object(patterns.into_iter().collect()));
        }
        let is_closed = additional == Some(Value::Bool(false));
        if let Some(additional) = additional {
            parts.add("additionalProperties", additional);
        }
        self.counts(id, rules, is_closed, parts);
        if !rules.needs.is_empty() {
            self.leave(id, "dependentRequired");
        }
        if !rules.dependent.is_empty() {
            self.leave(id, "dependentSchemas");
        }
    }

    /// Lets properties come in any order: what a name allows is then a matter of patterns, and the
    /// guard sees to names that are missing. The engine compares patterns pair by pair, so there are
    /// few of them.
    fn in_any_order(
        &mut self,
        id: NodeId,
        rules: &ObjectRules,
        properties: Vec<(String, Value)>,
        others: &mut Others,
    ) {
        self.leave(id, if rules.required.is_empty() { "properties" } else { "required" });
        if self.coarse.patterns {
            // Schemas for the same object list the same names: the engine cannot put that together.
            *others = Others::default();
            return;
        }
        let mut groups: Vec<(Vec<String>, Vec<Value>)> = Vec::new();
        for (name, schema) in properties {
            let is_full = groups.len() >= MAX_GROUPS;
            let known =
                groups.iter().position(|(_, schemas)| schemas == std::slice::from_ref(&schema));
            match known.or(is_full.then(|| groups.len() - 1)) {
                Some(idx) => {
                    groups[idx].0.push(name);
                    if !groups[idx].1.contains(&schema) {
                        groups[idx].1.push(schema);
                    }
                }
                None => groups.push((vec![name], vec![schema])),
            }
        }
        for (names, mut schemas) in groups {
            let is_one = schemas.len() == 1;
            let schema = if is_one { schemas.remove(0) } else { json!({ "anyOf": schemas }) };
            others.patterns.push((regexes::literals(names.iter().map(String::as_str)), schema));
        }
    }

    fn properties(&mut self, id: NodeId, rules: &ObjectRules) -> Vec<(String, Value)> {
        let mut properties = Vec::with_capacity(rules.properties.len());
        for (name, schema) in &rules.properties {
            if is_writable(name) {
                properties.push((name.clone(), self.schema(*schema)));
            } else {
                self.leave(id, "properties");
            }
        }
        properties
    }

    fn patterns(&mut self, id: NodeId, rules: &ObjectRules) -> Vec<(String, Value)> {
        let mut patterns = Vec::with_capacity(rules.patterns.len());
        let known: Option<Vec<String>> =
            rules.patterns.iter().map(|(pattern, _)| regexes::for_engine(pattern)).collect();
        if let Some(known) = known {
            for (pattern, (_, schema)) in known.into_iter().zip(&rules.patterns) {
                patterns.push((pattern, self.schema(*schema)));
            }
        } else {
            // Which names are additional is not known either.
            self.leave(id, "patternProperties");
            patterns.push((String::new(), json!({})));
        }
        patterns
    }

    /// Patterns that the engine cannot tell apart become one, with what any of them allows.
    fn one_pattern(&mut self, id: NodeId, patterns: Vec<(String, Value)>) -> Map<String, Value> {
        if patterns.len() <= 1 || !self.coarse.patterns && !has_same(&patterns) {
            return patterns.into_iter().collect();
        }
        self.leave(id, "patternProperties");
        let either: Vec<String> = patterns.iter().map(|(it, _)| format!("(?:{it})")).collect();
        let mut either = either.join("|");
        if regexes::for_engine(&either).is_none() {
            either = String::new();
        }
        let schemas: Vec<Value> = patterns.into_iter().map(|(_, schema)| schema).collect();
        std::iter::once((either, json!({ "anyOf": schemas }))).collect()
    }

    /// Where only a pattern restricts names, other names are ruled out.
    fn names(&mut self, id: NodeId, rules: &ObjectRules, others: &mut Others) {
        let Others { patterns, additional } = others;
        let Some(names) = rules.names else { return };
        let listed_fit = rules.properties.is_empty() && patterns.is_empty();
        let pattern = match &self.document.node(names).body {
            Body::Always => return,
            Body::Never if listed_fit => return *additional = Some(Value::Bool(false)),
            Body::Never => None,
            Body::Keywords(names) => regexes::of_names(names),
        };
        match pattern {
            Some(pattern) if listed_fit => {
                let value = additional.replace(Value::Bool(false)).unwrap_or_else(|| json!({}));
                patterns.push((pattern, value));
            }
            _ => self.leave(id, "propertyNames"),
        }
    }

    fn counts(&mut self, id: NodeId, rules: &ObjectRules, is_closed: bool, parts: &mut Parts) {
        let ObjectRules { min_properties: min, max_properties: max, .. } = *rules;
        if min == 0 && max.is_none() {
            return;
        }
        let listed = &rules.properties;
        let all_required = listed.iter().all(|(name, _)| rules.required.contains(name));
        let one_of_listed = is_closed
            && rules.patterns.is_empty()
            && min.saturating_sub(rules.required.len()) <= 1
            && max.is_none_or(|max| max.saturating_sub(rules.required.len()) == 1)
            && listed.len() <= MAX_COUNTED;
        let is_counted = all_required && listed.len() <= MAX_COUNTED || one_of_listed;
        if !is_counted || self.relaxed[id.index()] || self.coarse.counts {
            return self.leave(id, if min > 0 { "minProperties" } else { "maxProperties" });
        }
        if min > 0 {
            parts.add("minProperties", json!(min));
        }
        if let Some(max) = max {
            parts.add("maxProperties", json!(max));
        }
    }
}

fn has_same(patterns: &[(String, Value)]) -> bool {
    let mut seen = std::collections::HashSet::new();
    patterns.iter().any(|(pattern, _)| !seen.insert(pattern))
}
