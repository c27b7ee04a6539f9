//! Shows the progress of a fetch: a bar on a terminal, else a line for each part.

use std::io::{IsTerminal, Write};

use sluicegate_model::source::{Bar, Progress};
use sluicegate_spec::units::Bytes;

/// Chooses the form for stderr.
pub(crate) fn for_stderr() -> Box<dyn Progress> {
    if std::io::stderr().is_terminal() { Box::new(Bar::default()) } else { Box::new(Lines) }
}

/// Prints one line when a part begins, so that a log shows what takes time.
struct Lines;

impl Progress for Lines {
    fn start(&self, what: &str, total_bytes: u64) {
        let size =
            if total_bytes == 0 { String::new() } else { format!(" ({})", Bytes(total_bytes)) };
        // Progress that cannot be shown is not missed.
        let _ = writeln!(std::io::stderr().lock(), "{what}{size}");
    }

    fn advance(&self, _num_bytes: u64) {}

    fn finish(&self) {}
}
