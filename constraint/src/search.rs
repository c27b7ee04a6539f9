//! Finishes an output that only a grammar describes. Depth-first search, which tries bytes that
//! usually close something first.

use crate::TokenId;
use crate::engine::Engine;
use crate::mask::Mask;
use crate::vocab::Vocab;

/// Masks that one search may compute; each takes some ten microseconds.
const MAX_MASKS: usize = 400;
/// Bounds on a finish's tokens, tried one after another.
const LENGTHS: [usize; 3] = [6, 24, 120];
/// Tokens tried per node.
const MAX_TRIED: usize = 6;
/// Bytes in the order in which they are tried.
const LIKELY: &[u8] = b"\"}])>;.\n' ,:0a1=-/<({[A_";

/// A node on the current path of the search.
struct SearchNode {
    engine: Engine,
    /// Tokens left to try here, the next one last.
    untried: Vec<TokenId>,
}

/// Searches for at most `num_left` tokens after which the output may end.
pub(crate) fn finish(
    engine: &Engine,
    vocab: &Vocab,
    token: Option<TokenId>,
    num_left: usize,
) -> Option<Vec<TokenId>> {
    let mut start = engine.fork().ok()?;
    if let Some(token) = token {
        start.take(token).ok()?;
    }
    let cancellation = engine.cancellation();
    let mut fuel = MAX_MASKS;
    let mut may_go_on = || {
        fuel = if cancellation.ends_search() { 0 } else { fuel.saturating_sub(1) };
        fuel > 0
    };
    let lengths = LENGTHS.iter().map(|length| num_left.min(*length));
    lengths.into_iter().find_map(|length| within(&start, vocab, length, &mut may_go_on))
}

/// Searches depth first, for at most `length` tokens.
fn within(
    start: &Engine,
    vocab: &Vocab,
    length: usize,
    may_go_on: &mut impl FnMut() -> bool,
) -> Option<Vec<TokenId>> {
    let mut path: Vec<TokenId> = Vec::new();
    let mut path_nodes: Vec<SearchNode> = Vec::new();
    let mut engine = start.fork().ok()?;
    loop {
        if engine.is_complete() || engine.is_accepting().unwrap_or(false) {
            return Some(path);
        }
        let untried =
            if path.len() < length && may_go_on() { tried(&mut engine, vocab) } else { Vec::new() };
        path_nodes.push(SearchNode { engine, untried });
        engine = loop {
            let node = path_nodes.last_mut()?;
            if let Some(token) = node.untried.pop() {
                let mut next = node.engine.fork().ok()?;
                if next.take(token).is_ok() {
                    path.push(token);
                    break next;
                }
            } else {
                path_nodes.pop();
                path.pop();
            }
        };
    }
}

/// Returns the tokens to try in a state, the most promising last.
fn tried(engine: &mut Engine, vocab: &Vocab) -> Vec<TokenId> {
    let mask = engine.mask().ok().and_then(|set| Mask::from_raw(set, vocab));
    let Some(mask) = mask else { return Vec::new() };
    let singles = vocab.single_bytes();
    let likely = LIKELY.iter().filter_map(|byte| singles[usize::from(*byte)]);
    let others = singles.iter().flatten().copied();
    let mut found: Vec<TokenId> = Vec::new();
    for token in likely.chain(others).filter(|token| mask.allows(*token)) {
        if found.len() == MAX_TRIED {
            break;
        }
        if !found.contains(&token) {
            found.push(token);
        }
    }
    if found.is_empty() {
        found.extend(mask.iter().filter(|token| !vocab.is_eos(*token)).take(MAX_TRIED));
    }
    found.reverse();
    found
}
