//! The workers alone: no stage, no engine.

use std::sync::LazyLock;

use crossbeam_channel::{Receiver, bounded};
use sluicegate_constraint::{
    Compiler, Encode, EncodedMask, MaskForm, MatchError, Matcher, Spec, TokenBytes, Vocab,
    VocabSource,
};
use sluicegate_placement::{Endpoint, StageId};

use super::{watch::Ending, worker::Command, *};
use crate::{
    device::{Devices, Links, ReceivingEnd},
    pipeline::MasksInTransit,
};
use sluicegate_core::{
    messages::{MaskBits, MaskRow, Masks},
    serve::Answer,
};
use sluicegate_spec::{device::DeviceId, placed::Site, units::TokenId};

const EOS: TokenId = 256;

/// Each byte is a token.
struct Bytes;

impl Encode for Bytes {
    fn encode(&self, text: &[u8]) -> Vec<TokenId> {
        text.iter().copied().map(TokenId::from).collect()
    }
}

/// All bytes and an end token.
static COMPILER: LazyLock<Compiler> = LazyLock::new(|| {
    let mut tokens: Vec<_> = (0..=255).map(|byte| TokenBytes::Text(vec![byte])).collect();
    tokens.push(TokenBytes::Special("<eos>".to_owned()));
    let source = VocabSource { tokens, eos: vec![EOS], num_logits: 257 };
    let vocab = Vocab::new(source, Some(Arc::new(Bytes)));
    Compiler::new(Arc::new(vocab.unwrap())).unwrap()
});

struct Bench {
    masker: Masker,
    masks: Receiver<MasksInTransit>,
    masks_end: ReceivingEnd,
    events: Receiver<PipelineEvent>,
    ledger: Ledger,
    next: u64,
}

impl Bench {
    fn new(num_workers: usize, deadline: Duration) -> Self {
        Self::started(num_workers, deadline, LONG, None)
    }

    fn with(num_workers: usize, late: Duration, before_matcher: Option<BeforeMatcher>) -> Self {
        Self::started(num_workers, LONG, late, before_matcher)
    }

    fn started(
        num_workers: usize,
        deadline: Duration,
        late: Duration,
        before_matcher: Option<BeforeMatcher>,
    ) -> Self {
        let (mask_sender, masks) = unbounded();
        let (event_sender, events) = unbounded();
        let ledger = Ledger::default();
        let links = Links::new(&[], &Devices::default(), ledger.clone());
        let last_stage = Endpoint::Stage(StageId(0));
        let (link, masks_end) = links.connect(Endpoint::Host, last_stage);
        let outlet = MaskerOutlet {
            link,
            ledger: ledger.clone(),
            clock: Clock::start(),
            masks: mask_sender,
            events: event_sender,
            num_words: 9,
        };
        let num_workers = NonZero::new(num_workers).unwrap();
        let config = MaskerConfig { num_workers, deadline, late, before_matcher };
        let masker = Masker::start(outlet, &config).unwrap();
        Self { masker, masks, masks_end, events, ledger, next: 0 }
    }

    fn open(&mut self, sequence: u64, regex: &str) {
        let compiled = COMPILER.compile(&Spec::Regex(regex.to_owned())).unwrap();
        self.masker.open(SequenceId(sequence), compiled, 1_000, true);
    }

    fn close(&mut self, sequences: &[u64]) {
        let sequences: Vec<SequenceId> = sequences.iter().copied().map(SequenceId).collect();
        self.masker.close(&sequences);
    }

    /// The masks of one microbatch with one row of each sequence.
    fn fill(&mut self, sequences: &[u64]) -> Vec<Option<MaskRow>> {
        self.next += 1;
        let stamp = |it: &u64| Some(Stamp { sequence: SequenceId(*it), step: 0, epoch: 0 });
        let stamps: Vec<Option<Stamp>> = sequences.iter().map(stamp).collect();
        self.masker.fill(MicrobatchId(self.next), &stamps);
        self.take().rows
    }

