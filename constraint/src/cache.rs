//! A cache of compiled specifications, for requests that ask for the same one.
//!
//! Owns which results are kept and how much each weighs. `quick_cache` decides who compiles, who
//! waits and what is evicted. Starts no thread and reads no clock.

mod key;

use std::hash::RandomState;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::{EntryAction, EntryResult};
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};

use key::Key;

use crate::compile::Compiler;
use crate::compiled::Compiled;
use crate::error::SpecError;
use crate::spec::Spec;

/// Bounds the size of the cache. Sizes are estimates and include the keys. A result larger than the
/// bound is returned but not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// Bytes of compiled specifications.
    pub max_bytes: usize,
    /// Bytes of refused specifications with their errors. They never evict compiled ones.
    pub max_error_bytes: usize,
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self { max_bytes: 256 << 20, max_error_bytes: 4 << 20 }
    }
}

/// Counters and current sizes of a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Lookups answered without compiling: the result was there, or another caller was compiling
    /// it. Errors count.
    pub hits: u64,
    /// Compilations.
    pub misses: u64,
    /// Results evicted to make room, or too large to be kept.
    pub evictions: u64,
    /// Compiled specifications in the cache now.
    pub num_compiled: usize,
    /// Errors in the cache now.
    pub num_errors: usize,
    /// Estimated bytes of both.
    pub num_bytes: usize,
}

/// Compiles each specification once for all callers, and keeps the result while there is room.
///
/// May be shared between threads. Two specifications are the same if they are written the same way.
/// The order of an object's keys counts, because the output follows it.
pub struct Cache {
    compiler: Compiler,
    secret: RandomState,
    compiled: Store<Compiled>,
    errors: Store<SpecError>,
    hits: AtomicU64,
    misses: AtomicU64,
    evictions: Evictions,
}

impl Cache {
    /// Makes an empty cache, within `limits`, in front of `compiler`.
    pub fn new(compiler: Compiler, limits: CacheLimits) -> Self {
        let evictions = Evictions::default();
        Self {
            compiler,
            secret: RandomState::new(),
            compiled: store(limits.max_bytes, &evictions),
            errors: store(limits.max_error_bytes, &evictions),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            evictions,
        }
    }

    /// Returns the compiler.
    pub fn compiler(&self) -> &Compiler {
        &self.compiler
    }

    /// Returns the compiled `spec`: from the cache, by compiling it, or by waiting for another
    /// caller who compiles it already.
    ///
    /// # Errors
    /// As [`Compiler::compile`]; errors are cached too.
    pub fn get(&self, spec: &Spec) -> Result<Compiled, SpecError> {
        if matches!(spec, Spec::Text) {
            return self.compiler.compile(spec);
        }
        let key = Key::of(spec, &self.secret);
        let known = |error: Kept<SpecError>| {
            self.hits.fetch_add(1, Ordering::Relaxed);
            Err(error.answer)
        };
        if let Some(error) = self.errors.get(&key) {
            return known(error);
        }
        let found = self.compiled.entry(&key, None, |key, kept| {
            // The workers' lexers may have grown since the last use.
            kept.num_bytes = key.num_bytes() + kept.answer.num_bytes();
            EntryAction::Retain::<Compiled>(kept.answer.clone())
        });
        let vacant = match found {
            EntryResult::Vacant(vacant) => vacant,
            EntryResult::Retained(compiled) => {
                self.hits.fetch_add(1, Ordering::Relaxed);
                // The cache evicts on insertion only, so an entry that grew is inserted again.
                if self.compiled.weight() > self.compiled.capacity()
                    && let Some((key, kept)) = self.compiled.remove(&key)
                {
                    self.compiled.insert(key, kept);
                }
                return Ok(compiled);
            }
            EntryResult::Removed(..) | EntryResult::Replaced(..) | EntryResult::Timeout => {
                unreachable!("entries are retained, and are waited for without end")
            }
        };
        // Another caller may have cached an error while this one waited.
        if let Some(error) = self.errors.get(&key) {
            return known(error);
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        // If compilation panics, the entry is free again and the waiting callers compile
        // themselves.
        let result = self.compiler.compile(spec);
        match &result {
            Ok(compiled) => {
                let num_bytes = key.num_bytes() + compiled.num_bytes();
                // Nobody else fills this entry; if somebody did, their result is as good.
                let _ = vacant.insert(Kept { answer: compiled.clone(), num_bytes });
            }
            Err(error) => {
                let num_bytes = key.num_bytes() + error.to_string().len();
                self.errors.insert(key, Kept { answer: error.clone(), num_bytes });
            }
        }
        result
    }

    /// Returns what the cache has done, and what it holds.
    pub fn stats(&self) -> CacheStats {
        let num_bytes = self.compiled.weight() + self.errors.weight();
        CacheStats {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            evictions: self.evictions.0.load(Ordering::Relaxed),
            num_compiled: self.compiled.len(),
            num_errors: self.errors.len(),
            num_bytes: usize::try_from(num_bytes).unwrap_or(usize::MAX),
        }
    }
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

type Store<T> = quick_cache::sync::Cache<Key, Kept<T>, ByBytes, RandomState, Evictions>;

/// Makes a store with a single shard, so that one large result may use all of it. Locks are held
/// only briefly.
fn store<T: Clone>(max_bytes: usize, evictions: &Evictions) -> Store<T> {
    let options = OptionsBuilder::new()
        .shards(1)
        .estimated_items_capacity(max_bytes / TYPICAL_BYTES)
        .weight_capacity(max_bytes as u64)
        .build()
        .expect("both capacities are set");
    Store::with_options(options, ByBytes, RandomState::new(), evictions.clone())
}

/// Typical bytes of a result; sets how many evicted keys the store remembers.
const TYPICAL_BYTES: usize = 64 << 10;

/// A result and its estimated bytes, which are updated at each use.
#[derive(Clone)]
struct Kept<T> {
    answer: T,
    num_bytes: usize,
}

#[derive(Clone)]
struct ByBytes;

impl<T> Weighter<Key, Kept<T>> for ByBytes {
    fn weight(&self, _: &Key, kept: &Kept<T>) -> u64 {
        kept.num_bytes as u64
    }
}

/// Counts evictions.
#[derive(Clone, Default)]
struct Evictions(Arc<AtomicU64>);

impl<T> Lifecycle<Key, Kept<T>> for Evictions {
    type RequestState = ();

    fn begin_request(&self) {}

    fn on_evict(&self, (): &mut (), _: Key, _: Kept<T>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
