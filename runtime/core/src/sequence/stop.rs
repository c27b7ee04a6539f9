//! Stop strings over streamed text: what may be shown, and when to stop. Plain text, no regexes.

use std::sync::Arc;

/// Watches a stream of text pieces for the first occurrence of any stop string.
///
/// Text that may still turn out to be the start of a stop string is held back, so nothing that was
/// emitted ever has to be taken back. The stop string itself is not emitted.
#[derive(Clone, Debug, Default)]
pub struct StopStrings {
    stops: Arc<[String]>,
    held: String,
    stopped: bool,
}

/// What a piece of text led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StopOutcome {
    /// Text that may be shown now.
    pub emit: String,
    /// Whether a stop string is complete: nothing after it will be emitted.
    pub stopped: bool,
}

impl StopStrings {
    /// Watches for `stops`; empty strings are ignored.
    pub fn new(mut stops: Vec<String>) -> Self {
        stops.retain(|stop| !stop.is_empty());
        Self { stops: stops.into(), held: String::new(), stopped: false }
    }

    /// Takes the next piece. Of several stop strings the one that is complete first wins (of those
    /// the longest), so the result does not depend on how the text is cut into pieces. After a
    /// stop, pieces are swallowed.
    pub fn push(&mut self, piece: &str) -> StopOutcome {
        if self.stopped {
            return StopOutcome { emit: String::new(), stopped: true };
        }
        self.held.push_str(piece);
        let found = |stop: &String| self.held.find(stop).map(|at| (at + stop.len(), at));
        if let Some((_, start)) = self.stops.iter().filter_map(found).min() {
            self.stopped = true;
            let mut emit = std::mem::take(&mut self.held);
            emit.truncate(start);
            return StopOutcome { emit, stopped: true };
        }
        let rest = self.held.split_off(self.open_start());
        StopOutcome { emit: std::mem::replace(&mut self.held, rest), stopped: false }
    }

    /// Returns what is held back, at the end of the stream.
    pub fn flush(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Says whether a stop string was seen.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Returns where the longest suffix of the held text that begins a stop string starts.
    fn open_start(&self) -> usize {
        let longest = self.stops.iter().map(String::len).max().unwrap_or(0);
        let earliest = self.held.len().saturating_sub(longest.saturating_sub(1));
        (earliest..self.held.len())
            .filter(|&at| self.held.is_char_boundary(at))
            .find(|&at| self.stops.iter().any(|stop| stop.starts_with(&self.held[at..])))
            .unwrap_or(self.held.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `want` is what each piece emits; a trailing `!` marks the piece that stops.
    #[track_caller]
    fn check(stops: &[&str], pieces: &[&str], want: &[&str], flushed: &str) {
        let mut watch = StopStrings::new(stops.iter().map(ToString::to_string).collect());
        let shown: Vec<String> = pieces
            .iter()
            .map(|piece| {
                let StopOutcome { emit, stopped } = watch.push(piece);
                emit + if stopped { "!" } else { "" }
            })
            .collect();
        assert_eq!(shown, want);
        assert_eq!(watch.flush(), flushed);
    }

    #[test]
    fn stop_strings_table() {
        check(&[], &["a", "b"], &["a", "b"], "");
        check(&[""], &["a"], &["a"], "");
        check(&["END"], &["xENDy"], &["x!"], "");
        check(&["END"], &["xE", "N", "D", "z"], &["x", "", "!", "!"], "");
        check(&["END"], &["xE", "x"], &["x", "Ex"], "");
        check(&["END"], &["xEN"], &["x"], "EN");
        // The earliest match wins, whatever the order of the stop strings.
        check(&["b", "a"], &["xab"], &["x!"], "");
        check(&["b", "ab"], &["xab"], &["x!"], "");
        check(&["cd", "abcde"], &["abc", "d"], &["", "ab!"], "");
        // A suffix of the held text may begin a stop string again.
        check(&["aab"], &["aa", "ab"], &["", "a!"], "");
        check(&["\n\n"], &["a\n", "\nb"], &["a", "!"], "");
        // Not a regex.
        check(&["."], &["ab", "c."], &["ab", "c!"], "");
        check(&["(a|b)"], &["a(a", "|b)c"], &["a", "!"], "");
        // Multi-byte text is held and cut at characters.
        check(&["é!"], &["caf\u{e9}", "s é", "!"], &["caf", "és ", "!"], "");
        check(&["終"], &["最終"], &["最!"], "");
        check(&["終わり"], &["最", "終", "わ", "る"], &["最", "", "", "終わる"], "");
    }

    /// What the whole text at once must give: the text before the match that is complete first.
    fn expected(stops: &[String], text: &str) -> (String, bool) {
        let ends = (0..=text.len()).filter(|&end| text.is_char_boundary(end));
        for end in ends {
            let done = stops.iter().filter(|stop| text[..end].ends_with(stop.as_str()));
            if let Some(longest) = done.map(String::len).max() {
                return (text[..end - longest].to_string(), true);
            }
        }
        (text.to_string(), false)
    }

    proptest::proptest! {
        #[test]
        fn cutting_the_text_into_pieces_changes_nothing(
            stops in proptest::collection::vec("[abé]{1,4}", 0..4),
            pieces in proptest::collection::vec("[abcé]{0,5}", 0..8),
        ) {
            let mut watch = StopStrings::new(stops.clone());
            let mut shown: String = pieces.iter().map(|piece| watch.push(piece).emit).collect();
            shown.push_str(&watch.flush());
            let found = (shown, watch.is_stopped());
            proptest::prop_assert_eq!(found, expected(&stops, &pieces.concat()));
        }
    }
}
