//! Tags, and free text with tags in it.

use serde_json::Value;

use super::fields::{Fields, wrong};
use super::{Ends, Reader};
use crate::error::SpecError;
use crate::notations::rules::{Node, NodeId};

/// Free text without triggers, excluded strings, or the end of the tag around it.
struct Free {
    text: NodeId,
    at: String,
}

impl Reader<'_> {
    pub(super) fn tag(&mut self, fields: Fields<'_>) -> Result<NodeId, SpecError> {
        let begin = match fields.get("begin")? {
            Value::String(text) => self.literal(text),
            token => self.token(Fields::new(token, &fields.pointer("begin"))?)?,
        };
        let rest = self.after_begin(fields)?;
        Ok(self.rules.seq(vec![begin, rest]))
    }

    /// Reads the content and the end of a tag.
    fn after_begin(&mut self, fields: Fields<'_>) -> Result<NodeId, SpecError> {
        let fields = fields.known(&["begin", "content", "end"])?;
        let mut ends = Ends::default();
        let pointer = fields.pointer("end");
        let end = match fields.get("end")? {
            Value::Object(_) => {
                let token = Fields::new(fields.get("end")?, &pointer)?;
                ends.tokens.push(self.token_id(token.get("token")?, &pointer)?);
                self.token(token)?
            }
            Value::String(text) => self.ends(&mut ends, std::slice::from_ref(text)),
            Value::Array(texts) => {
                let text = |value: &Value| value.as_str().map(str::to_string);
                let texts: Option<Vec<String>> = texts.iter().map(text).collect();
                let texts = texts.filter(|texts| !texts.is_empty());
                let texts = texts.ok_or_else(|| wrong(&pointer, "wanted strings"))?;
                self.ends(&mut ends, &texts)
            }
            _ => return Err(wrong(&pointer, "wanted a string, strings or a token")),
        };
        let pointer = fields.pointer("content");
        self.format(fields.get("content")?, &pointer, &ends, Some(end))
    }

    fn ends(&mut self, ends: &mut Ends, texts: &[String]) -> NodeId {
        ends.strings = texts.iter().filter(|text| !text.is_empty()).cloned().collect();
        let items = texts.iter().map(|text| self.literal(text)).collect();
        self.rules.alt(items)
    }

    pub(super) fn separated(&mut self, fields: Fields<'_>) -> Result<NodeId, SpecError> {
        let fields = fields.known(&["tags", "separator", "at_least_one", "stop_after_first"])?;
        let mut tags = Vec::new();
        for (idx, tag) in fields.some("tags")?.iter().enumerate() {
            tags.push(self.tag(Fields::new(tag, &format!("{}/tags/{idx}", fields.at))?)?);
        }
        let one = self.rules.alt(tags);
        let mut all = one;
        if !fields.flag("stop_after_first", false)? {
            let separator = self.literal(fields.text("separator")?);
            let more = self.rules.seq(vec![separator, one]);
            let more = self.rules.add(Node::Repeat(more, 0, None));
            all = self.rules.seq(vec![one, more]);
        }
        let is_needed = fields.flag("at_least_one", false)?;
        Ok(if is_needed { all } else { self.rules.add(Node::Repeat(all, 0, Some(1))) })
    }

    pub(super) fn triggered(
        &mut self,
        fields: Fields<'_>,
        ends: &Ends,
        tail: Option<NodeId>,
    ) -> Result<NodeId, SpecError> {
        let fields =
            fields.known(&["triggers", "tags", "at_least_one", "stop_after_first", "excludes"])?;
        let mut tags = Vec::new();
        for (idx, tag) in fields.some("tags")?.iter().enumerate() {
            let at = format!("{}/tags/{idx}", fields.at);
            let tag = Fields::new(tag, &at)?;
            tags.push((
                tag.text("begin")?.to_string(),
                tag.pointer("begin"),
                self.after_begin(tag)?,
            ));
        }
        let triggers = fields.texts("triggers")?;
        let free = self.free(&triggers, fields, ends)?;
        let (steps, whole) = self.led_to(&triggers, &free, tags)?;
        let is_last = fields.flag("stop_after_first", false)?;
        let first = fields.flag("at_least_one", false)?.then(|| self.rules.alt(whole));
        Ok(self.mixed(&free, steps, &Shape { first, is_last, tail }))
    }

    /// Combines tags, each given as its beginning and the rest, with their triggers. Returns the
    /// tags as they follow free text, and the tags as they stand alone.
    fn led_to(
        &mut self,
        triggers: &[String],
        free: &Free,
        tags: Vec<(String, String, NodeId)>,
    ) -> Result<(Vec<NodeId>, Vec<NodeId>), SpecError> {
        check_apart(triggers, &format!("{}/triggers", free.at))?;
        let mut rests: Vec<Vec<NodeId>> = vec![Vec::new(); triggers.len()];
        for (begin, pointer, rest) in tags {
            let fitting = triggers.iter().position(|trigger| begin.starts_with(trigger.as_str()));
            let idx = fitting.ok_or_else(|| wrong(&pointer, "it does not begin with a trigger"))?;
            let more = self.literal(&begin[triggers[idx].len()..]);
            rests[idx].push(self.rules.seq(vec![more, rest]));
        }
        let (mut steps, mut whole) = (Vec::new(), Vec::new());
        for (trigger, rests) in triggers.iter().zip(rests).filter(|(_, rests)| !rests.is_empty()) {
            let rest = self.rules.alt(rests);
            steps.push(self.step(free, trigger, rest));
            let first = self.literal(trigger);
            whole.push(self.rules.seq(vec![first, rest]));
        }
        Ok((steps, whole))
    }

    pub(super) fn dispatch(
        &mut self,
        fields: Fields<'_>,
        ends: &Ends,
        tail: Option<NodeId>,
    ) -> Result<NodeId, SpecError> {
        let fields = fields.known(&["rules", "loop", "excludes"])?;
        let mut rules = Vec::new();
        for (idx, rule) in fields.list("rules")?.iter().enumerate() {
            match rule.as_array().map(Vec::as_slice) {
                Some([Value::String(text), format]) if !text.is_empty() => {
                    rules.push((text.clone(), format));
                }
                _ => {
                    let at = format!("{}/rules/{idx}", fields.at);
                    return Err(wrong(&at, "wanted a string that is not empty, and a format"));
                }
            }
        }
        let patterns: Vec<String> = rules.iter().map(|(text, _)| text.clone()).collect();
        check_apart(&patterns, &fields.pointer("rules"))?;
        let free = self.free(&patterns, fields, ends)?;
        let mut steps = Vec::new();
        for (idx, (pattern, format)) in rules.iter().enumerate() {
            let at = format!("{}/rules/{idx}/1", fields.at);
            let rest = self.format(format, &at, ends, None)?;
            steps.push(self.step(&free, pattern, rest));
        }
        let is_last = !fields.flag("loop", true)?;
        Ok(self.mixed(&free, steps, &Shape { first: None, is_last, tail }))
    }

    fn free(
        &mut self,
        patterns: &[String],
        fields: Fields<'_>,
        ends: &Ends,
    ) -> Result<Free, SpecError> {
        if patterns.is_empty() {
            return Err(wrong(fields.at, "wanted at least one text that leads on"));
        }
        let mut strings = patterns.to_vec();
        strings.extend(fields.texts("excludes")?);
        strings.extend(ends.strings.iter().cloned());
        let at = fields.at.to_string();
        let text = self.rules.add(Node::Without { strings, max_chars: None, at: at.clone() });
        Ok(Free { text, at })
    }

    /// Makes free text up to and including `pattern`, followed by `rest`.
    fn step(&mut self, free: &Free, pattern: &str, rest: NodeId) -> NodeId {
        let pattern = self.literal(pattern);
        self.rules.seq(vec![free.text, pattern, rest])
    }

    /// Makes any number of steps with free text after them, or at most one step if that is the
    /// last.
    fn mixed(&mut self, free: &Free, steps: Vec<NodeId>, shape: &Shape) -> NodeId {
        let &Shape { first, is_last, tail } = shape;
        // Text and its end string become one terminal, so each exit has its own copy of the tail.
        let end = |reader: &mut Self, mut items: Vec<NodeId>| {
            items.extend(tail);
            reader.rules.seq(items)
        };
        if let (Some(first), true) = (first, is_last) {
            return end(self, vec![first]);
        }
        let step = self.rules.alt(steps);
        let text = free.text;
        if is_last {
            let (text, step) = (end(self, vec![text]), end(self, vec![step]));
            return self.rules.alt(vec![text, step]);
        }
        let steps = self.rules.add(Node::Repeat(step, 0, None));
        let mut items: Vec<NodeId> = first.into_iter().collect();
        items.extend([steps, text]);
        end(self, items)
    }

    /// Reads the older form: `structures` of begin, schema and end, and `triggers`.
    pub(super) fn structures(&mut self, fields: Fields<'_>) -> Result<NodeId, SpecError> {
        let fields = fields.known(&["structures", "triggers"])?;
        let mut tags = Vec::new();
        for (idx, structure) in fields.some("structures")?.iter().enumerate() {
            let at = format!("/structures/{idx}");
            let part = Fields::new(structure, &at)?.known(&["begin", "schema", "end"])?;
            let content = self.schema(part.get("schema")?, &part.pointer("schema"))?;
            let end = self.literal(part.text("end")?);
            let rest = self.rules.seq(vec![content, end]);
            tags.push((part.text("begin")?.to_string(), part.pointer("begin"), rest));
        }
        let triggers = fields.texts("triggers")?;
        let free = self.free(&triggers, fields, &Ends::default())?;
        let (steps, _) = self.led_to(&triggers, &free, tags)?;
        Ok(self.mixed(&free, steps, &Shape { first: None, is_last: false, tail: None }))
    }
}

/// How text and steps may follow each other.
struct Shape {
    /// What must come first.
    first: Option<NodeId>,
    /// Whether nothing may follow a step.
    is_last: bool,
    tail: Option<NodeId>,
}

/// Refuses patterns of which one begins with another, since the shorter one would always match
/// first.
fn check_apart(patterns: &[String], at: &str) -> Result<(), SpecError> {
    for (idx, pattern) in patterns.iter().enumerate() {
        for (other_idx, other) in patterns.iter().enumerate() {
            if idx != other_idx && other.starts_with(pattern) {
                let message = format!("{pattern:?} is the beginning of {other:?}");
                return Err(SpecError::unsupported("triggers", Some(at), &message));
            }
        }
    }
    Ok(())
}
