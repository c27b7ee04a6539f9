//! Masks on their way to the last stage: encoded, and equal ones only once.

use std::{collections::HashMap, ops::Range};

use serde::{Deserialize, Serialize};
use sluicegate_spec::placed::Named;

use super::{
    ids::MicrobatchId,
    stamp::Stamp,
    times::Interval,
    wire::{Message, MessageKind, bytes},
};

/// The masks of one microbatch, or of some of its rows where one is late.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Masks {
    pub microbatch: MicrobatchId,
    /// Per logit row; none where the row is free, where its mask could not be computed, and where
    /// it comes in another message.
    pub rows: Vec<Option<MaskRow>>,
    /// Words of a mask that is not encoded.
    pub num_words: usize,
    /// Rows whose masks are still being computed, and come in a message of their own.
    pub late: Vec<usize>,
    /// When each worker that had a part in them worked.
    pub filled: Vec<Interval>,
}

impl Message for Masks {
    const KIND: MessageKind = MessageKind::Masks;
}

impl Named for Masks {
    const NAME: &'static str = "mask";
}

/// The mask of one row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaskRow {
    pub stamp: Stamp,
    /// What may come at the row's next position, and, where the row brings a draft, behind each of
    /// its tokens: one at least.
    pub positions: Vec<MaskBits>,
}

impl MaskRow {
    /// A mask of the next position alone.
    pub fn new(stamp: Stamp, bits: MaskBits) -> Self {
        Self { stamp, positions: vec![bits] }
    }
}

/// What a mask allows at one position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskBits {
    /// As the constraint engine encodes it.
    Own(#[serde(with = "bytes")] Box<[u8]>),
    /// The same as the first position of that logit row of the microbatch, which comes before this
    /// one and has its own.
    SameAs(u32),
}

/// Masks up to this length, as those of a single token, are not worth a lookup.
const SHORT_BYTES: usize = 5;

impl Masks {
    /// The masks of a microbatch, equal ones said once.
    pub fn new(microbatch: MicrobatchId, mut rows: Vec<Option<MaskRow>>, num_words: usize) -> Self {
        for (row, first) in repeated(&rows) {
            if let Some(row) = &mut rows[row] {
                row.positions[0] = MaskBits::SameAs(first);
            }
        }
        Self { microbatch, rows, num_words, late: Vec::new(), filled: Vec::new() }
    }

    /// Whether the mask of one of these rows comes later.
    pub fn is_late(&self, rows: &Range<usize>) -> bool {
        self.late.iter().any(|row| rows.contains(row))
    }

    /// Merges a later message for the same microbatch.
    pub fn merge(&mut self, later: Self) {
        for (row, come) in self.rows.iter_mut().zip(later.rows) {
            if come.is_some() {
                *row = come;
            }
        }
        self.late = later.late;
        self.filled.extend(later.filled);
    }

    /// What the masks would take without being encoded: four bytes for each word.
    pub fn raw_bytes(&self) -> usize {
        let num_masks: usize = self.rows.iter().flatten().map(|row| row.positions.len()).sum();
        num_masks.saturating_mul(self.num_words).saturating_mul(size_of::<u32>())
    }
}

/// Rows whose next position has the mask of an earlier row, and that row, but for short masks.
fn repeated(rows: &[Option<MaskRow>]) -> Vec<(usize, u32)> {
    let mut first_rows: HashMap<&[u8], u32> = HashMap::new();
    let mut repeated = Vec::new();
    for (row_idx, row) in (0..).zip(rows) {
        let first_position = row.as_ref().and_then(|row| row.positions.first());
        let Some(MaskBits::Own(bits)) = first_position else { continue };
        if bits.len() <= SHORT_BYTES {
            continue;
        }
        let first = *first_rows.entry(bits).or_insert(row_idx);
        if first != row_idx {
            repeated.push((row_idx as usize, first));
        }
    }
    repeated
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::SequenceId;

    #[test]
    fn equal_rows_are_sent_once() {
        let stamp = |row| Stamp { sequence: SequenceId(row), step: 0, epoch: 0 };
        let own = |bits: &[u8]| MaskBits::Own(bits.into());
        let row = |row, bits: &[u8]| Some(MaskRow::new(stamp(row), own(bits)));
        let (a, b, short) = ([4; 17], [5; 17], [1, 3, 0, 0, 0]);
        let rows = vec![
            row(0, &a),
            None,
            row(2, &b),
            row(3, &a),
            row(4, &short),
            row(5, &short),
            row(6, &a),
        ];
        let masks = Masks::new(MicrobatchId(1), rows, 4);
        let bits: Vec<Option<&MaskBits>> =
            masks.rows.iter().map(|row| row.as_ref().map(|row| &row.positions[0])).collect();
        let same = MaskBits::SameAs(0);
        assert_eq!((bits[3], bits[6]), (Some(&same), Some(&same)));
        // Not looked up.
        assert_eq!((bits[4], bits[5]), (Some(&own(&short)), Some(&own(&short))));
        assert_eq!(masks.rows[3].as_ref().unwrap().stamp, stamp(3));
        assert_eq!(masks.raw_bytes(), 6 * 16);
    }
}
