//! Reads a schema and everything it refers to, without recursion.

use std::collections::HashMap;

use referencing::{Draft, Resolver};
use serde_json::Value;

use super::super::ecma;
use super::super::pointer::escape;
use super::keywords::{ANNOTATIONS, add_literals, bound, is_own, needed};
use super::resolve::{ROOT, Source, registry, rooted};
use super::syntax::SchemaObject;
use super::{
    ArrayRules, Body, Condition, Contains, Document, KeywordGroup, Keywords, Node, NodeId,
    NumberRules, ObjectRules, StringRules,
};
use crate::error::SpecError;
use crate::limits::Limits;
use crate::limits::check_limit;
use crate::spec::JsonOptions;

/// Several analyses take time proportional to the number of schemas, times a small factor.
const MAX_SCHEMAS: usize = 20_000;
/// Further warnings would help nobody.
const MAX_WARNINGS: usize = 50;

/// Reads `schema`, whose nesting and size have been checked.
///
/// # Errors
/// [`SpecError::Schema`] if a keyword's value has the wrong shape or a reference has no target.
pub(crate) fn read(
    schema: &Value,
    options: &JsonOptions,
    limits: &Limits,
) -> Result<(Source, Document), SpecError> {
    let mut warnings = Vec::new();
    let source = rooted(schema, options, &mut warnings);
    let document = read_rooted(&source, options, limits, warnings)?;
    Ok((source, document))
}

fn read_rooted(
    rooted: &Source,
    options: &JsonOptions,
    limits: &Limits,
    warnings: Vec<String>,
) -> Result<Document, SpecError> {
    let (registry, uri) = registry(rooted, options)?;
    let resolver = registry.resolver(uri);
    let draft = rooted.draft;
    let start = resolver.lookup("").map_err(|error| unresolved("", "", &error))?;
    let mut reader = Reader {
        limits,
        document: Document {
            nodes: Vec::new(),
            warnings,
            is_dynamic: false,
            opposites: HashMap::new(),
        },
        known: HashMap::new(),
        todo: Vec::new(),
    };
    let source = Spot {
        value: start.contents(),
        resolver: start.resolver().clone(),
        draft,
        at: String::new(),
        is_entered: true,
    };
    reader.node(source)?;
    while let Some((id, source)) = reader.todo.pop() {
        reader.document.nodes[id.index()].body = reader.read(&source)?;
    }
    Ok(reader.document)
}

struct Reader<'a> {
    limits: &'a Limits,
    document: Document,
    /// Keyed by address: the registry holds each schema once.
    known: HashMap<*const Value, NodeId>,
    todo: Vec<(NodeId, Spot<'a>)>,
}

/// A schema that is yet to be read.
#[derive(Clone)]
struct Spot<'a> {
    value: &'a Value,
    resolver: Resolver<'a>,
    draft: Draft,
    at: String,
    /// Whether the resolver already accounts for the schema's own `$id`.
    is_entered: bool,
}

impl<'a> Spot<'a> {
    fn child(&self, value: &'a Value, path: &str) -> Self {
        Self { value, at: format!("{}/{path}", self.at), is_entered: false, ..self.clone() }
    }
}

impl<'a> Reader<'a> {
    /// Returns the node of a schema. A new one is queued for reading.
    fn node(&mut self, source: Spot<'a>) -> Result<NodeId, SpecError> {
        if !source.value.is_object() && !source.value.is_boolean() {
            let message = "wanted a schema here: an object, true or false".to_owned();
            return Err(SpecError::Schema { at: Some(source.at), message });
        }
        let next = NodeId(u32::try_from(self.document.nodes.len()).expect("limited below"));
        let id = *self.known.entry(std::ptr::from_ref(source.value)).or_insert(next);
        if id == next {
            check_limit("schemas in a schema", self.document.nodes.len() + 1, MAX_SCHEMAS)?;
            self.document.nodes.push(Node { at: source.at.clone(), body: Body::Always });
            self.todo.push((id, source));
        }
        Ok(id)
    }

