//! Size limits of a grammar.

/// The sizes beyond which a schema is restated more coarsely: every symbol has a cost for the
/// engine, and the more may come next, the higher it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Properties that may all come next. Beyond it, properties are grouped by value and come in
    /// any order.
    pub(super) row: usize,
    /// Properties that come in order.
    pub(super) listed: usize,
    /// Options of one choice that may be arrays or objects; each takes symbols of its own.
    pub(super) options: usize,
    /// Schemas for the first items of an array; each takes a part of its own.
    pub(super) first: usize,
    /// Parts of a grammar, beyond which arrays and objects may hold anything.
    pub(super) parts: usize,
}

impl Room {
    /// For a grammar that the engine builds.
    pub(crate) const BUILT: Self =
        Self { row: 2_000, listed: 10_000, options: 1_000, first: 5_000, parts: 30_000 };
    /// For a grammar that only shows what it leaves out: the engine reads the schema itself, with
    /// bounds of its own.
    pub(crate) const CHECKED: Self = Self {
        row: usize::MAX,
        listed: usize::MAX,
        options: usize::MAX,
        first: 10_000,
        parts: 100_000,
    };
}
