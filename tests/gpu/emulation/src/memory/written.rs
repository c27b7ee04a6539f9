//! Which bytes of an allocation were written.

use std::ops::Range;

const BITS: usize = u64::BITS as usize;

/// One bit a byte; none are kept while all are set.
#[derive(Debug, Clone)]
pub(super) struct Written {
    words: Vec<u64>,
    num_bytes: usize,
    num_missing: usize,
}

impl Written {
    /// Nothing was written yet.
    pub(super) fn none_of(num_bytes: usize) -> Self {
        Self { words: vec![0; num_bytes.div_ceil(BITS)], num_bytes, num_missing: num_bytes }
    }

    /// Takes note that these bytes are written.
    #[inline]
    pub(super) fn add(&mut self, range: Range<usize>) {
        if self.num_missing == 0 {
            return;
        }
        for (word, mask) in parts(range) {
            let missing = mask & !self.words[word];
            self.words[word] |= mask;
            self.num_missing -= missing.count_ones() as usize;
        }
        if self.num_missing == 0 {
            self.words = Vec::new();
        }
    }

    /// Takes note that a byte is as if it had never been written.
    pub(super) fn remove(&mut self, byte: usize) {
        if self.num_missing == 0 {
            self.words = vec![u64::MAX; self.num_bytes.div_ceil(BITS)];
        }
        let bit = 1 << (byte % BITS);
        self.num_missing += usize::from(self.words[byte / BITS] & bit != 0);
        self.words[byte / BITS] &= !bit;
    }

    /// All of these bytes that were never written, counted from the first.
    pub(super) fn missing(&self, range: Range<usize>) -> Vec<usize> {
        if self.num_missing == 0 {
            return Vec::new();
        }
        let is_missing = |byte: &usize| self.words[byte / BITS] >> (byte % BITS) & 1 == 0;
        range.clone().filter(is_missing).map(|byte| byte - range.start).collect()
    }

    /// The first of these bytes that was never written.
    #[inline]
    pub(super) fn first_missing(&self, range: Range<usize>) -> Option<usize> {
        if self.num_missing == 0 {
            return None;
        }
        parts(range).find_map(|(word, mask)| {
            let missing = mask & !self.words[word];
            (missing != 0).then(|| word * BITS + missing.trailing_zeros() as usize)
        })
    }
}

/// The words that a range lies in, each with the bits that are in the range.
#[inline]
fn parts(range: Range<usize>) -> impl Iterator<Item = (usize, u64)> {
    let Range { start, end } = range;
    (start / BITS..end.div_ceil(BITS)).map(move |word| {
        let first = word * BITS;
        let (from, to) = (start.max(first) - first, end.min(first + BITS) - first);
        (word, u64::MAX >> (BITS - (to - from)) << from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_missing_until_they_are_written() {
        let mut written = Written::none_of(200);
        assert_eq!(written.first_missing(0..200), Some(0));
        written.add(0..70);
        assert_eq!(written.first_missing(3..70), None);
        assert_eq!(written.first_missing(60..200), Some(70));
        written.add(128..130);
        written.add(70..128);
        assert_eq!(written.first_missing(0..130), None);
        assert_eq!(written.first_missing(129..131), Some(130));
        written.add(130..200);
        assert_eq!((written.first_missing(0..200), written.num_missing), (None, 0));
        written.add(5..6);
        assert_eq!(written.first_missing(0..200), None);
        written.remove(100);
        written.remove(100);
        assert_eq!((written.first_missing(0..200), written.num_missing), (Some(100), 1));
        assert_eq!((written.missing(90..101), written.missing(101..200)), (vec![10], vec![]));
    }
}
