//! One walk over every schema that the output can meet, references included. Finds what has to be
//! refused, dropped or named, without recursion.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::finite::Schemas;
use super::keywords::{FORMATS, Kind, is_idle, is_writable, kind};
use super::levels::{self, Start};
use super::numbers::{is_exact, multiples_fit};
use super::pointer::{escape, percent_decode};
use super::widths::Widths;
use crate::compile::Limits;
use crate::error::SpecError;
use crate::grammar::{MAX_UNICODE_CLASSES, Use, check_limit, check_regex};

/// The engine takes time quadratic in some of them.
const MAX_SCHEMAS: usize = 10_000;
/// The engine compares patterns, and options of `oneOf`, pair by pair.
const MAX_PATTERN_PROPERTIES: usize = 32;
const MAX_ONE_OF: usize = 1_000;
/// The engine recurses over them, as over the properties of a schema.
const MAX_LITERAL_PROPERTIES: usize = 1_000;
/// Longer names would make pointers to what they hold costly.
const MAX_NAME_BYTES: usize = 512;
/// More warnings help nobody.
const MAX_WARNINGS: usize = 50;
/// The engine counts lengths in 32 bits, of which the last value means "unbounded".
const MAX_COUNT: u64 = u32::MAX as u64 - 1;

/// Where keywords stand that the engine itself may refuse.
#[derive(Debug, Default)]
pub(crate) struct Places(HashMap<String, Option<String>>);

impl Places {
    /// Returns where `keyword` stands, if it stands in one place only.
    pub(super) fn only(&self, keyword: &str) -> Option<String> {
        self.0.get(keyword).cloned().flatten()
    }

    pub(super) fn has(&self, keyword: &str) -> bool {
        self.0.contains_key(keyword)
    }
}

/// What the walk found.
pub(super) struct Walked {
    /// The schema without the keywords that the engine must not see.
    pub(super) schema: Value,
    pub(super) warnings: Vec<String>,
    pub(super) places: Places,
}

/// Walks from the root to every schema in place or referenced; unreferenced definitions are not
/// looked at, since no output meets them.
pub(super) fn walk(root: &Value, limits: &Limits) -> Result<Walked, SpecError> {
    let mut walk = Walk {
        root,
        limits,
        nodes: Vec::new(),
        by_address: HashMap::new(),
        spellings: HashMap::new(),
        multiples: Vec::new(),
        targets: HashMap::new(),
        widths: Widths::default(),
        num_classes: 0,
        nested_id: None,
        places: HashMap::new(),
        dropped: Vec::new(),
        warnings: Vec::new(),
    };
    walk.node(root, None, String::new());
    let mut next = 0;
    while next < walk.nodes.len() {
        if let Value::Object(schema) = walk.nodes[next].value {
            walk.visit(next, schema)?;
        }
        next += 1;
    }
    walk.check_whole()?;
    walk.finish()
}

struct Node<'a> {
    value: &'a Value,
    /// The schema that holds this one; none for the root and for targets outside any schema.
    parent: Option<usize>,
    /// The pointer from there.
    suffix: String,
    /// Schemas inside this one.
    children: Vec<usize>,
}

struct Walk<'a> {
    root: &'a Value,
    limits: &'a Limits,
    nodes: Vec<Node<'a>>,
    by_address: HashMap<*const Value, usize>,
    /// How each referenced schema was first written.
    spellings: HashMap<usize, &'a str>,
    /// The schema that each `$ref` leads to.
    targets: HashMap<usize, usize>,
    multiples: Vec<f64>,
    widths: Widths,
    num_classes: usize,
    nested_id: Option<usize>,
    /// The schema that holds each keyword; none if several do. Pointers are made at the end: they
    /// can be long, and most are never read.
    places: HashMap<&'a str, Option<usize>>,
    dropped: Vec<(usize, &'a str)>,
    warnings: Vec<String>,
}

impl<'a> Walk<'a> {
    /// Returns the node of `value`, made if new.
    fn node(&mut self, value: &'a Value, parent: Option<usize>, suffix: String) -> usize {
        let idx = self.nodes.len();
        let known = *self.by_address.entry(std::ptr::from_ref(value)).or_insert(idx);
        if known == idx {
            self.nodes.push(Node { value, parent, suffix, children: Vec::new() });
            self.widths.push();
        }
        known
    }

