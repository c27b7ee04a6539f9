//! A compiled specification, and the matchers made from it.

use std::sync::{Arc, OnceLock};

use crate::TokenId;
use crate::closing::{self, Closing};
use crate::engine::Engine;
use crate::error::SpecError;
use crate::guard::{Finisher, Validator};
use crate::json_schema::{Left, Schema};
use crate::matcher::Matcher;
use crate::spec::JsonOptions;
use crate::template::Template;
use crate::thinking::{Rule, Section};
use crate::vocab::Vocab;

/// A compiled specification. Cheap to clone; may be shared between threads.
///
/// Holds one template engine whose first mask is already computed. The template never advances, so
/// a failing matcher cannot corrupt it.
#[derive(Clone)]
pub struct Compiled {
    vocab: Arc<Vocab>,
    template: Option<Arc<Template>>,
    warnings: Arc<Vec<String>>,
    /// Present where the output is a JSON value.
    values: Option<Arc<Values>>,
    /// The most bytes that an open nesting level may still need, where known.
    level_bytes: Option<usize>,
    /// A first valid output; inner `None` if none was found.
    witness: Arc<OnceLock<Option<Vec<TokenId>>>>,
    /// The thinking section before the template's text.
    section: Option<Arc<Rule>>,
}

/// What is known about the values that a schema allows.
pub(crate) struct Values {
    finisher: Arc<Finisher>,
    /// Keywords that the grammar does not express and the guard checks.
    left: Vec<Left>,
}

impl Values {
    /// Prepares to finish values, and to validate them where the grammar leaves keywords out.
    pub(crate) fn new(
        schema: Schema,
        options: &JsonOptions,
        left: Vec<Left>,
    ) -> Result<Self, SpecError> {
        let validator =
            if left.is_empty() { None } else { Some(Validator::new(&schema, options)?) };
        Ok(Self { finisher: Arc::new(Finisher::new(schema.document, validator)), left })
    }
}

impl Compiled {
    pub(crate) fn new(
        vocab: Arc<Vocab>,
        template: Option<Arc<Template>>,
        warnings: Vec<String>,
    ) -> Self {
        Self {
            vocab,
            template,
            warnings: Arc::new(warnings),
            values: None,
            level_bytes: None,
            witness: Arc::default(),
            section: None,
        }
    }

    pub(crate) fn of_values(self, values: Values) -> Self {
        let level_bytes = values.finisher.level_bytes();
        Self { values: Some(Arc::new(values)), level_bytes, ..self }
    }

    /// Sets the most bytes of any output, where known.
    pub(crate) fn at_most(self, num_bytes: Option<usize>) -> Self {
        Self { level_bytes: num_bytes, ..self }
    }

    pub(crate) fn after_section(self, section: Rule) -> Self {
        Self { section: Some(Arc::new(section)), ..self }
    }

    /// Puts `warnings` before the existing ones.
    pub(crate) fn warn(mut self, warnings: Vec<String>) -> Self {
        Arc::make_mut(&mut self.warnings).splice(0..0, warnings);
        self
    }

    /// Makes an independent matcher at the start of the output. It is a deep copy of the template,
    /// which shares no lock and may run on any thread.
    pub fn matcher(&self) -> Matcher {
        self.start(Template::copy)
    }

    /// Makes a matcher at the start of the output for the thread that identifies itself as
    /// `worker`.
    ///
    /// It shares a lexer with the other matchers of that worker. That makes it cheap to create, and
    /// lets it reuse the states they computed. The lexer is behind a lock, so the matcher would
    /// wait for them on another thread. Matchers of different workers share no lock. A lexer that a
    /// panic corrupted is replaced here; the matchers that shared it have failed.
    pub fn matcher_on(&self, worker: usize) -> Matcher {
        self.start(|template| template.copy_on(worker))
    }

    /// As [`Compiled::matcher`], for an output of at most `max_tokens` tokens, not counting its end
    /// token.
    ///
    /// # Errors
    /// As [`Compiled::matcher_on_within`].
    pub fn matcher_within(&self, max_tokens: usize) -> Result<Matcher, SpecError> {
        self.start_within(max_tokens, Template::copy)
    }

    /// As [`Compiled::matcher_on`], for an output of at most `max_tokens` tokens, not counting its
    /// end token.
    ///
    /// # Errors
    /// As [`Compiled::check_budget`].
    pub fn matcher_on_within(
        &self,
        worker: usize,
        max_tokens: usize,
    ) -> Result<Matcher, SpecError> {
        self.start_within(max_tokens, |template| template.copy_on(worker))
    }

    /// Checks that some output fits into `max_tokens`, not counting its end token.
    ///
    /// For grammars other than JSON the search may find no output; then no promise is made about
    /// them.
    ///
    /// # Errors
    /// [`SpecError::Budget`] if every output that was found is longer, [`SpecError::NoWitness`] if
    /// none was found for a schema.
    pub fn check_budget(&self, max_tokens: usize) -> Result<(), SpecError> {
        self.witness_within(max_tokens).map(drop)
    }

