//! A plain step allocates no more for a long sequence than for a short one.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "numbers are small")]

mod decoding;

use decoding::Decoding;

/// Bytes allocated by so many steps.
fn allocated(decoding: &mut Decoding, steps: usize) -> u64 {
    let info = allocation_counter::measure(|| {
        for _ in 0..steps {
            decoding.step().unwrap();
        }
    });
    info.bytes_total
}

#[test]
fn a_plain_step_allocates_nothing_that_grows_with_a_sequence() {
    let mut decoding = Decoding::new(16, 8_000);
    // A round of all microbatches over sixteen tokens: each row takes one page.
    let round = 16 * 5;
    allocated(&mut decoding, 20 * round);
    let early: u64 = (0..8).map(|_| allocated(&mut decoding, round)).min().unwrap();
    allocated(&mut decoding, 200 * round);
    let late: u64 = (0..8).map(|_| allocated(&mut decoding, round)).min().unwrap();
    // What doubles now and then (tokens, text, pages) is not in the least of eight rounds.
    assert!(late * 10 <= early * 11, "{early} bytes early, {late} late");
}
