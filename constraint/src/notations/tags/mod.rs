//! Structural tags: text with tagged, constrained parts, in xgrammar's JSON form, read into
//! [`Rules`].
//!
//! Two forms are supported: `{"type": "structural_tag", "format": …}` with a tree of formats, and
//! the older one with `structures` and `triggers`. An unknown field is an error, since to ignore it
//! could allow too much. Source: the `structural_tag` page of xgrammar's documentation.

mod fields;
mod free;
mod tokens;

use serde_json::{Value, json};

use crate::TokenId;
use crate::error::SpecError;
use crate::limits::Limits;
use crate::limits::check_limit;
use crate::notations::embed::embed;
use crate::notations::gbnf;
use crate::notations::rules::{Node, NodeId, Rules};
use crate::notations::token_lists::TokenLists;
use crate::regex::{Use, check_regex};
use crate::spec::Thinking;
use crate::vocab::Vocab;
use fields::{Fields, within, wrong};

/// The largest count of a `repeat`, and the most characters of an `any_text`.
const MAX_COUNT: usize = 100_000;

/// Reads a structural tag. [`thinking`] must have checked its size and found no section in it.
///
/// # Errors
/// With a JSON pointer: the tag is invalid, counts too far, or asks for something that a grammar
/// cannot express.
pub(crate) fn read(tag: &Value, vocab: &Vocab, limits: &Limits) -> Result<Rules, SpecError> {
    let mut rules = Rules::default();
    let root = rules.declare();
    let tokens = TokenLists::new(vocab);
    let mut reader = Reader { rules: &mut rules, tokens, limits };
    let fields = Fields::new(tag, "")?;
    let body = if fields.has("structures") {
        reader.structures(fields)?
    } else {
        let fields = fields.known(&["format"])?;
        if fields.text("type")? != "structural_tag" {
            return Err(wrong("/type", "wanted `structural_tag`"));
        }
        reader.format(fields.get("format")?, "/format", &Ends::default(), None)?
    };
    rules.define(root, body);
    Ok(rules)
}

/// Splits a leading thinking section off: a tag of any text with a bound on its tokens, which a
/// grammar could not count. An empty text replaces it, so that the JSON pointers of later parts
/// stay the same.
///
/// # Errors
/// The tag is too large or nests too deep.
pub(crate) fn thinking(
    tag: &Value,
    limits: &Limits,
) -> Result<Option<(Thinking, Value)>, SpecError> {
    check_size(tag, limits)?;
    let pointer = match &tag["format"]["type"] {
        Value::String(kind) if kind == "sequence" => "/format/elements/0",
        _ => "/format",
    };
    let Some(thinking) = tag.pointer(pointer).and_then(bounded_section) else { return Ok(None) };
    let mut rest = tag.clone();
    if let Some(section) = rest.pointer_mut(pointer) {
        *section = json!({"type": "const_string", "value": ""});
    }
    Ok(Some((thinking, rest)))
}

/// Returns the thinking section that a tag stands for; none if the tag has no token bound or more
/// than a section can express.
fn bounded_section(tag: &Value) -> Option<Thinking> {
    let fields =
        tag.as_object().filter(|fields| fields.get("type").is_some_and(|kind| kind == "tag"))?;
    let content = fields.get("content")?.as_object()?;
    let (begin, end) = (fields.get("begin")?.as_str()?, fields.get("end")?.as_str()?);
    let max_tokens = u32::try_from(content.get("max_tokens")?.as_u64()?).ok()?;
    let is_plain = content.get("type").is_some_and(|kind| kind == "any_text")
        && content.iter().all(|(key, value)| match key.as_str() {
            "type" | "max_tokens" => true,
            "excludes" => value.as_array().is_some_and(|all| all.iter().all(|it| it == end)),
            _ => value.is_null(),
        })
        && fields.keys().all(|key| ["type", "begin", "content", "end"].contains(&key.as_str()));
    let begin = Some(begin).filter(|begin| !begin.is_empty()).map(str::to_string);
    is_plain.then(|| Thinking { begin, end: end.to_string(), max_tokens: Some(max_tokens) })
}

