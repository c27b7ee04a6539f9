//! Masks on their way to the last stage: coded, and each only once.

use std::{collections::HashMap, ops::Range};

use candle_core::Device;
use sluicegate_constraint::CodedMask;
use sluicegate_core::messages::MicrobatchId;
use sluicegate_model::placed::Named;
use sluicegate_placement::TransferKind;

use super::payload::{Payload, PayloadSize};
use crate::{
    pipeline::Interval,
    sampler::{MaskBits, MaskRow},
};

/// The masks of one microbatch, or of some of its rows where one is late.
#[derive(Debug, Clone)]
pub struct Masks {
    pub microbatch: MicrobatchId,
    /// Per logit row; none where the row is free, where its mask could not be computed, and where it
    /// comes in another message.
    pub rows: Vec<Option<MaskRow>>,
    /// Words of a mask that is not coded.
    pub num_words: usize,
    /// Rows whose masks are still being computed, and come in a message of their own.
    pub late: Vec<usize>,
    /// When each worker that had a part in them worked.
    pub filled: Vec<Interval>,
}

/// A byte that says so, and a row.
const SAME_AS_BYTES: usize = 1 + size_of::<u32>();

impl Masks {
    /// The masks of a microbatch, equal ones said once.
    pub fn new(microbatch: MicrobatchId, mut rows: Vec<Option<MaskRow>>, num_words: usize) -> Self {
        let mut same_as = Vec::new();
        {
            let mut first_rows: HashMap<&CodedMask, u32> = HashMap::new();
            for (row_idx, row) in (0..).zip(&rows) {
                let Some(MaskRow { bits: MaskBits::Own(coded), .. }) = row else { continue };
                if coded.num_bytes() <= SAME_AS_BYTES {
                    continue;
                }
                let first = *first_rows.entry(coded).or_insert(row_idx);
                if first != row_idx {
                    same_as.push((row_idx as usize, first));
                }
            }
        }
        for (row_idx, first) in same_as {
            if let Some(row) = &mut rows[row_idx] {
                row.bits = MaskBits::SameAs(first);
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
}

impl Named for Masks {
    const NAME: &'static str = "mask";
}

impl Payload for Masks {
    const KIND: TransferKind = TransferKind::Mask;

    /// What the code of each constrained row takes; raw, four bytes per word. Stamps go with either
    /// and are not counted.
    fn size(&self) -> PayloadSize {
        let rows = || self.rows.iter().flatten();
        let row_bytes = |row: &MaskRow| match &row.bits {
            MaskBits::Own(coded) => coded.num_bytes(),
            MaskBits::SameAs(_) => SAME_AS_BYTES,
        };
        let raw_bytes = rows().count() * self.num_words * size_of::<u32>();
        PayloadSize { bytes: rows().map(row_bytes).sum(), raw_bytes }
    }

    /// Everything is copied, so that two logical devices share no memory. The sampler reads masks in
    /// the last stage's thread, also where that stage computes on a GPU.
    fn copy_to(&self, _device: &Device) -> candle_core::Result<Self> {
        Ok(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::Stamp;
    use sluicegate_core::messages::SequenceId;

    #[test]
    fn equal_rows_are_sent_once_and_counted_as_they_travel() {
        let stamp = |row| Stamp { sequence: SequenceId(row), step: 0, epoch: 0 };
        let dense = |row, words: [u32; 4]| Some(MaskRow::dense(stamp(row), words));
        let only =
            |row| Some(MaskRow { stamp: stamp(row), bits: MaskBits::Own(CodedMask::Only(3)) });
        let (a, b) = ([1, 2, 3, 4], [4, 3, 2, 1]);
        let rows = vec![dense(0, a), None, dense(2, b), dense(3, a), only(4), only(5), dense(6, a)];
        let masks = Masks::new(MicrobatchId(1), rows, 4);
        let bits: Vec<Option<&MaskBits>> =
            masks.rows.iter().map(|row| row.as_ref().map(|row| &row.bits)).collect();
        let same = MaskBits::SameAs(0);
        assert_eq!((bits[3], bits[6]), (Some(&same), Some(&same)));
        // As long as the reference would be.
        let short = MaskBits::Own(CodedMask::Only(3));
        assert_eq!((bits[4], bits[5]), (Some(&short), Some(&short)));
        assert_eq!(masks.rows[3].as_ref().unwrap().stamp, stamp(3));
        let PayloadSize { bytes, raw_bytes } = masks.size();
        assert_eq!((bytes, raw_bytes), (2 * 17 + 4 * 5, 6 * 16));
    }
}
