//! What a specification may cost.

use crate::error::SpecError;

/// Bounds what a specification may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Names, strings and structure of a schema together, in bytes.
    pub max_schema_bytes: usize,
    /// JSON nesting of a schema.
    pub max_schema_depth: usize,
    /// Schemas on the longest way down a schema, references followed. The validator recurses over
    /// them: with dependencies optimised, 2 MiB of stack hold more than twice the default.
    pub max_schema_levels: usize,
    /// One regular expression, in bytes.
    pub max_regex_bytes: usize,
    /// Options of a choice, and values of an `enum`.
    pub max_choices: usize,
    /// Options of a choice together, in bytes.
    pub max_choice_bytes: usize,
    /// The text of a grammar, in bytes.
    pub max_grammar_bytes: usize,
    /// Lexer states of one matcher, at 1 to 2 kB each.
    pub max_lexer_states: usize,
    /// Symbols of one grammar; the engine numbers them in 16 bits. A JSON Schema's has at most
    /// 25,000, if this is more: what needs more is said more coarsely, and the rest is guarded.
    pub max_grammar_symbols: usize,
    /// Work to build the lexer; about 50,000 a millisecond.
    pub lexer_fuel: u64,
    /// Lexer work for one mask; about 14,000 a millisecond.
    pub step_lexer_fuel: u64,
    /// Parser items in one place of a text, as where one of so many rules may begin.
    pub max_row_items: usize,
    /// Parser items for one mask; about 20,000 a millisecond.
    pub step_max_items: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_schema_bytes: 1 << 20,
            max_schema_depth: 128,
            max_schema_levels: 400,
            max_regex_bytes: 64 << 10,
            max_choices: 20_000,
            max_choice_bytes: 512 << 10,
            max_grammar_bytes: 128 << 10,
            max_lexer_states: 50_000,
            max_grammar_symbols: 60_000,
            lexer_fuel: 1_000_000,
            step_lexer_fuel: 200_000,
            max_row_items: 20_000,
            step_max_items: 50_000,
        }
    }
}

/// Refuses a count beyond its limit.
pub(crate) fn check_limit(limit: &'static str, found: usize, max: usize) -> Result<(), SpecError> {
    if found <= max {
        return Ok(());
    }
    Err(SpecError::TooLarge { limit, found: found as u64, max: max as u64 })
}