    /// The next masks, which are of the microbatch that was begun last.
    fn take(&self) -> Masks {
        let masks = self.masks.recv().unwrap();
        let site = Site { operation: "test", unit: None, with: "test", device: DeviceId::Host };
        let masks = self.masks_end.receive(masks).unwrap().take(&site).unwrap();
        assert_eq!(masks.microbatch, MicrobatchId(self.next));
        masks
    }

    /// Lets children continue parents, each with a byte.
    fn advance_all(&mut self, next: &[(u64, u64, u8)]) -> Vec<Result<Answer, MatcherError>> {
        let continuation = |&(parent, child, byte): &(u64, u64, u8)| Continuation {
            parent: SequenceId(parent),
            child: SequenceId(child),
            tokens: vec![byte.into()],
        };
        self.advance_by(next.iter().map(continuation).collect())
    }

    fn advance_by(&mut self, next: Vec<Continuation>) -> Vec<Result<Answer, MatcherError>> {
        self.masker.advance(GroupId(1), next);
        loop {
            match self.events.recv().unwrap() {
                PipelineEvent::Advanced { group: GroupId(1), answers } => return answers,
                PipelineEvent::MaskFailed { .. } => {}
                event => panic!("{event:?}"),
            }
        }
    }

    fn advance(&mut self, sequence: u64, byte: u8) -> Result<Answer, MatcherError> {
        self.advance_all(&[(sequence, sequence, byte)]).remove(0)
    }

    fn loads(&self) -> Vec<usize> {
        self.masker.workers.iter().map(|worker| worker.num_sequences).collect()
    }
}

fn missing() -> MatcherError {
    MatcherError::Failed { message: "it has no matcher".into() }
}

fn bits(rows: &[Option<MaskRow>]) -> Vec<Option<MaskBits>> {
    rows.iter().map(|row| row.as_ref().map(|row| row.positions[0].clone())).collect()
}

const LONG: Duration = Duration::from_mins(10);

#[test]
fn sequences_are_spread_over_workers_and_their_masks_come_together() {
    let mut bench = Bench::new(3, LONG);
    for sequence in 0..7 {
        bench.open(sequence, "[a-y]x?");
    }
    assert_eq!(bench.loads(), [3, 2, 2]);
    let rows = bench.fill(&[0, 1, 2, 3, 4, 5, 6]);
    let MaskBits::Own(first) = &rows[0].as_ref().unwrap().positions[0] else {
        panic!("it is whole")
    };
    let words = EncodedMask::decode(first, &[u32::MAX; 9]).unwrap();
    assert_eq!(words.iter().map(|word| word.count_ones()).sum::<u32>(), 25);
    // Equal rows are equal, whichever worker they are from.
    assert!(bits(&rows)[1..].iter().all(|bits| *bits == Some(MaskBits::SameAs(0))));
    bench.close(&[0, 3, 6]);
    bench.open(7, "a");
    assert_eq!(bench.loads()[0], 1);
    let counts = bench.ledger.masks();
    assert_eq!((counts.num_masks(), counts.same, counts.sparse), (7, 6, 1));
}

#[test]
fn matchers_advance_fork_and_say_what_became_of_them() {
    let mut bench = Bench::new(2, LONG);
    bench.open(1, "ab|ac");
    let next = Answer { tokens: vec![97], is_finished: false, is_vetoed: false };
    assert_eq!(bench.advance(1, b'a').unwrap(), next);
    let forked = bench.advance_all(&[(1, 2, b'b'), (1, 3, b'c'), (1, 1, b'x')]);
    assert!(forked[0].as_ref().unwrap().is_finished && forked[1].as_ref().unwrap().is_finished);
    let refused = MatchError::NotAllowed { token: 120, num_tokens: 1 }.to_string().into();
    assert_eq!(forked[2], Err(MatcherError::Failed { message: refused }));
    // They stay with their parent's worker.
    assert_eq!(bench.loads(), [3, 0]);
    bench.close(&[1, 2]);
    assert_eq!(bench.loads(), [1, 0]);
    let rows = bench.fill(&[3]);
    let row = rows[0].as_ref().unwrap();
    let only_eos = [&[MaskForm::Only as u8][..], &EOS.to_le_bytes()].concat();
    let only_eos = MaskBits::Own(only_eos.into());
    assert_eq!((row.stamp.step, &row.positions[..]), (2, &[only_eos][..]));
    // Nobody knows this one: its mask is missing, and the message comes all the same.
    assert_eq!(bench.fill(&[9]), [None]);
    assert_eq!(bench.advance(9, b'a'), Err(missing()));
    assert_eq!(bench.advance(1, b'a'), Err(missing()), "it was closed");
}

