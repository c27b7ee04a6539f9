//! Limits on the cost of a specification.

use crate::error::SpecError;

/// Limits on the cost of one specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a schema's names, strings and structure together.
    pub max_schema_bytes: usize,
    /// JSON nesting of a schema.
    pub max_schema_depth: usize,
    /// Schemas on the longest path down a schema, references followed. The validator recurses along
    /// it: with optimised dependencies, a stack of 2 MiB holds more than twice the default.
    pub max_schema_levels: usize,
    /// Bytes of one regular expression.
    pub max_regex_bytes: usize,
    /// Options of a choice, or values of an `enum`.
    pub max_choices: usize,
    /// Bytes of a choice's options together.
    pub max_choice_bytes: usize,
    /// Bytes of a grammar's text.
    pub max_grammar_bytes: usize,
    /// Lexer states of one matcher, at 1 to 2 kB each.
    pub max_lexer_states: usize,
    /// Symbols of one grammar; the engine numbers them in 16 bits. The grammar of a JSON Schema has
    /// at most 25,000 even if this is larger: a schema that needs more is stated more coarsely, and
    /// a guard checks the rest.
    pub max_grammar_symbols: usize,
    /// Fuel for building the lexer; about 50,000 units per millisecond.
    pub lexer_fuel: u64,
    /// Lexer fuel for one mask; about 14,000 units per millisecond.
    pub step_lexer_fuel: u64,
    /// Parser items at one position of a text, such as where any of many rules may begin.
    pub max_row_items: usize,
    /// Parser items for one mask; about 20,000 per millisecond.
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

/// Returns an error for a count beyond its limit.
pub(crate) fn check_limit(limit: &'static str, found: usize, max: usize) -> Result<(), SpecError> {
    if found <= max {
        return Ok(());
    }
    Err(SpecError::TooLarge { limit, found: found as u64, max: max as u64 })
}
