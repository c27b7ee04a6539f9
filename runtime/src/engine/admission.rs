//! A request checked once: what is scheduled from here on cannot be wrong.

use std::sync::Arc;

use sluicegate_constraint::{Cache, Compiled, Spec};
use sluicegate_core::{
    messages::{Method, Multinomial, SamplingParams},
    scheduler::SchedulerConfig,
    serve::Admitted,
};
use sluicegate_model::open::Model;
use sluicegate_spec::units::TokenId;

use super::error::SubmitError;
use super::request::Request;

/// Most rows that one prompt may have: samples or beams.
const MAX_ROWS: usize = 256;

/// Every prompt holds a matcher, and every row its stop strings.
const MAX_PROMPTS: usize = 256;
const MAX_STOPS: usize = 16;
const MAX_STOP_BYTES: usize = 256;

/// Checks a request against model, constraint engine and cache.
///
/// # Errors
/// The first [`SubmitError`] found.
pub(super) fn admit(
    request: Request,
    model: &Model,
    constraints: &Cache,
    scheduler: &SchedulerConfig,
) -> Result<(Admitted, Option<Box<Compiled>>), SubmitError> {
    let params = check_params(&request, model)?;
    if request.prompts.is_empty() {
        return Err(SubmitError::NoPrompt);
    }
    let constraint = match &request.constraint {
        Spec::Text => None,
        spec => {
            let compiled = constraints.get(spec)?;
            compiled.check_budget(request.max_tokens)?;
            Some(Box::new(compiled))
        }
    };
    let mut prompts = Vec::with_capacity(request.prompts.len());
    for (prompt_idx, prompt) in request.prompts.iter().enumerate() {
        let tokens = prompt.write(prompt_idx, model)?.tokens;
        check_tokens(prompt_idx, &tokens, request.max_tokens, model)?;
        prompts.push(tokens);
    }
    let admitted = Admitted {
        prompts,
        is_constrained: constraint.is_some(),
        params: Arc::new(params),
        samples: request.samples,
        max_tokens: request.max_tokens,
        stop: request.stop.into_iter().filter(|stop| !stop.is_empty()).collect(),
        keeps_tokens: request.log_probabilities.is_some(),
        length_penalty: request.length_penalty,
        seed: request.seed,
        priority: request.priority,
    };
    for prompt_idx in 0..admitted.prompts.len() {
        scheduler.check(&admitted.job(prompt_idx, model.tokenizer.table()))?;
    }
    Ok((admitted, constraint))
}

fn check_tokens(
    prompt: usize,
    tokens: &[TokenId],
    max_tokens: usize,
    model: &Model,
) -> Result<(), SubmitError> {
    if tokens.is_empty() {
        return Err(SubmitError::EmptyPrompt { prompt });
    }
    let vocab = model.config.vocab;
    if let Some(&token) = tokens.iter().find(|token| **token as usize >= vocab) {
        return Err(SubmitError::UnknownToken { prompt, token, vocab });
    }
    let context = model.config.max_positions;
    let (prompt_tokens, too_long) =
        (tokens.len(), tokens.len().saturating_add(max_tokens) > context);
    if too_long {
        return Err(SubmitError::TooLong { prompt, prompt_tokens, max_tokens, context });
    }
    Ok(())
}

fn check_params(request: &Request, model: &Model) -> Result<SamplingParams, SubmitError> {
    let wrong = |name, found: &dyn ToString, wanted| {
        Err(SubmitError::Parameter { name, found: found.to_string(), wanted })
    };
    if !(1..=MAX_ROWS).contains(&request.samples) {
        return wrong("samples", &request.samples, "1 to 256");
    }
    if request.max_tokens == 0 {
        return wrong("max_tokens", &request.max_tokens, "at least 1");
    }
    if request.prompts.len() > MAX_PROMPTS {
        return wrong("the number of prompts", &request.prompts.len(), "at most 256");
    }
    if request.stop.len() > MAX_STOPS {
        return wrong("the number of stop strings", &request.stop.len(), "at most 16");
    }
    if let Some(stop) = request.stop.iter().find(|stop| stop.len() > MAX_STOP_BYTES) {
        let found = format!("{} bytes long", stop.len());
        return wrong("a stop string", &found, "at most 256 bytes");
    }
    let penalties = request.penalties;
    if !(0.01..=100.0).contains(&penalties.repetition) {
        return wrong("repetition_penalty", &penalties.repetition, "0.01 to 100");
    }
    if !(-100.0..=100.0).contains(&penalties.frequency) {
        return wrong("frequency_penalty", &penalties.frequency, "-100 to 100");
    }
    if !(-100.0..=100.0).contains(&penalties.presence) {
        return wrong("presence_penalty", &penalties.presence, "-100 to 100");
    }
    if !(-10.0..=10.0).contains(&request.length_penalty) {
        return wrong("length_penalty", &request.length_penalty, "-10 to 10");
    }
    match (request.log_probabilities, request.method) {
        (Some(count @ 21..), _) => return wrong("log_probabilities", &count, "0 to 20"),
        (Some(count @ 1..), Method::Beam { .. }) => {
            return wrong("log_probabilities", &count, "0 for a beam search");
        }
        _ => {}
    }
    let method = match request.method {
        Method::Multinomial(multinomial) => check_multinomial(multinomial)?,
        Method::Beam { width } => {
            if !(1..=MAX_ROWS).contains(&width) {
                return wrong("beams", &width, "1 to 256");
            }
            if request.samples > width {
                return wrong("samples", &request.samples, "no more than beams");
            }
            request.method
        }
        Method::Greedy => Method::Greedy,
    };
    Ok(SamplingParams {
        method,
        penalties,
        min_tokens: request.min_tokens,
        ignore_eos: request.ignore_eos,
        eos: model.tokenizer.eos().to_vec(),
        num_top_tokens: request.log_probabilities.unwrap_or(0),
    })
}

/// Temperature zero means greedy, as everywhere.
fn check_multinomial(multinomial: Multinomial) -> Result<Method, SubmitError> {
    let Multinomial { temperature, top_k, top_p, min_p } = multinomial;
    let wrong = |name, found: &dyn ToString, wanted| {
        Err(SubmitError::Parameter { name, found: found.to_string(), wanted })
    };
    if !(temperature.is_finite() && temperature >= 0.0) {
        return wrong("temperature", &temperature, "0 or a number above it");
    }
    if top_k == Some(0) {
        return wrong("top_k", &0, "at least 1");
    }
    if !(top_p > 0.0 && top_p <= 1.0) {
        return wrong("top_p", &top_p, "above 0 and at most 1");
    }
    if !(0.0..=1.0).contains(&min_p) {
        return wrong("min_p", &min_p, "0 to 1");
    }
    Ok(if temperature == 0.0 { Method::Greedy } else { Method::Multinomial(multinomial) })
}
