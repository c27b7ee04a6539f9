//! Thinking sections in front of constraints.

use std::sync::{Arc, LazyLock};

use serde_json::json;
use sluicegate_constraint::{
    Compiled, Compiler, Event, MatchError, Matcher, Spec, SpecError, Thinking, TokenBytes, TokenId,
    Vocab, VocabSource,
};

/// Bytes, some longer tokens that meet the markers, a special token and an end token.
const TOKENS: [&str; 7] = ["</", "</think>", "think", "k>", ">\n", "x</think>{", "{\""];
const SPECIAL: TokenId = 263;
const EOS: TokenId = 264;

static COMPILER: LazyLock<Compiler> = LazyLock::new(|| {
    let mut tokens: Vec<TokenBytes> = (0..=255u8).map(|b| TokenBytes::Text(vec![b])).collect();
    tokens.extend(TOKENS.iter().map(|text| TokenBytes::Text(text.as_bytes().to_vec())));
    tokens.push(TokenBytes::Special("<|end|>".to_string()));
    tokens.push(TokenBytes::Special("<eos>".to_string()));
    let source = VocabSource { tokens, eos: vec![EOS], num_logits: 265 };
    Compiler::new(Arc::new(Vocab::new(source, None).unwrap())).unwrap()
});

fn token(text: &str) -> TokenId {
    256 + u32::try_from(TOKENS.iter().position(|known| *known == text).unwrap()).unwrap()
}

fn bytes(text: &str) -> Vec<TokenId> {
    text.bytes().map(u32::from).collect()
}

#[track_caller]
fn compile(begin: Option<&str>, end: &str, max_tokens: Option<u32>) -> Compiled {
    let thinking = Thinking { begin: begin.map(str::to_string), end: end.to_string(), max_tokens };
    let then = Spec::json(json!({"type": "object", "additionalProperties": false}));
    COMPILER.compile(&Spec::After { thinking, then: Box::new(then) }).unwrap()
}

/// Takes tokens, each of which the mask must allow.
#[track_caller]
fn take(matcher: &mut Matcher, tokens: &[TokenId]) {
    for &token in tokens {
        assert!(!matcher.is_finished(), "finished before {token}");
        assert!(matcher.mask().unwrap().allows(token), "{token} is not allowed");
        matcher.advance(token).unwrap();
    }
}

#[track_caller]
fn allowed(matcher: &mut Matcher) -> Vec<TokenId> {
    matcher.mask().unwrap().iter().collect()
}

#[test]
fn text_markers_end_the_section_whatever_their_tokens() {
    for end in [vec![token("</think>")], bytes("</think>"), {
        let mut end = vec![token("</")];
        end.extend(bytes("thin"));
        end.push(token("k>"));
        end
    }] {
        let mut matcher = compile(None, "</think>", None).matcher();
        take(&mut matcher, &bytes("é { </thin </ <</"));
        take(&mut matcher, &bytes("x"));
        assert!(!matcher.is_accepting());
        let mask = matcher.mask().unwrap();
        assert!(!mask.allows(EOS) && !mask.allows(SPECIAL) && mask.allows(token("</think>")));
        take(&mut matcher, &end);
        assert_eq!(allowed(&mut matcher), [u32::from(b'{')]);
        assert_eq!(matcher.advance(123).unwrap(), Event::Running);
        assert_eq!(matcher.advance(125).unwrap(), Event::Finished);
        assert_eq!(allowed(&mut matcher), [EOS]);
    }
}

#[test]
fn no_token_crosses_the_border() {
    let mut matcher = compile(None, "</think>", None).matcher();
    let mask = matcher.mask().unwrap();
    assert!(!mask.allows(token("x</think>{")) && mask.allows(token(">\n")));
    take(&mut matcher, &bytes("</thin"));
    assert!(matcher.mask().unwrap().allows(token("k>")));
    take(&mut matcher, &bytes("k"));
    let mask = matcher.mask().unwrap();
    assert!(!mask.allows(token(">\n")) && mask.allows(u32::from(b'>')) && mask.allows(97));
    let error = matcher.fork().advance(token(">\n")).unwrap_err();
    assert_eq!(error, MatchError::NotAllowed { token: token(">\n"), num_tokens: 7 });
}

#[test]
fn special_markers_are_that_token_and_not_its_text() {
    let mut matcher = compile(Some("<|end|>"), "<|end|>", None).matcher();
    assert_eq!(allowed(&mut matcher), [SPECIAL]);
    take(&mut matcher, &[SPECIAL]);
    take(&mut matcher, &bytes("<|end|>{}"));
    take(&mut matcher, &[SPECIAL, 123, 125]);
    assert!(matcher.is_finished());
}