    fn child(&mut self, node: usize, value: &'a Value, suffix: String) -> Result<usize, SpecError> {
        if !value.is_object() && !value.is_boolean() {
            let at = Some(self.pointer(node) + &suffix);
            return Err(SpecError::Schema { at, message: "wanted a schema here".to_string() });
        }
        let child = self.node(value, Some(node), suffix);
        self.nodes[node].children.push(child);
        check_limit("schemas in a schema", self.nodes.len(), MAX_SCHEMAS)?;
        Ok(child)
    }

    /// Returns the JSON pointer of a node.
    fn pointer(&self, node: usize) -> String {
        let mut parts = Vec::new();
        let mut at = Some(node);
        while let Some(idx) = at {
            parts.push(self.nodes[idx].suffix.as_str());
            at = self.nodes[idx].parent;
        }
        parts.into_iter().rev().collect()
    }

    fn unsupported(&self, node: usize, keyword: &str, message: &str) -> SpecError {
        SpecError::Unsupported {
            keyword: keyword.to_string(),
            at: Some(self.pointer(node)),
            message: message.to_string(),
        }
    }

    fn invalid(&self, node: usize, keyword: &str, wanted: &str) -> SpecError {
        let at = Some(format!("{}/{keyword}", self.pointer(node)));
        SpecError::Schema { at, message: format!("wanted {wanted}") }
    }

    fn warn(&mut self, node: usize, message: &str) {
        if self.warnings.len() == MAX_WARNINGS {
            return;
        }
        let pointer = self.pointer(node);
        let place = if pointer.is_empty() { "the schema's root" } else { &pointer };
        self.warnings.push(format!("{message} at {place}"));
    }

    fn visit(&mut self, node: usize, schema: &'a Map<String, Value>) -> Result<(), SpecError> {
        for (keyword, value) in schema {
            check_limit("bytes of a name in a schema", keyword.len(), MAX_NAME_BYTES)?;
            let kind = kind(keyword);
            if !matches!(kind, Kind::Annotation | Kind::Unknown | Kind::Id | Kind::Idle) {
                self.places.entry(keyword).and_modify(|at| *at = None).or_insert(Some(node));
            }
            match kind {
                Kind::Schema | Kind::Schemas | Kind::Items => {
                    self.visit_schemas(node, keyword, value, kind)?;
                }
                Kind::Properties | Kind::PatternProperties => {
                    self.visit_names(node, keyword, value, kind)?;
                }
                Kind::Reference => self.visit_reference(node, value)?,
                Kind::Const => self.check_literals(node, keyword, std::slice::from_ref(value))?,
                Kind::Required => {
                    let names = value.as_array();
                    let names = names.ok_or_else(|| self.invalid(node, keyword, "a list"))?;
                    self.check_required(node, schema, names);
                }
                Kind::Enum => {
                    let literals = value.as_array();
                    let literals = literals.ok_or_else(|| self.invalid(node, keyword, "a list"))?;
                    self.check_literals(node, keyword, literals)?;
                }
                Kind::Bound | Kind::MultipleOf => self.check_number(node, keyword, value)?,
                Kind::Count => self.check_count(node, keyword, value)?,
                Kind::Pattern => {
                    let pattern = value.as_str();
                    let pattern = pattern.ok_or_else(|| self.invalid(node, keyword, "a regex"))?;
                    self.check_pattern(node, keyword, pattern)?;
                }
                Kind::Format => self.check_format(node, value)?,
                Kind::Unsupported(_) if is_idle(keyword, value, schema) => {
                    self.dropped.push((node, keyword));
                }
                Kind::Unsupported(why) => return Err(self.unsupported(node, keyword, why)),
                Kind::Idle => self.dropped.push((node, keyword)),
                Kind::Id if node == 0 => self.dropped.push((node, keyword)),
                Kind::Id if keyword == "$id" => self.nested_id = Some(node),
                Kind::Id | Kind::Annotation => {}
                Kind::Unknown => self.check_unknown(node, keyword),
            }
        }
        Ok(())
    }

    fn visit_schemas(
        &mut self,
        node: usize,
        keyword: &str,
        value: &'a Value,
        kind: Kind,
    ) -> Result<(), SpecError> {
        match (value, kind) {
            (Value::Array(items), Kind::Schemas | Kind::Items) => {
                if keyword == "oneOf" {
                    check_limit("options of a `oneOf`", items.len(), MAX_ONE_OF)?;
                }
                for (idx, item) in items.iter().enumerate() {
                    let child = self.child(node, item, format!("/{keyword}/{idx}"))?;
                    match keyword {
                        "allOf" => self.widths.at(node).all.push(child),
                        "anyOf" => self.widths.at(node).any.push(child),
                        "oneOf" => self.widths.at(node).one.push(child),
                        _ => {}
                    }
                }
                Ok(())
            }
            (_, Kind::Schemas) => Err(self.invalid(node, keyword, "a list of schemas")),
            _ => self.child(node, value, format!("/{keyword}")).map(drop),
        }
    }