/// Checks nesting and size before anything recurses.
fn check_size(tag: &Value, limits: &Limits) -> Result<(), SpecError> {
    let (mut num_bytes, mut num_text) = (0, 0);
    let mut todo = vec![(tag, 1, false)];
    while let Some((value, depth, in_schema)) = todo.pop() {
        check_limit("JSON nesting of a structural tag", depth, limits.max_schema_depth)?;
        num_bytes += 4;
        match value {
            Value::String(text) => {
                num_bytes += text.len();
                num_text += if in_schema { 0 } else { text.len() };
            }
            Value::Array(items) => {
                todo.extend(items.iter().map(|item| (item, depth + 1, in_schema)));
            }
            Value::Object(object) => {
                num_bytes += object.keys().map(|key| key.len() + 4).sum::<usize>();
                todo.extend(object.iter().map(|(key, item)| {
                    let is_schema = key == "json_schema" || key == "schema";
                    (item, depth + 1, in_schema || is_schema)
                }));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
        check_limit("bytes of a structural tag", num_bytes, limits.max_schema_bytes)?;
        check_limit("bytes of a structural tag's texts", num_text, limits.max_grammar_bytes)?;
    }
    Ok(())
}

/// The end of the nearest enclosing tag, which free text inside must not contain.
#[derive(Default)]
struct Ends {
    strings: Vec<String>,
    tokens: Vec<TokenId>,
}

struct Reader<'a> {
    rules: &'a mut Rules,
    tokens: TokenLists<'a>,
    limits: &'a Limits,
}

impl Reader<'_> {
    fn literal(&mut self, text: &str) -> NodeId {
        self.rules.add(Node::Literal(text.to_string()))
    }

    /// Reads a format and appends `tail`. Text that ends where the tail begins must know its tail.
    fn format(
        &mut self,
        value: &Value,
        at: &str,
        ends: &Ends,
        tail: Option<NodeId>,
    ) -> Result<NodeId, SpecError> {
        let fields = Fields::new(value, at)?;
        let kind = fields.text("type")?;
        let node = match kind {
            "const_string" => {
                let text = fields.known(&["value"])?.text("value")?;
                self.literal(text)
            }
            "json_schema" => self.json_schema(fields)?,
            "grammar" => self.grammar(fields)?,
            "regex" => self.regex(fields)?,
            "any_text" => self.any_text(fields, ends)?,
            "sequence" => return self.sequence(fields, ends, tail),
            "or" => self.either(fields, ends)?,
            "optional" => self.repeat(fields.known(&["content"])?, ends, 0, Some(1))?,
            "star" => self.repeat(fields.known(&["content"])?, ends, 0, None)?,
            "plus" => self.repeat(fields.known(&["content"])?, ends, 1, None)?,
            "repeat" => self.counted(fields, ends)?,
            "tag" => self.tag(fields)?,
            "tags_with_separator" => self.separated(fields)?,
            "triggered_tags" => return self.triggered(fields, ends, tail),
            "dispatch" => return self.dispatch(fields, ends, tail),
            "token" => self.token(fields)?,
            "exclude_token" => self.other_token(fields.known(&["exclude_tokens"])?, ends, &[])?,
            "any_tokens" => self.any_tokens(fields, ends)?,
            "token_triggered_tags" => self.token_triggered(fields, ends)?,
            "token_dispatch" => self.token_dispatch(fields, ends)?,
            other => {
                return Err(SpecError::unsupported(other, Some(at), "the format is unknown"));
            }
        };
        Ok(match tail {
            None => node,
            Some(tail) => self.rules.seq(vec![node, tail]),
        })
    }

    fn json_schema(&mut self, fields: Fields<'_>) -> Result<NodeId, SpecError> {
        let fields = fields.known(&["json_schema", "style", "any_order"])?;
        if fields.has("style") && fields.text("style")? != "json" {
            return Err(SpecError::unsupported(
                "style",
                Some(fields.at),
                "only `json` is supported",
            ));
        }
        if fields.flag("any_order", false)? {
            return Err(SpecError::unsupported(
                "any_order",
                Some(fields.at),
                "not inside other text",
            ));
        }
        self.schema(fields.get("json_schema")?, &fields.pointer("json_schema"))
    }

    fn schema(&mut self, schema: &Value, at: &str) -> Result<NodeId, SpecError> {
        let schema = embed(schema, self.limits, &mut self.rules.warnings);
        let schema = self.rules.add_schema(schema.map_err(|error| within(error, at))?);
        Ok(self.rules.add(Node::Json { schema, at: at.to_string() }))
    }

    fn grammar(&mut self, fields: Fields<'_>) -> Result<NodeId, SpecError> {
        let source = fields.known(&["grammar"])?.text("grammar")?;
        let root = gbnf::read_into(self.rules, source, self.tokens.vocab, self.limits);
        let root = root.map_err(|error| within(error, &fields.pointer("grammar")))?;
        Ok(self.rules.add(Node::Rule(root)))
    }

    fn regex(&mut self, fields: Fields<'_>) -> Result<NodeId, SpecError> {
        let given = fields.known(&["pattern"])?.text("pattern")?;
        // The regex matches the whole text anyway, so outer anchors have no effect.
        let pattern = given.strip_prefix('^').unwrap_or(given);
        let pattern = match pattern.strip_suffix('$') {
            Some(inner) if inner.bytes().rev().take_while(|&b| b == b'\\').count() % 2 == 0 => {
                inner
            }
            _ => pattern,
        };
        let at = fields.pointer("pattern");
        check_regex(pattern, self.limits, Use::Whole).map_err(|error| within(error, &at))?;
        // Inner anchors mean nothing in the middle of text; the engine's reader refuses them there.
        let among = format!("(?:-(?:{pattern})-)");
        check_regex(&among, self.limits, Use::Whole).map_err(|error| within(error, &at))?;
        Ok(self.rules.add(Node::Regex { pattern: pattern.to_string(), at: fields.at.to_string() }))
    }

    fn any_text(&mut self, fields: Fields<'_>, ends: &Ends) -> Result<NodeId, SpecError> {
        let fields = fields.known(&["excludes", "max_tokens", "max_chars"])?;
        if fields.count("max_tokens")?.is_some_and(|max| max > 0) {
            let message = "only of a tag at the very front; `max_chars` counts characters anywhere";
            return Err(SpecError::unsupported("max_tokens", Some(fields.at), message));
        }
        let max_chars = fields.count("max_tokens")?.or(fields.count("max_chars")?);
        if let Some(max) = max_chars {
            check_limit("characters of an any_text", max as usize, MAX_COUNT)?;
        }
        let mut strings = fields.texts("excludes")?;
        strings.extend(ends.strings.iter().cloned());
        Ok(self.rules.add(Node::Without { strings, max_chars, at: fields.at.to_string() }))
    }

    fn sequence(
        &mut self,
        fields: Fields<'_>,
        ends: &Ends,
        tail: Option<NodeId>,
    ) -> Result<NodeId, SpecError> {
        let elements = fields.known(&["elements"])?.list("elements")?;
        let mut items = Vec::new();
        for (idx, element) in elements.iter().enumerate() {
            let at = format!("{}/elements/{idx}", fields.at);
            let tail = tail.filter(|_| idx + 1 == elements.len());
            items.push(self.format(element, &at, ends, tail)?);
        }
        if elements.is_empty() {
            items.extend(tail);
        }
        Ok(self.rules.seq(items))
    }

    fn either(&mut self, fields: Fields<'_>, ends: &Ends) -> Result<NodeId, SpecError> {
        let elements = fields.known(&["elements"])?.some("elements")?;
        let mut items = Vec::new();
        for (idx, element) in elements.iter().enumerate() {
            let at = format!("{}/elements/{idx}", fields.at);
            items.push(self.format(element, &at, ends, None)?);
        }
        Ok(self.rules.alt(items))
    }

    fn repeat(
        &mut self,
        fields: Fields<'_>,
        ends: &Ends,
        min: u32,
        max: Option<u32>,
    ) -> Result<NodeId, SpecError> {
        let item = self.format(fields.get("content")?, &fields.pointer("content"), ends, None)?;
        Ok(self.rules.add(Node::Repeat(item, min, max)))
    }

    fn counted(&mut self, fields: Fields<'_>, ends: &Ends) -> Result<NodeId, SpecError> {
        let fields = fields.known(&["content", "min", "max"])?;
        let min = fields.count("min")?.ok_or_else(|| wrong(fields.at, "wanted a field `min`"))?;
        let max = match fields.get("max")?.as_i64() {
            Some(-1) => None,
            _ => fields.count("max")?,
        };
        if max.is_some_and(|max| max < min) {
            return Err(wrong(&fields.pointer("max"), &format!("it is less than `min`, {min}")));
        }
        let found = max.unwrap_or(min) as usize;
        check_limit("repetitions of a part", found, MAX_COUNT)?;
        self.repeat(fields, ends, min, max)
    }
}
