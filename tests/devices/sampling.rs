//! Rows of logits sampled by a GPU: the tokens and scores of the sampler on the CPU, to the last bit.

use std::{collections::BTreeSet, ops::Range, sync::Arc};

use candle_core::{Device, Tensor};
use sluicegate::{
    device::{Devices, GpuRows, GpuSampler, Ledger, Links},
    sampler::{
        GroupChoices, GroupSampling, MaskBits, MaskRow, MaskRule, Method, Multinomial, Penalties,
        RandomKey, RowSampling, Sampler, SamplingParams, Stamp, TokenCount,
    },
};
use sluicegate_constraint::{EncodedMask, MaskForm};
use sluicegate_core::messages::{GroupId, SequenceId};
use sluicegate_model::{home::Executor, step::Logits, threads::Threads};
use sluicegate_placement::{Endpoint, StageId, Transfer, TransferKind, TransferRoute};
use sluicegate_spec::{device::DeviceId, placed::Placed};
use sluicegate_tests::draws::Draws;

use crate::target::Target;

/// How many microbatches of each width.
const ROUNDS: u64 = 40;

/// With words that are whole and not, less and more than a block's threads, and one of a language
/// model.
const WIDTHS: [usize; 10] = [1, 2, 31, 32, 33, 100, 1024, 3001, 5000, 32_768];

/// A microbatch's rows.
struct Rows {
    /// `[rows, width]`.
    logits: Vec<f32>,
    width: usize,
    groups: Vec<GroupSampling>,
    masks: Vec<Option<MaskRow>>,
}

pub(crate) fn of_rows(target: &Target) {
    let gpus = target.stages.iter().filter(|id| matches!(id, DeviceId::Cuda(_)));
    let mut outcomes = [0; 2];
    for id in gpus.copied().collect::<BTreeSet<_>>() {
        for width in WIDTHS {
            for round in 0..if width > 10_000 { 2 } else { ROUNDS } {
                let mut draws = Draws::new(round * 1_000_003 + width as u64);
                let rows = Rows::draw(&mut draws, width);
                for (wanted, found) in check(id, &rows).into_iter().enumerate() {
                    outcomes[wanted] += found;
                }
            }
        }
    }
    println!("{} groups were sampled, {} were not", outcomes[0], outcomes[1]);
    assert!(!target.is_exact || outcomes == [0; 2], "a CPU has no kernels");
    assert!(target.is_exact || outcomes.iter().all(|num| *num > 20), "{outcomes:?}");
}

/// Counts groups with tokens, and groups with errors.
fn check(id: DeviceId, rows: &Rows) -> [usize; 2] {
    let valid: Arc<[u32]> = valid(rows.width).into();
    let sampler = Sampler::new(valid);
    let wanted = rows.sample_on_cpu(&sampler);
    let found = rows.sample_on_gpu(id, &sampler);
    for (group, (wanted, found)) in rows.groups.iter().zip(wanted.iter().zip(&found)) {
        let GroupSampling { params, logit_rows, .. } = group;
        let of = format!("{} logits, rows {logit_rows:?}, {params:?}", rows.width);
        if let (Ok(wanted), Ok(found)) = (&wanted.choices, &found.choices) {
            for (wanted, found) in wanted.iter().zip(found) {
                assert_eq!(wanted, found, "{of}");
            }
        }
        assert_eq!(wanted, found, "{of}");
    }
    assert_eq!(wanted.len(), found.len());
    let num_sampled = wanted.iter().filter(|group| group.choices.is_ok()).count();
    [num_sampled, wanted.len() - num_sampled]
}

/// Every 50th token does not exist.
fn valid(width: usize) -> Vec<u32> {
    let mut words = vec![0; width.div_ceil(32)];
    for token in (0..width).filter(|token| token % 50 != 49) {
        words[token / 32] |= 1 << (token % 32);
    }
    words
}

