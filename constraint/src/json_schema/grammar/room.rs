//! How wide a grammar may be.

/// From where on what is wide is restated: each symbol costs the engine, and each that may come next
/// costs the more the more there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Properties that may all come next. Of more, those with one value are one kind, in any order.
    pub(super) row: usize,
    /// Properties that come in order.
    pub(super) listed: usize,
    /// Options of one choice that may hold arrays or objects: each takes symbols of its own.
    pub(super) options: usize,
    /// Schemas for the first items of an array, each with a part of its own.
    pub(super) first: usize,
    /// Parts of a grammar, beyond which arrays and objects may hold anything.
    pub(super) parts: usize,
}

impl Room {
    /// For a grammar that the engine builds.
    pub(crate) const BUILT: Self =
        Self { row: 2_000, listed: 10_000, options: 1_000, first: 5_000, parts: 30_000 };
    /// For one that only shows what it leaves out: the engine reads the schema itself, and has its
    /// own bounds.
    pub(crate) const CHECKED: Self = Self {
        row: usize::MAX,
        listed: usize::MAX,
        options: usize::MAX,
        first: 10_000,
        parts: 100_000,
    };
}
