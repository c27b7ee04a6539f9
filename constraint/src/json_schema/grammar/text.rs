//! The grammar of strings: their characters, and how JSON spells them.

use llguidance::derivre::{JsonQuoteOptions, Regex, RegexAst, RegexBuilder};

use super::super::document::{NodeId, StringRules, Types};
use super::super::regexes;
use super::Maker;
use super::conjunct::Conjunct;

/// The most patterns and formats per string. Their intersection takes engine time that the fuel
/// does not cover.
const MAX_JOINED: usize = 6;
/// Fuel for finding out whether an expression matches anything.
const FUEL: u64 = 10_000;

/// A character of an unrestricted string: plain, or in any of JSON's escapes. A surrogate pair is
/// one character; a lone surrogate is not allowed.
const CHARACTER: &str = concat!(
    r#"[^"\\\x00-\x1F]|\\["\\/bfnrt]"#,
    r"|\\u(?:[0-9a-ce-fA-CE-F][0-9a-fA-F]{3}",
    r"|[dD][0-7][0-9a-fA-F]{2}",
    r"|[dD][89aAbB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
);
/// A property name in its unique spelling, so that no name can be respelled to pass as another.
/// Without NUL, which patterns for names never match.
const NAME: &str = r#""(?:[^"\\\x00-\x1F\x7F]|\\["\\bfnrt]|\\u00(?:0[1-7bef]|1[0-9a-f]|7f))*""#;
/// Expressions that occur in many grammars.
pub(super) const COMMON: [&str; 2] = [CHARACTER, NAME];
/// The escapes in strings with a pattern. Control characters may be written as `\u` escapes.
const ESCAPES: &str = "nrbtf\\\"u";

/// A set of decoded texts.
enum Texts {
    None,
    Any,
    /// The texts that match all of these.
    Of(Vec<RegexAst>),
}

impl<'a> Maker<'a> {
    /// Returns the strings that a way allows, quoted; none if there are none. `literals`, if given,
    /// are the only candidates.
    pub(super) fn strings(
        &mut self,
        way: &Conjunct<'a>,
        literals: Option<Vec<String>>,
    ) -> Option<RegexAst> {
        let (least, most) = self.lengths(way);
        let mut all = match self.texts(way, literals) {
            Texts::None => return None,
            Texts::Of(all) => all,
            // The characters are free, and so is their spelling.
            Texts::Any => {
                let most = most.map_or(u32::MAX, |most| u32::try_from(most).unwrap_or(u32::MAX));
                let least = u32::try_from(least).unwrap_or(u32::MAX);
                let character = Box::new(RegexAst::Regex(CHARACTER.to_owned()));
                let quote = || RegexAst::Literal("\"".to_owned());
                let inside = RegexAst::Repeat(character, least, most);
                return Some(RegexAst::Concat(vec![quote(), inside, quote()]));
            }
        };
        let length = (least > 0 || most.is_some()).then(|| {
            let most = most.map_or(String::new(), |most| most.to_string());
            RegexAst::Regex(format!("(?s:.{{{least},{most}}})"))
        });
        let joined = |all: &[RegexAst]| RegexAst::And(all.iter().chain(&length).cloned().collect());
        match is_empty(&joined(&all)) {
            Some(false) => {}
            Some(true) => {
                self.fail("no string has the length, pattern and format that are wanted");
                return None;
            }
            // Only a guard can then tell whether a string can be finished.
            None => {
                for (id, keywords) in &way.all {
                    let has_format = keywords.string.format.is_some();
                    self.leave(*id, if has_format { "format" } else { "pattern" });
                }
                // Masks could not follow the intersection either.
                all.truncate(1);
            }
        }
        Some(quoted(joined(&all)))
    }

