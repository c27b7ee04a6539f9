//! One error enum per kind of operation: building a vocabulary, compiling a specification,
//! matching, decoding a mask.

use crate::TokenId;

/// Why a vocabulary cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VocabError {
    /// There are more tokens or logits than masks can hold, or none.
    #[error("vocabulary has {found} {what}, wanted 1 to {max}")]
    Size {
        /// `tokens` or `logits`.
        what: &'static str,
        /// The count given.
        found: usize,
        /// The largest count supported.
        max: usize,
    },
    /// An end token lies outside the vocabulary.
    #[error("end token {token} is outside the vocabulary of {num_tokens} tokens")]
    EosOutOfRange {
        /// The end token given.
        token: TokenId,
        /// Tokens in the vocabulary.
        num_tokens: usize,
    },
    /// The token trie could not be built.
    #[error("token trie: {message}")]
    Trie {
        /// The engine's message.
        message: String,
    },
}

/// Why a specification cannot be compiled. The caller can fix every one of these.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// The text is not a valid regular expression.
    #[error("regex is not valid: {message}")]
    Regex {
        /// What is wrong, and where in the regex.
        message: String,
    },
    /// The document is not a valid JSON Schema.
    #[error("schema is not valid{}: {message}", AtSchema(.at))]
    Schema {
        /// JSON pointer into the schema, where known.
        at: Option<String>,
        /// What is wrong.
        message: String,
    },
    /// The specification has a meaning that the grammar cannot express.
    #[error("`{keyword}` is not supported{}: {message}", AtSchema(.at))]
    Unsupported {
        /// The schema keyword or regex feature.
        keyword: String,
        /// JSON pointer to the schema that holds the keyword, where known.
        at: Option<String>,
        /// Why it cannot be expressed.
        message: String,
    },
    /// No output satisfies the specification.
    #[error("nothing satisfies the specification: {message}{}", Core(.core))]
    Unsatisfiable {
        /// Why every output is excluded.
        message: String,
        /// JSON pointers to the keywords that conflict; empty if unknown.
        core: Vec<String>,
    },
    /// A schema violates the rules for strict schemas. Worded as by `OpenAI`'s API.
    #[error("In context={context}, {message}")]
    NotStrict {
        /// Where in the schema, as a tuple of path segments.
        context: String,
        /// The rule that is violated.
        message: String,
    },
    /// Within the limits, the search found neither a valid output nor a proof that there is none.
    #[error(
        "no valid output was found in {attempts} attempts, so none can be guaranteed{}",
        Core(.core)
    )]
    NoWitness {
        /// How many attempts were made.
        attempts: usize,
        /// JSON pointers to the keywords that conflict; empty if unknown.
        core: Vec<String>,
    },
    /// The shortest output that was found exceeds the token budget.
    #[error(
        "at most {max_tokens} tokens are allowed, but the shortest output found takes {needed}"
    )]
    Budget {
        /// Tokens of the shortest output that was found.
        needed: usize,
        /// Tokens allowed.
        max_tokens: usize,
    },
    /// The text is not a valid grammar.
    #[error("grammar is not valid at line {line}, column {column}: {message}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// The specification names a special token that the vocabulary lacks.
    #[error("the vocabulary has no special token {name:?}, named at {at}")]
    UnknownToken {
        /// The token's name as written.
        name: String,
        /// A line and column, or a JSON pointer.
        at: String,
    },
    /// The specification exceeds a size limit.
    #[error("{limit}: found {found}, at most {max} allowed")]
    TooLarge {
        /// What was counted, with its unit.
        limit: &'static str,
        /// The count found.
        found: u64,
        /// The count allowed.
        max: u64,
    },
    /// The compiled form would exceed the engine's limits, or the engine failed.
    #[error("specification is too complex: {message}")]
    TooComplex {
        /// The engine's message.
        message: String,
    },
    /// A choice has no options.
    #[error("choice has no options, wanted at least one")]
    NoChoices,
    /// A choice lists the same option twice.
    #[error("choice options {first} and {second} are both {text:?}")]
    DuplicateChoice {
        /// The option's text.
        text: String,
        /// Index of its first occurrence.
        first: usize,
        /// Index of its second occurrence.
        second: usize,
    },
}

/// A name that is not the name of any [`crate::Format`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "format {name:?} is unknown, wanted int, float, bool, date, time, datetime, uuid, email, ipv4, \
     ipv6 or uri"
)]
pub struct UnknownFormat {
    /// The name given.
    pub name: String,
}

impl SpecError {
    pub(crate) fn unsatisfiable(message: String) -> Self {
        Self::Unsatisfiable { message, core: Vec::new() }
    }

    /// Makes the error for a `keyword` that cannot be expressed. `at` is a JSON pointer, where
    /// known.
    pub(crate) fn unsupported(keyword: &str, at: Option<&str>, message: &str) -> Self {
        let (keyword, message) = (keyword.to_string(), message.to_string());
        Self::Unsupported { keyword, at: at.map(str::to_string), message }
    }
}

/// Displays the conflicting keywords, where known.
struct Core<'a>(&'a [String]);

