//! Stale, skipped, repeated and reordered epochs and stamps are refused.

use std::{num::NonZero, sync::Arc};

use sluicegate::{
    clock::Clock,
    device::{Devices, Ledger, Links, ReceivingEnd, SendingEnd},
    messages::{
        AncestorsOrder, Batch, CopyOrder, GroupId, GroupSampling, MaskError, MaskRow, MaskRule,
        Masks, MicrobatchId, RandomKey, RowError, RowOrder, RowSampling, Sampled, SamplingParams,
        SequenceId, StageBatch, Stamp, TableOrder,
    },
    pipeline::{MaskSender, Microbatch, Pipeline, PipelineConfig, PipelineEvent, StageError},
    sampler::Sampler,
};
use sluicegate_model::{error::ForwardError, open::Model};
use sluicegate_placement::{Endpoint, Plan};
use sluicegate_spec::{
    config::Architecture,
    device::DeviceId,
    kv::KvType,
    placed::{Placed, Site},
};
use sluicegate_tests::{
    constraints::dense_mask,
    engines::auto_plan,
    tiny::{StoredType, TinyFiles, TinyModel},
};
use tracing::Span;

/// A pipeline of two stages, driven by hand.
struct Bench {
    _files: TinyFiles,
    plan: Plan,
    masks_end: SendingEnd,
    tokens_end: ReceivingEnd,
    pipeline: Pipeline,
    /// None once nobody can send masks any more.
    masks: Option<MaskSender>,
}

const GROUP: GroupId = GroupId(1);

impl Bench {
    fn new() -> Self {
        let files = TinyModel::new(Architecture::Llama).directory(StoredType::F32);
        let model = Model::open(&files.files).unwrap();
        let plan = auto_plan(&model, 2);
        let devices = Devices::open(plan.stages.iter().map(|stage| stage.device)).unwrap();
        let links = Links::new(&plan.transfers(), &devices, Ledger::default());
        let last = Endpoint::Stage(plan.last_stage());
        let (masks_end, _) = links.connect(Endpoint::Host, last);
        let (_, tokens_end) = links.connect(last, Endpoint::Host);
        let (pipeline, masks) = Pipeline::start(PipelineConfig {
            plan: plan.clone(),
            model: model.config.clone(),
            weights: model.weights.clone(),
            devices,
            links,
            clock: Clock::start(),
            sampler: Sampler::new(vec![u32::MAX; plan.mask_words].into()),
            threads_per_stage: NonZero::<usize>::MIN,
            cores: Vec::new(),
            kv_type: KvType::F32,
            channel_capacity: 16,
            before_forward: None,
        })
        .unwrap();
        Self { _files: files, plan, masks_end, tokens_end, pipeline, masks: Some(masks) }
    }

    fn reorder(&self, epoch: u64) {
        let copies = vec![CopyOrder { tail_pages: vec![0], ..CopyOrder::default() }];
        let ancestors = AncestorsOrder { group: GROUP, epoch, parents: vec![0], copies };
        self.send(Batch { ancestors: vec![ancestors], ..batch(1, MaskRule::Free) }, 1);
    }

    fn microbatch(&self, id: u64, incarnation: u32, mask: MaskRule) {
        self.send(batch(id, mask), incarnation);
    }

    fn send(&self, batch: Batch, incarnation: u32) {
        let batch = StageBatch { incarnation, batch: Arc::new(batch), times: Vec::new() };
        self.pipeline.send(Microbatch {
            batch,
            hidden: None,
            proofs: Vec::new(),
            span: Span::none(),
        });
    }

    fn mask(&self, microbatch: u64, rows: Vec<Option<MaskRow>>) {
        let masks = Masks::new(MicrobatchId(microbatch), rows, self.plan.mask_words);
        self.send_masks(masks);
    }

    /// Masks of a microbatch of one row, which is late.
    fn late(&self, microbatch: u64) {
        let masks = Masks::new(MicrobatchId(microbatch), vec![None], self.plan.mask_words);
        self.send_masks(Masks { late: vec![0], ..masks });
    }

