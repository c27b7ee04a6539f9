//! Context-free grammars, and their translation into the engine's grammars.
//!
//! Other notations are read into [`Rules`], a plain tree in an arena. The engine first splits text
//! into lexemes, each as long as possible, and then parses them; each lexeme costs it one row. So
//! the largest regular parts become one terminal each. A terminal that would swallow the text after
//! it is split until it does not. One that cannot be split is an error: a compiled grammar accepts
//! exactly the texts that its notation defines.

mod emit;
mod follow;
mod lexing;
mod recursion;
mod regular;
mod skeleton;
mod split;
mod texts;

use llguidance::api::TopLevelGrammar;
use serde_json::Value;

use crate::error::SpecError;
use crate::limits::Limits;
use crate::limits::check_limit;

/// The index of a node in the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NodeId(u32);

/// The index of a rule in the list of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RuleId(u32);

/// The root rule, which is the first.
const ROOT: RuleId = RuleId(0);

/// A part of a rule.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    /// This text.
    Literal(String),
    /// One character inside the ranges or, if negated, outside them.
    Class { negated: bool, ranges: Vec<(char, char)> },
    /// Text that the whole regex matches. Cannot be split.
    Regex { pattern: String, at: String },
    /// Text that contains none of the strings. Cannot be split.
    Without { strings: Vec<String>, max_chars: Option<u32>, at: String },
    /// One token with an id in these inclusive ranges.
    Tokens { ranges: Vec<(u32, u32)>, is_text: bool, at: String },
    /// A value of the schema with this index.
    Json { schema: usize, at: String },
    /// The texts of another rule.
    Rule(RuleId),
    /// All of these in sequence.
    Seq(Vec<NodeId>),
    /// Any one of these.
    Alt(Vec<NodeId>),
    /// A repetition with a minimum and a maximum.
    Repeat(NodeId, u32, Option<u32>),
}

/// A grammar. Its first rule is the root.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    nodes: Vec<Node>,
    /// The body of each rule.
    bodies: Vec<NodeId>,
    schemas: Vec<Value>,
    /// Warnings from reading.
    pub(crate) warnings: Vec<String>,
}

/// The deepest nesting of rules, terminals and groups. The engine recurses over it: with optimised
/// dependencies, a stack of 2 MiB holds several times as many.
pub(crate) const MAX_DEPTH: usize = 400;

/// The most terminals; each is a lexeme of the engine.
const MAX_TERMINALS: usize = 2_000;

impl Rules {
    /// Adds a node.
    pub(crate) fn add(&mut self, node: Node) -> NodeId {
        let id = u32::try_from(self.nodes.len()).expect("a source is at most a megabyte");
        self.nodes.push(node);
        NodeId(id)
    }

    /// Adds a sequence; a single item is returned unchanged.
    pub(crate) fn seq(&mut self, items: Vec<NodeId>) -> NodeId {
        match items[..] {
            [only] => only,
            _ => self.add(Node::Seq(items)),
        }
    }

    /// Adds alternatives; a single one is returned unchanged.
    pub(crate) fn alt(&mut self, items: Vec<NodeId>) -> NodeId {
        match items[..] {
            [only] => only,
            _ => self.add(Node::Alt(items)),
        }
    }

    /// Adds a rule that matches nothing until it is defined.
    pub(crate) fn declare(&mut self) -> RuleId {
        let body = self.add(Node::Alt(Vec::new()));
        let id = u32::try_from(self.bodies.len()).expect("a source is at most a megabyte");
        self.bodies.push(body);
        RuleId(id)
    }

    /// Sets the body of a rule.
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
    /// The rules nest too deep or are too large, or a part that cannot be split would swallow the
    /// text after it.
    pub(crate) fn compile(
        mut self,
        limits: &Limits,
    ) -> Result<(TopLevelGrammar, Vec<String>), SpecError> {
        self.unroll();
        check_limit("rules and groups inside one another", self.depth(), MAX_DEPTH)?;
        let mut warnings = std::mem::take(&mut self.warnings);
        let mut is_told = false;
        let mut split = split::Split::default();
        loop {
            let skeleton = self.skeleton(&split)?;
            check_limit("terminals of a grammar", skeleton.terminals.len(), MAX_TERMINALS)?;
            let found = lexing::clashes(&self, &skeleton)?;
            if !found.is_complete && !std::mem::replace(&mut is_told, true) {
                warnings.push(
                    "the grammar is too large to check that no part swallows the next".to_string(),
                );
            }
            if !split.split_further(&mut self, &found.terminals) {
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
    /// Returns the direct children.
    fn children(&self) -> &[NodeId] {
        match self {
            Self::Seq(items) | Self::Alt(items) => items,
            Self::Repeat(item, ..) => std::slice::from_ref(item),
            _ => &[],
        }
    }
}
