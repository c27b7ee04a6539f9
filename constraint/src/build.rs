//! Builds the templates that matchers are copied from. This is the only module that asks the engine
//! to build a grammar, and that interprets its error messages.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use llguidance::ParserFactory;
use llguidance::api::{GrammarInit, ParserLimits, TopLevelGrammar};
use llguidance::earley::lexerspec::LexerSpec;
use llguidance::earley::{Grammar, SlicedBiasComputer};
use llguidance::panic_utils::catch_unwind;
use toktrie::InferenceCapabilities;

use crate::compiled::Compiled;
use crate::error::{SpecError, VocabError, engine_message};
use crate::lexed::Halves;
use crate::limits::Limits;
use crate::spacing;
use crate::template::Template;
use crate::vocab::Vocab;

/// Builds grammars for one vocabulary, within limits.
pub(crate) struct Builder {
    pub(crate) vocab: Arc<Vocab>,
    factory: ParserFactory,
    halves: Arc<Halves>,
}

/// Who wrote a grammar's text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Author {
    /// This crate. Positions in the text mean nothing to the caller.
    Us,
    Caller,
}

impl Builder {
    /// Prepares the engine for `vocab`.
    ///
    /// # Errors
    /// The engine cannot index the vocabulary.
    pub(crate) fn new(vocab: Arc<Vocab>, limits: &Limits) -> Result<Self, VocabError> {
        // The first general slice is unbounded whitespace, which our JSON never allows.
        let slices: Vec<String> = SlicedBiasComputer::json_slices().into_iter().skip(1).collect();
        let capabilities = InferenceCapabilities {
            ff_tokens: vocab.env().tokenize_is_canonical(),
            ..InferenceCapabilities::default()
        };
        let mut factory = catch_unwind(AssertUnwindSafe(|| {
            ParserFactory::new(vocab.env(), capabilities, &slices)
        }))
        .map_err(|error| VocabError::Trie { message: engine_message(&error.to_string()) })?;
        factory.quiet();
        *factory.limits_mut() = ParserLimits {
            initial_lexer_fuel: limits.lexer_fuel,
            step_lexer_fuel: limits.step_lexer_fuel,
            step_max_items: limits.step_max_items,
            max_lexer_states: limits.max_lexer_states,
            max_grammar_size: limits.max_grammar_symbols,
            max_items_in_row: limits.max_row_items,
            verbose_errors: false,
            ..ParserLimits::default()
        };
        let halves = Arc::new(Halves::new(vocab.env().tok_trie()));
        Ok(Self { vocab, factory, halves })
    }

    /// Builds a grammar that `make` assembles with the engine's own builder.
    ///
    /// # Errors
    /// [`SpecError::Unsatisfiable`] if it allows nothing, [`SpecError::TooComplex`] if it exceeds
    /// the engine's limits.
    pub(crate) fn grammar(
        &self,
        make: impl FnOnce() -> Result<(Grammar, LexerSpec), String>,
    ) -> Result<Compiled, SpecError> {
        self.build(Author::Us, |_| make())
    }

    /// Builds a grammar written in one of the engine's notations.
    ///
    /// # Errors
    /// As [`Builder::grammar`], and [`SpecError::Syntax`] if a caller's text is not a valid
    /// grammar.
    pub(crate) fn text(
        &self,
        grammar: TopLevelGrammar,
        author: Author,
    ) -> Result<Compiled, SpecError> {
        self.build(author, |limits| {
            let (env, limits) = (self.vocab.env().clone(), limits.clone());
            let read = GrammarInit::Serialized(grammar).to_internal(Some(env), limits);
            let (grammar, mut lexer) = read.map_err(|error| format!("{error:#}"))?;
            spacing::place(&mut lexer);
            Ok((grammar, lexer))
        })
    }

    fn build(
        &self,
        author: Author,
        make: impl FnOnce(&ParserLimits) -> Result<(Grammar, LexerSpec), String>,
    ) -> Result<Compiled, SpecError> {
        let built = catch_unwind(AssertUnwindSafe(|| {
            let (grammar, lexer) = match make(self.factory.limits()) {
                Ok(made) => made,
                Err(message) => return Ok(Err(message)),
            };
            let grammar = GrammarInit::Internal(grammar, lexer);
            let mut parser = self.factory.create_parser_from_init_default(grammar)?;
            let warnings = parser.grammar_warnings();
            Ok(Ok((parser, warnings)))
        }));
        let wrong = |message: String| explain(engine_message(&message), author);
        let built = built.unwrap_or_else(|error| Err(format!("{error:#}")));
        let (parser, warnings) = built.map_err(wrong)?;
        let template =
            Some(Arc::new(Template::new(parser, Arc::clone(&self.halves)).map_err(wrong)?));
        Ok(Compiled::new(Arc::clone(&self.vocab), template, warnings))
    }
}

