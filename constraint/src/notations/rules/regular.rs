//! Finds the regular parts of a grammar and measures its depth.

use std::collections::HashMap;
use std::fmt::Write;

use super::{Node, NodeId, ROOT, RuleId, Rules};
use crate::error::SpecError;
use crate::limits::check_limit;
use crate::regex::push_literal;

/// The most bytes of one regular part with the rules it refers to inlined.
const MAX_REGULAR_BYTES: usize = 64 << 10;

/// For each node, whether it is regular and so could become a terminal.
pub(super) struct Regular {
    nodes: Vec<bool>,
    /// The rules reachable from the root, each after the rules it refers to, except in cycles.
    order: Vec<RuleId>,
}

impl Regular {
    pub(super) fn get(&self, node: NodeId) -> bool {
        self.nodes.get(node.0 as usize).copied().unwrap_or(false)
    }
}

/// A step of a walk. Its stack is explicit, because the depth is what is being bounded.
enum Visit {
    Enter(NodeId, usize),
    Leave(RuleId),
}

impl Rules {
    /// Returns the nesting depth of rules and groups along the path by which the engine first
    /// visits each rule; it visits each only once.
    pub(super) fn depth(&self) -> usize {
        let mut deepest = 0;
        self.walk(|_, depth| deepest = deepest.max(depth), |_| {});
        deepest
    }

    /// Visits every node reachable from the root in the order of the text, each rule once.
    fn walk(&self, mut visit: impl FnMut(NodeId, usize), mut leave: impl FnMut(RuleId)) {
        let mut seen = vec![false; self.bodies.len()];
        seen[0] = true;
        let mut todo = vec![Visit::Leave(ROOT), Visit::Enter(self.body(ROOT), 1)];
        while let Some(step) = todo.pop() {
            let (id, depth) = match step {
                Visit::Enter(id, depth) => (id, depth),
                Visit::Leave(rule) => {
                    leave(rule);
                    continue;
                }
            };
            visit(id, depth);
            if let &Node::Rule(rule) = self.node(id)
                && !std::mem::replace(&mut seen[rule.0 as usize], true)
            {
                todo.push(Visit::Leave(rule));
                todo.push(Visit::Enter(self.body(rule), depth + 1));
            }
            todo.extend(
                self.node(id).children().iter().rev().map(|&item| Visit::Enter(item, depth + 1)),
            );
        }
    }

    /// Finds the regular nodes: all except those in `split` and those that lead to a token, a value
    /// or themselves.
    pub(super) fn regular(&self, split: impl Fn(NodeId) -> bool) -> Regular {
        let mut order = Vec::new();
        self.walk(|_, _| {}, |rule| order.push(rule));
        let mut found = Regular { nodes: vec![false; self.nodes.len()], order };
        let mut rules = vec![false; self.bodies.len()];
        for idx in 0..found.order.len() {
            let rule = found.order[idx];
            // A rule in a cycle refers to one that is not done yet, and so does not count as
            // regular.
            rules[rule.0 as usize] = self.mark(self.body(rule), &rules, &split, &mut found.nodes);
        }
        found
    }

    /// Returns the rules that no text can complete.
    pub(crate) fn endless(&self) -> Vec<RuleId> {
        let mut ends = vec![false; self.bodies.len()];
        // Each rule waits for those it refers to, and is checked again when one of them is found to
        // end.
        let mut users: Vec<Vec<usize>> = vec![Vec::new(); self.bodies.len()];
        for (idx, body) in self.bodies.iter().enumerate() {
            let mut todo = vec![*body];
            while let Some(id) = todo.pop() {
                if let Node::Rule(named) = self.node(id) {
                    users[named.0 as usize].push(idx);
                }
                todo.extend(self.node(id).children());
            }
        }
        let mut todo: Vec<usize> = (0..self.bodies.len()).collect();
        while let Some(idx) = todo.pop() {
            if !ends[idx] && self.may_end(self.bodies[idx], &ends) {
                ends[idx] = true;
                todo.extend(&users[idx]);
            }
        }
        let id = |idx| RuleId(u32::try_from(idx).expect("made from such a number"));
        (0..ends.len()).filter(|&idx| !ends[idx]).map(id).collect()
    }

