//! Turns recursion that is only repetition into repetition: `a ::= x a | y` becomes `x* y`.
//!
//! The engine needs a whole row of items for each step of a right recursion, and a rule that refers
//! to itself cannot be a terminal even if it is regular.

use super::{Node, NodeId, RuleId, Rules};

/// The end of an alternative at which a rule refers to itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Left,
    Right,
}

impl Rules {
    /// Replaces recursion at one end of a rule's alternatives by repetition.
    pub(super) fn unroll(&mut self) {
        for idx in 0..self.bodies.len() {
            let rule = RuleId(u32::try_from(idx).expect("made from such a number"));
            for end in [End::Right, End::Left] {
                if let Some(body) = self.unrolled(rule, end) {
                    self.define(rule, body);
                }
            }
        }
    }

    /// Returns the new body of a rule if it refers to itself only at this end of its alternatives.
    fn unrolled(&mut self, rule: RuleId, end: End) -> Option<NodeId> {
        let mut steps = Vec::new();
        let mut ends = Vec::new();
        for option in self.options(self.body(rule)) {
            match self.without_end(&option, rule, end) {
                Some(step) => steps.push(step),
                None => ends.push(option),
            }
        }
        let all = || steps.iter().chain(&ends).flatten();
        // A rule without another alternative never ends; that error is reported elsewhere.
        if steps.is_empty() || ends.is_empty() || all().any(|&item| self.names(item, rule)) {
            return None;
        }
        let steps = self.alternatives(steps);
        let repeat = self.add(Node::Repeat(steps, 0, None));
        let rest = self.alternatives(ends);
        let items = match end {
            End::Right => vec![repeat, rest],
            End::Left => vec![rest, repeat],
        };
        Some(self.add(Node::Seq(items)))
    }

    /// Returns a rule's alternatives as sequences. An optional body counts as two alternatives.
    fn options(&self, id: NodeId) -> Vec<Vec<NodeId>> {
        match self.node(id) {
            Node::Alt(items) => items.iter().flat_map(|&item| self.options(item)).collect(),
            Node::Repeat(item, 0, Some(1)) => {
                let mut options = self.options(*item);
                options.push(Vec::new());
                options
            }
            Node::Seq(items) if items.len() == 1 => self.options(items[0]),
            Node::Seq(items) => vec![items.clone()],
            _ => vec![vec![id]],
        }
    }

    fn without_end(&self, option: &[NodeId], rule: RuleId, end: End) -> Option<Vec<NodeId>> {
        let (last, rest) = match end {
            End::Right => option.split_last()?,
            End::Left => option.split_first()?,
        };
        (*self.node(*last) == Node::Rule(rule)).then(|| rest.to_vec())
    }

    /// Returns whether a node itself refers to the rule, not counting the rules that it refers to.
    fn names(&self, id: NodeId, rule: RuleId) -> bool {
        let mut todo = vec![id];
        while let Some(id) = todo.pop() {
            if *self.node(id) == Node::Rule(rule) {
                return true;
            }
            todo.extend(self.node(id).children());
        }
        false
    }

    fn alternatives(&mut self, options: Vec<Vec<NodeId>>) -> NodeId {
        let options = options.into_iter().map(|items| self.add(Node::Seq(items))).collect();
        self.add(Node::Alt(options))
    }
}