    fn send_masks(&self, masks: Masks) {
        let masks = self.masks_end.send(&Placed::new(masks, DeviceId::Host)).unwrap();
        self.masks.as_ref().unwrap().send(masks).unwrap();
    }

    fn sampled(&self) -> Sampled {
        let site = Site { operation: "test", unit: None, with: "test", device: DeviceId::Host };
        match self.pipeline.events().recv().unwrap() {
            PipelineEvent::Sampled(sampled) => {
                let sampled: Placed<Sampled> = self.tokens_end.receive(sampled).unwrap();
                sampled.take(&site).unwrap()
            }
            event => panic!("wanted tokens, found {event:?}"),
        }
    }

    /// Why a stage fails; at most so many microbatches are sampled before that.
    fn failure_after(&self, most_sampled: u64) -> StageError {
        for _ in 0..=most_sampled {
            match self.pipeline.events().recv().unwrap() {
                PipelineEvent::StageFailed(failure) => return *failure.error,
                PipelineEvent::Sampled(_) => {}
                event => panic!("wanted a failure, found {event:?}"),
            }
        }
        panic!("wanted a failure, found another sample");
    }

    fn row_error(&self) -> MaskError {
        let sampled = self.sampled();
        match sampled.groups.into_iter().next().unwrap().choices {
            Err(RowError::Mask(error)) => error,
            choices => panic!("wanted a refused mask, found {choices:?}"),
        }
    }

    fn one_bit(&self, stamp: Stamp, token: u32) -> MaskRow {
        let mut words = vec![0; self.plan.mask_words];
        words[token as usize / 32] = 1 << (token % 32);
        dense_mask(stamp, &words)
    }
}

/// A row of three tokens, which is sampled.
fn batch(id: u64, mask: MaskRule) -> Batch {
    let table = TableOrder { first_position: 0, pages: Arc::new(vec![0]) };
    let row = RowOrder {
        group: GROUP,
        tokens: vec![1, 2, 3],
        position: 0,
        tables: vec![table],
        wants_logits: true,
    };
    let draws = vec![RandomKey { seed: 0, prompt: 0, sample: 0, step: 0 }];
    let sampling = GroupSampling {
        group: GROUP,
        logit_rows: 0..1,
        params: Arc::new(SamplingParams::greedy(Vec::new())),
        rows: vec![RowSampling { mask, step: 4, counts: Vec::new(), draws }],
    };
    let (microbatch, ancestors) = (MicrobatchId(id), Vec::new());
    Batch { microbatch, ancestors, rows: vec![row], sampling: vec![sampling] }
}

fn stamp(step: u32, epoch: u64) -> Stamp {
    Stamp { sequence: SequenceId(1), step, epoch }
}

#[test]
fn epochs_that_skip_repeat_or_go_back_stop_the_stage() {
    for (epochs, wanted, found) in
        [(&[2][..], 1, 2), (&[1, 1], 2, 1), (&[1, 2, 1], 3, 1), (&[0], 1, 0), (&[1, 3, 2], 2, 3)]
    {
        let bench = Bench::new();
        for epoch in epochs {
            bench.reorder(*epoch);
        }
        let StageError::Forward(ForwardError::Epoch { wanted: got_wanted, found: got_found }) =
            bench.failure_after(wanted - 1)
        else {
            panic!("{epochs:?} was not refused for its epoch");
        };
        assert_eq!((got_wanted, got_found), (wanted, found), "{epochs:?}");
    }
}

#[test]
fn the_right_mask_decides_the_token_also_when_it_comes_late_or_early() {
    let bench = Bench::new();
    let required = MaskRule::Required(stamp(4, 1));
    bench.microbatch(1, 1, required);
    bench.mask(2, vec![Some(bench.one_bit(stamp(4, 1), 77))]);
    bench.mask(1, vec![Some(bench.one_bit(stamp(4, 1), 33))]);
    bench.microbatch(2, 1, required);
    for token in [33, 77] {
        let choices = bench.sampled().groups.remove(0).choices.unwrap();
        assert_eq!(choices.iter().map(|choice| choice.token.id).collect::<Vec<_>>(), [token]);
    }
}

