//! The runtime's request, made of arguments and prompts.

use std::num::NonZero;

use anyhow::anyhow;
use sluicegate_constraint::Spec;
use sluicegate_model::{chat::Message, open::Model, units::TokenId};
use sluicegate_runtime::{
    Prompt, Request,
    sampler::{Method, Multinomial, Penalties},
};

use crate::{
    cli::{GenerateArgs, PromptForm, SamplingArgs},
    error::CliError,
};

/// The most tokens of an output where the caller names no number.
const USUAL_TOKENS: usize = 256;

/// Checks what the parser cannot: options that limit each other.
///
/// # Errors
/// If more outputs are wanted than there are beams.
pub(crate) fn check(args: &SamplingArgs) -> Result<(), CliError> {
    match args.beams {
        Some(beams) if args.samples > beams => {
            let found = args.samples;
            let error = anyhow!("wanted at most the {beams} of --beams, found {found}");
            Err(CliError::usage_at("--samples", error))
        }
        _ => Ok(()),
    }
}

/// The request of a call. Its prompts are tokens, so that the plan can be made for their length.
///
/// # Errors
/// If a prompt cannot be written as tokens, or leaves no room in the model's context.
pub(crate) fn build(
    args: &GenerateArgs,
    model: &Model,
    prompts: &[String],
    constraint: Spec,
) -> Result<Request, CliError> {
    let tokens: Vec<Vec<TokenId>> = prompts
        .iter()
        .map(|prompt| tokenise(prompt, args.form, model))
        .collect::<Result<_, _>>()?;
    let longest = tokens.iter().map(Vec::len).max().unwrap_or(0);
    let sampling = &args.sampling;
    Ok(Request {
        prompts: tokens.into_iter().map(Prompt::Tokens).collect(),
        constraint,
        method: method(sampling),
        penalties: Penalties {
            repetition: sampling.repetition_penalty,
            frequency: sampling.frequency_penalty,
            presence: sampling.presence_penalty,
        },
        samples: usize::from(sampling.samples),
        max_tokens: max_tokens(args.length.max_tokens, longest, model.config.max_positions)?,
        min_tokens: 0,
        ignore_eos: false,
        stop: args.length.stop.clone(),
        seed: sampling.seed,
        priority: 0,
    })
}

/// Greedy, unless an option asks for beams or for a random draw; several samples only differ if
/// they are drawn.
fn method(args: &SamplingArgs) -> Method {
    if let Some(width) = args.beams {
        return Method::Beam { width: usize::from(width) };
    }
    let &SamplingArgs { temperature, top_k, top_p, min_p, samples, .. } = args;
    let is_drawn = top_k.is_some() || top_p.is_some() || min_p.is_some() || samples > 1;
    if temperature.is_none() && !is_drawn {
        return Method::Greedy;
    }
    let usual = Multinomial::default();
    Method::Multinomial(Multinomial {
        temperature: temperature.unwrap_or(usual.temperature),
        top_k: top_k.map(NonZero::get),
        top_p: top_p.unwrap_or(usual.top_p),
        min_p: min_p.unwrap_or(usual.min_p),
    })
}

fn tokenise(prompt: &str, form: PromptForm, model: &Model) -> Result<Vec<TokenId>, CliError> {
    let template = match (form, &model.chat) {
        (PromptForm::Raw, _) | (PromptForm::Auto, None) => None,
        (PromptForm::Auto | PromptForm::Chat, Some(template)) => Some(template),
        (PromptForm::Chat, None) => {
            let error = anyhow!("{} has no chat template; give the prompt with --raw", model.name);
            return Err(CliError::usage_at("--chat", error));
        }
    };
    // A template writes what begins a sequence itself.
    let encoded = match template {
        None => model.tokenizer.encode(prompt, true),
        Some(template) => {
            let messages = [Message::new("user", prompt)];
            let text = template.render(&messages, true).map_err(|error| {
                let hint = "the model's chat template cannot be used; --raw does without it";
                CliError::failed(anyhow::Error::new(error).context(hint))
            })?;
            model.tokenizer.encode(&text, false)
        }
    };
    encoded.map_err(CliError::failed)
}

/// The length that was asked for; else the usual one, or what the context leaves.
fn max_tokens(
    wanted: Option<NonZero<usize>>,
    prompt_tokens: usize,
    context: usize,
) -> Result<usize, CliError> {
    let room = context.saturating_sub(prompt_tokens);
    let message = match wanted.map(NonZero::get) {
        _ if room == 0 => format!(
            "the longest prompt has {prompt_tokens} tokens, and the model's context ends at \
             {context}; shorten the prompt"
        ),
        Some(wanted) if wanted > room => format!(
            "--max-tokens: the longest prompt has {prompt_tokens} tokens, so that the model's \
             context of {context} leaves {room}; found {wanted}"
        ),
        Some(wanted) => return Ok(wanted),
        None => return Ok(USUAL_TOKENS.min(room)),
    };
    Err(CliError::usage(anyhow!(message)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::parse_generate;

    #[track_caller]
    fn check_method(args: &[&str], want: Method) {
        assert_eq!(method(&parse_generate(args).sampling), want);
    }

    #[test]
    fn options_choose_the_method() {
        let usual = Multinomial::default();
        check_method(&[], Method::Greedy);
        check_method(&["--seed", "3", "--repetition-penalty", "1.2"], Method::Greedy);
        check_method(&["--beams", "4", "--samples", "2"], Method::Beam { width: 4 });
        check_method(&["--samples", "2"], Method::Multinomial(usual));
        check_method(
            &["--temperature", "0.5"],
            Method::Multinomial(Multinomial { temperature: 0.5, ..usual }),
        );
        check_method(
            &["--top-k", "5", "--top-p", "0.5", "--min-p", "0.25"],
            Method::Multinomial(Multinomial { top_k: Some(5), top_p: 0.5, min_p: 0.25, ..usual }),
        );
    }

    #[test]
    fn there_are_no_more_outputs_than_beams() {
        let check = |given: &[&str]| check(&parse_generate(given).sampling).is_ok();
        assert!(check(&["--samples", "3"]));
        assert!(check(&["--samples", "3", "--beams", "3"]));
        assert!(!check(&["--samples", "3", "--beams", "2"]));
    }

    #[test]
    fn outputs_stay_within_the_context() {
        #[track_caller]
        fn check(wanted: Option<usize>, prompt_tokens: usize, want: Result<usize, &str>) {
            let got = max_tokens(wanted.and_then(NonZero::new), prompt_tokens, 1000);
            match (got, want) {
                (Ok(got), Ok(want)) => assert_eq!(got, want),
                (Err(CliError::Usage(error)), Err(want)) => {
                    assert!(error.to_string().contains(want), "{error}");
                }
                (got, want) => panic!("wanted {want:?}, found {got:?}"),
            }
        }
        check(None, 10, Ok(256));
        check(None, 900, Ok(100));
        check(Some(990), 10, Ok(990));
        check(Some(991), 10, Err("leaves 990; found 991"));
        check(None, 1000, Err("context ends at 1000"));
    }
}