#[test]
fn tokens_of_a_draft_are_taken_up_to_the_first_that_is_not_allowed_or_ends() {
    let mut bench = Bench::new(1, LONG);
    let mut take = |sequence: u64, regex: &str, tokens: &[u8]| {
        bench.open(sequence, regex);
        let tokens = tokens.iter().copied().map(TokenId::from).collect();
        let (parent, child) = (SequenceId(sequence), SequenceId(sequence));
        bench.advance_by(vec![Continuation { parent, child, tokens }]).remove(0)
    };
    let taken = |tokens: &[u8], is_finished| {
        let tokens = tokens.iter().copied().map(TokenId::from).collect();
        Ok(Answer { tokens, is_finished, is_vetoed: false })
    };
    assert_eq!(take(1, "[ab]{4}", b"aba"), taken(b"aba", false));
    assert_eq!(take(2, "[ab]{2}", b"aba"), taken(b"ab", true));
    // What must follow comes behind all of them.
    assert_eq!(take(3, "[ab][ab]cd[ef]", b"ab"), taken(b"abcd", false));
    assert!(take(4, "[ab]{4}", b"ax").is_err(), "a sampler chooses what its mask allows");
    assert!(take(5, "[ab]{4}", b"").is_err());
}

#[test]
fn what_must_follow_is_taken_along_unless_the_sequence_is_a_beam() {
    let mut bench = Bench::new(1, LONG);
    bench.open(1, "a(bcd[ef]|x)");
    let taken = |tokens: &[u8], is_finished| {
        let tokens = tokens.iter().copied().map(TokenId::from).collect();
        Answer { tokens, is_finished, is_vetoed: false }
    };
    assert_eq!(bench.advance(1, b'a').unwrap(), taken(b"a", false));
    assert_eq!(bench.advance(1, b'b').unwrap(), taken(b"bcd", false));
    assert_eq!(bench.advance(1, b'e').unwrap(), taken(b"e", true));
    let compiled = COMPILER.compile(&Spec::Regex("abc".to_owned())).unwrap();
    bench.masker.open(SequenceId(2), compiled, 1_000, false);
    assert_eq!(bench.advance(2, b'a').unwrap(), taken(b"a", false));
}

#[test]
fn a_worker_that_panics_loses_its_matchers_and_no_others() {
    let mut bench = Bench::new(2, LONG);
    bench.open(1, "[a-z]+");
    bench.open(2, "[a-z]+");
    bench.masker.workers[0].send(Command::Panic);
    let rows = bench.fill(&[1, 2]);
    assert!(rows[0].is_none() && rows[1].is_some());
    let event = bench.events.recv().unwrap();
    let PipelineEvent::MaskFailed { sequence: SequenceId(1), error } = event else {
        panic!("{event:?}");
    };
    let want = MatcherError::Panicked { message: "as a test asked".into() };
    assert_eq!(error, want);
    assert_eq!(bench.advance(1, b'a'), Err(want));
    assert!(bench.advance(2, b'a').is_ok());
    // The worker itself goes on.
    bench.close(&[1]);
    bench.open(3, "[a-z]+");
    assert_eq!(bench.masker.sequences[&SequenceId(3)], 0);
    assert!(bench.fill(&[3])[0].is_some() && bench.advance(3, b'z').is_ok());
}

