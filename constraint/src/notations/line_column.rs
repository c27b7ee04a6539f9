//! Positions in the text of a grammar.

use std::fmt;

use crate::error::SpecError;

/// A line, and a column in characters, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LineColumn {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl LineColumn {
    pub(crate) const START: Self = Self { line: 1, column: 1 };

    /// Advances past a character.
    pub(crate) fn pass(&mut self, c: char) {
        if c == '\n' {
            *self = Self { line: self.line + 1, column: 1 };
        } else {
            self.column += 1;
        }
    }

    pub(crate) fn error(self, message: &str) -> SpecError {
        SpecError::Syntax { line: self.line, column: self.column, message: message.to_string() }
    }
}

impl fmt::Display for LineColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}
