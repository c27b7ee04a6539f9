//! Vocabularies: widths, end tokens, what is never text.

use std::sync::Arc;

use serde_json::json;
use sluicegate_constraint::{
    Compiler, Event, Matcher, Spec, TokenBytes, Vocab, VocabError, VocabSource,
};

use crate::support::{EOS, NUM_TOKENS, SPECIAL, UNUSED, tokens, vocab};

#[test]
fn masks_have_the_width_of_the_logits() {
    // Wider than the tokens, as wide, narrower; multiples of 32 and not.
    for num_logits in [NUM_TOKENS, 287, 288, 300, 320, 1024] {
        let vocab = vocab(num_logits, false);
        assert_eq!(vocab.num_logits(), num_logits);
        assert_eq!(vocab.num_words(), num_logits.div_ceil(32));
        let compiler = Compiler::new(vocab.clone()).unwrap();
        for spec in [Spec::Text, Spec::Regex("(?s).*".into()), Spec::Choice(vec!["ab".into()])] {
            let mut matcher = compiler.compile(&spec).unwrap().matcher();
            let mask = matcher.mask().unwrap();
            assert_eq!(mask.words().len(), vocab.num_words());
            assert_eq!(mask.num_bytes(), 4 * vocab.num_words());
            let last = mask.iter().last().unwrap() as usize;
            assert!(last < num_logits.min(NUM_TOKENS), "{spec:?} allows {last} of {num_logits}");
            assert!(!mask.allows(u32::MAX));
        }
    }
}

#[test]
fn a_vocabulary_of_a_multiple_of_32_tokens_has_no_extra_word() {
    let mut tokens = tokens();
    tokens.resize(320, TokenBytes::Text(b"pad".to_vec()));
    let source = VocabSource { tokens, eos: EOS.to_vec(), num_logits: 320 };
    let compiler = Compiler::new(Vocab::new(source, None).unwrap().into()).unwrap();
    let compiled = compiler.compile(&Spec::Regex("(?s).*".into())).unwrap();
    let mask = compiled.matcher().mask().unwrap();
    assert_eq!(mask.words().len(), 10);
    // Many ids may stand for the same bytes: all are allowed.
    assert!((290..320).all(|token| mask.allows(token)));
}

#[test]
fn unconstrained_rows_allow_what_exists() {
    let vocab = vocab(320, false);
    let allowed = |token: u32| vocab.allow_all()[token as usize / 32] >> (token % 32) & 1 == 1;
    for token in 0..320 {
        let exists = (token as usize) < NUM_TOKENS && token != UNUSED;
        assert_eq!(allowed(token), exists, "token {token}");
        assert_eq!(vocab.contains(token), exists, "token {token}");
    }
    assert_eq!(vocab.eos(), EOS);
    assert!(vocab.is_eos(EOS[1]) && !vocab.is_eos(SPECIAL) && !vocab.is_eos(99_999));
    assert_eq!(vocab.token_bytes(65), b"A");
    for token in [SPECIAL, UNUSED, EOS[0], EOS[1], 310, 99_999] {
        assert_eq!(vocab.token_bytes(token), b"", "token {token}");
    }
}

#[test]
fn bad_vocabularies_are_errors() {
    let error = |tokens: Vec<TokenBytes>, eos: &[u32], num_logits| {
        let source = VocabSource { tokens, eos: eos.to_vec(), num_logits };
        Vocab::new(source, None).map(|_| ()).unwrap_err()
    };
    assert!(matches!(error(vec![], &[0], 4), VocabError::Size { what: "tokens", .. }));
    assert!(matches!(error(tokens(), &EOS, 0), VocabError::Size { what: "logits", .. }));
    assert!(matches!(error(tokens(), &EOS, usize::MAX), VocabError::Size { .. }));
    assert_eq!(
        error(tokens(), &[EOS[0], 290], 320),
        VocabError::EosOutOfRange { token: 290, num_tokens: 290 }
    );
}

