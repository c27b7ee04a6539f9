//! Compilation: a specification and a vocabulary become a template that matchers are copied from.
//! Nothing that a caller sends may cost unbounded time or memory here.

use std::sync::Arc;

use llguidance::ParserFactory;
use llguidance::api::{GrammarInit, ParserLimits, TopLevelGrammar};
use llguidance::earley::lexerspec::LexerSpec;
use llguidance::earley::{Grammar, SlicedBiasComputer};
use llguidance::panic_utils::catch_unwind;
use serde_json::{Value, json};
use toktrie::InferenceCapabilities;

use crate::compiled::{Compiled, Values};
use crate::error::{SpecError, VocabError, engine_message};
use crate::json_schema::{Coarse, Made, Schema};
use crate::limits::Limits;
use crate::rules::Rules;
use crate::spec::{JsonOptions, Spec, Thinking};
use crate::template::Template;
use crate::thinking::Rule;
use crate::vocab::Vocab;
use crate::{formats, gbnf, grammar, json_schema, lark, spacing, tags};

/// Compiles specifications for one vocabulary. Shared between threads.
pub struct Compiler {
    vocab: Arc<Vocab>,
    factory: ParserFactory,
    limits: Limits,
}

impl Compiler {
    /// Prepares compilation for `vocab`, with the default limits.
    ///
    /// # Errors
    /// The engine cannot index the vocabulary.
    pub fn new(vocab: Arc<Vocab>) -> Result<Self, VocabError> {
        Self::with_limits(vocab, Limits::default())
    }

