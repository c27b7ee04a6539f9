//! How long the chunks of a prompt are: each costs the same.

/// What it costs to compute tokens: one each, and `attention` for each earlier position that a
/// token attends to.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChunkCost {
    pub(super) attention: f64,
}

impl ChunkCost {
    /// `len` tokens from position `start` on:
    /// `sum(1 + a * (start + i)) for i in 0..len = len + a * (start * len + len * (len - 1) / 2)`.
    fn of(self, start: usize, len: usize) -> f64 {
        let (start, len) = (start as f64, len as f64);
        len + self.attention * (start * len + len * (len - 1.0) / 2.0)
    }

    /// The next chunk of `remaining` tokens from `start` on: one of as few chunks of equal cost as
    /// there can be, if none costs more than `budget` tokens at the beginning of a sequence.
    ///
    /// Zero if there is no budget, and else at least one.
    pub(super) fn next_len(self, start: usize, remaining: usize, budget: usize) -> usize {
        let longest = remaining.min(budget);
        if longest == 0 {
            return 0;
        }
        let num_chunks = (self.of(start, remaining) / self.of(0, budget) - 1e-9).ceil().max(1.0);
        let share = self.of(start, remaining) / num_chunks;
        // The cost grows with the length, so the least length that reaches the share is found by
        // halving; the one before it may be nearer.
        let (mut low, mut high) = (1, longest);
        while low < high {
            let middle = low.midpoint(high);
            if self.of(start, middle) < share - 1e-9 {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let is_nearer = low > 1 && share - self.of(start, low - 1) < self.of(start, low) - share;
        low - usize::from(is_nearer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(attention: f64, tokens: usize, budget: usize) -> Vec<usize> {
        let cost = ChunkCost { attention };
        let mut chunks = Vec::new();
        let mut start = 0;
        while start < tokens {
            let len = cost.next_len(start, tokens - start, budget);
            chunks.push(len);
            start += len;
        }
        chunks
    }

    #[test]
    fn chunks_are_equal_where_attention_costs_nothing() {
        assert_eq!(chunks(0.0, 70, 32), [23, 24, 23]);
        assert_eq!(chunks(0.0, 64, 32), [32, 32]);
        assert_eq!(chunks(0.0, 5, 32), [5]);
        assert_eq!(ChunkCost { attention: 0.1 }.next_len(7, 9, 0), 0);
    }

    #[test]
    fn chunks_get_shorter_as_there_is_more_to_attend_to() {
        for (attention, tokens, budget) in [(0.01, 2_000, 128), (0.001, 5_000, 64), (1.0, 100, 8)] {
            let cost = ChunkCost { attention };
            let chunks = chunks(attention, tokens, budget);
            assert!(chunks.is_sorted_by(|a, b| a + 1 >= *b), "{chunks:?}");
            let mut start = 0;
            let mut costs: Vec<f64> = Vec::new();
            for len in &chunks {
                costs.push(cost.of(start, *len));
                start += len;
            }
            let most = costs.iter().copied().fold(0.0, f64::max);
            // No dearer than the first may be, but for the token that makes a share whole.
            let one_token = 1.0 + attention * tokens as f64;
            assert!(most <= cost.of(0, budget) + one_token, "{costs:?}");
            let least = costs.iter().copied().fold(f64::INFINITY, f64::min);
            assert!(most - least <= 2.0 * one_token, "{costs:?}");
        }
    }
}
