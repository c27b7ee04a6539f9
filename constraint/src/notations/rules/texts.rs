//! Compares the texts of a grammar's terminals with each other.
//!
//! Most terminals are plain text, and most others that may begin at the same position are free text
//! up to some string: those are compared as texts. Automata are built only for the rest.

use std::collections::HashSet;

use llguidance::derivre::{Regex, RegexBuilder, StateID};
use serde_json::Value;

use super::skeleton::{Skeleton, TerminalKind};
use super::{Node, NodeId, Rules};

/// Fuel for building one automaton, as in [`crate::Limits::lexer_fuel`].
const FUEL: u64 = 100_000;
/// Steps over bytes and pairs of states, per grammar.
const MAX_STEPS: usize = 500_000;

pub(super) struct Texts<'a> {
    skeleton: &'a Skeleton,
    items: Vec<Item>,
    steps_left: usize,
    is_complete: bool,
}

struct Item {
    what: What,
    first: [bool; 256],
    nullable: bool,
    /// If this is free text without certain strings: its node, and the string that ends it, if any.
    free: Option<(NodeId, Vec<u8>)>,
}

enum What {
    Literal(Vec<u8>),
    /// An automaton that is not built yet.
    Later,
    Automaton(Box<Regex>),
    /// An automaton that was too large to build, or is in use.
    Unknown,
    Json,
    Tokens(Vec<(u32, u32)>),
}

impl<'a> Texts<'a> {
    pub(super) fn new(rules: &Rules, skeleton: &'a Skeleton) -> Self {
        let mut texts =
            Self { skeleton, items: Vec::new(), steps_left: MAX_STEPS, is_complete: true };
        for (idx, terminal) in skeleton.terminals.iter().enumerate() {
            let mut item = Item {
                what: What::Later,
                first: [false; 256],
                nullable: false,
                free: rules.free_text(terminal.node),
            };
            match rules.node(terminal.node) {
                Node::Tokens { ranges, .. } => item.what = What::Tokens(ranges.clone()),
                Node::Json { schema, .. } => {
                    item.what = What::Json;
                    item.first = first_of_json(&rules.schemas[*schema]);
                }
                _ => {
                    if let Some(text) = rules.literal_text(terminal.node) {
                        item.nullable = text.is_empty();
                        text.iter().take(1).for_each(|&b| item.first[usize::from(b)] = true);
                        item.what = What::Literal(text);
                    }
                }
            }
            if let Some((_, end)) = &item.free {
                item.nullable = end.is_empty();
                // The bytes with which UTF-8 may begin.
                item.first[..0x80].fill(true);
                item.first[0xc2..0xf5].fill(true);
            }
            texts.items.push(item);
            if matches!(texts.items[idx].what, What::Later) && texts.items[idx].free.is_none() {
                texts.look_at_start(idx);
            }
        }
        texts
    }

    fn look_at_start(&mut self, idx: usize) {
        let Some(mut regex) = self.take(idx) else { return };
        let start = regex.initial_state();
        self.items[idx].nullable = regex.is_accepting(start);
        for (byte, is_first) in (0..=255).zip(&mut self.items[idx].first) {
            *is_first = !regex.transition(start, byte).is_dead();
        }
        self.items[idx].what = What::Automaton(regex);
    }

    pub(super) fn is_nullable(&self, idx: usize) -> bool {
        self.items[idx].nullable
    }

    pub(super) fn first_bytes(&self, idx: usize) -> [bool; 256] {
        self.items[idx].first
    }

    /// Returns whether every comparison was completed.
    pub(super) fn is_complete(&self) -> bool {
        self.is_complete && self.steps_left > 0
    }

    /// Returns whether both match some common text or token; for two values this is assumed.
    pub(super) fn overlap(&mut self, first: usize, second: usize) -> bool {
        match (&self.items[first].what, &self.items[second].what) {
            (What::Tokens(a), What::Tokens(b)) => {
                return a.iter().any(|a| b.iter().any(|b| a.0 <= b.1 && b.0 <= a.1));
            }
            (What::Json, What::Json) => return true,
            // The grammar is refused if plain text may begin with the same bytes as a token or
            // value.
            (What::Tokens(_) | What::Json, _) | (_, What::Tokens(_) | What::Json) => return false,
            (What::Literal(a), What::Literal(b)) => return a == b,
            _ => {}
        }
        if let Some((a, b)) = self.ends_of_same_text(first, second) {
            return a.ends_with(b) || b.ends_with(a);
        }
        self.search(first, second, |states, regexes| {
            regexes.0.is_accepting(states.0) && regexes.1.is_accepting(states.1)
        })
    }

    /// Returns whether, after a text of `first`, `second` could continue with one of the bytes in
    /// `next`.
    pub(super) fn swallows(&mut self, first: usize, second: usize, next: &[bool; 256]) -> bool {
        self.steps_left = self.steps_left.saturating_sub(8);
        if let (What::Literal(a), What::Literal(b)) =
            (&self.items[first].what, &self.items[second].what)
        {
            let after = b.strip_prefix(a.as_slice()).and_then(|rest| rest.first());
            return !a.is_empty() && after.is_some_and(|&byte| next[usize::from(byte)]);
        }
        let bytes: Vec<u8> = (0..=255).filter(|&byte| next[usize::from(byte)]).collect();
        if bytes.is_empty() {
            return false;
        }
        // Free text up to one end is never the beginning of the same free text up to another,
        // unless one end is the beginning of the other.
        if let Some((a, b)) = self.ends_of_same_text(first, second)
            && !a.is_empty()
        {
            return a != b && b.starts_with(a);
        }
        let mut is_start = true;
        self.search(first, second, |states, regexes| {
            // The lexer never sees an empty terminal.
            let is_text = !std::mem::replace(&mut is_start, false);
            is_text
                && regexes.0.is_accepting(states.0)
                && bytes.iter().any(|&byte| !regexes.1.transition(states.1, byte).is_dead())
        })
    }

