//! Vocabularies: widths, end tokens, what is never text.

use sluicegate_constraint::{Compiler, Spec, TokenBytes, Vocab, VocabError, VocabSource};

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
    assert_eq!(error(tokens(), &[], 320), VocabError::NoEos { found: 0, num_logits: 320 });
    assert_eq!(error(tokens(), &EOS, 286), VocabError::NoEos { found: 2, num_logits: 286 });
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
