//! Caches the part of a mask that depends on the lexer's state alone, for all sequences that share
//! the lexer.
//!
//! Inside a string, for example, the lexer's state decides which tokens without a quote may follow,
//! whatever the parser has seen. Tokens with a quote are still checked by the parser each time. A
//! set is cached only if no lexeme can end within any of its tokens, because only then does it
//! depend on nothing else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use llguidance::derivre::StateID;
use llguidance::earley::{BiasComputer, ParserRecognizer};
use toktrie::{Recognizer, SimpleVob, TokTrie};

/// A set is cached if computing it visited more than one in this many nodes of the trie of tokens
/// without a quote.
const LEAST_SHARE: usize = 8;
/// The most bytes of cached sets, and the most states tracked, of one lexer.
const MAX_BYTES: usize = 1 << 20;
const MAX_STATES: usize = 10_000;

/// The vocabulary in two tries: tokens without and with a quote.
pub(crate) struct Halves {
    plain: TokTrie,
    quoted: TokTrie,
}

impl Halves {
    pub(crate) fn new(trie: &TokTrie) -> Self {
        let (mut plain, mut quoted) = (trie.alloc_token_set(), trie.alloc_token_set());
        for (id, _) in (0u32..).zip(0..trie.vocab_size()) {
            let bytes = trie.token(id);
            let is_quoted =
                bytes.iter().any(|byte| matches!(*byte, b'"' | TokTrie::SPECIAL_TOKEN_MARKER));
            let half = if is_quoted { &mut quoted } else { &mut plain };
            half.allow_token(id);
        }
        Self { plain: trie.filter(&plain), quoted: trie.filter(&quoted) }
    }

    /// Returns whether a walk over `num_nodes` nodes is worth caching.
    fn is_wide(&self, num_nodes: usize) -> bool {
        num_nodes * LEAST_SHARE > self.plain.root().subtree_size()
    }
}

/// What is known about a lexer state.
#[derive(Clone)]
enum Known {
    /// Its walk was short, or lexemes may end within it.
    Walked,
    /// Its walk was long.
    Wide,
    /// The allowed tokens without a quote.
    Plain(Arc<SimpleVob>),
}

#[derive(Default)]
struct States {
    known: HashMap<StateID, Known>,
    /// The sets in `known`, each once.
    sets: Vec<Arc<SimpleVob>>,
}

/// Computes the masks of the sequences that share one lexer.
pub(crate) struct Lexed {
    engine: Arc<dyn BiasComputer>,
    halves: Arc<Halves>,
    states: Mutex<States>,
}

impl Lexed {
    /// Makes the cache of a lexer whose masks are all computed through it. `engine` computes what
    /// is not cached.
    pub(crate) fn new(engine: Arc<dyn BiasComputer>, halves: Arc<Halves>) -> Self {
        Self { engine, halves, states: Mutex::default() }
    }

    /// Estimates the memory of the cache.
    pub(crate) fn num_bytes(&self) -> usize {
        let states = self.lock();
        states.known.capacity() * size_of::<(StateID, Known)>()
            + states.sets.iter().map(|set| size_of_val(set.as_slice())).sum::<usize>()
    }

