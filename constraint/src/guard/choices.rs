//! Choices of a search that restarts: first all defaults, then attempts that differ in one choice,
//! then in two, and so on.

use std::collections::VecDeque;

/// Alternatives tried per choice.
pub(super) const MAX_ALTERNATIVES: usize = 24;
/// Choices of a failed attempt for which alternatives are queued.
const MAX_CHOICES: usize = 64;
/// The most attempts in each queue.
const MAX_WAITING: usize = 1_000;

/// The choices of one attempt.
#[derive(Debug, Default)]
pub(super) struct Choices {
    script: Vec<usize>,
    made: Vec<Choice>,
    /// The next choices after a backtrack, the first one last.
    ahead: Vec<usize>,
}

#[derive(Clone, Debug)]
pub(super) struct Choice {
    picked: usize,
    num_options: usize,
    /// The JSON pointer of the value for which it was made.
    pointer: String,
}

impl Choices {
    /// Picks one of `num_options`: the first one, unless the attempt prescribes another.
    pub(super) fn pick(&mut self, num_options: usize, pointer: &str) -> usize {
        if num_options <= 1 {
            return 0;
        }
        let scripted = self.script.get(self.made.len()).copied();
        let picked = self.ahead.pop().or(scripted).unwrap_or(0).min(num_options - 1);
        self.made.push(Choice { picked, num_options, pointer: pointer.to_owned() });
        picked
    }

    /// Returns the choices made so far, for [`Choices::restore`].
    pub(super) fn made(&self) -> Vec<Choice> {
        self.made.clone()
    }

    pub(super) fn restore(&mut self, made: Vec<Choice>) {
        self.made = made;
        self.ahead.clear();
    }

    /// Returns how many choices were made.
    pub(super) fn num_made(&self) -> usize {
        self.made.len()
    }

    /// Backtracks to the first `num_kept` choices. The following choices will be repeated up to the
    /// last one that still has an alternative and that the attempt does not prescribe; there the
    /// alternative is taken. Returns false if there is no such choice.
    pub(super) fn step_back(&mut self, num_kept: usize) -> bool {
        while self.made.len() > num_kept.max(self.script.len()) {
            let Some(last) = self.made.pop() else { break };
            if last.picked + 1 < last.num_options.min(MAX_ALTERNATIVES) {
                let again = self.made.drain(num_kept..).map(|choice| choice.picked);
                self.ahead = again.chain([last.picked + 1]).collect();
                self.ahead.reverse();
                return true;
            }
        }
        self.made.truncate(num_kept);
        false
    }
}

/// The queue of attempts.
#[derive(Debug)]
pub(super) struct Attempts {
    /// Attempts with another choice near a part that was found wrong; they come first.
    near: VecDeque<Vec<usize>>,
    far: VecDeque<Vec<usize>>,
}

impl Attempts {
    pub(super) fn new() -> Self {
        Self { near: VecDeque::from([Vec::new()]), far: VecDeque::new() }
    }

    /// Returns the choices of the next attempt.
    pub(super) fn next(&mut self) -> Option<Choices> {
        let script = self.near.pop_front().or_else(|| self.far.pop_front())?;
        Some(Choices { script, ..Choices::default() })
    }

    /// Queues the attempts that differ from a failed one in one choice beyond its script. Attempts
    /// that change a choice at or around one of `pointers`, where the failed value was wrong, come
    /// first.
    pub(super) fn learn(&mut self, failed: &Choices, pointers: &[String]) {
        let made = failed.made.iter().enumerate().skip(failed.script.len());
        for (idx, choice) in made.take(MAX_CHOICES) {
            let is_related = |pointer: &String| {
                pointer.starts_with(choice.pointer.as_str())
                    || choice.pointer.starts_with(pointer.as_str())
            };
            let queue =
                if pointers.iter().any(is_related) { &mut self.near } else { &mut self.far };
            for other in 0..choice.num_options.min(MAX_ALTERNATIVES) {
                if other == choice.picked || queue.len() >= MAX_WAITING {
                    continue;
                }
                let mut script: Vec<usize> =
                    failed.made[..idx].iter().map(|choice| choice.picked).collect();
                script.push(other);
                queue.push_back(script);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_back_keeps_what_was_chosen_before() {
        let mut choices = Choices::default();
        choices.pick(2, "");
        let mut tried = Vec::new();
        loop {
            tried.push((choices.pick(2, ""), choices.pick(2, "")));
            if !choices.step_back(1) {
                break;
            }
        }
        assert_eq!(tried, [(0, 0), (0, 1), (1, 0), (1, 1)]);
    }

    #[test]
    fn single_deviations_come_before_double_ones_and_near_ones_first() {
        let mut attempts = Attempts::new();
        let mut tried = Vec::new();
        while let Some(mut choices) = attempts.next() {
            let picked = (choices.pick(2, "/a"), choices.pick(1, ""), choices.pick(2, "/b"));
            tried.push(picked);
            attempts.learn(&choices, &["/b/c".to_owned()]);
        }
        assert_eq!(tried, [(0, 0, 0), (0, 0, 1), (1, 0, 0), (1, 0, 1)]);
    }
}
