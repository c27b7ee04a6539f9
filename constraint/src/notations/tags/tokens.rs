//! Formats of whole tokens.

use serde_json::Value;

use super::fields::{Fields, wrong};
use super::{Ends, Reader};
use crate::TokenId;
use crate::error::SpecError;
use crate::limits::check_limit;
use crate::notations::rules::{Node, NodeId};

impl Reader<'_> {
    /// Returns the token with a number or a name.
    pub(super) fn token_id(&self, value: &Value, at: &str) -> Result<TokenId, SpecError> {
        let unknown =
            |name: &str| SpecError::UnknownToken { name: name.to_string(), at: at.to_string() };
        match value {
            Value::Number(number) => {
                let id = number.as_u64().and_then(|id| TokenId::try_from(id).ok());
                let known = id.filter(|&id| self.tokens.vocab.contains(id));
                known.ok_or_else(|| unknown(&number.to_string()))
            }
            Value::String(name) => self.tokens.vocab.token_named(name).ok_or_else(|| unknown(name)),
            _ => Err(wrong(at, "wanted a token's number or name")),
        }
    }

    fn token_ids(&self, fields: Fields<'_>, name: &str) -> Result<Vec<TokenId>, SpecError> {
        if !fields.has(name) {
            return Ok(Vec::new());
        }
        let id = |(idx, value)| self.token_id(value, &format!("{}/{idx}", fields.pointer(name)));
        fields.list(name)?.iter().enumerate().map(id).collect()
    }

    pub(super) fn token(&mut self, fields: Fields<'_>) -> Result<NodeId, SpecError> {
        let pointer = fields.pointer("token");
        let id = self.token_id(fields.known(&["token"])?.get("token")?, &pointer)?;
        self.one_token(id, &pointer)
    }

    fn one_token(&mut self, id: TokenId, at: &str) -> Result<NodeId, SpecError> {
        if self.tokens.vocab.is_eos(id) {
            let message = "it ends the output, so no format may use it";
            return Err(SpecError::unsupported(&format!("token {id}"), Some(at), message));
        }
        let is_text = !self.tokens.vocab.token_bytes(id).is_empty();
        Ok(self.rules.add(Node::Tokens { ranges: vec![(id, id)], is_text, at: at.to_string() }))
    }

    /// Makes a part of any one token, except those excluded, those that end the enclosing tag, and
    /// `more`.
    pub(super) fn other_token(
        &mut self,
        fields: Fields<'_>,
        ends: &Ends,
        more: &[TokenId],
    ) -> Result<NodeId, SpecError> {
        let mut excluded = self.token_ids(fields, "exclude_tokens")?;
        excluded.extend(&ends.tokens);
        excluded.extend(more);
        let excluded = excluded.into_iter().map(|id| (id, id)).collect();
        let ranges = self.tokens.get(excluded, false)?;
        Ok(self.rules.add(Node::Tokens { ranges, is_text: true, at: fields.at.to_string() }))
    }

    pub(super) fn any_tokens(
        &mut self,
        fields: Fields<'_>,
        ends: &Ends,
    ) -> Result<NodeId, SpecError> {
        let fields = fields.known(&["exclude_tokens", "max_tokens"])?;
        let max = fields.count("max_tokens")?;
        check_limit("tokens of an any_tokens", max.unwrap_or(0) as usize, super::MAX_COUNT)?;
        let one = self.other_token(fields, ends, &[])?;
        Ok(self.rules.add(Node::Repeat(one, 0, max)))
    }

    pub(super) fn token_triggered(
        &mut self,
        fields: Fields<'_>,
        ends: &Ends,
    ) -> Result<NodeId, SpecError> {
        let fields = fields.known(&[
            "trigger_tokens",
            "tags",
            "exclude_tokens",
            "at_least_one",
            "stop_after_first",
        ])?;
        let triggers = self.token_ids(fields, "trigger_tokens")?;
        let mut tags = Vec::new();
        for (idx, tag) in fields.some("tags")?.iter().enumerate() {
            let at = format!("{}/tags/{idx}", fields.at);
            let tag = Fields::new(tag, &at)?;
            let pointer = tag.pointer("begin");
            let begin = Fields::new(tag.get("begin")?, &pointer)?;
            let id = self.token_id(begin.get("token")?, &pointer)?;
            if !triggers.contains(&id) {
                return Err(wrong(&pointer, "it is not a trigger"));
            }
            tags.push(self.tag(tag)?);
        }
        let other = self.other_token(fields, ends, &triggers)?;
        let is_last = fields.flag("stop_after_first", false)?;
        let is_first = fields.flag("at_least_one", false)?;
        Ok(self.mixed_tokens(other, tags, is_first, is_last))
    }

    pub(super) fn token_dispatch(
        &mut self,
        fields: Fields<'_>,
        ends: &Ends,
    ) -> Result<NodeId, SpecError> {
        let fields = fields.known(&["rules", "loop", "exclude_tokens"])?;
        let (mut triggers, mut steps) = (Vec::new(), Vec::new());
        for (idx, rule) in fields.list("rules")?.iter().enumerate() {
            let at = format!("{}/rules/{idx}", fields.at);
            let Some([token, format]) = rule.as_array().map(Vec::as_slice) else {
                return Err(wrong(&at, "wanted a token and a format"));
            };
            let id = self.token_id(token, &format!("{at}/0"))?;
            let begin = self.one_token(id, &format!("{at}/0"))?;
            let rest = self.format(format, &format!("{at}/1"), ends, None)?;
            triggers.push(id);
            steps.push(self.rules.seq(vec![begin, rest]));
        }
        let other = self.other_token(fields, ends, &triggers)?;
        let is_last = !fields.flag("loop", true)?;
        Ok(self.mixed_tokens(other, steps, false, is_last))
    }

    fn mixed_tokens(
        &mut self,
        other: NodeId,
        steps: Vec<NodeId>,
        is_first: bool,
        is_last: bool,
    ) -> NodeId {
        let step = self.rules.alt(steps);
        if is_first && is_last {
            return step;
        }
        let rest = if is_last {
            let free = self.rules.add(Node::Repeat(other, 0, None));
            let step = self.rules.add(Node::Repeat(step, 0, Some(1)));
            self.rules.seq(vec![free, step])
        } else {
            let any = self.rules.alt(vec![other, step]);
            self.rules.add(Node::Repeat(any, 0, None))
        };
        if is_first { self.rules.seq(vec![step, rest]) } else { rest }
    }
}
