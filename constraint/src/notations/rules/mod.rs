//! Context-free grammars, and how they become grammars of the engine.
//!
//! Other notations are read into [`Rules`], a plain tree in an arena. The engine first cuts text
//! into lexemes, each as long as can be, and then parses those; its cost is one row for each
//! lexeme. So the largest regular parts become one terminal each, and where a terminal would
//! swallow what should follow it, it is taken apart until it does not. What cannot be taken apart
//! is an error: a grammar compiled here accepts exactly the texts that its notation says.

mod emit;
mod follow;
mod lexing;
mod recursion;
mod regular;
mod skeleton;
mod texts;

use llguidance::api::TopLevelGrammar;
use serde_json::Value;

use crate::error::SpecError;
use crate::limits::Limits;
use crate::limits::check_limit;

/// A node's place in the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NodeId(u32);

/// A rule's place in the list of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RuleId(u32);

/// The rule that texts are made by: the first.
const ROOT: RuleId = RuleId(0);

/// One part of a rule.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    /// This text.
    Literal(String),
    /// One character, in one of the ranges or, if negated, in none.
    Class { negated: bool, ranges: Vec<(char, char)> },
    /// Text that the whole regex matches. Cannot be taken apart.
    Regex { pattern: String, at: String },
    /// Text that holds none of the strings. Cannot be taken apart.
    Without { strings: Vec<String>, max_chars: Option<u32>, at: String },
    /// One token out of these ids, both ends included.
    Tokens { ranges: Vec<(u32, u32)>, is_text: bool, at: String },
    /// A value of the schema with this index.
    Json { schema: usize, at: String },
    /// What the rule says.
    Rule(RuleId),
    /// All of these in order.
    Seq(Vec<NodeId>),
    /// One of these.
    Alt(Vec<NodeId>),
    /// This at least and at most so many times.
    Repeat(NodeId, u32, Option<u32>),
}

/// A grammar. Texts are what its first rule says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    nodes: Vec<Node>,
    /// What each rule says.
    bodies: Vec<NodeId>,
    schemas: Vec<Value>,
    /// What was read with a doubt.
    pub(crate) warnings: Vec<String>,
}

/// Rules, terminals and groups inside one another. The engine recurses over them: with dependencies
/// optimised, 2 MiB of stack hold several times as many.
pub(crate) const MAX_DEPTH: usize = 400;

/// Terminals, each of which is a lexeme of the engine's.
const MAX_TERMINALS: usize = 2_000;

impl Rules {
    /// Adds a node.
    pub(crate) fn add(&mut self, node: Node) -> NodeId {
        let id = u32::try_from(self.nodes.len()).expect("a source is at most a megabyte");
        self.nodes.push(node);
        NodeId(id)
    }

    /// Adds all of these in order; one alone is as it is.
    pub(crate) fn seq(&mut self, items: Vec<NodeId>) -> NodeId {
        match items[..] {
            [only] => only,
            _ => self.add(Node::Seq(items)),
        }
    }

    /// Adds one of these; one alone is as it is.
    pub(crate) fn alt(&mut self, items: Vec<NodeId>) -> NodeId {
        match items[..] {
            [only] => only,
            _ => self.add(Node::Alt(items)),
        }
    }

    /// Adds a rule that no text satisfies yet.
    pub(crate) fn declare(&mut self) -> RuleId {
        let body = self.add(Node::Alt(Vec::new()));
        let id = u32::try_from(self.bodies.len()).expect("a source is at most a megabyte");
        self.bodies.push(body);
        RuleId(id)
    }

    /// Says what a rule says.
    pub(crate) fn define(&mut self, rule: RuleId, body: NodeId) {
        self.bodies[rule.0 as usize] = body;
    }

    /// Adds a schema for [`Node::Json`].
    pub(crate) fn add_schema(&mut self, schema: Value) -> usize {
        self.schemas.push(schema);
        self.schemas.len() - 1
    }

    /// Makes the engine's grammar, with warnings.
    ///
    /// # Errors
    /// The rules nest too deeply or are too large, or a part that cannot be taken apart would
    /// swallow what follows it.
    pub(crate) fn compile(
        mut self,
        limits: &Limits,
    ) -> Result<(TopLevelGrammar, Vec<String>), SpecError> {
        self.unroll();
        check_limit("rules and groups inside one another", self.depth(), MAX_DEPTH)?;
        let mut warnings = std::mem::take(&mut self.warnings);
        let mut is_told = false;
        let mut split = lexing::Split::default();
        loop {
            let skeleton = self.skeleton(&split)?;
            check_limit("terminals of a grammar", skeleton.terminals.len(), MAX_TERMINALS)?;
            let found = lexing::clashes(&self, &skeleton)?;
            if !found.is_complete && !std::mem::replace(&mut is_told, true) {
                warnings.push(
                    "the grammar is too large to check that no part swallows the next".to_string(),
                );
            }
            if !split.take_apart(&mut self, &found.terminals) {
                return Ok((emit::grammar(self, &skeleton, limits)?, warnings));
            }
        }
    }

    fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    fn body(&self, rule: RuleId) -> NodeId {
        self.bodies[rule.0 as usize]
    }
}

impl Node {
    /// Returns the nodes directly below.
    fn children(&self) -> &[NodeId] {
        match self {
            Self::Seq(items) | Self::Alt(items) => items,
            Self::Repeat(item, ..) => std::slice::from_ref(item),
            _ => &[],
        }
    }
}
