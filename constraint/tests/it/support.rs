//! A small vocabulary, and ways to run text and random tokens through a matcher.

use std::sync::{Arc, LazyLock};

use serde_json::Value;
use sluicegate_constraint::{
    Compiled, Compiler, Encode, Event, Matcher, Spec, TokenBytes, TokenId, Vocab, VocabSource,
};

/// Tokens beyond the 256 single bytes.
const MERGES: [&str; 30] = [
    "\"name\"", "{\"", "\":", "\": ", "\",", ", ", ", \"", "\"}", "}}", "[]", "],", "null", "true",
    "false", "10", "42", "00", "  ", "\n  ", "\n", "\\n", "abc", "name", "age", " the", "é", "終",
    "ab", "yes", "-1",
];

pub(crate) const EOS: [TokenId; 2] = [286, 289];
pub(crate) const SPECIAL: TokenId = 287;
pub(crate) const UNUSED: TokenId = 288;
pub(crate) const NUM_TOKENS: usize = 290;

/// 256 bytes, the merges, one end token, a special token, a hole, another end token.
pub(crate) fn tokens() -> Vec<TokenBytes> {
    let mut tokens: Vec<TokenBytes> = (0..=255u8).map(|b| TokenBytes::Text(vec![b])).collect();
    tokens.extend(MERGES.iter().map(|text| TokenBytes::Text(text.as_bytes().to_vec())));
    tokens.push(TokenBytes::Special("<|end|>".to_string()));
    tokens.push(TokenBytes::Special("<|im_start|>".to_string()));
    tokens.push(TokenBytes::Unused);
    // Some tokenizers list an end token as if it were text.
    tokens.push(TokenBytes::Text(b"</s>".to_vec()));
    assert_eq!(tokens.len(), NUM_TOKENS);
    tokens
}

pub(crate) fn vocab(num_logits: usize, canonical: bool) -> Arc<Vocab> {
    let source = VocabSource { tokens: tokens(), eos: EOS.to_vec(), num_logits };
    let encode: Option<Arc<dyn Encode>> = canonical.then(|| Arc::new(Greedy) as Arc<dyn Encode>);
    Arc::new(Vocab::new(source, encode).unwrap())
}

/// Logits padded to a multiple of 32, any tokenisation.
pub(crate) static COMPILER: LazyLock<Compiler> =
    LazyLock::new(|| Compiler::new(vocab(320, false)).unwrap());
/// Logits not a multiple of 32, jump-forward text in its longest tokens.
pub(crate) static CANONICAL: LazyLock<Compiler> =
    LazyLock::new(|| Compiler::new(vocab(301, true)).unwrap());

/// Takes the longest token at each place.
struct Greedy;

impl Encode for Greedy {
    fn encode(&self, text: &[u8]) -> Vec<TokenId> {
        greedy(text)
    }
}

pub(crate) fn greedy(text: &[u8]) -> Vec<TokenId> {
    let mut rest = text;
    let mut out = Vec::new();
    while let Some(&byte) = rest.first() {
        let longest = (256u32..)
            .zip(MERGES)
            .filter(|(_, merge)| rest.starts_with(merge.as_bytes()))
            .max_by_key(|(_, merge)| merge.len());
        let (token, len) = longest.map_or((u32::from(byte), 1), |(id, merge)| (id, merge.len()));
        out.push(token);
        rest = &rest[len..];
    }
    out
}

pub(crate) fn bytewise(text: &[u8]) -> Vec<TokenId> {
    text.iter().copied().map(u32::from).collect()
}

#[track_caller]
pub(crate) fn json(schema: Value) -> Compiled {
    COMPILER.compile(&Spec::json(schema)).unwrap()
}

/// Says whether `tokens` are a whole output: each allowed by the mask before it, and an end there.
#[track_caller]
pub(crate) fn accepts(compiled: &Compiled, tokens: &[TokenId]) -> bool {
    let mut matcher = compiled.matcher();
    for &token in tokens {
        if matcher.is_finished() || !matcher.mask().unwrap().allows(token) {
            return false;
        }
        if let Event::Vetoed { .. } = matcher.advance(token).unwrap() {
            return false;
        }
    }
    matcher.is_accepting()
}

/// Checks that `text` is accepted or refused, whatever its tokens.
#[track_caller]
pub(crate) fn check(compiled: &Compiled, text: &str, accepted: bool) {
    for tokens in [bytewise(text.as_bytes()), greedy(text.as_bytes())] {
        assert_eq!(accepts(compiled, &tokens), accepted, "{text:?} as {tokens:?}");
    }
}

/// Checks that all of `good` are accepted and all of `bad` are refused.
#[track_caller]
pub(crate) fn check_all(compiled: &Compiled, good: &[&str], bad: &[&str]) {
    for (texts, accepted) in [(good, true), (bad, false)] {
        for text in texts {
            check(compiled, text, accepted);
        }
    }
}

/// A generator of numbers that repeats itself with its seed.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 16) % bound as u64).unwrap()
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// Samples allowed tokens until the output is finished, closing what is open rather soon. `None`
/// if that takes more than 300 tokens; else the text without end token, and all tokens.
pub(crate) fn walk(matcher: &mut Matcher, rng: &mut Rng) -> Option<(Vec<u8>, Vec<TokenId>)> {
    let mut text = Vec::new();
    let mut tokens = Vec::new();
    while tokens.len() < 300 {
        let vocab_bytes = tokens_bytes();
        let mask = matcher.mask().unwrap();
        let allowed: Vec<TokenId> = mask.iter().collect();
        assert_eq!(allowed.len(), mask.num_allowed());
        assert!(!mask.allows(SPECIAL) && !mask.allows(UNUSED), "control token allowed");
        assert!(allowed.iter().all(|&t| (t as usize) < NUM_TOKENS), "padded logit allowed");
        let accepting = matcher.is_accepting();
        assert!(
            EOS.iter().all(|&eos| mask.allows(eos) == accepting),
            "end tokens and state differ"
        );
        let closing: Vec<TokenId> = allowed
            .iter()
            .copied()
            .filter(|&t| {
                EOS.contains(&t)
                    || matches!(vocab_bytes[t as usize].last(), Some(b'"' | b'}' | b']'))
            })
            .collect();
        let token = if !closing.is_empty() && rng.below(3) > 0 {
            rng.pick(&closing)
        } else {
            rng.pick(&allowed)
        };
        tokens.push(token);
        if !EOS.contains(&token) {
            text.extend_from_slice(&vocab_bytes[token as usize]);
        }
        if matcher.advance(token).unwrap() == Event::Finished {
            return Some((text, tokens));
        }
    }
    None
}

fn tokens_bytes() -> &'static [Vec<u8>] {
    static BYTES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
        let bytes = |token| match token {
            TokenBytes::Text(bytes) => bytes,
            TokenBytes::Special(_) | TokenBytes::Unused => Vec::new(),
        };
        tokens().into_iter().map(bytes).collect()
    });
    &BYTES
}
