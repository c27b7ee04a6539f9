//! The cache: compiled once, for all, within bounds.

use std::sync::Arc;

use serde_json::json;
use sluicegate_constraint::{Cache, CacheLimits, CacheStats, Compiler, Spec, SpecError};

use crate::support::{bytewise, vocab};

fn cache(limits: CacheLimits) -> Cache {
    Cache::new(Compiler::new(vocab(301, true)).unwrap(), limits)
}

fn regex(idx: usize) -> Spec {
    Spec::Regex(format!("[a-z]{{{}}}", idx + 1))
}

#[test]
fn a_specification_is_compiled_once() {
    let cache = cache(CacheLimits::default());
    for _ in 0..3 {
        let mut matcher = cache.get(&regex(1)).unwrap().matcher_on(0);
        for token in bytewise(b"ab") {
            matcher.advance(token).unwrap();
        }
        assert!(matcher.is_finished());
    }
    let stats = cache.stats();
    assert_eq!((stats.misses, stats.hits, stats.num_compiled), (1, 2, 1));
    assert!(stats.num_bytes > 0);
    // Free text has nothing to keep.
    cache.get(&Spec::Text).unwrap();
    assert_eq!(cache.stats(), stats);
}

#[test]
fn the_order_of_properties_makes_another_specification() {
    let cache = cache(CacheLimits::default());
    let text = |first: &str, second: &str| {
        let schema = json!({
            "type": "object",
            "properties": {first: {"type": "null"}, second: {"type": "null"}},
            "required": [first, second],
            "additionalProperties": false,
        });
        let mut matcher = cache.get(&Spec::json(schema)).unwrap().matcher();
        let text = format!("{{\"{first}\":null,\"{second}\":null}}");
        for token in bytewise(text.as_bytes()) {
            matcher.advance(token).unwrap();
        }
        assert!(matcher.is_finished());
    };
    text("a", "b");
    text("b", "a");
    assert_eq!(cache.stats().misses, 2);
}

#[test]
fn callers_at_the_same_time_wait_for_one_compilation() {
    let cache = Arc::new(cache(CacheLimits::default()));
    // Long enough to compile for the others to come meanwhile.
    let options: Vec<String> = (0..5_000).map(|idx| format!("option {idx}")).collect();
    let spec = Spec::Choice(options);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| cache.get(&spec).unwrap());
        }
    });
    let CacheStats { hits, misses, num_compiled, .. } = cache.stats();
    assert_eq!((misses, hits, num_compiled), (1, 7, 1));
}

#[test]
fn callers_at_the_same_time_wait_for_one_error() {
    let cache = cache(CacheLimits::default());
    let spec = Spec::Regex(format!("({}", "a|".repeat(20_000)));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| cache.get(&spec).unwrap_err());
        }
    });
    let CacheStats { hits, misses, num_errors, .. } = cache.stats();
    assert_eq!((misses, hits, num_errors), (1, 7, 1));
}

#[test]
fn errors_are_kept_but_take_no_place_of_what_compiles() {
    let bad = |idx: usize| Spec::Regex(format!("({idx:03}"));
    let one = {
        let cache = cache(CacheLimits::default());
        cache.get(&bad(0)).unwrap_err();
        cache.stats().num_bytes
    };
    let cache = cache(CacheLimits { max_error_bytes: 3 * one, ..CacheLimits::default() });
    cache.get(&regex(0)).unwrap();
    let compiled = cache.stats().num_bytes;
    for idx in 0..100 {
        for _ in 0..2 {
            assert!(matches!(cache.get(&bad(idx)), Err(SpecError::Regex { .. })));
        }
    }
    let stats = cache.stats();
    assert_eq!((stats.misses, stats.hits), (101, 100));
    assert_eq!((stats.num_errors, stats.num_compiled, stats.evictions), (3, 1, 97));
    assert_eq!(stats.num_bytes, compiled + 3 * one);
    let none = self::cache(CacheLimits { max_error_bytes: 0, ..CacheLimits::default() });
    for _ in 0..2 {
        none.get(&bad(0)).unwrap_err();
    }
    assert_eq!((none.stats().misses, none.stats().num_errors), (2, 0));
}

