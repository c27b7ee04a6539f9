//! What matchers of one specification are copied from: one engine that never advances, and a warm
//! copy of it for each worker.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use llguidance::TokenParser;
use llguidance::panic_utils::catch_unwind;

use crate::lexed::{Halves, Lexed};

/// Places for workers. Workers whose numbers are this far apart share one.
pub(crate) const MAX_WORKERS: usize = 16;
/// What the engine's tables take beside what it counts itself, measured (see `tests/memory.rs`).
const BYTES_PER_LEXEME: usize = 1 << 10;
const FIXED_BYTES: usize = 16 << 10;

/// An engine at the start of its grammar, its first mask computed.
pub(crate) struct Template {
    /// Never used for masks after that, so that no panic can poison its lexer.
    first: Mutex<TokenParser>,
    /// The lexer of each is shared by the matchers that were made for the worker.
    workers: [Worker; MAX_WORKERS],
    halves: Arc<Halves>,
    num_lexemes: usize,
    first_bytes: usize,
}

#[derive(Default)]
struct Worker {
    parser: Mutex<Option<Box<Warm>>>,
    /// What its lexer took when a matcher was made last.
    num_bytes: AtomicUsize,
}

/// An engine, and what computes its masks.
struct Warm {
    parser: TokenParser,
    lexed: Arc<Lexed>,
}

impl Template {
    /// Starts `parser` and computes its first mask, so that a specification that cannot even start
    /// is refused here and not in the middle of a batch.
    ///
    /// # Errors
    /// What the engine says.
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

    /// Copies the engine with the lexer that all copies for `worker` share.
    ///
    /// No lock is shared with other workers, except when a worker comes for the first time.
    pub(crate) fn copy_on(&self, worker: usize) -> llguidance::Matcher {
        let worker = &self.workers[worker % MAX_WORKERS];
        let mut place = lock(&worker.parser);
        let measured = place.as_ref().and_then(|warm| warm.num_bytes());
        // A panic while the lexer was in use leaves it as it was, and one that is full stays so: nobody
        // may go on with that.
        if measured.is_none() {
            *place = None;
        }
        let warm = place.get_or_insert_with(|| Box::new(self.warm()));
        worker.num_bytes.store(measured.unwrap_or(self.first_bytes), Ordering::Relaxed);
        llguidance::Matcher::new(Ok(warm.parser.clone()))
    }

    /// Counts the sets of tokens that are kept for a worker's lexer.
    #[cfg(test)]
    pub(crate) fn num_kept(&self, worker: usize) -> usize {
        lock(&self.workers[worker].parser).as_ref().map_or(0, |warm| warm.lexed.num_kept())
    }

    /// Estimates the memory of all copies, as far as they were seen. The grammar is shared.
    pub(crate) fn num_bytes(&self) -> usize {
        let warm = |worker: &Worker| worker.num_bytes.load(Ordering::Relaxed);
        let lexers = self.workers.iter().map(warm).filter(|bytes| *bytes > 0);
        // The grammar keeps the expressions that the first lexer was made from.
        let (count, bytes) =
            lexers.fold((1, 2 * self.first_bytes), |(n, sum), it| (n + 1, sum + it));
        bytes + self.num_lexemes * BYTES_PER_LEXEME + count * FIXED_BYTES
    }
}

impl Warm {
    /// What the engine says its lexer takes, and the masks that are kept for it; none once a panic has
    /// struck there, or it is full.
    fn num_bytes(&self) -> Option<usize> {
        let stats = || Ok(self.parser.parser.lexer_stats());
        let stats = catch_unwind(AssertUnwindSafe(stats)).ok()?;
        (!stats.error).then(|| stats.num_bytes + self.lexed.num_bytes())
    }
}

/// Copying only reads, so a poisoned lock guards a whole engine.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
