//! Extracts the regular parts of a grammar; rules over terminals remain.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use llguidance::derivre::RegexAst;

use super::regular::{Regular, push_any};
use super::split::Split;
use super::{Node, NodeId, ROOT, RuleId, Rules};
use crate::error::SpecError;
use crate::regex::push_literal;

/// The body of a rule over terminals.
#[derive(Debug)]
pub(super) enum Part {
    Terminal(usize),
    Rule(RuleId),
    Seq(Vec<Part>),
    Alt(Vec<Part>),
    Repeat(Box<Part>, u32, Option<u32>),
}

/// What the lexer or an embedded grammar recognises as a unit.
pub(super) struct Terminal {
    /// The node from which it was made.
    pub(super) node: NodeId,
    pub(super) kind: TerminalKind,
}

pub(super) enum TerminalKind {
    Text(RegexAst),
    Tokens,
    Json,
}

/// Rules over terminals; each remaining rule with its body.
pub(super) struct Skeleton {
    pub(super) terminals: Vec<Terminal>,
    pub(super) rules: Vec<(RuleId, Part)>,
}

struct Builder<'a> {
    rules: &'a mut Rules,
    split: &'a Split,
    regular: Regular,
    terminals: Vec<Terminal>,
    by_node: HashMap<NodeId, usize>,
    /// The rules found so far, in order.
    met: Vec<RuleId>,
    is_met: HashSet<RuleId>,
}

impl Rules {
    /// Extracts the regular parts; adjacent ones are merged.
    pub(super) fn skeleton(&mut self, split: &Split) -> Result<Skeleton, SpecError> {
        let regular = self.regular(|node| split.contains(node));
        let mut builder = Builder {
            rules: self,
            split,
            regular,
            terminals: Vec::new(),
            by_node: HashMap::new(),
            met: vec![ROOT],
            is_met: HashSet::from([ROOT]),
        };
        let mut rules = Vec::new();
        while let Some(&rule) = builder.met.get(rules.len()) {
            let body = builder.rules.body(rule);
            rules.push((rule, builder.part(body)?));
        }
        Ok(Skeleton { terminals: builder.terminals, rules })
    }

    /// Returns the engine's regex of a regular node, for analysis.
    fn ast(&self, id: NodeId) -> Result<RegexAst, SpecError> {
        if !self.has_without(id) {
            return Ok(RegexAst::Regex(self.regex(id)?));
        }
        let all = |items: &[NodeId]| -> Result<Vec<RegexAst>, SpecError> {
            items.iter().map(|&item| self.ast(item)).collect()
        };
        Ok(match self.node(id) {
            Node::Seq(items) => RegexAst::Concat(all(items)?),
            Node::Alt(items) => RegexAst::Or(all(items)?),
            Node::Repeat(item, min, max) => {
                RegexAst::Repeat(Box::new(self.ast(*item)?), *min, max.unwrap_or(u32::MAX))
            }
            Node::Without { strings, max_chars, .. } => RegexAst::And(vec![
                RegexAst::Regex(any(*max_chars)),
                RegexAst::Not(Box::new(RegexAst::Regex(holding(strings)))),
            ]),
            _ => unreachable!("holds no text without strings"),
        })
    }

    /// Writes a regular node in the engine's notation.
    pub(super) fn lark(&self, id: NodeId) -> Result<String, SpecError> {
        if !self.has_without(id) {
            let regex = self.regex(id)?;
            // Between slashes an empty regex would be a comment.
            return Ok(if regex.is_empty() {
                "\"\"".to_string()
            } else {
                format!("/{}/", llguidance::regex_to_lark(&regex, ""))
            });
        }
        let all = |items: &[NodeId], between: &str| -> Result<String, SpecError> {
            let items: Result<Vec<_>, _> = items.iter().map(|&item| self.lark(item)).collect();
            Ok(format!("({})", items?.join(between)))
        };
        match self.node(id) {
            Node::Seq(items) => all(items, " "),
            Node::Alt(items) => all(items, " | "),
            Node::Repeat(item, min, max) => {
                Ok(format!("({}){}", self.lark(*item)?, super::regular::times(*min, *max)))
            }
            Node::Without { .. } => Ok(format!("W{}", id.0)),
            _ => unreachable!("holds no text without strings"),
        }
    }

