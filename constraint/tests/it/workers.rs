//! Matchers made for a worker, jump-forward tokens, and ending a matcher's work from outside.

use serde_json::json;
use sluicegate_constraint::{Compiled, Event, MatchError, Matcher, Spec, TokenId};

use crate::support::{CANONICAL, COMPILER, Rng, bytewise, greedy, walk};

fn person() -> Spec {
    Spec::json(json!({
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"enum": [10, 42]}},
        "required": ["name", "age"],
        "additionalProperties": false,
    }))
}

/// Feeds the same tokens to both and compares every mask.
fn replay(compiled: &Compiled, worker: usize, tokens: &[TokenId]) {
    let (mut on, mut alone) = (compiled.matcher_on(worker), compiled.matcher());
    for &token in tokens {
        assert_eq!(on.mask(), alone.mask());
        assert_eq!(on.advance(token), alone.advance(token));
    }
    assert_eq!(on.is_finished(), alone.is_finished());
}

#[test]
fn a_matcher_on_a_worker_allows_what_any_other_does() {
    let mut rng = Rng(11);
    for compiler in [&*COMPILER, &*CANONICAL] {
        let compiled = compiler.compile(&person()).unwrap();
        for round in 0..12 {
            let Some((_, tokens)) = walk(&mut compiled.matcher_on(round % 3), &mut rng) else {
                continue;
            };
            replay(&compiled, round % 2, &tokens);
        }
    }
}

#[test]
fn workers_go_on_at_the_same_time() {
    let compiled = COMPILER.compile(&person()).unwrap();
    std::thread::scope(|scope| {
        for worker in 0..4usize {
            let compiled = &compiled;
            scope.spawn(move || {
                let mut rng = Rng(worker as u64 + 1);
                for _ in 0..5 {
                    if let Some((_, tokens)) = walk(&mut compiled.matcher_on(worker), &mut rng) {
                        replay(compiled, worker, &tokens);
                    }
                }
            });
        }
    });
}

/// Walks with every list of jump-forward tokens checked: each mask on its way is that one token.
fn check_jump_forward(compiled: &Compiled, rng: &mut Rng) -> usize {
    let mut matcher = compiled.matcher_on(0);
    let mut num_jumped = 0;
    for _ in 0..200 {
        let jump = matcher.jump_forward();
        num_jumped += jump.len();
        let mut ahead = matcher.fork();
        for &token in &jump {
            assert_eq!(ahead.mask().unwrap().iter().collect::<Vec<_>>(), [token], "{jump:?}");
            if ahead.advance(token).unwrap() == Event::Finished {
                break;
            }
        }
        let allowed: Vec<TokenId> = matcher.mask().unwrap().iter().collect();
        if matcher.advance(rng.pick(&allowed)).unwrap() == Event::Finished {
            break;
        }
    }
    num_jumped
}

#[test]
fn jump_forward_tokens_are_what_each_mask_would_allow_alone() {
    let compiled = CANONICAL.compile(&person()).unwrap();
    let mut rng = Rng(3);
    let num_jumped: usize = (0..20).map(|_| check_jump_forward(&compiled, &mut rng)).sum();
    assert!(num_jumped > 40, "{num_jumped}");
}

#[test]
fn jump_forward_text_is_spelled_canonically_and_nothing_advances() {
    let spec = Spec::json(json!({
        "type": "object", "properties": {"name": {"const": "abc"}}, "required": ["name"],
        "additionalProperties": false,
    }));
    let mut matcher = CANONICAL.compile(&spec).unwrap().matcher_on(0);
    for token in bytewise(b"{\"") {
        matcher.advance(token).unwrap();
    }
    let jump = matcher.jump_forward();
    assert_eq!(jump.first(), greedy(b"name").first(), "{jump:?}");
    assert_eq!((matcher.num_tokens(), matcher.jump_forward()), (2, jump));
    // Any tokenisation means that no jump is possible; nor is anything in free text or after the
    // end.
    let mut any = COMPILER.compile(&spec).unwrap().matcher();
    assert!(any.jump_forward().is_empty());
    assert!(CANONICAL.compile(&Spec::Text).unwrap().matcher().jump_forward().is_empty());
    let mut done = CANONICAL.compile(&Spec::Choice(vec!["ab".into()])).unwrap().matcher();
    for token in bytewise(b"ab") {
        done.advance(token).unwrap();
    }
    assert!(done.is_finished() && done.jump_forward().is_empty());
}

fn cancelled(matcher: &mut Matcher, num_tokens: usize) {
    let error = MatchError::Cancelled { num_tokens };
    assert_eq!(matcher.mask().unwrap_err(), error);
    assert_eq!(matcher.advance(97).unwrap_err(), error);
    assert_eq!(matcher.rollback(1).unwrap_err(), error);
    assert!(!matcher.is_accepting() && matcher.jump_forward().is_empty());
}

#[test]
fn a_cancelled_matcher_stops_and_its_forks_go_on() {
    let compiled = COMPILER.compile(&Spec::Regex("[a-z]+".into())).unwrap();
    for mut matcher in [compiled.matcher(), compiled.matcher_on(0)] {
        matcher.advance(97).unwrap();
        let mut fork = matcher.fork();
        matcher.cancel_handle().cancel();
        cancelled(&mut matcher, 1);
        assert_eq!(fork.advance(98).unwrap(), Event::Running);
        // A fork has a handle of its own.
        fork.cancel_handle().cancel();
        cancelled(&mut fork, 2);
    }
    // A matcher that failed before keeps its cause.
    let mut failed = compiled.matcher_on(0);
    let error = failed.advance(0).unwrap_err();
    failed.cancel_handle().cancel();
    assert_eq!(failed.mask().unwrap_err(), error);
    COMPILER.compile(&Spec::Text).unwrap().matcher().cancel_handle().cancel();
}

/// What a hundred different numbers finish.
fn unique() -> Compiled {
    let items = json!({"type": "integer", "minimum": 0});
    let schema = json!({"type": "array", "minItems": 100, "uniqueItems": true, "items": items});
    COMPILER.compile(&Spec::json(schema)).unwrap()
}

#[test]
fn a_search_that_is_ended_costs_a_token_and_not_the_sequence() {
    let mut matcher = unique().matcher();
    matcher.advance(b'['.into()).unwrap();
    let seven = u32::from(b'7');
    // A finish is found in time, but not in none.
    assert_eq!(matcher.fork().advance(seven).unwrap(), Event::Running);
    let handle = matcher.cancel_handle();
    handle.end_search();
    let mut text = vec![b'['];
    let mut sampled = seven;
    while !matcher.is_finished() {
        let taken = match matcher.advance(sampled).unwrap() {
            Event::Vetoed { instead, .. } => instead,
            _ => sampled,
        };
        text.extend_from_slice(matcher.vocab().token_bytes(taken));
        sampled = matcher.mask().map_or(seven, |mask| mask.iter().next().unwrap());
    }
    let items: Vec<serde_json::Number> = serde_json::from_slice(&text).unwrap();
    assert!(matcher.num_vetoed() > 0 && items.len() == 100, "{items:?}");
    // What was asked does not outlive the piece of work.
    let mut next = unique().matcher();
    next.cancel_handle().end_search();
    next.cancel_handle();
    next.advance(b'['.into()).unwrap();
    assert_eq!(next.advance(seven).unwrap(), Event::Running);
}
