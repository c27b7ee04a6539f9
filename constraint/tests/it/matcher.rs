//! One sequence: ends, forks, rollback, failures.

use serde_json::json;
use sluicegate_constraint::{Compiled, Compiler, Event, MatchError, Matcher, Spec};

use crate::support::{CANONICAL, COMPILER, EOS, Rng, SPECIAL, UNUSED, bytewise, json, walk};

fn feed(matcher: &mut Matcher, text: &str) {
    for token in bytewise(text.as_bytes()) {
        matcher.advance(token).unwrap();
    }
}

#[test]
fn types_cross_threads() {
    fn check<T: Send + Sync>() {}
    fn check_send<T: Send>() {}
    check::<Compiled>();
    check::<Compiler>();
    check_send::<Matcher>();
    let compiled = json(json!({"type": "integer"}));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| assert_eq!(compiled.matcher().advance(49).unwrap(), Event::Running));
        }
    });
}

#[test]
fn text_ends_with_any_end_token_only() {
    for eos in EOS {
        let mut matcher = COMPILER.compile(&Spec::Text).unwrap().matcher();
        assert!(matcher.is_accepting());
        assert_eq!(matcher.advance(SPECIAL).unwrap(), Event::Running);
        assert_eq!(matcher.advance(65).unwrap(), Event::Running);
        assert_eq!(matcher.advance(eos).unwrap(), Event::Finished);
        assert_eq!(matcher.advance(65).unwrap_err(), MatchError::Ended { num_tokens: 3 });
        assert_eq!(matcher.mask().unwrap_err(), MatchError::Ended { num_tokens: 3 });
        matcher.rollback(2).unwrap();
        assert_eq!(matcher.advance(66).unwrap(), Event::Running);
        assert_eq!(matcher.num_tokens(), 2);
    }
    let mut matcher = COMPILER.compile(&Spec::Text).unwrap().matcher();
    assert!(matches!(matcher.advance(UNUSED), Err(MatchError::NotAllowed { .. })));
}

#[test]
fn end_tokens_are_allowed_exactly_when_the_value_may_end() {
    let compiled = json(json!({"type": "integer"}));
    for eos in EOS {
        let mut matcher = compiled.matcher();
        assert!(!matcher.mask().unwrap().allows(eos));
        feed(&mut matcher, "4");
        let mask = matcher.mask().unwrap();
        assert!(EOS.iter().all(|&eos| mask.allows(eos)));
        assert_eq!(matcher.advance(eos).unwrap(), Event::Finished);
        assert_eq!(matcher.num_tokens(), 2);
        assert_eq!(matcher.advance(49).unwrap_err(), MatchError::Ended { num_tokens: 2 });
        matcher.rollback(1).unwrap();
        assert!(matcher.is_accepting() && !matcher.is_finished());
        feed(&mut matcher, "2");
    }
    let mut early = compiled.matcher();
    let error = MatchError::NotAllowed { token: EOS[0], num_tokens: 0 };
    assert_eq!(early.advance(EOS[0]).unwrap_err(), error);
}

#[test]
fn a_complete_grammar_allows_end_tokens_only() {
    let mut matcher = json(json!({"const": "a"})).matcher();
    feed(&mut matcher, "\"a\"");
    assert!(matcher.is_finished());
    assert_eq!(matcher.mask().unwrap().iter().collect::<Vec<_>>(), EOS);
    let mut fork = matcher.fork();
    assert_eq!(fork.advance(EOS[1]).unwrap(), Event::Finished);
    assert!(fork.mask().is_err());
    assert!(matches!(matcher.advance(32), Err(MatchError::NotAllowed { .. })));
    // Back over the end token and into the value.
    fork.rollback(2).unwrap();
    assert!(!fork.is_finished());
    assert_eq!(fork.advance(34).unwrap(), Event::Finished);
    assert_eq!(fork.num_tokens(), 3);
}

#[test]
fn a_refused_token_fails_that_matcher_only() {
    let compiled = json(json!({"type": "boolean"}));
    let mut matcher = compiled.matcher();
    feed(&mut matcher, "tr");
    let mut fork = matcher.fork();
    for bad in [SPECIAL, UNUSED, 300, 99_999, u32::MAX, EOS[0], 0xFF, u32::from(b'x')] {
        let mut victim = fork.fork();
        let error = MatchError::NotAllowed { token: bad, num_tokens: 2 };
        assert_eq!(victim.advance(bad).unwrap_err(), error);
        assert_eq!(victim.mask().unwrap_err(), error);
        assert_eq!(victim.advance(u32::from(b'u')).unwrap_err(), error);
        assert_eq!(victim.rollback(1).unwrap_err(), error);
        assert_eq!(victim.fork().mask().unwrap_err(), error);
        assert!(!victim.is_accepting());
    }
    feed(&mut fork, "ue");
    assert!(fork.is_finished() && !matcher.is_finished());
    feed(&mut compiled.matcher(), "false");
}