impl Rows {
    fn draw(draws: &mut Draws, width: usize) -> Self {
        let mut rows = Self { logits: Vec::new(), width, groups: Vec::new(), masks: Vec::new() };
        for group in 0..=draws.below(4) {
            let start = rows.masks.len();
            let num_rows = 1 + draws.below(3);
            let params = Arc::new(params(draws, width));
            let mut group = GroupSampling {
                group: GroupId(group as u64),
                logit_rows: start..start + num_rows,
                params,
                rows: Vec::new(),
            };
            for row in start..start + num_rows {
                rows.logits.extend(logits(draws, width));
                let stamp = Stamp { sequence: SequenceId(row as u64), step: 3, epoch: 0 };
                let mask = mask(draws, &rows.masks, width).map(|bits| MaskRow::new(stamp, bits));
                let rule = if mask.is_some() || draws.below(20) == 0 {
                    MaskRule::Required(stamp)
                } else {
                    MaskRule::Free
                };
                rows.masks.push(mask);
                group.rows.push(row_sampling(draws, width, rule));
            }
            rows.groups.push(group);
        }
        rows
    }

    fn sample_on_cpu(&self, sampler: &Sampler) -> Vec<GroupChoices> {
        let sample = |group: &GroupSampling| {
            let Range { start, end } = group.logit_rows;
            let mut logits = self.logits[start * self.width..end * self.width].to_vec();
            let mut rows: Vec<&mut [f32]> = logits.chunks_exact_mut(self.width).collect();
            sampler.sample(group, &mut rows, &self.masks)
        };
        self.groups.iter().map(sample).collect()
    }

    /// All groups at once, or the last of them of a copy of its rows.
    #[expect(clippy::disallowed_methods, reason = "a test makes its input")]
    fn sample_on_gpu(&self, id: DeviceId, sampler: &Sampler) -> Vec<GroupChoices> {
        let devices = Devices::open([id]).unwrap();
        let device = devices.get(id).unwrap();
        let order = Transfer {
            kind: TransferKind::Order,
            source: Endpoint::Host,
            target: Endpoint::Stage(StageId(0)),
            source_device: DeviceId::Host,
            target_device: id,
            route: TransferRoute::Upload,
        };
        let uploader = Links::new(&[order], &devices, Ledger::default()).uploader(StageId(0));
        let mut gpu_sampler = GpuSampler::new(sampler.clone(), uploader, id);
        let shape = (self.masks.len(), self.width);
        let logits = Tensor::from_vec(self.logits.clone(), shape, &Device::Cpu).unwrap();
        let logits = Placed::new(Logits(logits.to_device(&device).unwrap()), id);
        let executor = Executor::new(Threads::inline(), &device).unwrap();
        let rows = GpuRows::new(&logits, id, &executor).unwrap();
        let (last, others) = self.groups.split_last().unwrap();
        let kept = rows.copy(last.logit_rows.clone()).unwrap();
        let others: Vec<&GroupSampling> = others.iter().collect();
        let mut sample = |rows, groups: &[&GroupSampling]| {
            gpu_sampler.sample(rows, groups, &self.masks).unwrap().0
        };
        [sample(&rows, &others), sample(&kept, &[last])].concat()
    }
}

/// Of a language model; of a few values, so that many are equal; all equal; now and then none that
/// is finite.
fn logits(draws: &mut Draws, width: usize) -> Vec<f32> {
    let kind = draws.below(16);
    let mut logit = |_| match kind {
        0 => 1.5,
        1 => f32::NAN,
        2..=4 => (draws.float(8.0) * 2.0).round() / 2.0,
        5 => draws.float(1e30),
        6 => -0.0 * draws.float(1.0),
        _ => match draws.below(200) {
            0 => f32::NAN,
            1 => f32::INFINITY,
            2 => f32::NEG_INFINITY,
            3..8 => 9.0 + draws.float(6.0),
            _ => draws.float(5.0) + draws.float(5.0),
        },
    };
    (0..width).map(&mut logit).collect()
}