#[test]
fn masks_that_are_ready_go_ahead_of_one_that_is_late() {
    let (held, gate) = bounded::<()>(0);
    let hook: BeforeMatcher = Arc::new(move |sequence: SequenceId| {
        if sequence == SequenceId(2) {
            // Until the other end has gone.
            let _ = gate.recv();
        }
    });
    let mut bench = Bench::with(2, Duration::from_millis(1), Some(hook));
    bench.open(1, "[a-y]x?");
    bench.open(2, "[a-y]x?");
    bench.next += 1;
    let stamp = |it| Some(Stamp { sequence: SequenceId(it), step: 0, epoch: 0 });
    bench.masker.fill(MicrobatchId(bench.next), &[stamp(1), None, stamp(2)]);
    let mut first = bench.take();
    while first.rows[0].is_none() {
        let more = bench.take();
        first.merge(more);
    }
    assert_eq!((first.late.as_slice(), &first.rows[2]), (&[2][..], &None));
    drop(held);
    let rest = bench.take();
    assert!(rest.late.is_empty() && rest.rows[0].is_none());
    // On its own it says what it is, and not whose it is the same as.
    assert!(matches!(rest.rows[2].as_ref().unwrap().positions[0], MaskBits::Own(_)));
    first.merge(rest);
    assert!(first.late.is_empty() && first.rows[0].is_some() && first.rows[2].is_some());
}

fn letters() -> Compiled {
    COMPILER.compile(&Spec::Regex("[a-z]+".to_owned())).unwrap()
}

/// Works until it is told to stop.
fn forever(matcher: &mut Matcher) -> MatchError {
    loop {
        if let Err(error) = matcher.mask() {
            return error;
        }
    }
}

#[test]
fn a_mask_that_takes_too_long_fails_its_row_and_the_worker_goes_on() {
    let watch = Arc::new(Watch::default());
    let watchdog = Watchdog::start(
        vec![Arc::clone(&watch)],
        Arc::new(Jobs::default()),
        (Duration::from_millis(5), LONG),
    )
    .unwrap();
    watchdog.wake();
    let compiled = letters();
    let mut matcher = compiled.matcher_on(0);
    let handle = matcher.cancel_handle();
    // That it comes back at all is what is tested.
    let (error, ending) = watch.run(SequenceId(1), handle, || forever(&mut matcher));
    assert_eq!(error, Some(MatchError::Cancelled { num_tokens: 0 }));
    assert_eq!(ending, Ending::Late);
    // Another matcher on the same worker, and lexer, is none the worse.
    let mut other = compiled.matcher_on(0);
    let handle = other.cancel_handle();
    let (mask, _) = watch.run(SequenceId(2), handle, || other.mask());
    assert!(mask.unwrap().is_ok());
}

#[test]
fn work_for_a_sequence_that_is_closed_ends_and_none_is_begun() {
    let watch = Watch::default();
    let compiled = letters();
    let mut matcher = compiled.matcher_on(0);
    let handle = matcher.cancel_handle();
    let (begun, has_begun) = bounded::<()>(1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            has_begun.recv().unwrap();
            watch.leave(SequenceId(1));
        });
        let (error, ending) = watch.run(SequenceId(1), handle, || {
            begun.send(()).unwrap();
            forever(&mut matcher)
        });
        assert_eq!(error, Some(MatchError::Cancelled { num_tokens: 0 }));
        assert_eq!(ending, Ending::InTime);
    });
    let idle = compiled.matcher_on(0).cancel_handle();
    let unwanted = (None::<()>, Ending::Unwanted);
    assert_eq!(watch.run(SequenceId(1), idle.clone(), || panic!("it is leaving")), unwanted);
    watch.left(SequenceId(1));
    assert_eq!(watch.run(SequenceId(1), idle.clone(), || ()), (Some(()), Ending::InTime));
    watch.leave_all();
    assert_eq!(watch.run(SequenceId(2), idle, || panic!("all are leaving")), unwanted);
}
