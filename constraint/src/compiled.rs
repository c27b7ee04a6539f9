//! A compiled specification, and how matchers are made of it.

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

/// A compiled specification. Cheap to clone, shared between threads.
///
/// Keeps one template engine whose first mask is already computed. It never advances, so a
/// matcher's failure cannot reach it.
#[derive(Clone)]
pub struct Compiled {
    vocab: Arc<Vocab>,
    template: Option<Arc<Template>>,
    warnings: Arc<Vec<String>>,
    /// Present where the output is a JSON value.
    values: Option<Arc<Values>>,
    /// What an open level of the output may still need at most, in bytes, where that is known.
    level_bytes: Option<usize>,
    /// A first valid output; none if none was found.
    witness: Arc<OnceLock<Option<Vec<TokenId>>>>,
    /// What comes before the template's text.
    section: Option<Arc<Rule>>,
}

/// What is known of the values that a schema allows.
pub(crate) struct Values {
    finisher: Arc<Finisher>,
    /// What the grammar leaves to the guard.
    left: Vec<Left>,
}

impl Values {
    /// Prepares to finish values, and to judge them if the grammar leaves something.
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

    /// Says that no output is longer than this, where that is known.
    pub(crate) fn at_most(self, num_bytes: Option<usize>) -> Self {
        Self { level_bytes: num_bytes, ..self }
    }

    pub(crate) fn behind(self, section: Rule) -> Self {
        Self { section: Some(Arc::new(section)), ..self }
    }

    /// Puts warnings before those there are.
    pub(crate) fn warn(mut self, warnings: Vec<String>) -> Self {
        Arc::make_mut(&mut self.warnings).splice(0..0, warnings);
        self
    }

    /// Makes a matcher at the start of the output, independent of all others: a deep copy of the
    /// template, which shares no lock and may live on any thread.
    pub fn matcher(&self) -> Matcher {
        self.start(Template::copy)
    }

    /// Makes a matcher at the start of the output for use on the thread that calls itself `worker`.
    ///
    /// It shares a lexer with the other matchers of that worker, which makes it cheap to make and
    /// finds what they have already worked out; the lexer is behind a lock, so on another thread it
    /// would wait for them. Matchers of different workers share no lock. A lexer that a panic left
    /// behind is replaced here; the matchers that shared it have failed.
    pub fn matcher_on(&self, worker: usize) -> Matcher {
        self.start(|template| template.copy_on(worker))
    }

    /// As [`Compiled::matcher`], for an output that closes within `max_tokens`, its end token not
    /// counted.
    ///
    /// # Errors
    /// As [`Compiled::matcher_on_within`].
    pub fn matcher_within(&self, max_tokens: usize) -> Result<Matcher, SpecError> {
        self.start_within(max_tokens, Template::copy)
    }

    /// As [`Compiled::matcher_on`], for an output that closes within `max_tokens`, its end token not
    /// counted.
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

    /// Checks that some output closes within `max_tokens`, its end token not counted.
    ///
    /// Of a grammar that is no JSON nothing may be found; then nothing is promised of its outputs.
    ///
    /// # Errors
    /// [`SpecError::Budget`] if no output was found that closes in time, [`SpecError::NoWitness`] if
    /// a schema has none that was found at all.
    pub fn check_budget(&self, max_tokens: usize) -> Result<(), SpecError> {
        self.witness_within(max_tokens).map(drop)
    }

    /// The tokens of an output that closes in time; none if nothing can be promised.
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

    /// Whether the grammar allows more than the specification, so that outputs are guarded.
    pub fn is_guarded(&self) -> bool {
        self.values.as_ref().is_some_and(|values| values.finisher.is_guard())
    }

    /// Returns what the grammar does not express and the guard checks, as JSON pointers of schemas
    /// with keywords.
    pub fn guarded(&self) -> impl Iterator<Item = (&str, &str)> {
        let left = self.values.iter().flat_map(|values| &values.left);
        left.map(|left| (left.at.as_str(), left.keyword))
    }

    /// Returns the tokens of a first valid output, sought at the first call. A thinking section is
    /// not part of it.
    ///
    /// # Errors
    /// [`SpecError::NoWitness`] if none was found.
    pub fn first_witness(&self) -> Result<&[TokenId], SpecError> {
        let found = self.witness.get_or_init(|| self.search(usize::MAX));
        let attempts = closing::FIRST_EFFORT.attempts;
        found.as_deref().ok_or(SpecError::NoWitness { attempts, core: Vec::new() })
    }

    /// Whether little effort finds no valid output.
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

    /// Estimates the memory that this holds: the grammar, the template, and the lexers of the
    /// workers, which grow while matchers run.
    pub fn num_bytes(&self) -> usize {
        let warnings: usize = self.warnings.iter().map(|it| size_of::<String>() + it.len()).sum();
        let values = self.values.as_ref().map_or(0, |values| values.finisher.num_bytes());
        warnings + values + self.template.as_ref().map_or(0, |template| template.num_bytes())
    }

    /// Returns what was accepted with a doubt, such as a `format` that is not enforced.
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
