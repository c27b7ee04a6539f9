//! Templates: what matchers of one specification are copied from. Each holds one engine that never
//! advances, and one warm copy of it per worker.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use llguidance::TokenParser;
use llguidance::panic_utils::catch_unwind;

use crate::lexed::{Halves, Lexed};

/// Slots for workers. Workers whose numbers are equal modulo this share a slot.
pub(crate) const MAX_WORKERS: usize = 16;
/// Memory of the engine's tables beyond what the engine reports, as measured (see
/// `tests/memory.rs`).
const BYTES_PER_LEXEME: usize = 1 << 10;
const FIXED_BYTES: usize = 16 << 10;

/// An engine at the start of its grammar, with its first mask computed.
pub(crate) struct Template {
    /// Computes no further masks, so that no panic can corrupt its lexer.
    first: Mutex<TokenParser>,
    /// Per worker, the engine whose lexer its matchers share.
    workers: [Worker; MAX_WORKERS],
    halves: Arc<Halves>,
    num_lexemes: usize,
    first_bytes: usize,
}

#[derive(Default)]
struct Worker {
    parser: Mutex<Option<Box<Warm>>>,
    /// The size of the lexer when a matcher was last made.
    num_bytes: AtomicUsize,
}

/// An engine and its mask cache.
struct Warm {
    parser: TokenParser,
    lexed: Arc<Lexed>,
}

impl Template {
    /// Starts `parser` and computes its first mask, so that a specification that cannot start is
    /// refused here instead of in the middle of a batch.
    ///
    /// # Errors
    /// The engine's message.
    pub(crate) fn new(mut parser: TokenParser, halves: Arc<Halves>) -> Result<Self, String> {
        let started = catch_unwind(AssertUnwindSafe(|| {
            parser.start_without_prompt();
            parser.compute_mask()?;
            let num_lexemes = parser.parser.grammar().lexer_spec().lexemes.len();
            Ok((num_lexemes, parser.parser.lexer_stats().num_bytes))
        }));
        let (num_lexemes, first_bytes) = started.map_err(|error| error.to_string())?;
        let first = Mutex::new(parser);
        Ok(Self { first, workers: Default::default(), halves, num_lexemes, first_bytes })
    }

    /// Copies the engine with a lexer of its own.
    pub(crate) fn copy(&self) -> llguidance::Matcher {
        llguidance::Matcher::new(Ok(self.warm().parser))
    }

    fn warm(&self) -> Warm {
        let mut parser = lock(&self.first).deep_clone();
        let engine = Arc::clone(&parser.bias_computer);
        let lexed = Arc::new(Lexed::new(engine, Arc::clone(&self.halves)));
        parser.bias_computer = Arc::<Lexed>::clone(&lexed);
        Warm { parser, lexed }
    }

    /// Copies the engine with the lexer shared by all copies for `worker`.
    ///
    /// Shares no lock with other workers, except when a worker makes its first copy.
    pub(crate) fn copy_on(&self, worker: usize) -> llguidance::Matcher {
        let worker = &self.workers[worker % MAX_WORKERS];
        let mut slot = lock(&worker.parser);
        let measured = slot.as_ref().and_then(|warm| warm.num_bytes());
        // A lexer that a panic interrupted or that is full would stay so, so it is replaced.
        if measured.is_none() {
            *slot = None;
        }
        let warm = slot.get_or_insert_with(|| Box::new(self.warm()));
        worker.num_bytes.store(measured.unwrap_or(self.first_bytes), Ordering::Relaxed);
        llguidance::Matcher::new(Ok(warm.parser.clone()))
    }

    /// Counts the token sets cached for a worker's lexer.
    #[cfg(test)]
    pub(crate) fn num_kept(&self, worker: usize) -> usize {
        lock(&self.workers[worker].parser).as_ref().map_or(0, |warm| warm.lexed.num_kept())
    }

    /// Estimates the memory of all copies as last measured. The grammar is shared.
    pub(crate) fn num_bytes(&self) -> usize {
        let warm = |worker: &Worker| worker.num_bytes.load(Ordering::Relaxed);
        let lexers = self.workers.iter().map(warm).filter(|bytes| *bytes > 0);
        // The grammar also keeps the expressions from which the first lexer was built.
        let (count, bytes) =
            lexers.fold((1, 2 * self.first_bytes), |(n, sum), it| (n + 1, sum + it));
        bytes + self.num_lexemes * BYTES_PER_LEXEME + count * FIXED_BYTES
    }
}

impl Warm {
    /// Returns the size of the lexer and of its cached masks; none if the lexer panicked or is
    /// full.
    fn num_bytes(&self) -> Option<usize> {
        let stats = || Ok(self.parser.parser.lexer_stats());
        let stats = catch_unwind(AssertUnwindSafe(stats)).ok()?;
        (!stats.error).then(|| stats.num_bytes + self.lexed.num_bytes())
    }
}

/// Copying only reads, so the engine behind a poisoned lock is intact.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
