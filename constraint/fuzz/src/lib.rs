//! Shared by all fuzz targets: a small vocabulary, and a walk through the compiled specification.

use std::sync::{Arc, LazyLock};

use sluicegate_constraint::{
    Compiled, Compiler, Event, Matcher, Spec, TokenBytes, TokenId, Vocab, VocabSource,
};

/// Tokens beyond the 256 single bytes.
const MERGES: [&str; 14] = [
    "{\"", "\":", "\", \"", "\"}", "}}", "]]", "[[", "null", "true", "10", "  ", "ab", "é", "\\u00",
];
const STACK_BYTES: usize = 2 << 20;
/// The most tokens of a walk.
const MAX_STEPS: usize = 40;

static COMPILER: LazyLock<Compiler> = LazyLock::new(|| {
    let mut tokens: Vec<_> = (0..=255u8).map(|byte| TokenBytes::Text(vec![byte])).collect();
    tokens.extend(MERGES.iter().map(|text| TokenBytes::Text(text.as_bytes().to_vec())));
    tokens.push(TokenBytes::Special("<|tool|>".to_string()));
    tokens.push(TokenBytes::Special("<eos>".to_string()));
    let num_logits = tokens.len();
    let eos = TokenId::try_from(num_logits - 1).expect("few tokens");
    let vocab = Vocab::new(VocabSource { tokens, eos: vec![eos], num_logits }, None);
    Compiler::new(Arc::new(vocab.expect("it holds every byte"))).expect("it is small")
});

/// Runs on a stack as small as that of a worker's thread. A panic there ends the process.
pub fn on_small_stack(run: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        let thread = thread.spawn_scoped(scope, run).expect("threads can start");
        thread.join().expect("it did not panic");
    });
}

/// A generator of numbers that depends only on the input.
pub struct Rng(u64);

impl Rng {
    /// Source: the FNV-1a hash, 64 bits (RFC 9923).
    pub fn of(data: &[u8]) -> Self {
        let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        Self(data.iter().fold(0xcbf2_9ce4_8422_2325, mix) | 1)
    }

    /// Returns a number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 16) % bound as u64).expect("it is below a usize")
    }
}

/// The text of a walk.
pub struct Walk {
    pub text: Vec<u8>,
    pub is_finished: bool,
}

/// Compiles `spec` and, if that succeeds, walks at random, half of the time within a tight budget.
pub fn compile_and_walk(spec: &Spec, rng: &mut Rng) -> Option<Walk> {
    let compiled = COMPILER.compile(spec).ok()?;
    let budget = rng.below(2).checked_sub(1).and_then(|_| {
        let needed = compiled.first_witness().ok()?.len();
        Some(needed + rng.below(MAX_STEPS))
    });
    Some(walk(&compiled, budget, rng))
}

/// Takes allowed tokens at random, and checks the invariants of each state.
fn walk(compiled: &Compiled, budget: Option<usize>, rng: &mut Rng) -> Walk {
    let mut matcher = match budget {
        Some(budget) => compiled.matcher_within(budget).expect("the first output fits"),
        None => compiled.matcher(),
    };
    let mut text = Vec::new();
    for _ in 0..budget.unwrap_or(MAX_STEPS) {
        // A mask may need more than its fuel. Then the matcher fails, which is a valid result.
        let Ok(mask) = matcher.mask() else { break };
        let allowed: Vec<TokenId> = mask.iter().collect();
        let token = allowed[rng.below(allowed.len())];
        if rng.below(8) == 0 {
            check_copies(&mut matcher, token);
        }
        let taken = match matcher.advance(token) {
            Ok(Event::Vetoed { instead, .. }) => instead,
            Ok(_) => token,
            Err(error) => {
                let message = error.to_string();
                assert!(!message.contains("not allowed"), "the mask allows {token}: {message}");
                break;
            }
        };
        text.extend_from_slice(compiled.vocab().token_bytes(taken));
        if matcher.is_finished() {
            break;
        }
    }
    Walk { text, is_finished: matcher.is_accepting() }
}

/// Checks that a fork allows the same, and that a token can be rolled back.
fn check_copies(matcher: &mut Matcher, token: TokenId) {
    let mut fork = matcher.fork();
    let Ok(mask) = fork.mask() else { return };
    assert!(mask.allows(token), "a fork refuses {token}");
    if fork.advance(token).is_ok() {
        fork.rollback(1).expect("one token was taken");
        if let Ok(again) = fork.mask() {
            assert_eq!(mask, again, "a rollback changes the mask");
        }
    }
}