#[test]
fn forks_go_their_own_ways() {
    let compiled = json(json!({"type": "array", "items": {"type": "integer"}}));
    let mut first = compiled.matcher();
    feed(&mut first, "[1");
    let mut second = first.fork();
    feed(&mut first, ",2]");
    assert!(first.is_finished() && !second.is_finished());
    assert!(second.mask().unwrap().allows(u32::from(b',')));
    feed(&mut second, "0");
    let mut third = second.fork();
    feed(&mut third, "]");
    second.rollback(2).unwrap();
    feed(&mut second, "]");
    assert!(third.is_finished() && second.is_finished());
    assert_eq!((first.num_tokens(), second.num_tokens(), third.num_tokens()), (5, 2, 4));
}

#[test]
fn rollback_equals_replay() {
    let schema = json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 12},
            "kind": {"enum": ["red", "green"]},
            "sizes": {"type": "array", "items": {"type": "number"}, "maxItems": 3},
        },
        "required": ["name", "kind"],
        "additionalProperties": false,
    });
    let mut rng = Rng(0x5eed);
    for compiler in [&*COMPILER, &*CANONICAL] {
        let compiled = compiler.compile(&Spec::json(schema.clone())).unwrap();
        for _ in 0..12 {
            let mut matcher = compiled.matcher();
            let Some((_, tokens)) = walk(&mut matcher, &mut rng) else { continue };
            let back = 1 + rng.below(tokens.len());
            matcher.rollback(back).unwrap();
            let kept = tokens.len() - back;
            assert_eq!(matcher.num_tokens(), kept);
            let mut replay = compiled.matcher();
            for &token in &tokens[..kept] {
                replay.advance(token).unwrap();
            }
            assert_eq!(matcher.mask(), replay.mask(), "after {kept} of {tokens:?}");
            for &token in &tokens[kept..] {
                assert_eq!(matcher.advance(token), replay.advance(token));
                assert_eq!(matcher.mask(), replay.mask());
            }
        }
    }
}

#[test]
fn a_mask_after_a_rollback_is_not_that_of_the_way_taken_back() {
    // Behind `x` and behind `y` the same terminal comes, but not the same one after it.
    let source = "start: \"x\" A \"b\" | \"y\" A \"c\"\nA: \"a\" | \"z\"";
    let compiled = COMPILER.compile(&Spec::Lark(source.to_string())).unwrap();
    let ab = crate::support::greedy(b"ab")[0];
    let mut matcher = compiled.matcher();
    feed(&mut matcher, "x");
    assert!(matcher.mask().unwrap().allows(ab));
    matcher.rollback(1).unwrap();
    feed(&mut matcher, "y");
    assert!(!matcher.mask().unwrap().allows(ab));
    let mut replay = compiled.matcher();
    feed(&mut replay, "y");
    assert_eq!(matcher.mask(), replay.mask());
}

#[test]
fn rollback_beyond_the_start_changes_nothing() {
    let mut matcher = json(json!({"type": "null"})).matcher();
    feed(&mut matcher, "nu");
    let error = MatchError::Rollback { wanted: 3, found: 2 };
    assert_eq!(matcher.rollback(3).unwrap_err(), error);
    matcher.rollback(0).unwrap();
    matcher.rollback(2).unwrap();
    feed(&mut matcher, "null");
    assert!(matcher.is_finished());
}

#[test]
fn jump_forward_text_comes_in_canonical_tokens() {
    let schema = json!({
        "type": "object", "properties": {"name": {"const": "abc"}}, "required": ["name"],
        "additionalProperties": false,
    });
    let compiled = CANONICAL.compile(&Spec::json(schema)).unwrap();
    let mut matcher = compiled.matcher();
    feed(&mut matcher, "{\"");
    // `"` may be followed by nothing but `name"`: one token, no other tokenisation.
    let name = crate::support::greedy(b"name")[0];
    assert_eq!(matcher.mask().unwrap().iter().collect::<Vec<_>>(), [name]);
    assert_eq!(matcher.advance(name).unwrap(), Event::Running);
    // The same text in other tokens is no violation of the grammar.
    feed(&mut matcher, "\":\"a");
}