#[test]
fn a_mask_of_another_step_epoch_or_row_fails_its_row_and_not_the_stage() {
    let bench = Bench::new();
    let wanted = stamp(4, 1);
    let stale = [
        stamp(3, 1),
        stamp(5, 1),
        stamp(4, 0),
        stamp(4, 2),
        Stamp { sequence: SequenceId(2), ..wanted },
    ];
    for (id, found) in (1..).zip(stale) {
        bench.microbatch(id, 1, MaskRule::Required(wanted));
        bench.mask(id, vec![Some(bench.one_bit(found, 33))]);
        assert_eq!(bench.row_error(), MaskError::WrongStamp { wanted, found });
    }
    bench.microbatch(10, 1, MaskRule::Required(wanted));
    bench.mask(10, vec![None]);
    assert_eq!(bench.row_error(), MaskError::Missing { wanted });
    bench.microbatch(11, 1, MaskRule::Required(wanted));
    let empty = dense_mask(wanted, &vec![0; bench.plan.mask_words]);
    bench.mask(11, vec![Some(empty)]);
    assert_eq!(bench.row_error(), MaskError::Empty { stamp: wanted });
    bench.microbatch(12, 1, MaskRule::Free);
    assert!(bench.sampled().groups[0].choices.is_ok(), "the stage goes on");
}

#[test]
fn rows_that_require_masks_fail_when_nobody_can_send_them_any_more() {
    let mut bench = Bench::new();
    let wanted = stamp(4, 1);
    bench.masks = None;
    bench.microbatch(1, 1, MaskRule::Required(wanted));
    assert_eq!(bench.row_error(), MaskError::Missing { wanted });
}

/// The tokens of a microbatch that was sampled.
fn tokens(sampled: &Sampled) -> Vec<u32> {
    let choices = sampled.groups.iter().flat_map(|group| group.choices.as_ref().unwrap());
    choices.map(|choice| choice.token.id).collect()
}

#[test]
fn a_row_whose_mask_is_late_is_sampled_when_it_comes_and_no_other_waits() {
    let bench = Bench::new();
    let required = MaskRule::Required(stamp(4, 1));
    bench.microbatch(1, 1, required);
    bench.late(1);
    let first = bench.sampled();
    assert_eq!((first.microbatch, tokens(&first)), (MicrobatchId(1), Vec::new()));
    // Others go on, and a mask that comes while they are served is not forgotten.
    bench.microbatch(2, 1, MaskRule::Free);
    assert_eq!(bench.sampled().microbatch, MicrobatchId(2));
    bench.mask(1, vec![Some(bench.one_bit(stamp(4, 1), 33))]);
    bench.mask(3, vec![Some(bench.one_bit(stamp(4, 1), 77))]);
    bench.microbatch(3, 1, required);
    let mut found = [bench.sampled(), bench.sampled()].map(|it| (it.microbatch, tokens(&it)));
    found.sort();
    assert_eq!(found, [(MicrobatchId(1), vec![33]), (MicrobatchId(3), vec![77])]);
}

#[test]
fn a_late_mask_that_never_comes_or_is_another_one_fails_its_row() {
    let mut bench = Bench::new();
    let wanted = stamp(4, 1);
    bench.microbatch(1, 1, MaskRule::Required(wanted));
    bench.late(1);
    bench.sampled();
    let found = stamp(3, 1);
    bench.mask(1, vec![Some(bench.one_bit(found, 33))]);
    assert_eq!(bench.row_error(), MaskError::WrongStamp { wanted, found });
    bench.microbatch(2, 1, MaskRule::Required(wanted));
    bench.late(2);
    bench.sampled();
    bench.masks = None;
    assert_eq!(bench.row_error(), MaskError::Missing { wanted });
}

#[test]
fn a_microbatch_of_another_incarnation_is_refused() {
    let bench = Bench::new();
    bench.microbatch(1, 2, MaskRule::Free);
    let error = bench.failure_after(0);
    assert!(matches!(error, StageError::Incarnation { wanted: 1, found: 2 }), "{error:?}");
}