    fn read(&mut self, source: &Spot<'a>) -> Result<Body, SpecError> {
        let object = match source.value {
            Value::Object(object) => object,
            Value::Bool(false) => return Ok(Body::Never),
            _ => return Ok(Body::Always),
        };
        let mut source = source.clone();
        let draft = source.draft.detect(source.value);
        source.draft = if draft == Draft::Unknown { source.draft } else { draft };
        if !source.is_entered {
            let resource = source.draft.create_resource_ref(source.value);
            let entered = source.resolver.in_subresource(resource);
            source.resolver = entered.map_err(|error| unresolved(&source.at, "", &error))?;
        }
        let at = source.at.clone();
        let schema = SchemaObject { object, at: &at };
        let mut keywords = Keywords::default();
        if self.references(&source, schema, &mut keywords)? {
            self.own(&source, schema, &mut keywords)?;
            self.applicators(&source, schema, &mut keywords)?;
        }
        let says_nothing = keywords.order.is_empty();
        Ok(if says_nothing { Body::Always } else { Body::Keywords(Box::new(keywords)) })
    }

    /// Follows references. Returns false if all other keywords are ignored, as beside `$ref` in
    /// older drafts.
    fn references(
        &mut self,
        source: &Spot<'a>,
        schema: SchemaObject<'a, '_>,
        keywords: &mut Keywords,
    ) -> Result<bool, SpecError> {
        if let Some(reference) = schema.text("$ref")? {
            keywords.reference = Some(self.follow(source, "$ref", reference)?);
            if source.draft <= Draft::Draft7 {
                keywords.order.push(KeywordGroup::Reference);
                return Ok(false);
            }
        }
        let dynamic = match source.draft {
            Draft::Draft201909 => "$recursiveRef",
            Draft::Draft202012 => "$dynamicRef",
            _ => return Ok(true),
        };
        if let Some(reference) = schema.text(dynamic)? {
            self.document.is_dynamic = true;
            keywords.dynamic = Some(self.follow(source, dynamic, reference)?);
        }
        Ok(true)
    }

    fn follow(
        &mut self,
        source: &Spot<'a>,
        keyword: &str,
        reference: &str,
    ) -> Result<NodeId, SpecError> {
        let found = if keyword == "$recursiveRef" {
            source.resolver.lookup_recursive_ref()
        } else {
            source.resolver.lookup(reference)
        };
        let (value, resolver, draft) =
            found.map_err(|error| unresolved(&source.at, keyword, &error))?.into_inner();
        let draft = if draft == Draft::Unknown { source.draft } else { draft };
        let fragment = reference.rsplit_once('#').map_or("", |(_, fragment)| fragment);
        let uri = resolver.base_uri();
        let at = match uri.as_str() {
            ROOT => fragment.to_owned(),
            uri => format!("{uri}#{fragment}"),
        };
        self.node(Spot { value, resolver, draft, at, is_entered: true })
    }

    fn child(&mut self, source: &Spot<'a>, keyword: &str) -> Result<Option<NodeId>, SpecError> {
        let Some(value) = source.value.get(keyword) else { return Ok(None) };
        self.node(source.child(value, keyword)).map(Some)
    }

    fn children(
        &mut self,
        source: &Spot<'a>,
        keyword: &str,
        values: &'a [Value],
    ) -> Result<Vec<NodeId>, SpecError> {
        let child = |(idx, value): (usize, &'a Value)| {
            self.node(source.child(value, &format!("{keyword}/{idx}")))
        };
        values.iter().enumerate().map(child).collect()
    }

    fn named(
        &mut self,
        source: &Spot<'a>,
        schema: SchemaObject<'a, '_>,
        keyword: &str,
    ) -> Result<Vec<(String, NodeId)>, SpecError> {
        let mut named = Vec::new();
        for (name, value) in schema.map(keyword)? {
            let child = source.child(value, &format!("{keyword}/{}", escape(name)));
            named.push((name.clone(), self.node(child)?));
        }
        Ok(named)
    }

