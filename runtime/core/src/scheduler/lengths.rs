//! How long outputs get, learnt from those that have ended.

use std::collections::VecDeque;

/// Outputs that are remembered.
const KEPT: usize = 256;
/// With fewer of them nothing is concluded.
const LEAST: usize = 4;
/// With fewer of them the short ones are among them more often than they should be.
const ENOUGH: usize = 64;

/// Stands for the length of an output that was cut off: it would have gone on.
const CUT_OFF: usize = usize::MAX;

/// Lengths of the outputs that ended last, in tokens.
#[derive(Debug, Clone, Default)]
pub(super) struct Lengths {
    /// Tokens, and whether it was the limit that ended them.
    recent: VecDeque<(usize, bool)>,
    /// Lengths, the shortest first, and [`CUT_OFF`] last.
    sorted: Vec<usize>,
    num_cut_off: usize,
}

impl Lengths {
    /// Takes note of an output that has ended, of at most `most` tokens.
    pub(super) fn note(&mut self, num_tokens: usize, most: usize) {
        if self.recent.len() == KEPT {
            self.recent.pop_front();
        }
        self.recent.push_back((num_tokens, num_tokens >= most));
        let length = |(tokens, is_cut_off): &(usize, bool)| match is_cut_off {
            true => CUT_OFF,
            false => *tokens,
        };
        self.sorted.clear();
        self.sorted.extend(self.recent.iter().map(length));
        self.sorted.sort_unstable();
        self.num_cut_off = self.recent.iter().filter(|(_, is_cut_off)| *is_cut_off).count();
    }

    /// How many tokens an output gets besides the `generated` ones, of at most `most` in all, if it
    /// is longer than a share `quantile` of the outputs like it; `running` have been generated so
    /// far by outputs that go on.
    ///
    /// All that it may get, where hardly any has ended by itself. While only a few have, as if an
    /// output might end at each token alike: its mean length is that of the tokens of all, also of
    /// those that go on, by those that ended. Then as those that went on for longer.
    pub(super) fn remaining(
        &self,
        (generated, most): (usize, usize),
        running: usize,
        quantile: f64,
    ) -> usize {
        let left = most.saturating_sub(generated);
        let num_ended = self.sorted.len() - self.num_cut_off;
        if num_ended < LEAST {
            return left;
        }
        let first = self.sorted.partition_point(|length| *length <= generated);
        let num_longer = self.sorted.len() - first;
        let remaining = if self.sorted.len() < ENOUGH || num_longer == 0 {
            let sum = self.recent.iter().map(|(tokens, _)| tokens).sum::<usize>() + running;
            round(-(1.0 - quantile).ln() * sum as f64 / num_ended as f64)
        } else {
            let index = round(quantile * num_longer as f64 - 0.5).min(num_longer - 1);
            self.sorted[first + index] - generated
        };
        remaining.min(left)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast saturates, and below zero there is nothing"
)]
fn round(number: f64) -> usize {
    number.round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_as_with_those_that_went_on() {
        let mut lengths = Lengths::default();
        for _ in 0..ENOUGH {
            lengths.note(10, 100);
            lengths.note(30, 100);
        }
        let remaining =
            |generated, most, quantile| lengths.remaining((generated, most), 0, quantile);
        assert_eq!((remaining(0, 100, 0.2), remaining(0, 100, 0.8)), (10, 30));
        assert_eq!(remaining(0, 5, 0.5), 5);
        assert_eq!(remaining(10, 100, 0.1), 20, "it is one of the longer ones");
        assert_eq!(remaining(30, 100, 0.5), 14, "none was longer: ln 2 of the mean");
        assert_eq!((remaining(0, 100, 0.0), remaining(0, 100, 1.0)), (10, 30));
        assert_eq!(remaining(200, 100, 0.5), 0);
    }

    #[test]
    fn those_that_go_on_count_while_few_have_ended() {
        let mut lengths = Lengths::default();
        assert_eq!(lengths.remaining((0, 100), 50, 0.5), 100, "nothing is known");
        for length in [5, 10, 15, 10] {
            lengths.note(length, 100);
        }
        assert_eq!(lengths.remaining((3, 1000), 160, 0.5), 35);
        assert_eq!(lengths.remaining((3, 20), 160, 0.5), 17);
        assert_eq!(lengths.remaining((3, 1000), 160, 1.0), 997);
    }

    #[test]
    fn outputs_that_were_cut_off_would_have_gone_on() {
        let mut lengths = Lengths::default();
        (0..KEPT).for_each(|_| lengths.note(50, 50));
        assert_eq!(lengths.remaining((10, 200), 0, 0.5), 190, "none has ended by itself");
        (0..KEPT / 4).for_each(|_| lengths.note(20, 50));
        assert_eq!(lengths.remaining((10, 200), 0, 0.1), 10);
        assert_eq!(lengths.remaining((10, 200), 0, 0.9), 190);
    }

    #[test]
    fn old_lengths_are_forgotten() {
        let mut lengths = Lengths::default();
        (0..KEPT).for_each(|_| lengths.note(1000, 2000));
        (0..KEPT).for_each(|_| lengths.note(10, 2000));
        assert_eq!(lengths.remaining((0, 2000), 0, 0.5), 10);
    }
}
