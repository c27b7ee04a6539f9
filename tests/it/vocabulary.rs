//! The constraint engine's view of real vocabularies: true bytes, end tokens, nothing special as
//! text.

use std::{cell::RefCell, sync::Arc};

use sluicegate::vocabulary;
use sluicegate_constraint::{Compiler, EncodedMask, Spec, TokenBytes, Vocab};
use sluicegate_model::tokenizer::Tokenizer;
use sluicegate_tests::engines::{gemma3, smollm2, tekken};

/// Texts of many scripts, with spaces, digits, quotes and lines in all places.
const TEXTS: [&str; 25] = [
    "",
    " ",
    "a",
    " a",
    "  two spaces,  and   three",
    "Hello, world! I'll don't WE'VE",
    "{\"name\": \"Zoë\", \"tags\": [\"a\\n\", \"\\u00e9\"], \"age\": 10}",
    "[1, -2.5e+10, true, false, null]",
    "line\nline\r\n\n\n\ttab\t\tend \n ",
    "1234567890 2024-11-25T03:04:05Z 3.14159",
    "naïve café – “quotes” … €10 ½",
    "日本語の文章です。改行も\nあります",
    "한국어 문장과 русский текст и العربية עברית",
    "हिन्दी ไทย ελληνικά",
    "🦀🦀 👨‍👩‍👧 🇩🇪 \u{1F3F4}\u{E0067}",
    "e\u{301} n\u{303} \u{200B}\u{FEFF}|\u{A0}|\u{2028}",
    "fn main() { println!(\"{}\", x[0] as u8 as char); } // ok",
    "<html><body>&nbsp;<|not_a_token|> [INSTR] </html>",
    "\u{0}\u{1}\u{7F}\u{80}",
    "https://example.org/a/b?c=d&e=%20f#g",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "                                        deep",
    METASPACE,
    "and Ġ byte Ċ level",
    "<0x41><0xE2>",
];

/// With the sign for a space of `SentencePiece`, which cannot tell it from one.
const METASPACE: &str = "\u{2581}metaspace\u{2581}";

/// What a vocabulary holds, as counted.
struct Counts {
    text: usize,
    special: usize,
    unused: usize,
}

/// Bytes of what tokens write.
fn written(vocab: &Vocab, tokens: &[u32]) -> Vec<u8> {
    tokens.iter().flat_map(|token| vocab.token_bytes(*token)).copied().collect()
}

/// Encoded text is spelled by its tokens' bytes: with nothing before it, as a continuation.
fn check_texts(tokenizer: &Tokenizer, vocab: &Vocab) {
    for text in TEXTS {
        let tokens = tokenizer.encode_continuation(text).unwrap();
        if text == METASPACE && tokenizer.decode(&tokens) == " metaspace " {
            continue;
        }
        assert_eq!(written(vocab, &tokens), text.as_bytes(), "{text:?} as {tokens:?}");
        assert_eq!(tokenizer.decode(&tokens), text);
        let mut stream = tokenizer.stream();
        let mut pieces: String = tokens.iter().filter_map(|token| stream.push(*token)).collect();
        pieces.extend(stream.flush());
        assert_eq!(pieces, text);
    }
}

/// Every token whose bytes are whole characters: its own text, encoded, spells the same bytes; and
/// tokens in the context of others decode to their bytes.
fn check_tokens(tokenizer: &Tokenizer, num_logits: usize) -> Counts {
    let source = vocabulary::source(tokenizer, num_logits);
    let vocab = vocabulary::of(tokenizer, num_logits).unwrap();
    let mut counts = Counts { text: 0, special: 0, unused: 0 };
    for (token, bytes) in (0..).zip(&source.tokens) {
        match bytes {
            TokenBytes::Text(bytes) => {
                counts.text += 1;
                assert!(!bytes.is_empty(), "token {token} writes nothing");
                // No constraint writes the byte that UTF-8 never uses: it marks special tokens
                // there.
                if (token as usize) < num_logits && !bytes.contains(&0xFF) {
                    assert_eq!(vocab.token_bytes(token), bytes, "token {token}");
                }
                if let Ok(text) = std::str::from_utf8(bytes) {
                    assert_eq!(tokenizer.decode(&[token]), text);
                    let again = tokenizer.encode_continuation(text).unwrap();
                    assert_eq!(written(&vocab, &again), *bytes, "token {token} again as {again:?}");
                }
            }
            TokenBytes::Special(_) => {
                counts.special += 1;
                assert_eq!(tokenizer.decode(&[token]), "", "token {token}");
                assert!(vocab.token_bytes(token).is_empty());
            }
            TokenBytes::Unused => {
                counts.unused += 1;
                assert!(!vocab.contains(token) || vocab.is_eos(token));
            }
        }
    }
    check_texts(tokenizer, &vocab);
    counts
}