    /// Reads the keywords that refer to no other group.
    fn own(
        &mut self,
        source: &Spot<'a>,
        schema: SchemaObject<'a, '_>,
        keywords: &mut Keywords,
    ) -> Result<(), SpecError> {
        keywords.types = schema.types()?;
        keywords.number = NumberRules {
            minimum: bound(schema, "minimum", "exclusiveMinimum")?,
            maximum: bound(schema, "maximum", "exclusiveMaximum")?,
            multiple_of: schema.number("multipleOf")?,
        };
        if keywords.number.multiple_of.as_ref().and_then(serde_json::Number::as_f64) <= Some(0.0)
            && schema.get("multipleOf").is_some()
        {
            return Err(schema.wrong("multipleOf", "a number above 0"));
        }
        keywords.string = StringRules {
            min_length: schema.count("minLength")?.unwrap_or(0),
            max_length: schema.count("maxLength")?,
            pattern: match schema.text("pattern")? {
                Some(pattern) => Some(self.pattern(schema, "pattern", pattern)?),
                None => None,
            },
            format: schema.text("format")?.map(str::to_owned),
        };
        keywords.array = self.array(source, schema)?;
        keywords.object = self.object(source, schema)?;
        Ok(())
    }

    fn pattern(
        &self,
        schema: SchemaObject<'a, '_>,
        keyword: &str,
        pattern: &str,
    ) -> Result<String, SpecError> {
        check_limit("bytes of a regex", pattern.len(), self.limits.max_regex_bytes)?;
        ecma::normalised(pattern).map_err(|message| SpecError::Schema {
            at: Some(format!("{}/{keyword}", schema.at)),
            message: format!("{pattern:?}: {message}"),
        })
    }

    fn array(
        &mut self,
        source: &Spot<'a>,
        schema: SchemaObject<'a, '_>,
    ) -> Result<ArrayRules, SpecError> {
        let is_list = schema.get("items").is_some_and(Value::is_array);
        let (first, rest) = match source.draft {
            _ if is_list => (Some("items"), "additionalItems"),
            Draft::Draft202012 => (Some("prefixItems"), "items"),
            _ => (None, "items"),
        };
        let min = schema.count("minContains")?;
        let max = schema.count("maxContains")?;
        let counts = source.draft >= Draft::Draft201909;
        let contains = self.child(source, "contains")?.filter(|_| source.draft > Draft::Draft4);
        let contains = contains.map(|schema| Contains {
            schema,
            min: min.filter(|_| counts).unwrap_or(1),
            max: max.filter(|_| counts),
        });
        let first = match first {
            Some(keyword) => self.children(source, keyword, schema.list(keyword)?)?,
            None => Vec::new(),
        };
        Ok(ArrayRules {
            first,
            rest: self.child(source, rest)?,
            min_items: schema.count("minItems")?.unwrap_or(0),
            max_items: schema.count("maxItems")?,
            is_unique: schema.flag("uniqueItems")?,
            contains,
            unevaluated: if counts { self.child(source, "unevaluatedItems")? } else { None },
        })
    }

    fn object(
        &mut self,
        source: &Spot<'a>,
        schema: SchemaObject<'a, '_>,
    ) -> Result<ObjectRules, SpecError> {
        let is_recent = source.draft >= Draft::Draft201909;
        let mut needs = Vec::new();
        let mut dependent = Vec::new();
        if is_recent {
            dependent = self.named(source, schema, "dependentSchemas")?;
            for (name, value) in schema.map("dependentRequired")? {
                needs.push((name.clone(), needed(schema, "dependentRequired", value)?));
            }
        }
        // Later drafts deprecate `dependencies`, but a schema that uses it means it.
        for (name, value) in schema.map("dependencies")? {
            if value.is_array() || value.is_string() {
                needs.push((name.clone(), needed(schema, "dependencies", value)?));
            } else {
                let child = source.child(value, &format!("dependencies/{}", escape(name)));
                dependent.push((name.clone(), self.node(child)?));
            }
        }
        let names = self.child(source, "propertyNames")?;
        let mut patterns = self.named(source, schema, "patternProperties")?;
        for (pattern, _) in &mut patterns {
            *pattern =
                self.pattern(schema, &format!("patternProperties/{}", escape(pattern)), pattern)?;
        }
        Ok(ObjectRules {
            properties: self.named(source, schema, "properties")?,
            patterns,
            additional: self.child(source, "additionalProperties")?,
            required: schema.names("required")?,
            min_properties: schema.count("minProperties")?.unwrap_or(0),
            max_properties: schema.count("maxProperties")?,
            names: names.filter(|_| source.draft > Draft::Draft4),
            needs,
            dependent,
            unevaluated: if is_recent {
                self.child(source, "unevaluatedProperties")?
            } else {
                None
            },
        })
    }

