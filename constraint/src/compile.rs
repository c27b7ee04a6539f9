//! Compilation: turns a specification and a vocabulary into a template that matchers are copied
//! from. No input of a caller may cost unbounded time or memory here.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::build::Builder;
use crate::compiled::{Compiled, Values};
use crate::error::{SpecError, VocabError};
use crate::json_schema::{self, Coarse, Made, Schema};
use crate::limits::Limits;
use crate::notations;
use crate::spec::{JsonOptions, Spec, Thinking};
use crate::thinking::Rule;
use crate::vocab::Vocab;

/// Compiles specifications for one vocabulary. May be shared between threads.
pub struct Compiler {
    builder: Builder,
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
        Ok(Self { builder: Builder::new(vocab, &limits)?, limits })
    }

    /// Returns the vocabulary that this compiler is for.
    pub fn vocab(&self) -> &Arc<Vocab> {
        &self.builder.vocab
    }

    /// Compiles `spec` and, where a guard is needed, finds a first valid output. Takes about a
    /// millisecond; the limits bound it.
    ///
    /// # Errors
    /// The specification is malformed, has a meaning that cannot be expressed, allows no output, or
    /// exceeds a limit.
    pub fn compile(&self, spec: &Spec) -> Result<Compiled, SpecError> {
        let compiled = self.compile_grammar(spec)?;
        if compiled.is_guarded() {
            compiled.first_witness().map_err(|error| self.explain(spec, error))?;
        }
        Ok(compiled)
    }

    /// Adds the conflicting keywords to a [`SpecError::NoWitness`] of `spec`. They are found by
    /// leaving out one keyword after another. Other errors are returned unchanged.
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

    /// As [`Compiler::compile`], but does not search for a first valid output; that is left to the
    /// first matcher.
    ///
    /// # Errors
    /// As [`Compiler::compile`], except for [`SpecError::NoWitness`].
    pub fn compile_grammar(&self, spec: &Spec) -> Result<Compiled, SpecError> {
        let _span = tracing::debug_span!("constraint.compile").entered();
        let (vocab, limits) = (&self.builder.vocab, &self.limits);
        let source = match spec {
            Spec::Text => return Ok(Compiled::new(Arc::clone(vocab), None, Vec::new())),
            Spec::JsonObject => {
                return self.json(&json!({ "type": "object" }), &JsonOptions::default());
            }
            Spec::Json { schema, options } => return self.json(schema, options),
            Spec::After { thinking, then } => return self.after(thinking, then),
            Spec::StructuralTag(tag) => match notations::thinking(tag, limits)? {
                Some((thinking, rest)) => {
                    return self.after(&thinking, &Spec::StructuralTag(rest));
                }
                None => notations::tag(tag, vocab, limits)?,
            },
            Spec::Lark(source) => notations::lark(source, vocab, limits)?,
            Spec::Gbnf(source) => notations::gbnf(source, vocab, limits)?,
            Spec::Format(format) => notations::format(*format),
            Spec::Regex(pattern) => notations::regex(pattern, limits)?,
            Spec::Choice(options) => notations::choice(options, limits)?,
        };
        let built = self.builder.text(source.grammar, source.author)?;
        Ok(built.warn(source.warnings).at_most(source.max_bytes))
    }

    /// Compiles a schema. Where the engine refuses the grammar, the schema is restated more and
    /// more coarsely; a guard checks what the grammar then leaves out.
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
        let mut refused = Coarse::default();
        loop {
            let Made { grammar, left, coarsened, warnings } = schema.grammar(options, coarse);
            // This level changes nothing: it gives the grammar that was refused before.
            if coarse != Coarse::default()
                && coarsened == refused
                && let Some(coarser) = coarse.next()
            {
                coarse = coarser;
                continue;
            }
            let built = match grammar {
                Ok(grammar) => {
                    self.builder.grammar(|| grammar.build(self.limits.max_grammar_symbols))
                }
                Err(reason) => Err(SpecError::unsatisfiable(reason)),
            };
            match built {
                Ok(compiled) => {
                    let known = schema.document.warnings.iter().cloned();
                    let compiled = compiled.warn(known.chain(warnings).collect());
                    return Ok(compiled.of_values(Values::new(schema, options, left)?));
                }
                Err(error @ SpecError::TooComplex { .. }) => {
                    coarse = coarse.next().ok_or(error)?;
                    refused = coarsened;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Compiles a thinking section and the specification after it.
    fn after(&self, thinking: &Thinking, then: &Spec) -> Result<Compiled, SpecError> {
        if matches!(then, Spec::After { .. }) {
            let message = "after another thinking section";
            return Err(SpecError::unsupported("thinking", None, message));
        }
        let section = Rule::new(thinking, self.vocab())?;
        Ok(self.compile_grammar(then)?.after_section(section))
    }
}

impl std::fmt::Debug for Compiler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiler")
            .field("vocab", self.vocab())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
