//! Whitespace in JSON: after commas and colons, and inside brackets.
//!
//! The engine supports whitespace between any two lexemes or none at all. JSON writers put none
//! before a comma or colon, so here the lexemes carry their own: separators and opening brackets
//! the whitespace after them, closing brackets the whitespace before them. This crate's grammars
//! are built that way. Grammars that the engine makes of schemas embedded in other text are
//! rewritten afterwards.

use llguidance::derivre::RegexAst;
use llguidance::earley::lexerspec::{LexemeClass, LexemeIdx, LexerSpec};

use crate::spec::Whitespace;

/// A comma between values, followed by nothing, one space, or a line break with up to 16 spaces.
///
/// Small models have seen compact, spaced and indented JSON, and do badly if they must leave the
/// style they began; yet they get stuck in unbounded whitespace. This allows all three styles
/// (indents of 8 levels by 2 spaces, or 4 by 4) and bounds each gap.
pub(crate) const ITEM_SEPARATOR: &str = r",([ ]|\n[ ]{0,16})?";
/// A colon between name and value, followed by the same whitespace.
pub(crate) const KEY_SEPARATOR: &str = r":([ ]|\n[ ]{0,16})?";

/// Brackets, and the regexes that replace them.
const BRACKETS: [(&str, &str); 4] = [
    ("{", r"\{([ ]|\n[ ]{0,16})?"),
    ("[", r"\[([ ]|\n[ ]{0,16})?"),
    ("}", r"([ ]|\n[ ]{0,16})?\}"),
    ("]", r"([ ]|\n[ ]{0,16})?\]"),
];

/// How the lexemes between values are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spacing(pub(crate) Whitespace);

impl Spacing {
    /// Returns the regexes of the comma and the colon.
    pub(crate) fn separators(self) -> [&'static str; 2] {
        match self.0 {
            Whitespace::Bounded => [ITEM_SEPARATOR, KEY_SEPARATOR],
            Whitespace::Compact | Whitespace::Flexible => [",", ":"],
        }
    }

    /// Returns the regexes of the opening, then the closing brackets, curly ones first.
    pub(crate) fn brackets(self) -> [&'static str; 4] {
        match self.0 {
            Whitespace::Bounded => BRACKETS.map(|(_, spaced)| spaced),
            Whitespace::Compact | Whitespace::Flexible => [r"\{", r"\[", r"\}", r"\]"],
        }
    }

    /// Returns what may be skipped between any two lexemes.
    pub(crate) fn skipped(self) -> RegexAst {
        match self.0 {
            Whitespace::Bounded | Whitespace::Compact => RegexAst::NoMatch,
            Whitespace::Flexible => RegexAst::Regex(r"[\x20\x0A\x0D\x09]+".to_owned()),
        }
    }
}

/// Allows whitespace inside the brackets of each JSON grammar that the engine made with these
/// separators.
pub(crate) fn place(lexer: &mut LexerSpec) {
    let last_class = lexer.current_class;
    for class in 0..lexer.skip_by_class.len() {
        lexer.current_class = LexemeClass::new(class);
        // Every object grammar has a colon lexeme, even without properties, and every array grammar
        // a comma. No other grammar has these lexemes. Classes are not shared between grammars,
        // except with one grammar of a caller that ignores nothing; there the change is harmless.
        if find(lexer, regex(ITEM_SEPARATOR))
            .or_else(|| find(lexer, regex(KEY_SEPARATOR)))
            .is_some()
        {
            for (bracket, spaced) in BRACKETS {
                if let Some(index) = find(lexer, RegexAst::Literal(bracket.to_owned())) {
                    replace(lexer, index, regex(spaced));
                }
            }
        }
    }
    lexer.current_class = last_class;
}

fn regex(pattern: &str) -> RegexAst {
    RegexAst::Regex(pattern.to_owned())
}

/// Finds the lexeme of the current class with this regex.
fn find(lexer: &mut LexerSpec, text: RegexAst) -> Option<LexemeIdx> {
    let num_lexemes = lexer.lexemes.len();
    let index = add(lexer, text);
    // `add` appends a lexeme if there was none.
    lexer.lexemes.truncate(num_lexemes);
    (index.as_usize() < num_lexemes).then_some(index)
}

/// Replaces a lexeme's regex and keeps its index.
fn replace(lexer: &mut LexerSpec, index: LexemeIdx, text: RegexAst) {
    let rest = lexer.lexemes.split_off(index.as_usize());
    let added = add(lexer, text);
    assert_eq!(added, index, "no lexeme before it says the same");
    lexer.lexemes.extend(rest.into_iter().skip(1));
}

fn add(lexer: &mut LexerSpec, text: RegexAst) -> LexemeIdx {
    let added = lexer.add_greedy_lexeme(String::new(), text, false, None, usize::MAX);
    added.expect("our own patterns are valid")
}
