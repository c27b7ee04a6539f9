//! How two models' logits are compared.

use candle_core::Tensor;
use sluicegate_model::{threads::Threads, weights::Weights};
use sluicegate_spec::{config::ModelConfig, files::ModelFiles};
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
fn logits(theirs: Oracle<'_>, tokens: &[u32], past: usize) -> Vec<f32> {
    let input = ids(tokens).unsqueeze(0).unwrap();
    let logits = theirs(&input, past).unwrap().flatten_all().unwrap();
    #[expect(clippy::disallowed_methods, reason = "a test reads results on the host")]
    let logits = logits.to_vec1().unwrap();
    logits
}

/// The last logits of each step: a prompt of 20 tokens, and the others one by one.
fn run(tokens: &[u32], mut last_logits: impl FnMut(&[u32], usize) -> Vec<f32>) -> Vec<Vec<f32>> {
    let decode = (20..tokens.len()).map(|at| at..at + 1);
    let steps = std::iter::once(0..20).chain(decode);
    steps.map(|step| last_logits(&tokens[step.clone()], step.start)).collect()
}

/// The logits of our model along the steps.
pub(super) fn run_ours(ours: &mut Pipe, tokens: &[u32]) -> Vec<Vec<f32>> {
    run(tokens, |tokens, past| ours.last_logits(tokens, past))
}

/// The logits of candle's model along the steps.
pub(super) fn run_theirs(theirs: Oracle<'_>, tokens: &[u32]) -> Vec<Vec<f32>> {
    run(tokens, |tokens, past| logits(&mut *theirs, tokens, past))
}

/// The largest of the steps' errors.
#[track_caller]
pub(super) fn largest_error(got: &[Vec<f32>], want: &[Vec<f32>]) -> f32 {
    assert_eq!(got.len(), want.len());
    got.iter().zip(want).map(|(got, want)| error(got, want)).fold(0.0, f32::max)
}

/// Compares a prompt of 20 tokens and six more, whole and in shards.
#[track_caller]
pub(super) fn check_model(files: &ModelFiles, theirs: Oracle<'_>) {
    let tokens = tokens(26);
    let got = run_ours(&mut pipe(files, &[]), &tokens);
    let error = largest_error(&got, &run_theirs(theirs, &tokens));
    assert!(error <= 1e-3, "off by {error} of the largest logit");
    assert!(got == run_ours(&mut pipe(files, &[1, 4, 8]), &tokens), "shards differ from the whole");
}

/// The root mean square of the differences, as a share of that of `want`.
pub(super) fn spread(got: &[Vec<f32>], want: &[Vec<f32>]) -> f64 {
    let square = |values: &mut dyn Iterator<Item = f32>| -> f64 {
        values.map(|value| f64::from(value).powi(2)).sum()
    };
    let (got, want) = (got.concat(), want.concat());
    assert_eq!(got.len(), want.len());
    let differences = square(&mut got.iter().zip(&want).map(|(got, want)| got - want));
    (differences / square(&mut want.iter().copied())).sqrt()
}
