//! The serving loop's journal, written as lines of JSON while the engine works.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    io::{self, Write},
    time::Duration,
};

use sluicegate_core::serve::{Action, Input, Journal, Line, ServeConfig};

/// What of a journal is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordOptions {
    /// Whether prompts are written down; without this others stand in for them that are as long and
    /// begin alike where they did. Outputs are there in any case.
    pub prompts: bool,
    /// The journal ends with so many bytes.
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
}

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
        // Random keys, which nobody gets to know.
        let salt = (!options.prompts).then(|| RandomState::new().build_hasher().finish());
        let (journal, line) = Journal::begin(config, salt);
        let mut writer = Self { journal, out, bytes_left: options.max_bytes, is_full: false };
        writer.write(&line)?;
        Ok(writer)
    }

    /// Writes an input down, and what was wanted by it.
    ///
    /// # Errors
    /// That of where it goes.
    pub(super) fn told(
        &mut self,
        at: Duration,
        input: &Input,
        actions: &[Action],
    ) -> io::Result<()> {
        if self.is_full {
            return Ok(());
        }
        self.journal.told(at, input, actions).iter().try_for_each(|line| self.write(line))
    }

    /// Nothing is left in a buffer.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn write(&mut self, line: &Line) -> io::Result<()> {
        if self.is_full {
            return Ok(());
        }
        let mut json = serde_json::to_vec(line)?;
        json.push(b'\n');
        let left = self.bytes_left.checked_sub(json.len() as u64);
        self.bytes_left = left.unwrap_or_default();
        self.is_full = left.is_none();
        if self.is_full {
            json = serde_json::to_vec(&Line::Full)?;
            json.push(b'\n');
        }
        self.out.write_all(&json)
    }
}
