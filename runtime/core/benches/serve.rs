//! What the serving loop takes the host for each microbatch, without stages.
//!
//! `cargo bench -p sluicegate-core --bench serve`

#![allow(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "numbers are small, and a measurement is printed"
)]

#[path = "../tests/decoding/mod.rs"]
mod decoding;

use std::time::{Duration, Instant};

use decoding::Decoding;

/// Steps of one measurement, and how many there are.
const STEPS: u32 = 500;
const RUNS: usize = 7;

fn main() {
    for sequences in [16, 64, 256] {
        let mut decoding = Decoding::new(sequences, 40_000);
        let mut rows = 0;
        for tokens in [100, 1_000] {
            while rows < tokens * sequences as usize {
                rows += decoding.step().expect("none of them ends");
            }
            let mut times: Vec<Duration> = (0..RUNS).map(|_| time(&mut decoding)).collect();
            times.sort_unstable();
            let median = times[RUNS / 2] / STEPS;
            println!(
                "{sequences} sequences over 4 stages, from {tokens} tokens on: {median:?} a step"
            );
        }
    }
}

fn time(decoding: &mut Decoding) -> Duration {
    let began = Instant::now();
    for _ in 0..STEPS {
        decoding.step();
    }
    began.elapsed()
}
