//! Counts of what a program asks for.

use super::*;
use crate::counts::Count;

/// The number of a kind that the first device was asked for, and their bytes.
fn count(rig: &Rig, kind: Kind) -> (u64, u64) {
    let Count { number, bytes } = rig.world.counts.as_ref().unwrap().of(0, kind);
    (number, bytes)
}

#[track_caller]
fn check_counts(rig: &Rig, want: &[(Kind, u64, usize)]) {
    for (kind, number, bytes) in want {
        assert_eq!(count(rig, *kind), (*number, *bytes as u64), "{kind:?}");
    }
}

fn rig() -> Rig {
    Rig::of("2x 64MiB, counts=counts.json")
}

#[test]
fn what_is_not_wanted_is_not_counted() {
    let mut rig = Rig::new(0);
    rig.numbers(1);
    assert!(rig.world.counts.is_none());
}

#[test]
fn kernels_fills_and_memory_are_counted() {
    let mut rig = rig();
    let numbers = rig.numbers(1);
    for _ in 0..3 {
        rig.increment(0, numbers, NUMBERS).unwrap();
    }
    rig.world.free_on(0, rig.streams[0], numbers).unwrap();
    let other = rig.world.allocate(0, 2 * BYTES).unwrap();
    rig.world.free(other).unwrap();
    check_counts(
        &rig,
        &[
            (Kind::Launch, 3, 0),
            (Kind::Product, 0, 0),
            (Kind::Fill, 1, BYTES),
            (Kind::Allocation, 2, 3 * BYTES),
            (Kind::Free, 2, 0),
            // `cuMemFree` waits.
            (Kind::Synchronisation, 1, 0),
        ],
    );
    assert_eq!(rig.world.counts.as_ref().unwrap().of(1, Kind::Allocation), Count::default());
}

#[test]
fn waits_are_counted_by_who_waits() {
    let mut rig = rig();
    rig.order();
    let event = rig.world.create_event(0, false);
    rig.world.record(event, rig.streams[0]).unwrap();
    rig.world.synchronize_event(event).unwrap();
    rig.world.synchronize(rig.streams[1]).unwrap();
    rig.world.finish_copy(rig.streams[0]).unwrap();
    check_counts(
        &rig,
        &[
            (Kind::EventRecord, 2, 0),
            (Kind::StreamWait, 1, 0),
            (Kind::Synchronisation, 2, 0),
            (Kind::BlockingCopy, 1, 0),
        ],
    );
}

#[test]
fn copies_are_counted_by_their_ends() {
    let mut rig = rig();
    let [source, target] = [rig.numbers(1), rig.numbers(2)];
    let pinned = rig.world.pinned.allocate(BYTES).unwrap();
    // SAFETY: the memory is freed once nobody uses it.
    let host = unsafe { HostSpan::new(pinned, BYTES) };
    let fingerprint = Some(pinned::fingerprint(host));
    rig.ask(0, Work::Upload { bytes: vec![1; BYTES], target }).unwrap();
    rig.ask(0, Work::UploadPinned { source: host, fingerprint, target }).unwrap();
    rig.read(0, target).unwrap();
    rig.read(0, source).unwrap();
    rig.ask(0, Work::Download { source: span(source), target: host, is_pinned: true }).unwrap();
    rig.ask(0, Work::Copy { source: span(source), target, devices: [0, 0] }).unwrap();
    let there = rig.world.allocate(1, BYTES).unwrap();
    rig.ask(0, Work::Copy { source: span(source), target: there, devices: [0, 1] }).unwrap();
    rig.finish().unwrap();
    rig.world.free_pinned(pinned).unwrap();
    check_counts(
        &rig,
        &[
            (Kind::PageableUpload, 1, BYTES),
            (Kind::PinnedUpload, 1, BYTES),
            (Kind::PageableDownload, 2, 2 * BYTES),
            (Kind::PinnedDownload, 1, BYTES),
            (Kind::CopyWithin, 1, BYTES),
            (Kind::CopyBetween, 1, BYTES),
        ],
    );
}