/// Advances by the bytes of a text; none of them is refused.
fn advance_by(matcher: &mut Matcher, text: &str) -> Vec<Event> {
    text.bytes().map(|byte| matcher.advance(byte.into()).unwrap()).collect()
}

#[test]
fn a_vocabulary_without_end_tokens_ends_where_its_constraint_does() {
    // 256 fill words of a mask exactly, so that the engine's own end lies behind the last.
    for (num_tokens, num_logits) in [(256, 256), (256, 300), (290, 286), (300, 290)] {
        let mut tokens: Vec<_> = (0..=255).map(|byte| TokenBytes::Text(vec![byte])).collect();
        tokens.resize(num_tokens, TokenBytes::Special("<pad>".to_owned()));
        let source = VocabSource { tokens, eos: Vec::new(), num_logits };
        let vocab = Arc::new(Vocab::new(source, None).unwrap());
        assert!(vocab.eos().is_empty() && vocab.num_valid() == num_tokens.min(num_logits));
        assert_eq!(vocab.num_words(), num_logits.div_ceil(32));
        let compiler = Compiler::new(vocab).unwrap();

        let mut matcher = compiler.compile(&Spec::Regex("[0-9]{2}".into())).unwrap().matcher();
        assert_eq!(matcher.mask().unwrap().num_allowed(), 10);
        assert_eq!(advance_by(&mut matcher, "42"), [Event::Running, Event::Finished]);
        assert!(matcher.is_finished() && matcher.is_accepting());

        let mut matcher = compiler.compile(&Spec::Regex("[a-z]+".into())).unwrap().matcher();
        assert_eq!(advance_by(&mut matcher, "abc"), vec![Event::Running; 3]);
        // No logit stands for the end.
        assert!(matcher.is_accepting() && matcher.mask().unwrap().num_allowed() == 26);
        assert!(matcher.mask().unwrap().iter().all(|token| (97..=122).contains(&token)));

        // A budget closes what could go on, before the token that has no valid end behind it.
        let pairs = compiler.compile(&Spec::Regex("(ab)+".into())).unwrap();
        let mut matcher = pairs.matcher_within(3).unwrap();
        assert_eq!(advance_by(&mut matcher, "ab"), [Event::Running, Event::Running]);
        assert_eq!(matcher.advance(97).unwrap(), Event::Closed);
        assert!(matcher.is_finished() && matcher.num_tokens() == 2);
        matcher.rollback(1).unwrap();
        assert_eq!(advance_by(&mut matcher, "b"), [Event::Running]);

        let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}},
            "required": ["a"], "additionalProperties": false});
        let object = compiler.compile(&Spec::json(schema)).unwrap();
        for mut matcher in [object.matcher(), object.matcher_within(20).unwrap()] {
            let events = advance_by(&mut matcher, r#"{"a":1}"#);
            assert_eq!(events.last(), Some(&Event::Finished));
        }
    }
}

#[test]
fn odd_tokens_do_no_harm() {
    let mut tokens = tokens();
    tokens.push(TokenBytes::Text(vec![b'a'; 5_000]));
    tokens.push(TokenBytes::Text(vec![]));
    tokens.push(TokenBytes::Text(vec![b'a', 0xFF]));
    tokens.push(TokenBytes::Special("x".repeat(5_000)));
    tokens.push(TokenBytes::Special(String::new()));
    let source = VocabSource { tokens, eos: vec![EOS[1], EOS[1]], num_logits: 295 };
    let vocab = Vocab::new(source, None).unwrap();
    assert_eq!(vocab.eos(), [EOS[1]]);
    assert!((290..295).all(|token| vocab.contains(token)));
    let compiler = Compiler::new(vocab.into()).unwrap();
    let compiled = compiler.compile(&Spec::Regex("(?s).*".into())).unwrap();
    let mask = compiled.matcher().mask().unwrap();
    assert!((290..295).all(|token| !mask.allows(token)));
    // An id that is no end token here is special still, but never text.
    assert!(!mask.allows(EOS[0]) && mask.allows(EOS[1]) && mask.allows(65));
}
