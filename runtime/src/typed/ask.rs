//! A question on its way: prompts, what is wanted, and how it is sampled.

use std::{collections::HashSet, marker::PhantomData};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use sluicegate_constraint::{Format, Spec};

use super::{
    answer::{Answer, Choice, FreeText, Json, Kind, Text},
    error::{AnswerError, AskError},
    schema,
    shape::{One, Several, Shape},
};
use crate::{
    engine::Engine,
    request::{Prompt, Request},
    sampler::{Method, Multinomial, Penalties},
    stream::Output,
};

/// One prompt or several, before it is said what is wanted.
#[derive(Debug)]
#[must_use = "nothing is asked before `run`"]
pub struct Prompts<'e, P> {
    engine: &'e Engine,
    prompts: Vec<Prompt>,
    shape: PhantomData<P>,
}

impl<'e, P: Shape> Prompts<'e, P> {
    pub(super) fn new(engine: &'e Engine, prompts: Vec<Prompt>) -> Self {
        Self { engine, prompts, shape: PhantomData }
    }

    /// Asks for a value of type `T`, as JSON under the schema of the type.
    pub fn json<T: DeserializeOwned + JsonSchema>(self) -> Ask<'e, Json<T>, P> {
        self.ask(Ok(Spec::json(schema::of::<T>())))
    }

    /// Asks for one of an enum's variants that hold nothing, written as their plain names.
    pub fn choose<T: DeserializeOwned + JsonSchema>(self) -> Ask<'e, Choice<T>, P> {
        let no_choice = || AskError::NoChoice { type_name: std::any::type_name::<T>() };
        self.ask(schema::variants::<T>().map(Spec::Choice).ok_or_else(no_choice))
    }

    /// Asks for one of these texts.
    pub fn choice<O: Into<String>>(self, options: impl IntoIterator<Item = O>) -> Ask<'e, Text, P> {
        self.ask(Ok(Spec::Choice(options.into_iter().map(Into::into).collect())))
    }

    /// Asks for a text that the whole regular expression matches.
    pub fn regex(self, pattern: impl Into<String>) -> Ask<'e, Text, P> {
        self.ask(Ok(Spec::Regex(pattern.into())))
    }

    /// Asks for a text of a known shape, such as a date.
    pub fn format(self, format: Format) -> Ask<'e, Text, P> {
        self.ask(Ok(Spec::Format(format)))
    }

    /// Asks for a text of a context-free grammar in llguidance's dialect of Lark.
    pub fn lark(self, grammar: impl Into<String>) -> Ask<'e, Text, P> {
        self.ask(Ok(Spec::Lark(grammar.into())))
    }

    /// Asks for a text of a context-free grammar in llama.cpp's notation.
    pub fn gbnf(self, grammar: impl Into<String>) -> Ask<'e, Text, P> {
        self.ask(Ok(Spec::Gbnf(grammar.into())))
    }

    /// Asks for any text; it may be cut where it has the most tokens.
    pub fn text(self) -> Ask<'e, FreeText, P> {
        self.ask(Ok(Spec::Text))
    }

    fn ask<K>(self, constraint: Result<Spec, AskError>) -> Ask<'e, K, P> {
        let (constraint, problem) = match constraint {
            Ok(constraint) => (constraint, None),
            Err(problem) => (Spec::Text, Some(problem)),
        };
        let request = Request {
            prompts: self.prompts,
            constraint,
            ..Request::new(Prompt::Tokens(Vec::new()))
        };
        Ask { engine: self.engine, request, method: None, problem, shape: PhantomData }
    }
}

/// A question. Greedy, of at most 256 tokens, unless an option says otherwise.
#[derive(Debug)]
#[must_use = "nothing is asked before `run`"]
pub struct Ask<'e, K, P = One, S = One> {
    engine: &'e Engine,
    request: Request,
    method: Option<Method>,
    /// What is wrong with the question, said when it is asked.
    problem: Option<AskError>,
    shape: PhantomData<(K, P, S)>,
}

impl<'e, K, P, S> Ask<'e, K, P, S> {
    /// The most tokens of an output.
    pub fn max_tokens(mut self, max_tokens: usize) -> Self {
        self.request.max_tokens = max_tokens;
        self
    }