    /// Returns the two end strings if both terminals are the same free text.
    fn ends_of_same_text(&self, first: usize, second: usize) -> Option<(&[u8], &[u8])> {
        let (a, b) = (self.items[first].free.as_ref()?, self.items[second].free.as_ref()?);
        (a.0 == b.0).then_some((&a.1, &b.1))
    }

    /// Takes a terminal's automaton, building it the first time.
    fn take(&mut self, idx: usize) -> Option<Box<Regex>> {
        match std::mem::replace(&mut self.items[idx].what, What::Unknown) {
            What::Automaton(regex) => return Some(regex),
            What::Later | What::Literal(_) => {}
            other => {
                self.items[idx].what = other;
                return None;
            }
        }
        let TerminalKind::Text(ast) = &self.skeleton.terminals[idx].kind else { return None };
        let mut builder = RegexBuilder::new();
        let made = builder.mk(ast).and_then(|root| builder.into_regex_limited(root, FUEL));
        self.is_complete &= made.is_ok();
        made.ok().map(Box::new)
    }

    /// Searches the pairs of states that the same text leads to.
    fn search(
        &mut self,
        first: usize,
        second: usize,
        mut found: impl FnMut((StateID, StateID), (&mut Regex, &mut Regex)) -> bool,
    ) -> bool {
        let (one, other) = (&self.items[first].first, &self.items[second].first);
        if self.steps_left == 0 || !one.iter().zip(other).any(|(a, b)| *a && *b) {
            return false;
        }
        let Some(mut a) = self.take(first) else { return false };
        let b = if first == second { Some(a.clone()) } else { self.take(second) };
        let Some(mut b) = b else {
            self.items[first].what = What::Automaton(a);
            return false;
        };
        let answer = self.walk((&mut a, &mut b), &mut found);
        self.items[first].what = What::Automaton(a);
        if first != second {
            self.items[second].what = What::Automaton(b);
        }
        answer
    }

    fn walk(
        &mut self,
        (a, b): (&mut Regex, &mut Regex),
        found: &mut impl FnMut((StateID, StateID), (&mut Regex, &mut Regex)) -> bool,
    ) -> bool {
        let bytes = distinct(a, b);
        self.steps_left = self.steps_left.saturating_sub(256);
        let mut todo = vec![(a.initial_state(), b.initial_state())];
        // The start is not marked as seen, since a text may lead back to it.
        let mut seen: HashSet<(StateID, StateID)> = HashSet::new();
        while let Some(states) = todo.pop() {
            if found(states, (a, b)) {
                return true;
            }
            self.steps_left = self.steps_left.saturating_sub(bytes.len() + 1);
            if self.steps_left == 0 {
                return false;
            }
            for &byte in &bytes {
                let pair = (a.transition(states.0, byte), b.transition(states.1, byte));
                if !pair.0.is_dead() && !pair.1.is_dead() && seen.insert(pair) {
                    todo.push(pair);
                }
            }
            if a.alpha().has_error() || b.alpha().has_error() {
                self.is_complete = false;
                return false;
            }
        }
        false
    }
}

impl Rules {
    /// Returns the text of a node that matches exactly one text.
    fn literal_text(&self, id: NodeId) -> Option<Vec<u8>> {
        match self.node(id) {
            Node::Literal(text) => Some(text.as_bytes().to_vec()),
            Node::Seq(items) => {
                let texts: Option<Vec<_>> =
                    items.iter().map(|&item| self.literal_text(item)).collect();
                Some(texts?.concat())
            }
            _ => None,
        }
    }

    /// Returns the free text that a node consists of, and the string that ends it.
    fn free_text(&self, id: NodeId) -> Option<(NodeId, Vec<u8>)> {
        let (text, end) = match self.node(id) {
            Node::Without { .. } => (id, Vec::new()),
            Node::Seq(items) => {
                let (&text, rest) = items.split_first()?;
                let ends: Option<Vec<_>> =
                    rest.iter().map(|&item| self.literal_text(item)).collect();
                (text, ends?.concat())
            }
            _ => return None,
        };
        match self.node(text) {
            Node::Without { strings, .. } => {
                let holds = |text: &String| text.as_bytes() == end;
                (end.is_empty() || strings.iter().any(holds)).then_some((text, end))
            }
            _ => None,
        }
    }
}

/// Returns one byte of each class that the two automata distinguish.
fn distinct(a: &Regex, b: &Regex) -> Vec<u8> {
    let mut seen = vec![false; a.alpha().len() * b.alpha().len()];
    let kind = |byte| a.alpha().map(byte) * b.alpha().len() + b.alpha().map(byte);
    (0..=255).filter(|&byte| !std::mem::replace(&mut seen[kind(byte)], true)).collect()
}

/// Returns the bytes with which a value of the schema may begin, as far as `type` tells.
fn first_of_json(schema: &Value) -> [bool; 256] {
    let of_type = |name: &str| match name {
        "object" => "{",
        "array" => "[",
        "string" => "\"",
        "boolean" => "tf",
        "null" => "n",
        "integer" | "number" => "-0123456789",
        _ => "{[\"-0123456789tfn",
    };
    let mut first = [false; 256];
    let mut add = |name| of_type(name).bytes().for_each(|byte| first[usize::from(byte)] = true);
    match &schema["type"] {
        Value::String(name) => add(name),
        Value::Array(names) => names.iter().filter_map(Value::as_str).for_each(add),
        _ => add("any"),
    }
    first
}