    /// Returns the tokens of an output that fits; `None` if no promise can be made.
    fn witness_within(&self, max_tokens: usize) -> Result<Option<Vec<TokenId>>, SpecError> {
        let first = match self.first_witness() {
            Ok(first) => first,
            Err(_) if self.values.is_none() => return Ok(None),
            Err(error) => return Err(error),
        };
        let num_markers = self.num_marker_tokens();
        let needed = first.len() + num_markers;
        if needed <= max_tokens {
            return Ok(Some(first.to_vec()));
        }
        let shorter = max_tokens.checked_sub(num_markers).and_then(|left| self.search(left));
        shorter.map(Some).ok_or(SpecError::Budget { needed, max_tokens })
    }

    fn num_marker_tokens(&self) -> usize {
        self.section.as_ref().map_or(0, |section| section.num_marker_tokens())
    }

    fn start(&self, copy: impl FnOnce(&Template) -> llguidance::Matcher) -> Matcher {
        let guard = self.values.as_ref().filter(|_| self.is_guarded());
        let closing = guard.map(|values| {
            let witness = self.first_witness().unwrap_or_default().to_vec();
            Closing::new(Some(Arc::clone(&values.finisher)), None, usize::MAX, witness)
        });
        let section = self.section.clone().map(Section::new);
        self.of_engine(self.engine(copy), closing).after(section)
    }

    fn of_engine(&self, engine: Option<Engine>, closing: Option<Closing>) -> Matcher {
        let matcher = Matcher::new(Arc::clone(&self.vocab), engine, closing);
        if self.values.is_some() { matcher.of_value() } else { matcher }
    }

    fn start_within(
        &self,
        max_tokens: usize,
        copy: impl FnOnce(&Template) -> llguidance::Matcher,
    ) -> Result<Matcher, SpecError> {
        if self.template.is_none() {
            return Ok(self.start(copy));
        }
        let Some(witness) = self.witness_within(max_tokens)? else { return Ok(self.start(copy)) };
        let num_free = max_tokens - self.num_marker_tokens() - witness.len();
        let section = self.section.clone().map(|rule| Section::within(rule, num_free));
        let finisher = self.values.as_ref().map(|values| Arc::clone(&values.finisher));
        let closing = Closing::new(finisher, self.level_bytes, max_tokens, witness);
        Ok(self.of_engine(self.engine(copy), Some(closing)).after(section))
    }

    fn engine(&self, copy: impl FnOnce(&Template) -> llguidance::Matcher) -> Option<Engine> {
        let template = self.template.as_ref()?;
        Some(Engine::new(Arc::clone(template), copy(template)))
    }

    /// Returns whether the grammar allows more than the specification, so that a guard checks
    /// outputs.
    pub fn is_guarded(&self) -> bool {
        self.values.as_ref().is_some_and(|values| values.finisher.is_guard())
    }

    /// Returns what the guard checks because the grammar does not express it: pairs of a schema's
    /// JSON pointer and a keyword.
    pub fn guarded(&self) -> impl Iterator<Item = (&str, &str)> {
        let left = self.values.iter().flat_map(|values| &values.left);
        left.map(|left| (left.at.as_str(), left.keyword))
    }

    /// Returns the tokens of a first valid output, without a thinking section. The first call
    /// searches for it.
    ///
    /// # Errors
    /// [`SpecError::NoWitness`] if none was found.
    pub fn first_witness(&self) -> Result<&[TokenId], SpecError> {
        let found = self.witness.get_or_init(|| self.search(usize::MAX));
        let attempts = closing::FIRST_EFFORT.attempts;
        found.as_deref().ok_or(SpecError::NoWitness { attempts, core: Vec::new() })
    }

    /// Returns whether a quick search finds no valid output.
    pub(crate) fn seems_empty(&self) -> bool {
        let Some(mut engine) = self.engine(Template::copy) else { return false };
        let finisher = self.values.as_ref().map(|values| &*values.finisher);
        closing::quick_witness(finisher, &mut engine, &self.vocab).is_none()
    }

    fn search(&self, max_tokens: usize) -> Option<Vec<TokenId>> {
        let Some(mut engine) = self.engine(Template::copy) else { return Some(Vec::new()) };
        let finisher = self.values.as_ref().map(|values| &*values.finisher);
        closing::first_witness(finisher, &mut engine, &self.vocab, max_tokens)
    }

    /// Estimates the memory of the grammar, the template and the workers' lexers, which grow while
    /// matchers run.
    pub fn num_bytes(&self) -> usize {
        let warnings: usize = self.warnings.iter().map(|it| size_of::<String>() + it.len()).sum();
        let values = self.values.as_ref().map_or(0, |values| values.finisher.num_bytes());
        warnings + values + self.template.as_ref().map_or(0, |template| template.num_bytes())
    }

    /// Returns warnings about what was accepted but not enforced, such as an unknown `format`.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Returns the vocabulary that this was compiled for.
    pub fn vocab(&self) -> &Arc<Vocab> {
        &self.vocab
    }
}

impl std::fmt::Debug for Compiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiled").field("warnings", &self.warnings).finish_non_exhaustive()
    }
}