    /// Writes the terminals by which regular nodes refer to a [`Node::Without`]; many tags share
    /// one.
    pub(super) fn lark_without(&self) -> String {
        let mut out = String::new();
        for (idx, node) in self.nodes.iter().enumerate() {
            if let Node::Without { strings, max_chars, .. } = node
                && !strings.is_empty()
            {
                let any = any(*max_chars);
                writeln!(out, "W{idx}: /{any}/ & ~/{}/", holding(strings))
                    .expect("a string takes all writes");
            }
        }
        out
    }
}

fn any(max_chars: Option<u32>) -> String {
    let mut out = String::new();
    push_any(&mut out, max_chars);
    out
}

/// Returns a regex of the texts that contain one of the strings.
fn holding(strings: &[String]) -> String {
    let mut out = "(?s:.)*(?:".to_string();
    for (idx, text) in strings.iter().enumerate() {
        if idx > 0 {
            out.push('|');
        }
        push_literal(&mut out, text);
    }
    out.push_str(")(?s:.)*");
    out
}

impl Builder<'_> {
    fn part(&mut self, id: NodeId) -> Result<Part, SpecError> {
        if self.regular.get(id) {
            return self.text(id);
        }
        match self.rules.node(id).clone() {
            Node::Tokens { .. } => Ok(self.terminal(id, TerminalKind::Tokens)),
            Node::Json { .. } => Ok(self.terminal(id, TerminalKind::Json)),
            Node::Rule(rule) => {
                if self.is_met.insert(rule) {
                    self.met.push(rule);
                }
                Ok(Part::Rule(rule))
            }
            Node::Seq(items) => {
                let items = self.flat(&items);
                self.runs(&items, Node::Seq).map(Part::Seq)
            }
            Node::Alt(items) => {
                // The order of alternatives is irrelevant, so the regular ones are grouped.
                let (text, rest): (Vec<_>, Vec<_>) =
                    items.into_iter().partition(|&item| self.regular.get(item));
                let items: Vec<NodeId> = text.into_iter().chain(rest).collect();
                self.runs(&items, Node::Alt).map(Part::Alt)
            }
            Node::Repeat(item, min, max) => Ok(Part::Repeat(Box::new(self.part(item)?), min, max)),
            Node::Literal(_) | Node::Class { .. } | Node::Regex { .. } | Node::Without { .. } => {
                unreachable!("regular, and never split")
            }
        }
    }

    /// Flattens nested sequences, so that all neighbours are adjacent.
    fn flat(&self, items: &[NodeId]) -> Vec<NodeId> {
        let mut out = Vec::new();
        for &item in items {
            match self.rules.node(item) {
                Node::Seq(inner) if !self.regular.get(item) && !self.split.contains(item) => {
                    out.extend(self.flat(inner));
                }
                _ => out.push(item),
            }
        }
        out
    }

    /// Makes one terminal of each run of regular neighbours, unless it was split.
    fn runs(
        &mut self,
        items: &[NodeId],
        join: fn(Vec<NodeId>) -> Node,
    ) -> Result<Vec<Part>, SpecError> {
        let mut parts = Vec::new();
        for run in items
            .chunk_by(|&a, &b| self.regular.get(a) && self.regular.get(b))
            .map(<[_]>::to_vec)
            .collect::<Vec<_>>()
        {
            if run.len() == 1 {
                parts.push(self.part(run[0])?);
                continue;
            }
            let joined = join(run.clone());
            let node = match self.split.joined(&joined) {
                Some(node) => node,
                None => self.rules.add(joined),
            };
            if self.split.contains(node) {
                for item in run {
                    parts.push(self.part(item)?);
                }
            } else {
                parts.push(self.text(node)?);
            }
        }
        Ok(parts)
    }

    /// Makes the terminal of a regular node; all uses of a rule share it.
    fn text(&mut self, mut id: NodeId) -> Result<Part, SpecError> {
        while let Node::Rule(rule) = *self.rules.node(id) {
            id = self.rules.body(rule);
        }
        if let Some(&known) = self.by_node.get(&id) {
            return Ok(Part::Terminal(known));
        }
        let kind = TerminalKind::Text(self.rules.ast(id)?);
        Ok(self.terminal(id, kind))
    }

    fn terminal(&mut self, node: NodeId, kind: TerminalKind) -> Part {
        self.by_node.insert(node, self.terminals.len());
        self.terminals.push(Terminal { node, kind });
        Part::Terminal(self.terminals.len() - 1)
    }
}
