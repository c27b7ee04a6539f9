//! Where whitespace may stand in JSON: behind commas and colons, and inside brackets.
//!
//! The engine knows whitespace between any two lexemes, or none. A writer of JSON puts none before a
//! comma or a colon, so the lexemes themselves carry theirs here: separators and opening brackets
//! what follows them, closing brackets what precedes them. Grammars of ours have them from the start;
//! in those that the engine makes of schemas inside other text they are put in afterwards.

use llguidance::derivre::RegexAst;
use llguidance::earley::lexerspec::{LexemeClass, LexemeIdx, LexerSpec};

use crate::spec::Whitespace;

/// A comma between values: with nothing behind it, one space, or a line break with up to 16 spaces.
///
/// Small models have seen compact, spaced and indented JSON and do badly when held to another style
/// than the one they began; unbounded whitespace on the other hand is where they get stuck. This
/// allows the three styles (indents to 8 levels of 2, 4 of 4) and bounds what a gap can cost.
pub(crate) const ITEM_SEPARATOR: &str = r",([ ]|\n[ ]{0,16})?";
/// A colon between name and value, with the same behind it.
pub(crate) const KEY_SEPARATOR: &str = r":([ ]|\n[ ]{0,16})?";

/// Brackets, and what stands for them.
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
    /// A comma and a colon, as regexes.
    pub(crate) fn separators(self) -> [&'static str; 2] {
        match self.0 {
            Whitespace::Bounded => [ITEM_SEPARATOR, KEY_SEPARATOR],
            Whitespace::Compact | Whitespace::Flexible => [",", ":"],
        }
    }

    /// Opening and then closing brackets, curly ones first, as regexes.
    pub(crate) fn brackets(self) -> [&'static str; 4] {
        match self.0 {
            Whitespace::Bounded => BRACKETS.map(|(_, spaced)| spaced),
            Whitespace::Compact | Whitespace::Flexible => [r"\{", r"\[", r"\}", r"\]"],
        }
    }

    /// What may stand between any two lexemes.
    pub(crate) fn skipped(self) -> RegexAst {
        match self.0 {
            Whitespace::Bounded | Whitespace::Compact => RegexAst::NoMatch,
            Whitespace::Flexible => RegexAst::Regex(r"[\x20\x0A\x0D\x09]+".to_owned()),
        }
    }
}

/// Lets whitespace stand inside the brackets of every JSON grammar of the engine's own with such
/// separators.
pub(crate) fn place(lexer: &mut LexerSpec) {
    let last_class = lexer.current_class;
    for class in 0..lexer.skip_by_class.len() {
        lexer.current_class = LexemeClass::new(class);
        // An object is made with a colon, whether it has properties or not, and an array with a
        // comma. No other grammar has these lexemes, and classes are not shared with others, except
        // by a caller's grammar that ignores nothing, once: there too they do no harm.
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

/// The lexeme of the current class that is written so.
fn find(lexer: &mut LexerSpec, text: RegexAst) -> Option<LexemeIdx> {
    let num_lexemes = lexer.lexemes.len();
    let index = add(lexer, text);
    // It is added where there was none.
    lexer.lexemes.truncate(num_lexemes);
    (index.as_usize() < num_lexemes).then_some(index)
}

/// Puts another text in a lexeme's place, under its index.
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
