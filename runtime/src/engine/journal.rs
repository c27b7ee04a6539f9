//! The serving loop's journal, written as lines of JSON while the engine works.

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use sluicegate_core::serve::{Action, Input, Journal, Line, ServeConfig};

/// What of a journal is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordOptions {
    /// Whether prompts are written down. Without this others stand in for them, which are as long
    /// and begin alike where they did, and tell nothing else. Outputs are there in any case.
    pub prompts: bool,
    /// Where the journal would be longer, it ends with a line that says so.
    pub max_bytes: u64,
}

impl Default for RecordOptions {
    /// With prompts, and at most 256 MiB.
    fn default() -> Self {
        Self { prompts: true, max_bytes: 256 << 20 }
    }
}

/// Where an engine's journal goes.
pub(super) struct JournalWriter {
    journal: Journal,
    out: Box<dyn Write + Send>,
    bytes_left: u64,
    is_full: bool,
    /// When nothing was left in a buffer.
    flushed: Instant,
}

/// No more than this is lost where the process ends without a word.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

impl JournalWriter {
    /// Begins the journal of a loop.
    ///
    /// # Errors
    /// That of `out`.
    pub(super) fn begin(
        config: &ServeConfig,
        out: Box<dyn Write + Send>,
        options: RecordOptions,
    ) -> io::Result<Self> {
        let (journal, line) = Journal::begin(config, options.prompts);
        let (bytes_left, flushed) = (options.max_bytes, Instant::now());
        let mut writer = Self { journal, out, bytes_left, is_full: false, flushed };
        writer.write(&line)?;
        Ok(writer)
    }

    /// Writes an input down, and what was wanted by it. True once the journal is full.
    ///
    /// # Errors
    /// That of where it goes.
    pub(super) fn told(
        &mut self,
        at: Duration,
        input: &Input,
        actions: &[Action],
    ) -> io::Result<bool> {
        self.journal.told(at, input, actions).iter().try_for_each(|line| self.write(line))?;
        if self.is_full || self.flushed.elapsed() > FLUSH_EVERY {
            self.flush()?;
        }
        Ok(self.is_full)
    }

    /// Leaves nothing in a buffer.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.flushed = Instant::now();
        self.out.flush()
    }

    fn write(&mut self, line: &Line) -> io::Result<()> {
        if self.is_full {
            return Ok(());
        }
        let mut json = serde_json::to_vec(line)?;
        json.push(b'\n');
        let left = self.bytes_left.checked_sub(json.len() as u64);
        // Without its beginning it would be none at all.
        let must = matches!(line, Line::Begin(_));
        self.is_full = left.is_none() && !must;
        self.bytes_left = left.unwrap_or_default();
        if self.is_full {
            json = serde_json::to_vec(&Line::Full)?;
            json.push(b'\n');
        }
        self.out.write_all(&json)
    }
}
