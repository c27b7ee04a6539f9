//! How many microbatches a placement may have.

use std::ops::RangeInclusive;

/// Returns the numbers of microbatches to try. Each sequence is in one of them, and twice as many
/// as there can be stages, plus two, fill any pipeline.
pub(super) fn microbatches(num_sequences: usize, num_devices: usize) -> RangeInclusive<usize> {
    1..=num_sequences.clamp(1, 2 * num_devices + 2)
}