    fn visit_names(
        &mut self,
        node: usize,
        keyword: &str,
        value: &'a Value,
        kind: Kind,
    ) -> Result<(), SpecError> {
        let wanted = "names with their schemas";
        let map = value.as_object().ok_or_else(|| self.invalid(node, keyword, wanted))?;
        if kind == Kind::PatternProperties {
            check_limit("patterns in `patternProperties`", map.len(), MAX_PATTERN_PROPERTIES)?;
        }
        self.widths.at(node).num_names += map.len();
        for (name, schema) in map {
            check_limit("bytes of a name in a schema", name.len(), MAX_NAME_BYTES)?;
            if kind == Kind::PatternProperties {
                self.check_pattern(node, keyword, name)?;
            }
            self.child(node, schema, format!("/{keyword}/{}", escape(name)))?;
        }
        Ok(())
    }

    fn visit_reference(&mut self, node: usize, value: &'a Value) -> Result<(), SpecError> {
        let reference = value.as_str().ok_or_else(|| self.invalid(node, "$ref", "a text"))?;
        let pointer = reference.strip_prefix('#').and_then(percent_decode);
        let Some(pointer) = pointer.filter(|p| p.is_empty() || p.starts_with('/')) else {
            let why = "only references into the same schema, `#` or `#/…`, are followed";
            return Err(self.unsupported(node, "$ref", why));
        };
        let Some(target) = self.root.pointer(&pointer) else {
            return Err(self.invalid(node, "$ref", &format!("something at {reference:?}")));
        };
        if !target.is_object() && !target.is_boolean() {
            return Err(self.invalid(node, "$ref", &format!("a schema at {reference:?}")));
        }
        let target = self.node(target, None, pointer);
        self.targets.insert(node, target);
        self.widths.at(node).all.push(target);
        if *self.spellings.entry(target).or_insert(reference) != reference {
            let why = "the schema it leads to is also referenced in another spelling";
            return Err(self.unsupported(node, "$ref", why));
        }
        Ok(())
    }