    fn may_end(&self, id: NodeId, ends: &[bool]) -> bool {
        match self.node(id) {
            Node::Rule(rule) => ends[rule.0 as usize],
            Node::Seq(items) => items.iter().all(|&item| self.may_end(item, ends)),
            Node::Alt(items) => items.iter().any(|&item| self.may_end(item, ends)),
            Node::Repeat(item, min, _) => *min == 0 || self.may_end(*item, ends),
            _ => true,
        }
    }

    fn mark(
        &self,
        id: NodeId,
        rules: &[bool],
        split: &impl Fn(NodeId) -> bool,
        nodes: &mut [bool],
    ) -> bool {
        let mut all = true;
        for &item in self.node(id).children() {
            all &= self.mark(item, rules, split, nodes);
        }
        let own = match self.node(id) {
            Node::Tokens { .. } | Node::Json { .. } => false,
            Node::Rule(rule) => rules[rule.0 as usize],
            _ => true,
        };
        let regular = all && own && !split(id);
        nodes[id.0 as usize] = regular;
        regular
    }

    /// Returns whether a regular node contains a [`Node::Without`], which a plain regex cannot
    /// express. Rules are not followed: they come from notations that have none.
    pub(super) fn has_without(&self, id: NodeId) -> bool {
        match self.node(id) {
            Node::Without { strings, .. } => !strings.is_empty(),
            other => other.children().iter().any(|&item| self.has_without(item)),
        }
    }

    /// Writes a regular node as a regex.
    pub(super) fn regex(&self, id: NodeId) -> Result<String, SpecError> {
        let mut out = String::new();
        let mut done = HashMap::new();
        self.push_regex(id, &mut out, &mut done)?;
        Ok(out)
    }

    fn push_regex(
        &self,
        id: NodeId,
        out: &mut String,
        done: &mut HashMap<RuleId, String>,
    ) -> Result<(), SpecError> {
        check_limit("bytes of a regular part", out.len(), MAX_REGULAR_BYTES)?;
        match self.node(id) {
            Node::Literal(text) => push_literal(out, text),
            Node::Class { negated, ranges } => push_class(out, *negated, ranges),
            Node::Regex { pattern, .. } => {
                out.push_str("(?:");
                out.push_str(pattern);
                out.push(')');
            }
            Node::Without { max_chars, .. } => push_any(out, *max_chars),
            Node::Rule(rule) => {
                if let Some(text) = done.get(rule) {
                    out.push_str(text);
                    return check_limit("bytes of a regular part", out.len(), MAX_REGULAR_BYTES);
                }
                let start = out.len();
                self.push_regex(self.body(*rule), out, done)?;
                done.insert(*rule, out[start..].to_string());
            }
            Node::Seq(items) => {
                for &item in items {
                    self.push_regex(item, out, done)?;
                }
            }
            Node::Alt(items) => {
                out.push_str("(?:");
                for (idx, &item) in items.iter().enumerate() {
                    if idx > 0 {
                        out.push('|');
                    }
                    self.push_regex(item, out, done)?;
                }
                out.push(')');
            }
            Node::Repeat(item, min, max) => {
                out.push_str("(?:");
                self.push_regex(*item, out, done)?;
                out.push(')');
                out.push_str(&times(*min, *max));
            }
            Node::Tokens { .. } | Node::Json { .. } => unreachable!("not regular"),
        }
        Ok(())
    }
}

/// Writes a repetition count for a regex or for the engine's notation.
pub(super) fn times(min: u32, max: Option<u32>) -> String {
    match (min, max) {
        (0, None) => "*".to_string(),
        (1, None) => "+".to_string(),
        (0, Some(1)) => "?".to_string(),
        (min, None) => format!("{{{min},}}"),
        (min, Some(max)) => format!("{{{min},{max}}}"),
    }
}

pub(super) fn push_any(out: &mut String, max_chars: Option<u32>) {
    match max_chars {
        None => out.push_str("(?s:.)*"),
        Some(max) => write!(out, "(?s:.){{0,{max}}}").expect("a string takes all writes"),
    }
}

fn push_class(out: &mut String, negated: bool, ranges: &[(char, char)]) {
    if ranges.is_empty() {
        out.push_str(if negated { "(?s:.)" } else { "[a&&b]" });
        return;
    }
    out.push_str(if negated { "[^" } else { "[" });
    for &(low, high) in ranges {
        push_literal(out, low.encode_utf8(&mut [0; 4]));
        if high > low {
            out.push('-');
            push_literal(out, high.encode_utf8(&mut [0; 4]));
        }
    }
    out.push(']');
}