#[test]
fn the_section_begins_with_its_marker() {
    let mut matcher = compile(Some("<think>"), "</think>", None).matcher();
    assert_eq!(allowed(&mut matcher), bytes("<"));
    take(&mut matcher, &bytes("<"));
    assert_eq!(allowed(&mut matcher), [u32::from(b't'), token("think")]);
    take(&mut matcher, &[token("think"), u32::from(b'>')]);
    take(&mut matcher, &bytes("<think>"));
    take(&mut matcher, &[token("</think>"), 123, 125]);
    assert!(matcher.is_finished());
}

#[test]
fn when_its_tokens_are_spent_the_end_comes_next() {
    let mut matcher = compile(Some("<|end|>"), "</think>", Some(3)).matcher();
    take(&mut matcher, &[SPECIAL, token("think"), 97]);
    assert!(matcher.mask().unwrap().allows(98));
    let mut other = matcher.fork();
    take(&mut matcher, &[98]);
    assert_eq!(allowed(&mut matcher), [u32::from(b'<'), token("</"), token("</think>")]);
    take(&mut matcher, &[token("</"), token("think")]);
    assert_eq!(allowed(&mut matcher), [u32::from(b'>')]);
    take(&mut matcher, &bytes(">{}"));
    // What of the end is there already counts.
    take(&mut other, &[token("</")]);
    assert_eq!(allowed(&mut other), [u32::from(b't'), token("think")]);
    let mut none = compile(None, "<|end|>", Some(0)).matcher();
    assert_eq!(allowed(&mut none), [SPECIAL]);
}

#[test]
fn rollback_and_fork_work_across_the_border() {
    let mut matcher = compile(None, "</think>", Some(5)).matcher();
    let tokens = [97, token("</"), token("think"), u32::from(b'>'), 123, 125, EOS];
    let mut masks = Vec::new();
    for token in tokens {
        masks.push(matcher.mask().unwrap());
        matcher.advance(token).unwrap();
    }
    for back in 1..=tokens.len() {
        let mut fork = matcher.fork();
        fork.rollback(back).unwrap();
        let start = tokens.len() - back;
        assert_eq!(fork.num_tokens(), start);
        for (token, mask) in tokens.iter().zip(&masks).skip(start) {
            assert_eq!(fork.mask().unwrap(), *mask, "{back} back, at {token}");
            fork.advance(*token).unwrap();
        }
        assert!(fork.is_finished());
    }
    let error = matcher.rollback(8).unwrap_err();
    assert_eq!(error, MatchError::Rollback { wanted: 8, found: 7 });
}

#[test]
fn masks_allow_exactly_what_is_taken() {
    for (begin, end, max_tokens) in [
        (Some("<think>"), "</think>", Some(2)),
        (None, "</think>", None),
        (Some("<|end|>"), "<|end|>", Some(2)),
    ] {
        let mut matcher = compile(begin, end, max_tokens).matcher();
        let mut seed = 1;
        for _ in 0..40 {
            let mask = matcher.mask().unwrap();
            for token in 0..265 {
                let taken = matcher.fork().advance(token).is_ok();
                assert_eq!(mask.allows(token), taken, "{token} of {end:?}");
            }
            let all: Vec<TokenId> = mask.iter().collect();
            seed = seed * 5 % 10_007;
            matcher.advance(all[seed % all.len()]).unwrap();
            if matcher.is_finished() {
                break;
            }
        }
    }
}

#[test]
fn ends_that_repeat_themselves_are_found() {
    for (end, text) in [("aab", "aaab"), ("abab", "abaabab"), ("xx", "xx"), ("\n\n", "a\n\n")] {
        let mut matcher = compile(None, end, None).matcher();
        take(&mut matcher, &bytes(text));
        assert_eq!(allowed(&mut matcher), [123], "{end:?} in {text:?}");
    }
}

#[test]
fn anything_may_follow_but_another_section() {
    let after = |end: &str, then: Spec| {
        let thinking = Thinking { end: end.to_string(), ..Thinking::default() };
        COMPILER.compile(&Spec::After { thinking, then: Box::new(then) })
    };
    let mut matcher = after("</think>", Spec::Text).unwrap().matcher();
    take(&mut matcher, &[97, token("</think>"), SPECIAL, 97, EOS]);
    let mut matcher =
        after("!", Spec::Choice(vec!["yes".into(), String::new()])).unwrap().matcher();
    take(&mut matcher, &bytes("a!"));
    assert!(matcher.is_accepting());
    take(&mut matcher, &bytes("yes"));
    let nested = Spec::After { thinking: Thinking::default(), then: Box::new(Spec::Text) };
    for (end, then) in [("</think>", nested), ("", Spec::Text), ("<eos>", Spec::Text)] {
        let error = after(end, then).unwrap_err();
        assert!(matches!(error, SpecError::Unsupported { .. }), "{error}");
    }
    let long = after(&"x".repeat(1 << 20), Spec::Text).unwrap_err();
    assert!(matches!(long, SpecError::Unsupported { .. }));
    assert!(after("</think>", Spec::Regex("(".into())).is_err());
}