    /// Prepares compilation for `vocab`, with the given limits.
    ///
    /// # Errors
    /// The engine cannot index the vocabulary.
    pub fn with_limits(vocab: Arc<Vocab>, limits: Limits) -> Result<Self, VocabError> {
        // The first general slice is unbounded whitespace, which our JSON never allows.
        let slices: Vec<String> = SlicedBiasComputer::json_slices().into_iter().skip(1).collect();
        let capabilities = InferenceCapabilities {
            ff_tokens: vocab.env().tokenize_is_canonical(),
            ..InferenceCapabilities::default()
        };
        let mut factory = catch_unwind(std::panic::AssertUnwindSafe(|| {
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
        Ok(Self { vocab, factory, limits })
    }

    /// Returns the vocabulary that this compiles for.
    pub fn vocab(&self) -> &Arc<Vocab> {
        &self.vocab
    }

    /// Compiles `spec`; takes about a millisecond, bounded by the limits.
    ///
    /// # Errors
    /// The specification is malformed, means what cannot be expressed, allows no output, or exceeds
    /// a limit.
    pub fn compile(&self, spec: &Spec) -> Result<Compiled, SpecError> {
        let compiled = self.compile_grammar(spec)?;
        if compiled.is_guarded() {
            compiled.first_witness().map_err(|error| self.explain(spec, error))?;
        }
        Ok(compiled)
    }

    /// Adds the keywords that are in the way to a [`SpecError::NoWitness`] of `spec`, found by
    /// leaving out one after the other; other errors are as they are.
    pub fn explain(&self, spec: &Spec, error: SpecError) -> SpecError {
        match (spec, error) {
            (Spec::Json { schema, options }, SpecError::NoWitness { attempts, .. }) => {
                let mut is_empty = |schema: &Value| match self.json_grammar(schema, options) {
                    Ok(compiled) => compiled.seems_empty(),
                    Err(error) => matches!(error, SpecError::Unsatisfiable { .. }),
                };
                let core = json_schema::core(schema, &mut is_empty);
                SpecError::NoWitness { attempts, core }
            }
            (Spec::After { then, .. }, error) => self.explain(then, error),
            (_, error) => error,
        }
    }

    /// As [`Compiler::compile`], but does not look for a first valid output: the first matcher does.
    ///
    /// # Errors
    /// As [`Compiler::compile`], except for [`SpecError::NoWitness`].
    pub fn compile_grammar(&self, spec: &Spec) -> Result<Compiled, SpecError> {
        let _span = tracing::debug_span!("constraint.compile").entered();
        let grammar = match spec {
            Spec::Text => return Ok(Compiled::new(Arc::clone(&self.vocab), None, Vec::new())),
            Spec::JsonObject => {
                return self.json(&json!({ "type": "object" }), &JsonOptions::default());
            }
            Spec::Json { schema, options } => return self.json(schema, options),
            Spec::Lark(source) => {
                let (lark, warnings) = lark::check(source, &self.vocab, &self.limits)?;
                let built = self.build_text(TopLevelGrammar::from_lark(lark), lark::explain)?;
                return Ok(built.warn(warnings));
            }
            Spec::Gbnf(source) => {
                return self.rules(gbnf::read(source, &self.vocab, &self.limits)?);
            }
            Spec::StructuralTag(tag) => {
                return match tags::thinking(tag, &self.limits)? {
                    Some((thinking, rest)) => self.after(&thinking, &Spec::StructuralTag(rest)),
                    None => self.rules(tags::read(tag, &self.vocab, &self.limits)?),
                };
            }
            Spec::After { thinking, then } => return self.after(thinking, then),
            Spec::Format(format) => {
                let grammar = TopLevelGrammar::from_regex(formats::regex(*format));
                return Ok(self.build_text(grammar, too_complex)?.at_most(formats::FINISH_BYTES));
            }
            Spec::Regex(pattern) => grammar::regex(pattern, &self.limits)?,
            Spec::Choice(options) => {
                let built =
                    self.build_text(grammar::choice(options, &self.limits)?, too_complex)?;
                let longest = options.iter().map(String::len).max();
                return Ok(built.at_most(longest.unwrap_or(0)));
            }
        };
        self.build_text(grammar, too_complex)
    }

    /// Restates a schema ever more coarsely until the engine takes it; a guard does the rest.
    fn json(&self, schema: &Value, options: &JsonOptions) -> Result<Compiled, SpecError> {
        self.json_grammar(schema, options).map_err(|error| match error {
            SpecError::Unsatisfiable { message, .. } => {
                let mut is_empty = |schema: &Value| {
                    let built = self.json_grammar(schema, options);
                    matches!(built, Err(SpecError::Unsatisfiable { .. }))
                };
                SpecError::Unsatisfiable { core: json_schema::core(schema, &mut is_empty), message }
            }
            other => other,
        })
    }

    fn json_grammar(&self, schema: &Value, options: &JsonOptions) -> Result<Compiled, SpecError> {
        let schema = Schema::read(schema, options, &self.limits)?;
        let mut coarse = Coarse::default();
        loop {
            let Made { grammar, left, warnings } = schema.grammar(options, coarse);
            let built = match grammar {
                Ok(grammar) => self.build(|_| grammar.build(), json_schema::explain),
                Err(error) => Err(error.into()),
            };
            match built {
                Ok(compiled) => {
                    let known = schema.document.warnings.iter().cloned();
                    let compiled = compiled.warn(known.chain(warnings).collect());
                    return Ok(compiled.of_values(Values::new(schema, options, left)?));
                }
                Err(error @ SpecError::TooComplex { .. }) => {
                    coarse = coarse.next().ok_or(error)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Compiles a thinking section and what follows.
    fn after(&self, thinking: &Thinking, then: &Spec) -> Result<Compiled, SpecError> {
        if matches!(then, Spec::After { .. }) {
            let message = "after another thinking section";
            return Err(SpecError::unsupported("thinking", None, message));
        }
        let section = Rule::new(thinking, &self.vocab)?;
        Ok(self.compile_grammar(then)?.behind(section))
    }

    fn rules(&self, rules: Rules) -> Result<Compiled, SpecError> {
        let (grammar, warnings) = rules.compile(&self.limits)?;
        Ok(self.build_text(grammar, json_schema::explain)?.warn(warnings))
    }

    /// Builds the template; `explain` makes an error of the engine's message.
    fn build(
        &self,
        grammar: impl FnOnce(&ParserLimits) -> Result<(Grammar, LexerSpec), String>,
        explain: impl FnOnce(String) -> SpecError,
    ) -> Result<Compiled, SpecError> {
        let built = catch_unwind(std::panic::AssertUnwindSafe(|| {
            let (grammar, lexer) = match grammar(self.factory.limits()) {
                Ok(grammar) => grammar,
                Err(message) => return Ok(Err(message)),
            };
            let grammar = GrammarInit::Internal(grammar, lexer);
            let mut parser = self.factory.create_parser_from_init_default(grammar)?;
            let warnings = parser.grammar_warnings();
            Ok(Ok((parser, warnings)))
        }));
        let built = built.unwrap_or_else(|error| Err(format!("{error:#}")));
        let (parser, warnings) = built.map_err(|message| explain(engine_message(&message)))?;
        let template = Some(Arc::new(Template::new(parser)?));
        Ok(Compiled::new(Arc::clone(&self.vocab), template, warnings))
    }

    /// As [`Compiler::build`], of a grammar in one of the engine's notations.
    fn build_text(
        &self,
        grammar: TopLevelGrammar,
        explain: impl FnOnce(String) -> SpecError,
    ) -> Result<Compiled, SpecError> {
        let read = |limits: &ParserLimits| {
            let (env, limits) = (self.vocab.env().clone(), limits.clone());
            let read = GrammarInit::Serialized(grammar).to_internal(Some(env), limits);
            let (grammar, mut lexer) = read.map_err(|error| format!("{error:#}"))?;
            spacing::place(&mut lexer);
            Ok((grammar, lexer))
        };
        self.build(read, explain)
    }
}

impl std::fmt::Debug for Compiler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiler")
            .field("vocab", &self.vocab)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

fn too_complex(message: String) -> SpecError {
    SpecError::TooComplex { message }
}
