//! Compiled specifications kept for the next request that asks for the same.
//!
//! Owns who compiles and who waits, and what is given up when there is too much. Starts no thread
//! and reads no clock: what was used last is known by counting.

mod key;

use std::collections::{BTreeMap, HashMap};
use std::hash::RandomState;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use key::Key;

use crate::compile::Compiler;
use crate::compiled::Compiled;
use crate::error::SpecError;
use crate::spec::Spec;

/// Bounds what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// Compiled specifications together with their keys, by estimate. One that is larger than this
    /// is compiled and not kept.
    pub max_bytes: usize,
    /// Specifications that were refused, with their errors.
    pub max_errors: usize,
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self { max_bytes: 256 << 20, max_errors: 64 }
    }
}

/// Counts what the cache has done, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Answers that were there, errors included.
    pub hits: u64,
    /// Compilations.
    pub misses: u64,
    /// Callers that waited for another one's compilation.
    pub waits: u64,
    /// Entries given up for room.
    pub evictions: u64,
    /// Compiled specifications now.
    pub num_compiled: usize,
    /// Errors now.
    pub num_errors: usize,
    /// The estimate for both.
    pub num_bytes: usize,
}

/// Compiles each specification once for all who ask, and keeps the result while there is room.
///
/// Shared between threads. Two specifications are the same if they are written the same: the order
/// of an object's keys matters, because it is the order of the output.
pub struct Cache {
    compiler: Compiler,
    limits: CacheLimits,
    secret: RandomState,
    state: Mutex<State>,
    /// Signals that some compilation has ended.
    ended: Condvar,
}

#[derive(Default)]
struct State {
    slots: HashMap<Key, Slot>,
    /// Kept entries by when they were used last.
    compiled: BTreeMap<u64, Key>,
    errors: BTreeMap<u64, Key>,
    uses: u64,
    stats: CacheStats,
}

enum Slot {
    /// Somebody compiles it.
    Pending,
    Kept {
        answer: Result<Compiled, SpecError>,
        num_bytes: usize,
        used: u64,
    },
}

impl Cache {
    /// Keeps what `compiler` compiles, within `limits`.
    pub fn new(compiler: Compiler, limits: CacheLimits) -> Self {
        let (state, ended) = (Mutex::default(), Condvar::new());
        Self { compiler, limits, secret: RandomState::new(), state, ended }
    }

    /// Returns the compiler.
    pub fn compiler(&self) -> &Compiler {
        &self.compiler
    }

    /// Returns the compiled `spec`: from the cache, or compiled here, or compiled by another caller
    /// who asked first, for whom this one waits.
    ///
    /// # Errors
    /// As [`Compiler::compile`]; the last errors are kept too.
    pub fn get(&self, spec: &Spec) -> Result<Compiled, SpecError> {
        if matches!(spec, Spec::Text) {
            return self.compiler.compile(spec);
        }
        let key = Key::of(spec, &self.secret);
        let mut state = self.lock();
        let mut has_waited = false;
        loop {
            match state.slots.get(&key) {
                None => break,
                Some(Slot::Pending) => {
                    state.stats.waits += u64::from(!has_waited);
                    has_waited = true;
                    state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                Some(_) => {
                    state.stats.hits += 1;
                    return state.take(&key, self.limits.max_bytes);
                }
            }
        }
        state.stats.misses += 1;
        state.slots.insert(key.clone(), Slot::Pending);
        drop(state);
        // Should compiling panic, the place is free again and those who wait try themselves.
        let pending = Pending { cache: self, key: Some(key) };
        let result = self.compiler.compile(spec);
        pending.resolve(&result);
        result
    }

    /// Returns what the cache has done, and what it holds.
    pub fn stats(&self) -> CacheStats {
        let state = self.lock();
        let (num_compiled, num_errors) = (state.compiled.len(), state.errors.len());
        CacheStats { num_compiled, num_errors, ..state.stats }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock but allocation.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// A compilation under way.
struct Pending<'a> {
    cache: &'a Cache,
    key: Option<Key>,
}

impl Pending<'_> {
    fn resolve(mut self, result: &Result<Compiled, SpecError>) {
        if let Some(key) = self.key.take() {
            self.cache.lock().keep(&key, result, &self.cache.limits);
            self.cache.ended.notify_all();
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.cache.lock().slots.remove(&key);
            self.cache.ended.notify_all();
        }
    }
}

impl State {
    /// Answers from a slot that is no longer pending.
    fn take(&mut self, key: &Key, max_bytes: usize) -> Result<Compiled, SpecError> {
        self.uses += 1;
        let now = self.uses;
        let slot = self.slots.get_mut(key).expect("the caller has seen it");
        let Slot::Kept { answer, num_bytes, used } = slot else {
            unreachable!("the caller has waited for it")
        };
        // The lexers of its workers may have grown since.
        let now_bytes = num_bytes_of(key, answer);
        self.stats.num_bytes = self.stats.num_bytes - *num_bytes + now_bytes;
        *num_bytes = now_bytes;
        let was_used = std::mem::replace(used, now);
        let answer = answer.clone();
        let order = if answer.is_ok() { &mut self.compiled } else { &mut self.errors };
        if let Some(key) = order.remove(&was_used) {
            order.insert(now, key);
        }
        self.evict(max_bytes);
        answer
    }

    fn keep(&mut self, key: &Key, result: &Result<Compiled, SpecError>, limits: &CacheLimits) {
        self.uses += 1;
        let used = self.uses;
        let num_bytes = num_bytes_of(key, result);
        if num_bytes > limits.max_bytes || (result.is_err() && limits.max_errors == 0) {
            self.slots.remove(key);
            return;
        }
        self.stats.num_bytes += num_bytes;
        let order = if result.is_ok() { &mut self.compiled } else { &mut self.errors };
        order.insert(used, key.clone());
        self.slots.insert(key.clone(), Slot::Kept { answer: result.clone(), num_bytes, used });
        while self.errors.len() > limits.max_errors {
            let Some((_, key)) = self.errors.pop_first() else { break };
            self.drop_slot(&key);
        }
        self.evict(limits.max_bytes);
    }

    /// Gives up what was used longest ago, first of the errors, until the rest fits.
    fn evict(&mut self, max_bytes: usize) {
        while self.stats.num_bytes > max_bytes {
            let oldest = self.errors.pop_first().or_else(|| self.compiled.pop_first());
            let Some((_, key)) = oldest else { break };
            self.drop_slot(&key);
        }
    }

    fn drop_slot(&mut self, key: &Key) {
        let Some(slot) = self.slots.remove(key) else { return };
        if let Slot::Kept { num_bytes, .. } = slot {
            self.stats.num_bytes -= num_bytes;
            self.stats.evictions += 1;
        }
    }
}

/// Estimates what keeping an answer takes.
fn num_bytes_of(key: &Key, answer: &Result<Compiled, SpecError>) -> usize {
    let answer = match answer {
        Ok(compiled) => compiled.num_bytes(),
        Err(error) => error.to_string().len(),
    };
    key.num_bytes() + answer
}