impl std::fmt::Display for Core<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            [] => Ok(()),
            [one] => write!(f, "; see {one}"),
            all => write!(f, "; in conflict: {}", all.join(", ")),
        }
    }
}

/// Why a matcher cannot go on. All errors but [`MatchError::Ended`] and [`MatchError::Rollback`]
/// are permanent: the matcher returns the same error from then on. Its forks are unaffected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MatchError {
    /// The token is not allowed at this point.
    #[error("token {token} is not allowed after {num_tokens} tokens")]
    NotAllowed {
        /// The token given.
        token: TokenId,
        /// Tokens accepted before it.
        num_tokens: usize,
    },
    /// An end token was accepted, so nothing can follow.
    #[error("the output ended after {num_tokens} tokens")]
    Ended {
        /// Tokens accepted, the end token included.
        num_tokens: usize,
    },
    /// No token is allowed and the value may not end, so the mask would be empty.
    #[error("no token is allowed after {num_tokens} tokens and the value may not end")]
    DeadEnd {
        /// Tokens accepted so far.
        num_tokens: usize,
    },
    /// A rollback of more tokens than were accepted.
    #[error("cannot roll back {wanted} tokens; {found} were accepted")]
    Rollback {
        /// Tokens to roll back.
        wanted: usize,
        /// Tokens accepted.
        found: usize,
    },
    /// The matcher was cancelled.
    #[error("the constraint's work was cancelled after {num_tokens} tokens")]
    Cancelled {
        /// Tokens accepted so far.
        num_tokens: usize,
    },
    /// The engine reached a limit or failed.
    #[error("constraint engine failed after {num_tokens} tokens: {message}")]
    Engine {
        /// Tokens accepted so far.
        num_tokens: usize,
        /// The engine's message.
        message: String,
    },
}

/// Why an encoded mask is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MaskDecodeError {
    /// The first byte names no form.
    #[error("the mask is of form {found}, wanted one below {bound}")]
    Form {
        /// The first byte.
        found: u8,
        /// The number of forms.
        bound: usize,
    },
    /// There are no bytes.
    #[error("the mask has no bytes, wanted a form at least")]
    NoForm,
    /// A token is beyond the logits.
    #[error("the mask names token {token}, wanted one below {bound}")]
    OutOfRange {
        /// The token named, which may be more than a [`TokenId`] holds.
        token: u64,
        /// The first token that the words have no bit for, or that no [`TokenId`] holds.
        bound: u64,
    },
    /// A number in a list of tokens takes more bytes than a token may.
    #[error("the mask's list has a number of more than five bytes after {found} tokens")]
    NumberTooLong {
        /// Tokens listed before it.
        found: usize,
    },
    /// A list of tokens ends within a number.
    #[error("the mask's list of tokens breaks off after {found} tokens")]
    Truncated {
        /// Tokens listed before that number.
        found: usize,
    },
    /// A form of a fixed size has more bytes, or fewer.
    #[error("the mask's form takes {wanted} bytes, found {found}")]
    Length {
        /// Bytes of the form, its first byte left out.
        wanted: usize,
        /// Bytes after the first.
        found: usize,
    },
    /// No token that exists is allowed.
    #[error("the mask allows no token")]
    Empty,
}

/// Displays an optional JSON pointer as ` at <pointer>`. The root is spelled out, since its pointer
/// is empty.
struct AtSchema<'a>(&'a Option<String>);

impl std::fmt::Display for AtSchema<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_deref() {
            None => Ok(()),
            Some("") => f.write_str(" at the schema's root"),
            Some(pointer) => write!(f, " at {pointer}"),
        }
    }
}

/// Reduces the engine's message to what a caller may read: no state dump, no backtrace with machine
/// paths, no huge quotes of the grammar.
pub(crate) fn engine_message(raw: &str) -> String {
    const MAX_CHARS: usize = 400;
    let end = ["\n<non-verbose/>", "\n<state>", "\n<backtrace>"]
        .iter()
        .filter_map(|tail| raw.find(tail))
        .min()
        .unwrap_or(raw.len());
    let text = raw[..end].trim();
    match text.char_indices().nth(MAX_CHARS) {
        None => text.to_string(),
        Some((cut, _)) => format!("{}…", &text[..cut]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engine_messages_lose_dumps_and_keep_characters_whole() {
        assert_eq!(engine_message("bad token\n<non-verbose/>"), "bad token");
        assert_eq!(engine_message("panic: x\n<backtrace>\n 0: f\n</backtrace>"), "panic: x");
        assert_eq!(engine_message(&"é".repeat(500)), format!("{}…", "é".repeat(400)));
    }

    #[test]
    fn unsupported_keyword_names_its_place() {
        let error = |at: Option<&str>| {
            SpecError::unsupported("not", at, "no complement of a schema").to_string()
        };
        assert_eq!(error(None), "`not` is not supported: no complement of a schema");
        assert!(error(Some("")).contains("at the schema's root"));
        assert!(error(Some("/properties/a")).contains("at /properties/a:"));
    }
}
