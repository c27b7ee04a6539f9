//! How two models' logits are compared.

use candle_core::Tensor;
use sluicegate_model::{
    config::ModelConfig, source::ModelFiles, threads::Threads, weights::Weights,
};
use sluicegate_tests::steps::{Pipe, ids};

/// The tokens that all models are fed.
pub(super) fn tokens(num: usize) -> Vec<u32> {
    (0..u32::try_from(num).unwrap()).map(|i| (7 * i * i + 3 * i + 11) % 256).collect()
}

/// Opens a model's files.
pub(super) fn open(files: &ModelFiles) -> (Weights, ModelConfig) {
    let config = ModelConfig::read(files).unwrap();
    let weights = Weights::open(files, &config).unwrap();
    (weights, config)
}

/// Loads a model in shards that are cut at `cuts`.
pub(super) fn pipe(files: &ModelFiles, cuts: &[usize]) -> Pipe {
    let (weights, config) = open(files);
    Pipe::new(&weights, &config, cuts, 1, &Threads::inline())
}

/// `max|difference|` as a share of `max|logit|`.
#[track_caller]
pub(super) fn error(got: &[f32], want: &[f32]) -> f32 {
    assert_eq!(got.len(), want.len());
    let largest = want.iter().fold(0.0_f32, |largest, logit| largest.max(logit.abs()));
    assert!(largest > 0.1, "logits are all about zero");
    let error = got.iter().zip(want).fold(0.0_f32, |error, (got, want)| {
        let difference = (got - want).abs();
        if difference.is_nan() { f32::INFINITY } else { error.max(difference) }
    });
    error / largest
}

/// A model of candle's: `[1, tokens]` and how many came before, to the last token's logits.
pub(super) type Oracle<'a> = &'a mut dyn FnMut(&Tensor, usize) -> candle_core::Result<Tensor>;

/// The logits of an oracle's last token.
pub(super) fn logits(theirs: Oracle<'_>, tokens: &[u32], past: usize) -> Vec<f32> {
    let input = ids(tokens).unsqueeze(0).unwrap();
    let logits = theirs(&input, past).unwrap().flatten_all().unwrap();
    #[expect(clippy::disallowed_methods, reason = "a test reads results on the host")]
    let logits = logits.to_vec1().unwrap();
    logits
}

/// Compares a prompt of 20 tokens and six more, one by one, whole and in shards.
#[track_caller]
pub(super) fn check_model(files: &ModelFiles, theirs: Oracle<'_>) {
    let tokens = tokens(26);
    let mut whole = pipe(files, &[]);
    let mut cut = pipe(files, &[1, 4, 8]);
    for (start, end) in [(0, 20)].into_iter().chain((20..26).map(|at| (at, at + 1))) {
        let want = logits(theirs, &tokens[start..end], start);
        let got = whole.last_logits(&tokens[start..end], start);
        let error = error(&got, &want);
        assert!(error <= 1e-3, "tokens {start}..{end}: off by {error} of the largest logit");
        let in_shards = cut.last_logits(&tokens[start..end], start);
        assert!(got == in_shards, "shards differ from the whole at tokens {start}..{end}");
    }
}
