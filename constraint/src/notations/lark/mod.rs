//! Grammars in the engine's dialect of Lark. Checks what the engine would handle badly or without
//! bounds, and rewrites what this crate must control.
//!
//! The engine's reader decides about syntax. Before it sees the text, this module checks its size,
//! its nesting (over which the engine recurses), its regexes and its names, and reports lines and
//! columns. It rewrites tokens to explicit numbers without end tokens, limits complements to text,
//! and embeds schemas in the engine's form. Features that the engine cannot roll back
//! (`max_tokens`, `stop`, `temperature`) are refused.

mod names;
mod scan;

use std::fmt::Write;

use crate::error::SpecError;
use crate::limits::Limits;
use crate::limits::check_limit;
use crate::notations::embed::embed;
use crate::notations::line_column::LineColumn;
use crate::notations::token_lists::TokenLists;
use crate::regex::{MAX_UNICODE_CLASSES, Use, check_regex};
use crate::vocab::Vocab;
use scan::{Symbol, SymbolKind};

/// The deepest nesting of groups; less than the engine's reader allows.
const MAX_GROUPS: usize = 25;
/// The most bytes of all `%regex` values together, since the engine's automaton grows faster than
/// they do.
const MAX_SUBSTRINGS: usize = 16 << 10;

/// Attributes of rules that do not affect rollback.
const ATTRIBUTES: [&str; 4] = ["capture", "lazy", "suffix", "stop_capture"];
/// Options of `%llguidance` that do not affect rollback.
const OPTIONS: [&str; 2] = ["allow_initial_skip", "ignore_once"];

/// Returns the grammar for the engine, with warnings.
///
/// # Errors
/// The text is too large, nests too deep, uses a refused feature, or is not a grammar as far as
/// this crate checks.
pub(crate) fn check(
    source: &str,
    vocab: &Vocab,
    limits: &Limits,
) -> Result<(String, Vec<String>), SpecError> {
    check_limit("bytes of a grammar", source.len(), limits.max_grammar_bytes)?;
    let symbols = scan::scan(source)?;
    check_nesting(&symbols)?;
    names::check(&symbols)?;
    let mut rewriter = Rewriter {
        tokens: TokenLists::new(vocab),
        limits,
        out: String::with_capacity(source.len()),
        warnings: Vec::new(),
        complements: String::new(),
        complement: unused_name(source),
        num_complements: 0,
        num_classes: 0,
        num_substrings: 0,
    };
    let mut done = 0;
    // Open complements, the innermost last: where their output begins, and the index of their last
    // symbol.
    let mut complements = Vec::new();
    for (idx, symbol) in symbols.iter().enumerate() {
        rewriter.out.push_str(&source[done..symbol.start]);
        if let Some(last) = end_of_complement(&symbols[idx..]) {
            complements.push((rewriter.out.len(), idx + last));
        }
        rewriter.symbol(symbol)?;
        while let Some((start, _)) = complements.pop_if(|(_, last)| *last == idx) {
            rewriter.name_complement(start);
        }
        if symbol.kind == SymbolKind::Open('[') && names::is_head(&symbols[..idx]) {
            check_attributes(&symbols[idx + 1..])?;
        }
        done = symbol.end;
    }
    rewriter.out.push_str(&source[done..]);
    rewriter.out.push_str(&rewriter.complements);
    Ok((rewriter.out, rewriter.warnings))
}

/// Returns a prefix that no name in the source has.
fn unused_name(source: &str) -> String {
    let mut name = "COMPLEMENT_".to_string();
    while source.contains(&name) {
        name.push('_');
    }
    name
}