    /// Counts the cached sets.
    #[cfg(test)]
    pub(crate) fn num_kept(&self) -> usize {
        self.lock().sets.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, States> {
        // The map stays consistent even if its last user panicked.
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Walks the whole trie and notes how long the walk was.
    fn walk(&self, rec: &mut ParserRecognizer<'_>, state: StateID) -> SimpleVob {
        let num_before = rec.stats_mut().trie_nodes_walked;
        let set = self.engine.compute_bias(rec, &[]);
        let num_walked = rec.stats_mut().trie_nodes_walked - num_before;
        // A cancelled walk proves nothing.
        if !rec.cancellation_requested() {
            // A state whose lexeme ends as soon as it can is not cached.
            let may_stay = rec.lexer_mut().subsume_possible(state);
            let is_wide = may_stay && self.halves.is_wide(num_walked);
            self.lock().learn(state, if is_wide { Known::Wide } else { Known::Walked });
        }
        set
    }

    /// Walks the tokens without a quote by the lexer alone. Caches the set if no lexeme can end
    /// within it.
    fn walk_apart(&self, rec: &mut ParserRecognizer<'_>, state: StateID) -> SimpleVob {
        let mut set = self.trie().alloc_token_set();
        let mut walk = LexerWalk { rec: &mut *rec, states: vec![state], may_end: false };
        self.halves.plain.add_bias(&mut walk, &mut set, &[]);
        let may_end = walk.may_end;
        // Nothing may be cached after a lexer failure either: the set is incomplete.
        if rec.cancellation_requested() || !rec.lexer_mut().subsume_possible(state) {
            return self.engine.compute_bias(rec, &[]);
        }
        let known = if may_end { Known::Walked } else { self.lock().keep(&set) };
        self.lock().learn(state, known);
        if may_end {
            return self.engine.compute_bias(rec, &[]);
        }
        self.halves.quoted.add_bias(rec, &mut set, &[]);
        set
    }
}

impl BiasComputer for Lexed {
    fn compute_bias(&self, rec: &mut ParserRecognizer<'_>, start: &[u8]) -> SimpleVob {
        if !start.is_empty() {
            return self.engine.compute_bias(rec, start);
        }
        let state = rec.lexer_state();
        let known = self.lock().known.get(&state).cloned();
        match known {
            None => self.walk(rec, state),
            Some(Known::Walked) => self.engine.compute_bias(rec, start),
            Some(Known::Wide) => self.walk_apart(rec, state),
            Some(Known::Plain(set)) => {
                let mut set = SimpleVob::clone(&set);
                self.halves.quoted.add_bias(rec, &mut set, &[]);
                set
            }
        }
    }

    fn trie(&self) -> &TokTrie {
        self.engine.trie()
    }
}

impl States {
    fn learn(&mut self, state: StateID, known: Known) {
        if self.known.len() < MAX_STATES || self.known.contains_key(&state) {
            self.known.insert(state, known);
        }
    }

    fn keep(&mut self, set: &SimpleVob) -> Known {
        if let Some(same) = self.sets.iter().find(|it| ***it == *set) {
            return Known::Plain(Arc::clone(same));
        }
        if (self.sets.len() + 1) * size_of_val(set.as_slice()) > MAX_BYTES {
            return Known::Walked;
        }
        let set = Arc::new(set.clone());
        self.sets.push(Arc::clone(&set));
        Known::Plain(set)
    }
}

/// Walks the lexer's states for as long as no lexeme can end.
struct LexerWalk<'a, 'p> {
    rec: &'a mut ParserRecognizer<'p>,
    states: Vec<StateID>,
    may_end: bool,
}

impl Recognizer for LexerWalk<'_, '_> {
    fn cancellation_enabled(&self) -> bool {
        self.rec.cancellation_enabled()
    }

    fn cancellation_requested(&self) -> bool {
        self.rec.cancellation_requested()
    }

    fn pop_bytes(&mut self, num: usize) {
        self.states.truncate(self.states.len() - num);
    }

    fn collapse(&mut self) {}

    fn trie_finished(&mut self) {}

    fn try_push_byte(&mut self, byte: u8) -> bool {
        let Some(&state) = self.states.last().filter(|_| !self.may_end) else { return false };
        let lexer = self.rec.lexer_mut();
        let next = lexer.transition_start_state(state, Some(byte), &None);
        if next.is_dead() {
            // A complete lexeme would end before this byte.
            self.may_end = !lexer.try_lexeme_end(state).is_error();
            return false;
        }
        // A lexeme that nothing can continue ends with this byte.
        self.may_end = next.has_lowest_match();
        if !self.may_end {
            self.states.push(next);
        }
        !self.may_end
    }

    fn save_stats(&mut self, num_walked: usize) {
        self.rec.save_stats(num_walked);
    }
}