    /// How tokens are chosen.
    pub fn method(mut self, method: Method) -> Self {
        self.method = Some(method);
        self
    }

    /// What makes tokens that were there already less likely.
    pub fn penalties(mut self, penalties: Penalties) -> Self {
        self.request.penalties = penalties;
        self
    }

    /// Start of the random numbers: the same question with the same seed gives the same answer.
    pub fn seed(mut self, seed: u64) -> Self {
        self.request.seed = seed;
        self
    }

    /// Several outputs for each prompt, drawn at random unless a method is given.
    pub fn samples(mut self, samples: usize) -> Ask<'e, K, P, Several> {
        self.request.samples = samples;
        self.in_shape()
    }

    /// The most likely texts that a beam search of this width finds for each prompt, best first: as
    /// many as the beam is wide, or fewer where fewer are allowed. A text that was found in several
    /// tokenisations is there once.
    pub fn beams(mut self, width: usize) -> Ask<'e, K, P, Several> {
        self.method = Some(Method::Beam { width });
        self.request.samples = width;
        self.in_shape()
    }

    fn in_shape<T>(self) -> Ask<'e, K, P, T> {
        let Self { engine, request, method, problem, shape: _ } = self;
        Ask { engine, request, method, problem, shape: PhantomData }
    }
}

impl<P, S> Ask<'_, FreeText, P, S> {
    /// Texts that end an output; they are not part of it.
    pub fn stop<T: Into<String>>(mut self, stop: impl IntoIterator<Item = T>) -> Self {
        self.request.stop = stop.into_iter().map(Into::into).collect();
        self
    }
}

impl<K: Kind, P: Shape, S: Shape> Ask<'_, K, P, S> {
    /// Asks, waits and reads the values. Blocks; not for an `async` context.
    ///
    /// # Errors
    /// [`AskError`]; where one output of several is no value, the first such.
    pub fn run(self) -> Result<P::Of<S::Of<K::Value>>, AskError> {
        self.collect(|output| Ok(K::read(&output)?))
    }

    /// Asks, waits, and returns each value with its output: text, score, and why it ended. Outputs
    /// that are no values do not cost the others. Blocks; not for an `async` context.
    ///
    /// # Errors
    /// [`AskError`] where there are no outputs at all.
    #[expect(clippy::type_complexity, reason = "the shape of the answers is the point")]
    pub fn answers(self) -> Result<P::Of<S::Of<Result<Answer<K::Value>, AnswerError>>>, AskError> {
        self.collect(|output| Ok(K::read(&output).map(|value| Answer { value, output })))
    }

    /// Brings what `read` makes of the outputs into the shape of the question.
    fn collect<V>(
        self,
        read: impl Fn(Output) -> Result<V, AskError>,
    ) -> Result<P::Of<S::Of<V>>, AskError> {
        let Self { engine, mut request, method, problem, shape: _ } = self;
        if let Some(problem) = problem {
            return Err(problem);
        }
        let usual = match request.samples {
            // Greedy samples would all be the same.
            2.. => Method::Multinomial(Multinomial::default()),
            _ => Method::Greedy,
        };
        request.method = method.unwrap_or(usual);
        let mut by_prompt: Vec<Vec<V>> = request.prompts.iter().map(|_| Vec::new()).collect();
        let is_ranked = matches!(request.method, Method::Beam { .. });
        let mut outputs = engine.submit(request)?.wait()?.outputs;
        if is_ranked {
            keep_first_of_equals(&mut outputs);
        }
        for output in outputs {
            by_prompt[output.id.prompt].push(read(output)?);
        }
        let no_output = |prompt| AskError::NoOutput { prompt };
        let shaped = (0..).zip(by_prompt);
        let shaped = shaped.map(|(prompt, values)| S::gather(values).ok_or(no_output(prompt)));
        P::gather(shaped.collect::<Result<_, _>>()?).ok_or(no_output(0))
    }
}

/// Drops outputs whose text a better one of the same prompt has.
fn keep_first_of_equals(outputs: &mut Vec<Output>) {
    let mut seen = HashSet::new();
    outputs.retain(|output| seen.insert((output.id.prompt, output.text.clone())));
}