/// If a complement begins here, returns the offset of its last symbol.
fn end_of_complement(symbols: &[Symbol<'_>]) -> Option<usize> {
    let [first, operand, rest @ ..] = symbols else { return None };
    // Before a number, `~` is a counted repetition.
    if first.kind != SymbolKind::Mark || first.text != "~" || operand.kind == SymbolKind::Number {
        return None;
    }
    let mut depth = 0;
    match operand.kind {
        SymbolKind::Open(_) => symbols.iter().position(|symbol| {
            match symbol.kind {
                SymbolKind::Open(_) => depth += 1,
                SymbolKind::Close(_) => depth -= 1,
                _ => return false,
            }
            depth == 0
        }),
        SymbolKind::String if rest.first().is_some_and(|it| it.text == "..") => Some(3),
        _ => Some(1),
    }
}

fn check_nesting(symbols: &[Symbol<'_>]) -> Result<(), SpecError> {
    let mut depth = 0;
    for symbol in symbols {
        match symbol.kind {
            SymbolKind::Open(_) => {
                depth += 1;
                check_limit("groups inside one another", depth, MAX_GROUPS)?;
            }
            SymbolKind::Close(_) => depth = depth.saturating_sub(1),
            // The engine reports line breaks inside a group as errors.
            SymbolKind::Newline => depth = 0,
            _ => {}
        }
    }
    Ok(())
}

/// Checks a rule's attributes, given the symbols after their opening bracket.
fn check_attributes(symbols: &[Symbol<'_>]) -> Result<(), SpecError> {
    let inside = symbols.iter().take_while(|symbol| symbol.kind != SymbolKind::Close(']'));
    for name in inside.filter(|symbol| symbol.kind == SymbolKind::Name) {
        let known = ATTRIBUTES.contains(&name.text);
        // The value of an attribute may be the name of a terminal, which is in capitals.
        if !known && name.text.starts_with(|c: char| c.is_ascii_lowercase()) {
            return Err(refused(name.text, name.position, "its effect could not be rolled back"));
        }
    }
    Ok(())
}

fn refused(keyword: &str, position: LineColumn, why: &str) -> SpecError {
    SpecError::unsupported(keyword, None, &format!("{why} ({position})"))
}

struct Rewriter<'a> {
    tokens: TokenLists<'a>,
    limits: &'a Limits,
    out: String,
    warnings: Vec<String>,
    /// The terminals that replace complements, and the prefix of their names.
    complements: String,
    complement: String,
    num_complements: usize,
    num_classes: usize,
    num_substrings: usize,
}

impl Rewriter<'_> {
    /// Replaces the complement written from `start` on by a terminal. The engine's complement is
    /// one of bytes: it contains more than text, and even the markers of special tokens. Only a
    /// terminal can be restricted to text.
    fn name_complement(&mut self, start: usize) {
        let complement = self.out.split_off(start);
        let name = format!("{}{}", self.complement, self.num_complements);
        self.num_complements += 1;
        self.out.push_str(&name);
        write!(self.complements, "\n{name}: {complement} & /(?s:.*)/")
            .expect("a string takes all writes");
    }

    /// Checks a symbol and writes it or its replacement.
    fn symbol(&mut self, symbol: &Symbol<'_>) -> Result<(), SpecError> {
        let Symbol { text, position, .. } = *symbol;
        match &symbol.kind {
            SymbolKind::Regex => self.regex(text, position)?,
            SymbolKind::Token => return self.token(text, position),
            SymbolKind::GrammarRef => {
                return Err(refused(text, position, "there are no other grammars to refer to"));
            }
            SymbolKind::Directive(value) => {
                match (text.split_whitespace().next().unwrap_or(text), value) {
                    ("%lark", _) => {
                        return Err(refused("%lark", position, "grammars cannot be nested"));
                    }
                    ("%json", Some(schema)) => {
                        let schema = embed(schema, self.limits, &mut self.warnings)?.to_string();
                        // Keeps the number of lines, so that later errors name the right one.
                        let lines = text.matches('\n').count();
                        let (open, rest) = schema.split_at(1);
                        self.out.push_str("%json ");
                        self.out.push_str(open);
                        self.out.extend(std::iter::repeat_n('\n', lines));
                        self.out.push_str(rest);
                        return Ok(());
                    }
                    ("%regex", _) => {
                        self.num_substrings += text.len();
                        check_limit("bytes of %regex", self.num_substrings, MAX_SUBSTRINGS)?;
                    }
                    ("%llguidance", Some(options)) => {
                        let mut names = options.as_object().into_iter().flat_map(|map| map.keys());
                        if let Some(name) = names.find(|name| !OPTIONS.contains(&name.as_str())) {
                            return Err(refused(name, position, "callers may not set this option"));
                        }
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        self.out.push_str(text);
        Ok(())
    }

    fn regex(&mut self, text: &str, position: LineColumn) -> Result<(), SpecError> {
        let (body, flags) = text[1..].rsplit_once('/').expect("it has two slashes");
        let pattern = if flags.is_empty() { body.to_string() } else { format!("(?{flags}){body}") };
        let found = check_regex(&pattern, self.limits, Use::Whole);
        self.num_classes += found.map_err(|error| match error {
            SpecError::Regex { message } => position.error(&format!("regex: {message}")),
            other => other,
        })?;
        check_limit("Unicode classes of a grammar", self.num_classes, MAX_UNICODE_CLASSES)
    }

    /// Writes a token, given by name or numbers, as numbers.
    fn token(&mut self, text: &str, position: LineColumn) -> Result<(), SpecError> {
        let unknown = |name: &str| SpecError::UnknownToken {
            name: name.to_string(),
            at: position.to_string(),
        };
        let numbers = text.strip_prefix("<[").and_then(|rest| rest.strip_suffix("]>"));
        let ranges = match numbers {
            None => {
                let id = self.tokens.vocab.special(text).ok_or_else(|| unknown(text))?;
                if self.tokens.vocab.is_eos(id) {
                    let message = format!("{text} ends the output, so no rule may use it");
                    return Err(position.error(&message));
                }
                vec![(id, id)]
            }
            Some("*") => self.tokens.get(Vec::new(), false)?,
            Some(list) => {
                let negated = list.starts_with('^');
                let given = ranges(list.trim_start_matches('^'))
                    .ok_or_else(|| position.error(&format!("{text} is not a list of tokens")))?;
                let num_tokens = self.tokens.vocab.num_tokens();
                if let Some((_, last)) = given.iter().find(|(_, last)| *last >= num_tokens) {
                    return Err(unknown(&last.to_string()));
                }
                self.tokens.get(given, !negated)?
            }
        };
        if ranges.is_empty() {
            return Err(position.error(&format!("{text} has only tokens that end the output")));
        }
        let ranges: Vec<String> =
            ranges.iter().map(|(first, last)| format!("{first}-{last}")).collect();
        self.out.push_str("<[");
        self.out.push_str(&ranges.join(","));
        self.out.push_str("]>");
        Ok(())
    }
}

/// Parses a list such as `1,3-5`.
fn ranges(list: &str) -> Option<Vec<(u32, u32)>> {
    let range = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (first <= last).then_some((first, last))
    };
    list.split(',').map(range).collect()
}