    /// Reads the keywords that apply schemas to the same value, and records the order of all
    /// keywords.
    fn applicators(
        &mut self,
        source: &Spot<'a>,
        schema: SchemaObject<'a, '_>,
        keywords: &mut Keywords,
    ) -> Result<(), SpecError> {
        let is_recent = source.draft >= Draft::Draft6;
        for (name, value) in schema.object {
            let group = match name.as_str() {
                "$ref" if keywords.reference.is_some() => KeywordGroup::Reference,
                "$dynamicRef" | "$recursiveRef" if keywords.dynamic.is_some() => {
                    KeywordGroup::Reference
                }
                "allOf" | "anyOf" | "oneOf" => {
                    let children = self.children(source, name, schema.list(name)?)?;
                    if children.is_empty() {
                        return Err(schema.wrong(name, "at least one schema"));
                    }
                    let (list, group) = match name.as_str() {
                        "allOf" => (&mut keywords.all, KeywordGroup::All),
                        "anyOf" => (&mut keywords.any, KeywordGroup::Any),
                        _ => (&mut keywords.one, KeywordGroup::One),
                    };
                    *list = children;
                    group
                }
                "enum" => {
                    let listed = schema.list(name)?;
                    check_limit("values of an enum", listed.len(), self.limits.max_choices)?;
                    add_literals(&mut keywords.literals, listed.to_vec());
                    KeywordGroup::Literals
                }
                "const" if is_recent => {
                    add_literals(&mut keywords.literals, vec![value.clone()]);
                    KeywordGroup::Literals
                }
                "not" => {
                    keywords.not = self.child(source, name)?;
                    KeywordGroup::Own
                }
                "if" if source.draft >= Draft::Draft7 => {
                    keywords.condition = self.condition(source)?;
                    if keywords.condition.is_none() {
                        continue;
                    }
                    KeywordGroup::Condition
                }
                name if is_own(name, source.draft) => KeywordGroup::Own,
                name => {
                    self.unknown(name, &source.at, source.draft);
                    continue;
                }
            };
            if !keywords.order.contains(&group) {
                keywords.order.push(group);
            }
        }
        Ok(())
    }

    fn condition(&mut self, source: &Spot<'a>) -> Result<Option<Condition>, SpecError> {
        let then = self.child(source, "then")?;
        let otherwise = self.child(source, "else")?;
        let test = self.child(source, "if")?;
        Ok(test.map(|test| Condition { test, then, otherwise }))
    }

    fn unknown(&mut self, name: &str, at: &str, draft: Draft) {
        let is_read_elsewhere = matches!(name, "then" | "else" | "minContains" | "maxContains");
        let is_note = is_read_elsewhere || name.starts_with("x-") || name.starts_with('$');
        if is_note || draft.is_known_keyword(name) || ANNOTATIONS.contains(&name) {
            return;
        }
        if self.document.warnings.len() < MAX_WARNINGS {
            let location = if at.is_empty() { "the schema's root" } else { at };
            let warning = format!("unknown keyword {name:?} restricts nothing at {location}");
            self.document.warnings.push(warning);
        }
    }
}

fn unresolved(at: &str, keyword: &str, error: &referencing::Error) -> SpecError {
    let at = if keyword.is_empty() { at.to_owned() } else { format!("{at}/{keyword}") };
    SpecError::Schema { at: Some(at), message: error.to_string() }
}
