//! Checks that the lexer splits a text as the grammar would.
//!
//! The lexer takes the longest possible lexeme. This loses the text of a terminal if another
//! terminal that may begin at the same position can continue with a character that may follow the
//! first: the two clash. Without clashes the longest lexeme is the only one.

use std::collections::HashMap;

use super::follow::{Bits, Follow};
use super::skeleton::{Skeleton, TerminalKind};
use super::texts::Texts;
use super::{Node, NodeId, Rules};
use crate::error::SpecError;

/// The most terminals that are compared with each other.
const MAX_TERMINALS: usize = 1_000;

/// The terminals to split, and whether all pairs were compared.
pub(super) struct Found {
    pub(super) terminals: Vec<NodeId>,
    pub(super) is_complete: bool,
}

/// Finds the terminals that would swallow the text after another terminal.
pub(super) fn clashes(rules: &Rules, skeleton: &Skeleton) -> Result<Found, SpecError> {
    let num = skeleton.terminals.len();
    if num > MAX_TERMINALS {
        return Ok(Found { terminals: Vec::new(), is_complete: false });
    }
    let mut texts = Texts::new(rules, skeleton);
    let follow = Follow::new(skeleton, |terminal| texts.is_nullable(terminal));
    let mut together = together(&follow, &mut texts, num);
    let mut found = Vec::new();
    for (first, beside) in together.iter_mut().enumerate() {
        beside.insert(first);
        let bytes = follow_bytes(&follow, &texts, first, true);
        for second in beside.iter() {
            check_kinds(rules, skeleton, &texts, first, second)?;
            let node = skeleton.terminals[second].node;
            if found.contains(&node) {
                continue;
            }
            // An unbounded repetition may swallow what the next one of the same kind would have
            // matched.
            let repeats = matches!(rules.node(node), Node::Repeat(_, 0, None));
            let swallows = if first == second && repeats {
                texts.swallows(first, second, &follow_bytes(&follow, &texts, first, false))
            } else {
                texts.swallows(first, second, &bytes)
            };
            if swallows {
                check_can_split(rules, node)?;
                found.push(node);
            }
        }
    }
    Ok(Found { terminals: found, is_complete: texts.is_complete() })
}

/// Returns for each terminal those that may begin at the same position.
///
/// Two terminals do so at the start, after the same terminal, or after two that begin at the same
/// position and match the same text.
fn together(follow: &Follow, texts: &mut Texts, num: usize) -> Vec<Bits> {
    let mut together = vec![Bits::new(num); num];
    let add = |together: &mut Vec<Bits>, a: &Bits, b: &Bits| {
        let mut is_new = false;
        for idx in a.iter() {
            is_new |= together[idx].add_all(b);
        }
        for idx in b.iter() {
            is_new |= together[idx].add_all(a);
        }
        is_new
    };
    add(&mut together, &follow.start, &follow.start);
    for next in &follow.next {
        add(&mut together, next, next);
    }
    let mut same: HashMap<(usize, usize), bool> = HashMap::new();
    let mut is_new = true;
    while is_new {
        is_new = false;
        for first in 0..num {
            for second in together[first].clone().iter().filter(|&second| second > first) {
                let key = (first, second);
                if *same.entry(key).or_insert_with(|| texts.overlap(first, second)) {
                    is_new |= add(&mut together, &follow.next[first], &follow.next[second]);
                }
            }
        }
    }
    together
}

/// Returns the bytes that may follow a terminal, optionally not counting the terminal itself.
fn follow_bytes(follow: &Follow, texts: &Texts, idx: usize, with_itself: bool) -> [bool; 256] {
    let mut bytes = [false; 256];
    for next in follow.next[idx].iter().filter(|&next| with_itself || next != idx) {
        for (byte, is_first) in bytes.iter_mut().zip(texts.first_bytes(next)) {
            *byte |= is_first;
        }
    }
    bytes
}

/// Refuses values, and tokens of text, where plain text may begin as well: the engine would choose
/// one of them.
fn check_kinds(
    rules: &Rules,
    skeleton: &Skeleton,
    texts: &Texts,
    first: usize,
    second: usize,
) -> Result<(), SpecError> {
    let (node, other) = (&skeleton.terminals[first], &skeleton.terminals[second]);
    let meet = || {
        let pairs = texts.first_bytes(first).into_iter().zip(texts.first_bytes(second));
        pairs.into_iter().any(|(a, b)| a && b)
    };
    let is_text = matches!(other.kind, TerminalKind::Text(_));
    match rules.node(node.node) {
        Node::Json { at, .. } if is_text && meet() => Err(SpecError::unsupported(
            "json_schema",
            Some(at),
            "other text with the same beginning may come instead",
        )),
        Node::Tokens { is_text: true, at, .. }
            if is_text || matches!(other.kind, TerminalKind::Json) =>
        {
            Err(SpecError::unsupported(
                "token",
                Some(at),
                "text made of the same tokens may come instead",
            ))
        }
        _ => Ok(()),
    }
}

fn check_can_split(rules: &Rules, node: NodeId) -> Result<(), SpecError> {
    let why = "it would swallow the text that must follow it";
    match rules.node(node) {
        Node::Regex { at, .. } => Err(SpecError::unsupported("regex", Some(at), why)),
        Node::Without { at, .. } => Err(SpecError::unsupported("any_text", Some(at), why)),
        _ => Ok(()),
    }
}
