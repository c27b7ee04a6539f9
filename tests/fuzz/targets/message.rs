//! Messages between the host and the stages, from another process.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sluicegate_core::{
    messages::{
        Masks, MicrobatchId, Sampled, StageBatch,
        wire::{Message, decode, encode, num_bytes},
    },
    parking::Parking,
    scheduler::OrderBounds,
};

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

fuzz_target!(|bytes: &[u8]| {
    let bounds = OrderBounds { vocab: 64, max_positions: 64, pages_per_group: vec![4, 4] };
    if let Some(StageBatch { batch, .. }) = read(bytes) {
        let _ = bounds.check(&batch);
    }
    if let Some(masks) = read::<Masks>(bytes) {
        masks.raw_bytes();
        let microbatch = MicrobatchId(masks.microbatch.0);
        let mut parking = Parking::<()>::default();
        parking.receive(masks.clone());
        parking.receive(masks);
        parking.masks(microbatch);
    }
    if let Some(sampled) = read::<Sampled>(bytes) {
        sampled.stage_s();
    }
});
