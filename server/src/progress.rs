//! How a fetch is shown: a bar on a terminal, else a line for each part.

use std::io::{IsTerminal, Write};

use sluicegate_model::source::{Bar, Progress};
use sluicegate_spec::units::Bytes;

/// What suits the place that stderr leads to.
pub(crate) fn for_stderr() -> Box<dyn Progress> {
    if std::io::stderr().is_terminal() { Box::new(Bar::default()) } else { Box::new(Lines) }
}

/// One line when a part begins, so that a log says what took its time.
struct Lines;

impl Progress for Lines {
    fn start(&self, what: &str, total_bytes: u64) {
        let size =
            if total_bytes == 0 { String::new() } else { format!(" ({})", Bytes(total_bytes)) };
        // Nobody misses progress that cannot be shown.
        let _ = writeln!(std::io::stderr().lock(), "{what}{size}");
    }

    fn advance(&self, _num_bytes: u64) {}

    fn finish(&self) {}
}
