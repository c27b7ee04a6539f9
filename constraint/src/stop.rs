//! Stop strings over streamed text: what may be shown, and when to stop. Plain text, no regexes.

/// Watches a stream of text pieces for the first occurrence of any stop string.
///
/// Text that may still turn out to be the start of a stop string is held back, so nothing that was
/// emitted ever has to be taken back. The stop string itself is not emitted.
#[derive(Clone, Debug)]
pub struct StopStrings {
    stops: Vec<String>,
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
        Self { stops, held: String::new(), stopped: false }
    }

    /// Takes the next piece. Of several stop strings the one that is complete first wins (of those
    /// the longest), so the result does not depend on how the text is cut into pieces. After a stop,
    /// pieces are swallowed.
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

    #[test]
    fn any_split_emits_what_the_whole_text_emits() {
        let stops = ["</s>", "\n\nQ:", "ß§", "cd", "abcde"];
        for text in ["xabcde", "xabc", "ab</s>c", "a\n\nQ: b", "a\n\nR: <</s>", "xß§ß", "no stop <", "ß\n\n"] {
            let run = |pieces: &mut dyn Iterator<Item = &str>| {
                let mut watch = StopStrings::new(stops.iter().map(ToString::to_string).collect());
                let mut out: String = pieces.map(|piece| watch.push(piece).emit).collect();
                out.push_str(&watch.flush());
                (out, watch.is_stopped())
            };
            let whole = run(&mut std::iter::once(text));
            for cut in (0..=text.len()).filter(|&at| text.is_char_boundary(at)) {
                let (head, tail) = text.split_at(cut);
                assert_eq!(run(&mut [head, tail].into_iter()), whole, "{text:?} cut at {cut}");
            }
            let chars: Vec<String> = text.chars().map(String::from).collect();
            assert_eq!(run(&mut chars.iter().map(String::as_str)), whole, "{text:?} by character");
        }
    }
}