fn params(draws: &mut Draws, width: usize) -> SamplingParams {
    let multinomial = Multinomial {
        temperature: [1.0, 0.7, 0.05, 3.0][draws.below(4)],
        top_k: (draws.below(2) == 0).then(|| 1 + draws.below(2 * width)),
        top_p: [1.0, 0.95, 0.5, 0.01, 0.0][draws.below(5)],
        min_p: [0.0, 0.0, 0.05, 1.0][draws.below(4)],
    };
    let penalties = Penalties { repetition: 1.3, frequency: 0.7, presence: 0.4 };
    SamplingParams {
        method: match draws.below(6) {
            0 => Method::Greedy,
            1 => Method::Beam { width: 1 + draws.below(9) },
            _ => Method::Multinomial(multinomial),
        },
        penalties: if draws.below(2) == 0 { penalties } else { Penalties::default() },
        min_tokens: draws.below(6),
        ignore_eos: draws.below(4) == 0,
        eos: (0..draws.below(4)).map(|_| number(draws, width + 5)).collect(),
        num_top_tokens: [0, 0, 1, 20][draws.below(4)],
    }
}

fn row_sampling(draws: &mut Draws, width: usize, mask: MaskRule) -> RowSampling {
    let tokens: BTreeSet<u32> = (0..draws.below(9)).map(|_| number(draws, width + 5)).collect();
    let count = |token| TokenCount { token, in_output: number(draws, 3) };
    let counts = tokens.into_iter().map(count).collect();
    let key = |sample| RandomKey { seed: draws.bits(), prompt: 0, sample, step: 3 };
    RowSampling { mask, step: 3, counts, draws: (0..4).map(key).collect() }
}

/// In any form, or such as another row has, or one that cannot be read; none for a row that is free.
fn mask(draws: &mut Draws, before: &[Option<MaskRow>], width: usize) -> Option<MaskBits> {
    let encoded =
        |form: MaskForm, body: &[u8]| Some(MaskBits::Own([&[form as u8], body].concat().into()));
    match draws.below(12) {
        0..3 => None,
        3 => encoded(MaskForm::All, &[]),
        4 => encoded(MaskForm::Only, &number(draws, width).to_le_bytes()),
        5 | 6 => encoded(MaskForm::Sparse, &gaps(draws, width)),
        7 | 8 => encoded(MaskForm::Denied, &gaps(draws, width)),
        9 => {
            let word = |_| word(draws) & word(draws);
            let words: Vec<u32> = (0..width.div_ceil(32)).map(word).collect();
            Some(MaskBits::Own(EncodedMask::dense(&words).into_bytes()))
        }
        10 if !before.is_empty() => Some(MaskBits::SameAs(number(draws, before.len()))),
        _ => {
            let mut bytes: Vec<u8> = (0..draws.below(40)).map(|_| byte(draws)).collect();
            if let Some(form) = bytes.first_mut() {
                *form %= 6;
            }
            Some(MaskBits::Own(bytes.into()))
        }
    }
}

/// A list of some tokens; now and then it breaks off.
fn gaps(draws: &mut Draws, width: usize) -> Vec<u8> {
    let most = 1 + draws.below(width.min(400));
    let mut bytes = Vec::new();
    let mut next = draws.below(most);
    while next < width {
        let mut gap = draws.below(most);
        next += gap + 1;
        while gap >= 0x80 {
            bytes.push(gap.to_le_bytes()[0] | 0x80);
            gap >>= 7;
        }
        bytes.push(gap.to_le_bytes()[0]);
    }
    if draws.below(8) == 0 {
        bytes.push(0x80 | byte(draws));
    }
    bytes
}

fn number(draws: &mut Draws, end: usize) -> u32 {
    u32::try_from(draws.below(end)).unwrap()
}

fn word(draws: &mut Draws) -> u32 {
    number(draws, 1 << 32)
}

fn byte(draws: &mut Draws) -> u8 {
    draws.bits().to_le_bytes()[0]
}