/// Parts of the engine's messages about a grammar that allows nothing.
const EMPTY: [&str; 3] = ["Unsatisfiable schema", "is unsatisfiable", "are unsatisfiable"];
/// Parts of the engine's messages about a grammar that exceeds a limit.
const TOO_LARGE: [&str; 8] =
    ["too big", "too large", "too complex", "too many", "exceeded", "exhausted", "limit", "panic"];

/// Maps the engine's message about a grammar to an error.
fn explain(message: String, author: Author) -> SpecError {
    let first = message.lines().next().unwrap_or_default();
    // The further lines quote the caller's own grammar, so they are not searched.
    let said = if author == Author::Caller { first } else { &message };
    if EMPTY.iter().any(|part| said.contains(part)) {
        // Strips the engine's prefix from the reason.
        let reason = first.split("Unsatisfiable schema: ").last().unwrap_or(first);
        return SpecError::unsatisfiable(reason.to_owned());
    }
    if first.starts_with("NoExtension") {
        return SpecError::unsatisfiable("no token of the vocabulary can start it".to_owned());
    }
    let lower = first.to_lowercase();
    if author == Author::Us || TOO_LARGE.iter().any(|part| lower.contains(part)) {
        return SpecError::TooComplex { message };
    }
    let (line, column, message) = split_position(first).unwrap_or((1, 1, first));
    SpecError::Syntax { line, column, message: message.to_owned() }
}

/// Splits the position off a message that begins with one.
fn split_position(message: &str) -> Option<(usize, usize, &str)> {
    let (line, rest) = message.strip_prefix("at ").unwrap_or(message).split_once('(')?;
    let (column, rest) = rest.split_once("): ")?;
    Some((line.parse().ok()?, column.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use llguidance::Matcher;
    use toktrie::SimpleVob;

    use super::*;
    use crate::vocab::{TokenBytes, VocabSource};

    /// All bytes but one, special tokens, and texts of up to three characters.
    fn vocab() -> Arc<Vocab> {
        let text = |bytes: Vec<u8>| TokenBytes::Text(bytes);
        let mut tokens: Vec<TokenBytes> = (0..=0xFE).map(|byte| text(vec![byte])).collect();
        tokens.push(TokenBytes::Special("<end>".to_owned()));
        tokens.push(TokenBytes::Special("<mark>".to_owned()));
        for first in "abxyz 019\"\\,é".chars() {
            for second in "abx 01\"\\]n".chars() {
                tokens.push(text(format!("{first}{second}").into_bytes()));
                tokens
                    .extend("b9\",".chars().map(|it| text(format!("{first}{second}{it}").into())));
            }
        }
        let num_logits = tokens.len();
        let source = VocabSource { tokens, eos: vec![255], num_logits };
        Arc::new(Vocab::new(source, None).unwrap())
    }

    fn parser(builder: &Builder, grammar: &TopLevelGrammar) -> llguidance::TokenParser {
        let grammar = GrammarInit::Serialized(grammar.clone());
        builder.factory.create_parser_from_init_default(grammar).unwrap()
    }

    #[test]
    fn masks_that_are_kept_are_those_of_the_engine() {
        let builder = Builder::new(vocab(), &Limits::default()).unwrap();
        let mut num_kept = 0;
        for grammar in [
            TopLevelGrammar::from_regex("[a-z ]*x[01]+b"),
            TopLevelGrammar::from_regex("(?s:.*)"),
            TopLevelGrammar::from_json_schema(serde_json::json!({"type": "array", "items":
                {"type": "string", "pattern": "^(?:a|b[xy]|[^z]*x)*$"}})),
            TopLevelGrammar::from_json_schema(serde_json::json!({"type": "object"})),
            TopLevelGrammar::from_lark("start: /[a-y]*/ (\"z\" /[ab ]+/ | \"0\")".to_owned()),
            TopLevelGrammar::from_lark("start: text\ntext[lazy]: /(?s:.*)x9/".to_owned()),
            TopLevelGrammar::from_lark("start: /[ab]*/ <mark> /[xy]*/".to_owned()),
        ] {
            let plain = || {
                let mut matcher = Matcher::new(Ok(parser(&builder, &grammar)));
                matcher.compute_mask().unwrap();
                matcher
            };
            let first = parser(&builder, &grammar);
            let template = Template::new(first, Arc::clone(&builder.halves)).unwrap();
            let mut state = 1_u64;
            for _ in 0..40 {
                let (mut kept, mut plain) = (template.copy_on(0), plain());
                for _ in 0..30 {
                    let (got, want): (SimpleVob, SimpleVob) =
                        (kept.compute_mask().unwrap(), plain.compute_mask().unwrap());
                    assert_eq!(got, want);
                    let allowed: Vec<u32> = want.iter().filter(|it| *it != 255).collect();
                    if allowed.is_empty() {
                        break;
                    }
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let token = allowed[(state >> 33) as usize % allowed.len()];
                    kept.consume_token(token).unwrap();
                    plain.consume_token(token).unwrap();
                    if kept.is_stopped() {
                        break;
                    }
                }
            }
            num_kept += template.num_kept(0);
        }
        assert!(num_kept > 0, "no mask was kept");
    }
}
