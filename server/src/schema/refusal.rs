//! Finds where exactly a text is refused, and what is allowed there.

use std::collections::BTreeMap;

use serde::Serialize;
use sluicegate_constraint::{Compiled, Matcher, TokenId, Vocab};

use crate::validation::{Refusal, Why};

/// Characters shown before and after the position.
const CONTEXT_CHARS: usize = 40;
/// The most examples of allowed tokens.
const MAX_EXAMPLES: usize = 8;
/// Longer tokens make no good examples.
const MAX_EXAMPLE_BYTES: usize = 16;

/// The position and reason of a refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct RefusalReport {
    /// Bytes of the text before it.
    pub(super) byte: usize,
    /// From 1.
    pub(super) line: usize,
    /// From 1, in characters.
    pub(super) column: usize,
    /// Tokens of the text before the refused one.
    pub(super) token: usize,
    pub(super) reason: String,
    /// The text just before the position.
    pub(super) before: String,
    /// The beginning of the refused text; empty at the end of the text.
    pub(super) found: String,
    pub(super) allowed: Allowed,
}

/// The mask at a position.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Allowed {
    pub(super) num_tokens: usize,
    /// Whether the text may end.
    pub(super) end: bool,
    /// One token for each possible first byte, up to a limit.
    pub(super) examples: Vec<String>,
}

/// Finds the position of a refusal. The refused token may begin with allowed bytes.
pub(super) fn locate(
    compiled: &Compiled,
    text: &[u8],
    tokens: &[TokenId],
    refusal: &Refusal,
) -> RefusalReport {
    let vocab = compiled.vocab();
    let start: usize =
        tokens[..refusal.num_tokens].iter().map(|it| vocab.token_bytes(*it).len()).sum();
    let token = tokens.get(refusal.num_tokens).map_or(&[][..], |it| vocab.token_bytes(*it));
    let mut matcher = compiled.matcher();
    let is_replayed = tokens[..refusal.num_tokens].iter().all(|it| matcher.advance(*it).is_ok());
    let num_taken = match refusal.why {
        Why::NotAllowed if is_replayed => advance_within(&mut matcher, vocab, token),
        _ => 0,
    };
    let byte = start + num_taken;
    let (before, after) = text.split_at(byte.min(text.len()));
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    RefusalReport {
        byte,
        line: before.split(|byte| *byte == b'\n').count(),
        column: String::from_utf8_lossy(&before[line_start..]).chars().count() + 1,
        token: refusal.num_tokens,
        reason: reason(refusal, token, num_taken, after, vocab),
        before: last_chars(&String::from_utf8_lossy(before)),
        found: String::from_utf8_lossy(after).chars().take(CONTEXT_CHARS).collect(),
        allowed: Allowed::at(&mut matcher, vocab),
    }
}

/// Advances over as many of a token's bytes as the grammar accepts, in other tokens; returns their
/// number.
fn advance_within(matcher: &mut Matcher, vocab: &Vocab, token: &[u8]) -> usize {
    for len in (1..=token.len()).rev() {
        let mut attempt = matcher.fork();
        let parts = vocab.tokenize(&token[..len]);
        if parts.iter().all(|part| attempt.advance(*part).is_ok()) {
            *matcher = attempt;
            return len;
        }
    }
    0
}

fn reason(
    refusal: &Refusal,
    token: &[u8],
    num_taken: usize,
    after: &[u8],
    vocab: &Vocab,
) -> String {
    match refusal.why {
        Why::NotAllowed if num_taken == token.len() && num_taken > 0 => {
            "allowed as text, but not in these tokens".to_owned()
        }
        Why::GoesOn if after.iter().all(u8::is_ascii_whitespace) => {
            "the value is complete; only whitespace follows".to_owned()
        }
        Why::Vetoed { instead } => {
            let instead = String::from_utf8_lossy(vocab.token_bytes(instead)).into_owned();
            format!(
                "vetoed: no valid text with this beginning is known; {instead:?} would be \
                 taken instead"
            )
        }
        _ => refusal.why.to_string(),
    }
}

fn last_chars(text: &str) -> String {
    let num_chars = text.chars().count();
    text.chars().skip(num_chars.saturating_sub(CONTEXT_CHARS)).collect()
}

impl Allowed {
    fn at(matcher: &mut Matcher, vocab: &Vocab) -> Self {
        let Ok(mask) = matcher.mask() else { return Self::default() };
        let mut by_first = BTreeMap::<u8, &[u8]>::new();
        for token in mask.iter() {
            let bytes = vocab.token_bytes(token);
            let Some(first) = bytes.first() else { continue };
            let longest = by_first.entry(*first).or_insert(bytes);
            if bytes.len() <= MAX_EXAMPLE_BYTES && bytes.len() > longest.len() {
                *longest = bytes;
            }
        }
        let examples = by_first.into_values().take(MAX_EXAMPLES);
        Self {
            num_tokens: mask.num_allowed(),
            end: vocab.eos().iter().any(|eos| mask.allows(*eos)),
            examples: examples.map(|it| String::from_utf8_lossy(it).into_owned()).collect(),
        }
    }
}