#[test]
fn what_is_used_again_outlasts_what_was_used_once() {
    let one = {
        let cache = cache(CacheLimits::default());
        cache.get(&regex(0)).unwrap();
        cache.stats().num_bytes
    };
    // Room for three.
    let max_bytes = 3 * one + one / 2;
    let cache = cache(CacheLimits { max_bytes, ..CacheLimits::default() });
    let kept = cache.get(&regex(0)).unwrap();
    cache.get(&regex(0)).unwrap();
    for idx in 1..10 {
        cache.get(&regex(idx)).unwrap();
        assert!(cache.stats().num_bytes <= max_bytes, "{:?}", cache.stats());
    }
    let stats = cache.stats();
    assert_eq!((stats.misses, stats.hits), (10, 1));
    assert_eq!(stats.evictions, 10 - stats.num_compiled as u64);
    assert!(stats.num_compiled >= 2, "{stats:?}");
    cache.get(&regex(0)).unwrap();
    assert_eq!(cache.stats().misses, 10, "it is still there");
    for idx in 1..10 {
        cache.get(&regex(idx)).unwrap();
    }
    assert!(cache.stats().misses >= 17, "most of the others were given up: {:?}", cache.stats());
    // Whoever holds it keeps it.
    assert!(kept.matcher_on(1).mask().is_ok());
    let tiny = self::cache(CacheLimits { max_bytes: 1, ..CacheLimits::default() });
    tiny.get(&regex(0)).unwrap();
    assert_eq!(tiny.stats().num_bytes, 0, "what is larger than the cache is not kept");
}

#[test]
fn an_entry_whose_lexers_grow_is_counted_anew() {
    let cache = cache(CacheLimits::default());
    let spec = Spec::json(json!({"type": "array", "items": {"type": "string", "maxLength": 200}}));
    let compiled = cache.get(&spec).unwrap();
    let first = cache.stats().num_bytes;
    let mut matcher = compiled.matcher_on(3);
    for token in bytewise(format!("[\"{}\"", "abc ".repeat(40)).as_bytes()) {
        matcher.mask().unwrap();
        matcher.advance(token).unwrap();
    }
    drop(compiled.matcher_on(3));
    cache.get(&spec).unwrap();
    assert!(cache.stats().num_bytes > first, "{first} and {:?}", cache.stats());
}

#[test]
fn entries_that_grow_make_room() {
    let spec = |idx: usize| {
        Spec::json(json!({"type": "array", "items": {"type": "string", "maxLength": 200 + idx}}))
    };
    let grow = |cache: &Cache, idx: usize| {
        let mut matcher = cache.get(&spec(idx)).unwrap().matcher_on(0);
        for token in bytewise(format!("[\"{}\"", "abc ".repeat(40)).as_bytes()) {
            matcher.mask().unwrap();
            matcher.advance(token).unwrap();
        }
    };
    let one = {
        let cache = cache(CacheLimits::default());
        cache.get(&spec(0)).unwrap();
        cache.stats().num_bytes
    };
    // Room for four as they begin.
    let max_bytes = 4 * one + one / 2;
    let cache = cache(CacheLimits { max_bytes, ..CacheLimits::default() });
    for idx in 0..4 {
        cache.get(&spec(idx)).unwrap();
    }
    for _ in 0..3 {
        for idx in 0..4 {
            grow(&cache, idx);
            drop(cache.get(&spec(idx)).unwrap().matcher_on(0));
            cache.get(&spec(idx)).unwrap();
            assert!(cache.stats().num_bytes <= max_bytes, "{:?}", cache.stats());
        }
    }
    assert!(cache.stats().evictions > 0);
}
