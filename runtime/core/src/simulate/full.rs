//! Watches for the time in which no more may run.

use super::run::Full;
use crate::scheduler::Scheduler;

/// What is known up to some moment.
#[derive(Debug, Default)]
pub(super) struct Watch {
    full: Full,
    /// When somebody was last seen to wait while all others ran, and the tokens until then.
    last: Option<(f64, usize)>,
    /// Whether nearly all that may run have had their prompts computed; at first none have.
    has_begun: bool,
}

impl Watch {
    /// Takes note of a moment in which all that could be sent was.
    pub(super) fn note(&mut self, scheduler: &Scheduler, now_s: f64, num_tokens: usize) {
        let stats = scheduler.stats();
        self.full.most_rows = self.full.most_rows.max(stats.rows);
        self.has_begun |= 10 * scheduler.num_decoding_rows() >= 9 * stats.rows;
        if stats.waiting == 0 || !self.has_begun {
            self.last = None;
            return;
        }
        if let Some((before_s, tokens)) = self.last.replace((now_s, num_tokens)) {
            self.full.seconds += now_s - before_s;
            self.full.tokens += num_tokens - tokens;
        }
    }

    pub(super) fn full(self) -> Full {
        self.full
    }
}
