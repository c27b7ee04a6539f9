//! Builds the engine's grammar and lexer from the parts.

use std::collections::HashMap;
use std::sync::LazyLock;

use llguidance::api::SkipSpec;
use llguidance::derivre::{ExprRef, RegexAst, RegexBuilder};
use llguidance::earley::lexerspec::{LexemeIdx, LexerSpec};
use llguidance::earley::{Grammar as EngineGrammar, SymIdx, SymbolProps};

use super::super::numbers;
use super::parts::{Grammar, Part, PartId};
use super::plan::Plan;
use super::text;
use crate::spacing::Spacing;
use crate::spec::Whitespace;

/// The most symbols of a schema's grammar. Each costs the engine up to ten microseconds before the
/// first mask.
pub(super) const MAX_SYMBOLS: usize = 25_000;

impl Grammar {
    /// Builds the engine's grammar and lexer, within `max_symbols` and the bound for schemas. Some
    /// text must match the root.
    ///
    /// # Errors
    /// There are too many symbols, or the engine refuses a part; the text is its message.
    pub(crate) fn build(&self, max_symbols: usize) -> Result<(EngineGrammar, LexerSpec), String> {
        let plan = Plan::new(self);
        let num_symbols = plan.num_symbols();
        let max_symbols = max_symbols.min(MAX_SYMBOLS);
        if num_symbols > max_symbols {
            return Err(format!("too many symbols: {num_symbols} of {max_symbols}"));
        }
        let base = &*BASE;
        let mut lexer = LexerSpec::new().map_err(message_of)?;
        lexer.regex_builder = base.builder.clone();
        let class = lexer.setup_lexeme_class_with_skip(SkipSpec::once(self.spacing.skipped()));
        let class = class.map_err(message_of)?;
        let mut build = Build {
            source: self,
            plan,
            grammar: EngineGrammar::new(None),
            lexer,
            props: SymbolProps { grammar_id: class, ..SymbolProps::default() },
            symbols: vec![None; self.parts.len()],
            lexemes: HashMap::new(),
            regexes: base.regexes.clone(),
            todo: Vec::new(),
        };
        let start = SymbolProps { is_start: true, ..build.props.clone() };
        let start = build.grammar.fresh_symbol_ext("start", start);
        let root = build.symbol(self.root)?;
        build.grammar.add_rule(start, vec![root]).map_err(message_of)?;
        while let Some((id, symbol)) = build.todo.pop() {
            build.rules(id, symbol)?;
        }
        Ok((build.grammar, build.lexer))
    }
}

/// Expressions that occur in most grammars, parsed once: parsing takes longer than the rest of a
/// build.
struct Base {
    builder: RegexBuilder,
    regexes: HashMap<String, ExprRef>,
}

static BASE: LazyLock<Base> = LazyLock::new(|| {
    let mut base = Base { builder: RegexBuilder::new(), regexes: HashMap::new() };
    let spacings = [Whitespace::Bounded, Whitespace::Compact].map(Spacing);
    let marks = spacings.iter().flat_map(|it| it.separators().into_iter().chain(it.brackets()));
    for regex in text::COMMON.into_iter().chain(numbers::COMMON).chain(marks) {
        let parsed = base.builder.mk_regex(regex).expect("our own expressions are valid");
        base.regexes.insert(regex.to_owned(), parsed);
    }
    base
});

/// Formats the engine's error.
fn message_of(error: impl std::fmt::Display) -> String {
    format!("{error:#}")
}

struct Build<'a> {
    source: &'a Grammar,
    plan: Plan,
    grammar: EngineGrammar,
    lexer: LexerSpec,
    props: SymbolProps,
    symbols: Vec<Option<SymIdx>>,
    lexemes: HashMap<LexemeIdx, SymIdx>,
    regexes: HashMap<String, ExprRef>,
    todo: Vec<(PartId, SymIdx)>,
}

impl Build<'_> {
    /// Returns the engine's symbol of a part; its rules are added later.
    fn symbol(&mut self, id: PartId) -> Result<SymIdx, String> {
        let id = self.plan.resolved(id);
        let idx = id.0 as usize;
        if let Some(known) = self.symbols[idx] {
            return Ok(known);
        }
        let symbol = if let Part::Lexeme(text) = &self.source.parts[idx] {
            let text = self.parsed(text)?;
            let name = String::new();
            let lexeme = self.lexer.add_greedy_lexeme(name, text, false, None, usize::MAX);
            let lexeme = lexeme.map_err(message_of)?;
            if let Some(known) = self.lexemes.get(&lexeme) {
                *known
            } else {
                let symbol = self.grammar.fresh_symbol_ext("lexeme", self.props.clone());
                self.grammar.make_terminal(symbol, lexeme, &self.lexer).map_err(message_of)?;
                self.lexemes.insert(lexeme, symbol);
                symbol
            }
        } else {
            let symbol = self.grammar.fresh_symbol_ext("part", self.props.clone());
            self.todo.push((id, symbol));
            symbol
        };
        self.symbols[idx] = Some(symbol);
        Ok(symbol)
    }

    /// Replaces expressions by references into the lexer, since many lexemes share them.
    fn parsed(&mut self, text: &RegexAst) -> Result<RegexAst, String> {
        let mut all = |texts: &[RegexAst]| -> Result<Vec<RegexAst>, String> {
            texts.iter().map(|text| self.parsed(text)).collect()
        };
        Ok(match text {
            RegexAst::Regex(regex) => {
                if let Some(known) = self.regexes.get(regex) {
                    return Ok(RegexAst::ExprRef(*known));
                }
                let parsed = self.lexer.regex_builder.mk_regex(regex).map_err(message_of)?;
                self.regexes.insert(regex.clone(), parsed);
                RegexAst::ExprRef(parsed)
            }
            RegexAst::And(texts) => RegexAst::And(all(texts)?),
            RegexAst::Or(texts) => RegexAst::Or(all(texts)?),
            RegexAst::Concat(texts) => RegexAst::Concat(all(texts)?),
            RegexAst::Not(text) => RegexAst::Not(Box::new(self.parsed(text)?)),
            RegexAst::Repeat(text, min, max) => {
                RegexAst::Repeat(Box::new(self.parsed(text)?), *min, *max)
            }
            RegexAst::JsonQuote(text, options) => {
                RegexAst::JsonQuote(Box::new(self.parsed(text)?), options.clone())
            }
            other => other.clone(),
        })
    }

    fn rules(&mut self, id: PartId, symbol: SymIdx) -> Result<(), String> {
        for rule in self.plan.rules(self.source, id) {
            let rule = rule.into_iter().map(|item| self.symbol(item)).collect::<Result<_, _>>()?;
            self.grammar.add_rule(symbol, rule).map_err(message_of)?;
        }
        Ok(())
    }
}