    /// Returns the decoded texts that a way allows, ignoring lengths.
    fn texts(&mut self, way: &Conjunct<'a>, literals: Option<Vec<String>>) -> Texts {
        let mut all = Vec::new();
        if let Some(literals) = literals {
            let literals = literals.into_iter().map(RegexAst::Literal).collect();
            all.push(RegexAst::Or(literals));
        }
        let (least, most) = self.lengths(way);
        if most.is_some_and(|most| least > most) {
            let most = most.unwrap_or(0);
            self.fail(&format!("minLength ({least}) is greater than maxLength ({most})"));
            return Texts::None;
        }
        for (id, keywords) in &way.all {
            let StringRules { pattern, format, min_length, max_length } = &keywords.string;
            if self.coarse.strings {
                let has_length = *min_length > 0 || max_length.is_some();
                for (is_said, keyword) in [
                    (has_length, "minLength"),
                    (pattern.is_some(), "pattern"),
                    (format.is_some(), "format"),
                ] {
                    if is_said {
                        self.coarsened.strings = true;
                        self.leave(*id, keyword);
                    }
                }
                continue;
            }
            if let Some(pattern) = pattern {
                let parts = regexes::parts(pattern).and_then(regexes::Parts::for_grammar);
                match parts.filter(|_| all.len() < MAX_JOINED) {
                    Some(parts) => {
                        all.push(parts.ast());
                        if parts.is_relaxed {
                            self.leave(*id, "pattern");
                        }
                    }
                    None => self.leave(*id, "pattern"),
                }
            }
            if let Some(format) = format {
                match regexes::format(format) {
                    regexes::Format::Regex(regex) if all.len() < MAX_JOINED => {
                        all.push(RegexAst::Regex(format!("(?:{regex})")));
                    }
                    regexes::Format::Regex(_) | regexes::Format::Validated => {
                        self.leave(*id, "format");
                    }
                    regexes::Format::Unknown => self.warn_of_format(*id, format),
                }
            }
        }
        if all.is_empty() { Texts::Any } else { Texts::Of(all) }
    }

    fn lengths(&self, way: &Conjunct<'_>) -> (usize, Option<usize>) {
        if self.coarse.strings {
            return (0, None);
        }
        let rules = way.all.iter().map(|(_, keywords)| &keywords.string);
        let least = rules.clone().map(|rules| rules.min_length).max().unwrap_or(0);
        (least, rules.filter_map(|rules| rules.max_length).min())
    }

    /// Warns of an unknown format, which the specification treats as an annotation.
    fn warn_of_format(&mut self, id: NodeId, format: &str) {
        let at = &self.document.node(id).at;
        let location = if at.is_empty() { "the schema's root" } else { at };
        let warning = format!("format {format:?} is not enforced at {location}");
        if !self.warnings.contains(&warning) && self.warnings.len() < 50 {
            self.warnings.push(warning);
        }
    }

    /// Returns the texts that a schema for names allows; none if it allows any.
    pub(super) fn names(&mut self, id: NodeId) -> Option<RegexAst> {
        let mut options = Vec::new();
        for way in self.ways(&[id]) {
            if !self.types(&way).has(Types::STRING) {
                continue;
            }
            let literals = self.literals_of(&way).map(|literals| {
                literals.iter().filter_map(|it| it.as_str().map(str::to_owned)).collect()
            });
            let (least, most) = self.lengths(&way);
            let mut all = match self.texts(&way, literals) {
                Texts::None => continue,
                Texts::Any => Vec::new(),
                Texts::Of(all) => all,
            };
            if least > 0 || most.is_some() {
                let most = most.map_or(String::new(), |most| most.to_string());
                all.push(RegexAst::Regex(format!("(?s:.{{{least},{most}}})")));
            }
            if all.is_empty() {
                return None;
            }
            options.push(RegexAst::And(all));
        }
        Some(RegexAst::Or(options))
    }
}

/// Compiles an expression for matching decoded texts; none if it is too large.
pub(super) fn matcher(text: &RegexAst) -> Option<Regex> {
    let mut builder = RegexBuilder::new();
    let expression = builder.mk(text).ok()?;
    builder.into_regex_limited(expression, FUEL).ok()
}

/// Returns whether an expression matches nothing; none if that would take too long to find out.
pub(super) fn is_empty(text: &RegexAst) -> Option<bool> {
    is_empty_within(FUEL, text)
}

/// As [`is_empty`], with the given fuel.
pub(super) fn is_empty_within(fuel: u64, text: &RegexAst) -> Option<bool> {
    let mut builder = RegexBuilder::new();
    let expression = builder.mk(text).ok()?;
    if builder.exprset().is_positive(expression) {
        return Some(false);
    }
    let regex = builder.into_regex_limited(expression, fuel).ok();
    regex.map(|mut regex| regex.always_empty())
}

pub(super) fn quoted(text: RegexAst) -> RegexAst {
    let options = JsonQuoteOptions { allowed_escapes: ESCAPES.to_owned(), raw_mode: false };
    RegexAst::JsonQuote(Box::new(text), options)
}

/// Returns the names that match a decoded expression, or any name without one, in their unique
/// spelling and without those in `taken`.
pub(super) fn other_names(text: Option<RegexAst>, taken: &[String]) -> RegexAst {
    let mut all = vec![RegexAst::Regex(NAME.to_owned())];
    all.extend(text.map(quoted));
    if !taken.is_empty() {
        let taken = taken.iter().cloned().map(RegexAst::Literal).collect();
        all.push(RegexAst::Not(Box::new(RegexAst::Or(taken))));
    }
    if all.len() == 1 { all.remove(0) } else { RegexAst::And(all) }
}
