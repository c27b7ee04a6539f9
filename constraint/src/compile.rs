//! Compilation: a specification and a vocabulary become a template that matchers are copied from.
//! Owns the limits; nothing that a caller sends may cost unbounded time or memory here.

use std::sync::{Arc, Mutex, PoisonError};

use llguidance::ParserFactory;
use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::earley::SlicedBiasComputer;
use llguidance::panic_utils::catch_unwind;
use toktrie::InferenceCapabilities;

use crate::error::{SpecError, VocabError, engine_message};
use crate::matcher::{Engine, Matcher};
use crate::spec::Spec;
use crate::vocab::Vocab;
use crate::{grammar, json_schema};

/// Bounds what a specification may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Names, strings and structure of a schema together, in bytes.
    pub max_schema_bytes: usize,
    /// JSON nesting of a schema.
    pub max_schema_depth: usize,
    /// Schemas on the longest way down a schema, references followed. The engine recurses over
    /// them: with dependencies optimised, 2 MiB of stack hold more than twice the default.
    pub max_schema_levels: usize,
    /// One regular expression, in bytes.
    pub max_regex_bytes: usize,
    /// Options of a choice.
    pub max_choices: usize,
    /// Options of a choice together, in bytes.
    pub max_choice_bytes: usize,
    /// Lexer states of one matcher, at 1 to 2 kB each.
    pub max_lexer_states: usize,
    /// Symbols of one grammar; the engine numbers them in 16 bits.
    pub max_grammar_symbols: usize,
    /// Work to build the lexer; about 50,000 a millisecond.
    pub lexer_fuel: u64,
    /// Lexer work for one mask; about 14,000 a millisecond.
    pub step_lexer_fuel: u64,
    /// Parser items for one mask; about 20,000 a millisecond.
    pub step_max_items: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_schema_bytes: 1 << 20,
            max_schema_depth: 128,
            max_schema_levels: 128,
            max_regex_bytes: 64 << 10,
            max_choices: 20_000,
            max_choice_bytes: 512 << 10,
            max_lexer_states: 50_000,
            max_grammar_symbols: 60_000,
            lexer_fuel: 1_000_000,
            step_lexer_fuel: 200_000,
            step_max_items: 50_000,
        }
    }
}

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
        let _span = tracing::debug_span!("constraint.compile").entered();
        match spec {
            Spec::Text => Ok(self.finish(None, Vec::new())),
            Spec::Regex(pattern) => {
                self.build(grammar::regex(pattern, &self.limits)?).map_err(too_complex)
            }
            Spec::Choice(options) => {
                self.build(grammar::choice(options, &self.limits)?).map_err(too_complex)
            }
            Spec::JsonSchema(schema) => {
                let prepared = json_schema::prepare(schema, &self.limits)?;
                let grammar = TopLevelGrammar::from_json_schema(prepared.schema);
                let mut compiled = self
                    .build(grammar)
                    .map_err(|message| json_schema::explain(message, &prepared.places))?;
                let all = Arc::make_mut(&mut compiled.warnings);
                all.splice(0..0, prepared.warnings);
                Ok(compiled)
            }
        }
        .and_then(Compiled::check_start)
    }

    /// Builds the template; the error is the engine's message.
    fn build(&self, grammar: TopLevelGrammar) -> Result<Compiled, String> {
        catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut parser = self.factory.create_parser(grammar)?;
            let warnings = parser.grammar_warnings();
            let engine = llguidance::Matcher::new(Ok(parser));
            Ok(self.finish(Some(engine), warnings))
        }))
        .map_err(|error| engine_message(&format!("{error:#}")))
    }

    fn finish(&self, engine: Option<llguidance::Matcher>, warnings: Vec<String>) -> Compiled {
        Compiled {
            vocab: Arc::clone(&self.vocab),
            template: engine.map(|engine| Arc::new(Mutex::new(engine))),
            warnings: Arc::new(warnings),
        }
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

/// A compiled specification. Cheap to clone, shared between threads.
///
/// Keeps one template engine whose first mask is already computed. Each matcher is a deep copy of
/// it, so matchers of different requests share no lock and may live on different threads; the
/// template itself never advances, so a matcher's failure cannot reach it.
#[derive(Clone)]
pub struct Compiled {
    vocab: Arc<Vocab>,
    template: Option<Arc<Mutex<llguidance::Matcher>>>,
    warnings: Arc<Vec<String>>,
}

impl Compiled {
    /// Makes a matcher at the start of the output, independent of all others.
    pub fn matcher(&self) -> Matcher {
        let engine = match &self.template {
            None => Engine::Free,
            Some(template) => {
                // A deep copy only reads, so a poisoned lock guards a whole template.
                let template = template.lock().unwrap_or_else(PoisonError::into_inner);
                Engine::Grammar(Box::new(template.deep_clone()))
            }
        };
        Matcher::new(Arc::clone(&self.vocab), engine)
    }

    /// Returns what was accepted with a doubt, such as a `format` that is not enforced.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Returns the vocabulary that this was compiled for.
    pub fn vocab(&self) -> &Arc<Vocab> {
        &self.vocab
    }

    /// Computes the first mask in the template, where every matcher finds it; a specification that
    /// cannot even start is refused here and not in the middle of a batch.
    fn check_start(self) -> Result<Self, SpecError> {
        if let Some(template) = &self.template {
            let mut engine = template.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = engine.compute_mask() {
                let message = engine_message(&error.to_string());
                return Err(if message.starts_with("NoExtension") {
                    SpecError::Unsatisfiable {
                        message: "no token of the vocabulary can start it".to_string(),
                    }
                } else {
                    SpecError::TooComplex { message }
                });
            }
        }
        Ok(self)
    }
}

impl std::fmt::Debug for Compiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiled").field("warnings", &self.warnings).finish_non_exhaustive()
    }
}

fn too_complex(message: String) -> SpecError {
    SpecError::TooComplex { message }
}
