//! Messages between the host and the stages, from another process: one alone, or a batch and masks
//! that reach a last stage.

#![no_main]

use std::time::Duration;

use sluicegate_core::{
    messages::{
        Masks, Sampled, StageBatch,
        wire::{Message, decode, encode, num_bytes},
    },
    parking::Parking,
    scheduler::OrderBounds,
};
use sluicegate_fuzz_harness::fuzz_target;

/// An input that begins so holds a length, and two messages of which the first has it. No message
/// begins so: this is no version.
const PAIR: u8 = 0;

fuzz_target!(|bytes: &[u8]| {
    match bytes {
        [PAIR, low, high, messages @ ..] => {
            let len = usize::from(u16::from_le_bytes([*low, *high]));
            let (batch, masks) = messages.split_at(len.min(messages.len()));
            if let (Some(batch), Some(masks)) = (read(batch), read(masks)) {
                park(&batch, masks);
            }
        }
        message => {
            let _ = read::<StageBatch>(message);
            if let Some(masks) = read::<Masks>(message) {
                masks.raw_bytes();
            }
            if let Some(sampled) = read::<Sampled>(message) {
                sampled.stage_s();
            }
        }
    }
});

/// Reads a message; what was read is written and read again as the same.
fn read<T: Message>(bytes: &[u8]) -> Option<T> {
    let message: T = decode(bytes).ok()?;
    let written = encode(&message);
    assert_eq!(written.len(), num_bytes(&message));
    let again: T = decode(&written).expect("what was written can be read");
    // Numbers need not be equal to themselves, but their bytes are.
    assert_eq!(encode(&again), written);
    Some(message)
}

/// Lets a batch and masks reach a last stage, if the batch indexes nothing that is not there.
fn park(StageBatch { batch, .. }: &StageBatch, masks: Masks) {
    let bounds = OrderBounds { vocab: 64, max_positions: 64, pages_per_group: vec![4, 4] };
    if bounds.check(batch).is_err() {
        return;
    }
    let mut parking = Parking::default();
    parking.receive(masks.clone());
    parking.receive(masks);
    if parking.must_wait(batch) {
        parking.close();
    }
    let ready = parking.admit(batch, Duration::ZERO, |_| ()).len();
    parking.close();
    let parked = std::iter::from_fn(|| parking.take_ready()).count();
    assert_eq!(ready + parked, batch.sampling.len(), "each group is sampled once");
    for group in &batch.sampling {
        let _ = parking.masks(batch.microbatch).get(group.logit_rows.clone());
    }
    parking.forget(batch.microbatch);
    assert!(!parking.has_parked());
}
