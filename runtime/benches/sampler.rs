//! What the last stage takes to choose a token of one row, in vocabularies of 49,152 and 262,144.
//!
//! `cargo bench -p sluicegate --bench sampler`

use std::{hint::black_box, sync::Arc};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use sluicegate::sampler::{
    GroupSampling, MaskBits, MaskRow, MaskRule, Method, Multinomial, Penalties, RandomKey,
    RowSampling, Sampler, SamplingParams, Stamp,
};
use sluicegate_constraint::EncodedMask;
use sluicegate_core::messages::{GroupId, SequenceId};

const STAMP: Stamp = Stamp { sequence: SequenceId(1), step: 0, epoch: 0 };

fn group(method: Method, mask: MaskRule) -> GroupSampling {
    let params = SamplingParams {
        method,
        penalties: Penalties::default(),
        min_tokens: 0,
        ignore_eos: true,
        num_top_tokens: 0,
        eos: vec![2],
    };
    let key = RandomKey { seed: 7, prompt: 0, sample: 0, step: 0 };
    let row = RowSampling { mask, step: 0, counts: Vec::new(), draws: vec![key] };
    GroupSampling { group: GroupId(1), logit_rows: 0..1, params: Arc::new(params), rows: vec![row] }
}

/// As a language model has them: a few are likely.
fn logits(vocab: u32) -> Vec<f32> {
    let logit = |i: u32| {
        let uniform = (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 16_777_216.0;
        -8.0 * uniform.sqrt() + if i.is_multiple_of(997) { 9.0 } else { 0.0 }
    };
    (0..vocab).map(logit).collect()
}

fn sample(criterion: &mut Criterion) {
    let nucleus = Multinomial { temperature: 0.8, top_k: Some(50), top_p: 0.95, min_p: 0.05 };
    for vocab in [49_152_u32, 262_144] {
        let num_words = vocab as usize / 32;
        let sampler = Sampler::new(vec![u32::MAX; num_words].into());
        let logits = logits(vocab);
        let mut bench = |name: &str, method, words: Option<Vec<u32>>| {
            let rule = words.as_ref().map_or(MaskRule::Free, |_| MaskRule::Required(STAMP));
            let masks = [words.map(|words| {
                let words = EncodedMask::dense(&words).into_bytes();
                MaskRow::new(STAMP, MaskBits::Own(words))
            })];
            let group = group(method, rule);
            criterion.bench_function(&format!("{name}, {vocab} tokens"), |bencher| {
                bencher.iter_batched_ref(
                    || logits.clone(),
                    |logits| black_box(sampler.sample(&group, &mut [logits], &masks)),
                    BatchSize::LargeInput,
                );
            });
        };
        let most = vec![0xFFFF_0FFF; num_words];
        let mut few = vec![0; num_words];
        few[7] = 0x0010_0100;
        bench("greedy", Method::Greedy, None);
        bench("greedy, most allowed", Method::Greedy, Some(most));
        bench("greedy, two allowed", Method::Greedy, Some(few));
        bench("multinomial", Method::Multinomial(Multinomial::default()), None);
        bench("multinomial, narrowed", Method::Multinomial(nucleus), None);
        bench("five beams", Method::Beam { width: 5 }, None);
    }
}

criterion_group!(benches, sample);
criterion_main!(benches);