    fn check_literals(
        &self,
        node: usize,
        keyword: &str,
        literals: &[Value],
    ) -> Result<(), SpecError> {
        let mut todo: Vec<&Value> = literals.iter().collect();
        while let Some(value) = todo.pop() {
            match value {
                Value::Number(number) if !is_exact(number) => {
                    let why = format!("{number} is beyond 2^53 and would be rounded");
                    return Err(self.unsupported(node, keyword, &why));
                }
                Value::String(text) if !is_writable(text) => {
                    let why = format!("{text:?} holds a control character");
                    return Err(self.unsupported(node, keyword, &why));
                }
                Value::Array(items) => todo.extend(items),
                Value::Object(object) => {
                    check_limit("properties of a literal", object.len(), MAX_LITERAL_PROPERTIES)?;
                    todo.extend(object.values());
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn check_required(&mut self, node: usize, schema: &Map<String, Value>, names: &[Value]) {
        let properties = schema.get("properties").and_then(Value::as_object);
        let listed = |name: &&Value| {
            name.as_str().is_some_and(|name| properties.is_some_and(|p| p.contains_key(name)))
        };
        let num_listed = names.iter().filter(listed).count();
        self.widths.at(node).num_names += names.len() - num_listed;
    }

    fn check_number(&mut self, node: usize, keyword: &str, value: &Value) -> Result<(), SpecError> {
        let number = match value {
            Value::Number(number) => number,
            // Draft 4 turns the other bound into an exclusive one.
            Value::Bool(_) if keyword.starts_with("exclusive") => return Ok(()),
            _ => return Err(self.invalid(node, keyword, "a number")),
        };
        if !is_exact(number) {
            let why = format!("{number} is beyond 2^53 and would be rounded");
            return Err(self.unsupported(node, keyword, &why));
        }
        if keyword == "multipleOf" {
            let number = number.as_f64().unwrap_or(0.0);
            if number <= 0.0 {
                return Err(self.invalid(node, keyword, "a number above 0"));
            }
            self.multiples.push(number);
        }
        Ok(())
    }

    fn check_count(&mut self, node: usize, keyword: &str, value: &Value) -> Result<(), SpecError> {
        let count = value.as_u64();
        let count = count.ok_or_else(|| self.invalid(node, keyword, "a whole number from 0"))?;
        if count > MAX_COUNT {
            return Err(SpecError::TooLarge { limit: "a length", found: count, max: MAX_COUNT });
        }
        if keyword.ends_with("Properties") && count > 0 {
            self.widths.at(node).is_bounded = true;
        }
        Ok(())
    }

    fn check_pattern(
        &mut self,
        node: usize,
        keyword: &str,
        pattern: &str,
    ) -> Result<(), SpecError> {
        let checked = check_regex(pattern, self.limits, Use::Search);
        self.num_classes += checked.map_err(|error| match error {
            SpecError::Regex { message } => {
                SpecError::Schema { at: Some(format!("{}/{keyword}", self.pointer(node))), message }
            }
            SpecError::Unsupported { message, .. } => self.unsupported(node, keyword, &message),
            other => other,
        })?;
        check_limit("Unicode classes of a schema", self.num_classes, MAX_UNICODE_CLASSES)
    }

    fn check_format(&mut self, node: usize, value: &Value) -> Result<(), SpecError> {
        let format = value.as_str().ok_or_else(|| self.invalid(node, "format", "a text"))?;
        if !FORMATS.contains(&format) {
            self.warn(node, &format!("format {format:?} is not enforced"));
            self.dropped.push((node, "format"));
        }
        Ok(())
    }

    fn check_unknown(&mut self, node: usize, keyword: &'a str) {
        if node == 0 && keyword == "x-guidance" {
            // Options of the engine, some of which would let invalid output through.
            self.warn(node, "`x-guidance` is ignored");
            self.dropped.push((node, keyword));
        } else if !keyword.starts_with("x-") && !keyword.starts_with('$') {
            self.warn(node, &format!("unknown keyword {keyword:?} restricts nothing"));
        }
    }

    /// Returns the root and the targets of references, as the engine may recurse from them.
    fn starts(&self) -> Vec<Start> {
        // The root is no target here, even if there is a reference to it: it is met twice then.
        let roots: Vec<usize> = std::iter::once(0).chain(self.spellings.keys().copied()).collect();
        let targets = roots.iter().enumerate().skip(1);
        let start_of: HashMap<usize, usize> = targets.map(|(start, &node)| (node, start)).collect();
        let start = |&root: &usize| {
            let mut start = Start::default();
            let mut todo = vec![(root, 1)];
            while let Some((node, depth)) = todo.pop() {
                start.height = start.height.max(depth);
                start.edges.extend(self.targets.get(&node).map(|target| start_of[target]));
                todo.extend(self.nodes[node].children.iter().map(|&child| (child, depth + 1)));
            }
            start
        };
        roots.iter().map(start).collect()
    }

    /// Makes the engine's schema. Schemas that only endless values satisfy become `false`.
    fn finish(self) -> Result<Walked, SpecError> {
        let values = self.nodes.iter().map(|node| node.value).collect();
        let schemas = Schemas { values, by_address: &self.by_address, targets: &self.targets };
        let finite = schemas.finite();
        if !finite[0] {
            let message = "no value can be complete: the schema rules all out or requires itself";
            return Err(SpecError::Unsatisfiable { message: message.to_string() });
        }
        let mut schema = self.root.clone();
        for &(node, keyword) in &self.dropped {
            if let Some(Value::Object(object)) = schema.pointer_mut(&self.pointer(node)) {
                object.shift_remove(keyword);
            }
        }
        for (node, _) in finite.iter().enumerate().filter(|(_, finite)| !**finite) {
            if let Some(value) = schema.pointer_mut(&self.pointer(node)) {
                *value = Value::Bool(false);
            }
        }
        let place = |(&keyword, &node): (&&str, &Option<usize>)| {
            (keyword.to_string(), node.map(|node| self.pointer(node)))
        };
        let places = Places(self.places.iter().map(place).collect());
        Ok(Walked { schema, warnings: self.warnings, places })
    }

    /// Checks what only the whole schema shows.
    fn check_whole(&self) -> Result<(), SpecError> {
        if let Some(node) = self.nested_id.filter(|_| !self.spellings.is_empty()) {
            let why = "references would start from it; only the root may have one";
            return Err(self.unsupported(node, "$id", why));
        }
        if !multiples_fit(&self.multiples) {
            return Err(SpecError::Unsupported {
                keyword: "multipleOf".to_string(),
                at: None,
                message: "the least common multiple of several does not fit 32 bits".to_string(),
            });
        }
        let levels = levels::bound(&self.starts());
        let max = self.limits.max_schema_levels;
        check_limit("nested schemas, references followed", levels, max)?;
        self.widths.check()
    }
}
