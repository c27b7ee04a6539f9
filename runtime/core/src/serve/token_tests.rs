//! Tokens of a sample: kept with their probabilities, one or several at once.

use sluicegate_spec::units::TokenId;

use super::{
    tests::{Bench, EOS, choice, free, greedy},
    *,
};
use crate::messages::{Token, TopToken};

#[test]
fn tokens_are_kept_with_the_top_tokens_in_their_place() {
    let mut bench = Bench::new();
    bench.submit(Admitted { keeps_tokens: true, ..greedy() });
    let top_tokens = vec![TopToken { id: 0, log_probability: -0.5 }];
    let mut choice = choice(0, 0, -0.5);
    choice.token.top_tokens.clone_from(&top_tokens);
    // The second token follows of itself.
    bench.step(&[choice], &[Answer { tokens: vec![0, 1], is_finished: true, is_vetoed: false }]);
    let want = [Token { id: 0, log_probability: -0.5, top_tokens }, Token::certain(1)];
    assert_eq!(bench.outputs()[0].tokens, want);
}

#[test]
fn a_verified_draft_brings_several_tokens_at_once() {
    let sample = |ids: [TokenId; 3]| {
        let mut it = choice(0, ids[0], -1.0);
        it.more = ids[1..].iter().map(|id| choice(0, *id, -2.0).token).collect();
        it
    };
    let mut bench = Bench::new();
    bench.submit(Admitted { keeps_tokens: true, ..free() });
    let batch = bench.sent().pop().expect("a batch was sent");
    let group = batch.sampling[0].group;
    bench.sampled(batch.microbatch, vec![(group, vec![sample([0, 1, 2])])]);
    assert_eq!(bench.ordered(), [[0, 1, 2]]);
    // What is behind an end is left out.
    let batch = bench.sent().pop().expect("a batch was sent");
    bench.sampled(batch.microbatch, vec![(group, vec![sample([3, EOS, 4])])]);
    let output = bench.outputs().remove(0);
    assert_eq!(output.token_ids, [0, 1, 2, 3]);
    assert!((output.score - (-1.0 - 2.0 - 2.0 - 1.0 - 2.0)).abs() < 1e-9, "{}", output.score);
    let usage = bench.serve.metrics().usage;
    assert_eq!((usage.completion_tokens, usage.jump_forward_tokens), (5, 0));

    // Behind a token that was vetoed, what was chosen is of no account.
    let mut bench = Bench::new();
    bench.submit(Admitted { keeps_tokens: true, ..greedy() });
    let answer = Answer { tokens: vec![0, 4, 2], is_finished: true, is_vetoed: true };
    bench.step(&[sample([0, 1, 2])], &[answer]);
    let found = &bench.outputs()[0].tokens;
    let found: Vec<(TokenId, f64)> = found.iter().map(|it| (it.id, it.log_probability)).collect();
    assert_eq!(found, [(0, -1.0), (4, -2.0), (2, 0.0)]);
}