/// No constraint writes a special token, an unused one or a padded logit, whatever it allows.
fn check_masks(tokenizer: &Tokenizer, num_logits: usize) {
    let source = vocabulary::source(tokenizer, num_logits);
    let vocab = Arc::new(vocabulary::of(tokenizer, num_logits).unwrap());
    let compiler = Compiler::new(Arc::clone(&vocab)).unwrap();
    let compiled = compiler.compile(&Spec::Regex("(?s).*".to_owned())).unwrap();
    let mask = compiled.matcher().mask().unwrap();
    assert_eq!(mask.words().len(), num_logits.div_ceil(32));
    let mut num_text = 0;
    for token in mask.iter() {
        let bytes = source.tokens.get(token as usize).unwrap_or(&TokenBytes::Unused);
        let is_text = matches!(bytes, TokenBytes::Text(_));
        assert!(is_text != vocab.is_eos(token), "token {token}: {bytes:?}");
        num_text += usize::from(is_text);
    }
    // All that begin like a character, and no end of one.
    assert!(num_text > source.tokens.len() / 2, "{num_text}");
    assert!(source.eos.iter().all(|eos| mask.allows(*eos)), "all end tokens may end it");
    let encoded = EncodedMask::new(&mask, &vocab);
    let encoded = encoded.as_bytes();
    assert_eq!(&*EncodedMask::decode(encoded, vocab.allow_all()).unwrap(), mask.words());
    assert!(2 * encoded.len() < mask.num_bytes(), "{} bytes", encoded.len());
}

#[test]
fn the_whole_vocabulary_of_smollm2_is_read_as_it_writes() {
    let model = smollm2();
    let (tokenizer, num_logits) = (&model.tokenizer, model.config.vocab);
    let Counts { text, special, unused } = check_tokens(tokenizer, num_logits);
    assert_eq!((text, special, unused), (49_152 - 17, 17, 0));
    for num_logits in [num_logits, num_logits + 100, 40_000] {
        check_masks(tokenizer, num_logits);
    }
}

#[test]
fn the_whole_vocabulary_of_gemma3_is_read_as_it_writes() {
    let Some(model) = gemma3() else { return };
    let (tokenizer, num_logits) = (&model.tokenizer, model.config.vocab);
    let Counts { text, special, unused } = check_tokens(tokenizer, num_logits);
    assert_eq!(text + special + unused, 262_144);
    assert!(text > 255_000 && special >= 4, "{text} {special} {unused}");
    check_masks(tokenizer, num_logits);
}

#[test]
fn the_whole_vocabulary_of_tekken_is_read_as_it_writes() {
    let Some(tokenizer) = tekken() else { return };
    let Counts { text, special, unused } = check_tokens(&tokenizer, 131_072);
    assert_eq!((text, special, unused), (130_072, 1_000, 0));
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(1), &[2][..]));
    check_masks(&tokenizer, 131_072);
}

#[test]
fn jump_forward_text_is_spelled_as_the_model_spells_it() {
    let model = smollm2();
    let vocab = vocabulary::of(&model.tokenizer, model.config.vocab).unwrap();
    let compiler = Compiler::new(Arc::new(vocab)).unwrap();
    let text = "{\"description\": \"constrained generation\", \"value\": 1}";
    let compiled = compiler.compile(&Spec::Choice(vec![text.to_owned()])).unwrap();
    let mut matcher = compiled.matcher_on(0);
    let taken = RefCell::new(Vec::new());
    let mut take = |token| {
        taken.borrow_mut().push(token);
        matcher.advance(token).unwrap();
        (matcher.is_finished(), matcher.jump_forward(), matcher.mask())
    };
    let tokens = model.tokenizer.encode(text, false).unwrap();
    let (mut is_finished, mut follows, mut mask) = take(tokens[0]);
    let mut num_jump_forward = 0;
    while !is_finished {
        let allowed: Vec<u32> = mask.unwrap().iter().collect();
        if let Some(token) = follows.first() {
            assert_eq!(allowed, [*token]);
            num_jump_forward += 1;
        }
        let wanted = tokens[taken.borrow().len()];
        assert!(allowed.contains(&wanted), "{wanted} of {allowed:?}");
        (is_finished, follows, mask) = take(wanted);
    }
    assert_eq!(*taken.borrow(), tokens);
    assert!(num_jump_forward + 3 > tokens.len(), "{num_jump_forward} of {}", tokens.len());
}
