//! Makes the runtime's request from arguments and prompts.

use std::num::NonZero;

use anyhow::anyhow;
use sluicegate::{
    Prompt, Request,
    engine::SubmitError,
    request::WrittenPrompt,
    sampler::{Method, Multinomial, Penalties},
};
use sluicegate_constraint::Spec;
use sluicegate_model::{chat::Message, open::Model};
use sluicegate_spec::units::TokenId;

use crate::{
    cli::{GenerateArgs, LengthArgs, PromptForm, SamplingArgs},
    counted::counted,
    error::CliError,
};

/// The default for the most tokens of an output.
const USUAL_TOKENS: usize = 256;

/// Checks options that limit each other, which the parser cannot. Warns of options without effect.
///
/// # Errors
/// More outputs than beams are wanted, or something that beams do not support.
pub(crate) fn check(args: &GenerateArgs) -> Result<(), CliError> {
    let sampling = &args.sampling;
    for warning in idle(sampling) {
        tracing::warn!("{warning}");
    }
    match (sampling.beams, args.output.logprobs) {
        (Some(beams), _) if sampling.samples > beams => {
            let found = sampling.samples;
            let error = anyhow!("wanted at most the {beams} of --beams, found {found}");
            Err(CliError::usage_at("--samples", error))
        }
        (Some(_), Some(found @ 1..)) => {
            let error = anyhow!("wanted 0 with --beams, found {found}");
            Err(CliError::usage_at("--logprobs", error))
        }
        _ => Ok(()),
    }
}

/// Lists the options without effect.
fn idle(args: &SamplingArgs) -> Vec<String> {
    let method = method(args);
    let is_drawn = matches!(method, Method::Multinomial(it) if it.temperature > 0.0);
    if is_drawn {
        return Vec::new();
    }
    let reason = match method {
        Method::Multinomial(_) => "--temperature 0 always takes the most likely token",
        Method::Beam { .. } => "--beams draws nothing at random",
        Method::Greedy => {
            "nothing is drawn at random without --temperature, --top-k, --top-p, --min-p or --samples"
        }
    };
    let drawing = [
        ("--seed", args.seed.is_some()),
        ("--top-k", args.top_k.is_some()),
        ("--top-p", args.top_p.is_some()),
        ("--min-p", args.min_p.is_some()),
    ];
    let given = drawing.into_iter().filter(|(_, is_given)| *is_given);
    given.map(|(name, _)| format!("{name} has no effect: {reason}")).collect()
}

/// The contents of one request.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) prompts: Vec<Vec<TokenId>>,
    pub(crate) constraint: Spec,
    pub(crate) max_tokens: Option<NonZero<usize>>,
    pub(crate) seed: u64,
}

/// Makes the request of a call. Its prompts are tokens, since the plan depends on their length.
///
/// # Errors
/// A prompt leaves no room in the model's context.
pub(crate) fn build(
    args: &GenerateArgs,
    model: &Model,
    wanted: Wanted,
) -> Result<Request, CliError> {
    let Wanted { prompts, constraint, max_tokens, seed } = wanted;
    let longest = prompts.iter().map(Vec::len).max().unwrap_or(0);
    let (sampling, length) = (&args.sampling, &args.length);
    let max_tokens = most_tokens(max_tokens, longest, context(length, model)?)?;
    Ok(Request {
        prompts: prompts.into_iter().map(Prompt::Tokens).collect(),
        constraint,
        method: method(sampling),
        penalties: Penalties {
            repetition: sampling.repetition_penalty,
            frequency: sampling.frequency_penalty,
            presence: sampling.presence_penalty,
        },
        samples: usize::from(sampling.samples),
        max_tokens,
        min_tokens: least_tokens(length, max_tokens)?,
        ignore_eos: length.ignore_eos,
        log_probabilities: args.output.logprobs.map(usize::from),
        length_penalty: sampling.length_penalty.unwrap_or_default().into(),
        stop: length.stop.clone(),
        seed,
        priority: 0,
    })
}

/// Positions of prompt and output together.
fn context(args: &LengthArgs, model: &Model) -> Result<Context, CliError> {
    let of_model = Context { positions: model.config.max_positions, owner: "the model's context" };
    match args.max_context {
        Some(found) if found > of_model.positions => {
            let wanted = of_model.positions;
            let error = anyhow!("wanted at most the {wanted} tokens of the model, found {found}");
            Err(CliError::usage_at("--max-context", error))
        }
        Some(positions) => Ok(Context { positions, owner: "--max-context" }),
        None => Ok(of_model),
    }
}

/// A number of positions, and the name of their limit.
#[derive(Debug, Clone, Copy)]
struct Context {
    positions: usize,
    owner: &'static str,
}

fn least_tokens(args: &LengthArgs, max_tokens: usize) -> Result<usize, CliError> {
    let found = args.min_tokens as usize;
    if found > max_tokens {
        let error = anyhow!("an output has at most {max_tokens} tokens here; found {found}");
        return Err(CliError::usage_at("--min-tokens", error));
    }
    Ok(found)
}

/// Greedy, unless an option asks for beams or for a random draw; several samples differ only if
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

/// Writes a prompt as the model expects it.
///
/// # Errors
/// The prompt needs a missing chat template, or cannot be tokenized.
pub(crate) fn write(
    prompt: &str,
    args: &GenerateArgs,
    model: &Model,
) -> Result<WrittenPrompt, CliError> {
    let has_template = model.chat.is_some();
    let prompt = match args.form {
        PromptForm::Chat if !has_template => {
            let error = anyhow!("{} has no chat template; give the prompt with --raw", model.name);
            return Err(CliError::usage_at("--chat", error));
        }
        PromptForm::Auto | PromptForm::Chat if has_template => {
            let system = args.system.as_deref().map(|text| Message::new("system", text));
            Prompt::Chat(system.into_iter().chain([Message::new("user", prompt)]).collect())
        }
        _ if args.system.is_some() => {
            let error = anyhow!("{} has no chat template; put it into the prompt", model.name);
            return Err(CliError::usage_at("--system", error));
        }
        _ => Prompt::Text(prompt.to_owned()),
    };
    prompt.write(0, model).map_err(|error| match error {
        SubmitError::Chat { source, .. } => {
            let hint = "the model's chat template cannot be used; use --raw to avoid it";
            CliError::failed(anyhow::Error::new(source).context(hint))
        }
        SubmitError::Tokenizer { source, .. } => CliError::failed(source),
        error => CliError::failed(error),
    })
}

/// Returns the requested length; else the default, or less if the context is full.
fn most_tokens(
    wanted: Option<NonZero<usize>>,
    prompt_tokens: usize,
    context: Context,
) -> Result<usize, CliError> {
    let Context { positions, owner } = context;
    let room = positions.saturating_sub(prompt_tokens);
    let message = match wanted.map(NonZero::get) {
        _ if room == 0 => format!(
            "the longest prompt has {}, and {owner} ends at {positions}; shorten the prompt",
            counted(prompt_tokens, "token")
        ),
        Some(wanted) if wanted > room => format!(
            "--max-tokens: the longest prompt has {}, so that {owner} of {positions} leaves {room}; \
             found {wanted}",
            counted(prompt_tokens, "token")
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
    fn a_seed_where_nothing_is_drawn_is_warned_of() {
        #[track_caller]
        fn check(args: &[&str], want: &[&str]) {
            let warnings = idle(&parse_generate(args).sampling);
            assert_eq!(warnings.len(), want.len(), "{warnings:?}");
            for (warning, start) in warnings.iter().zip(want) {
                assert!(warning.starts_with(start), "{warning}");
            }
        }
        check(&[], &[]);
        check(&["--seed", "1"], &["--seed has no effect: nothing is drawn at random without"]);
        check(&["--seed", "1", "--beams", "2"], &["--seed has no effect: --beams draws nothing"]);
        let zero = ["--temperature", "0", "--seed", "1", "--top-p", "0.5"];
        check(&zero, &["--seed has no effect: --temperature 0", "--top-p has no effect"]);
        check(&["--temperature", "0.5", "--seed", "1", "--top-k", "3"], &[]);
        check(&["--samples", "2", "--seed", "1"], &[]);
    }

    #[test]
    fn there_are_no_more_outputs_than_beams() {
        let check = |given: &[&str]| check(&parse_generate(given)).is_ok();
        assert!(check(&["--samples", "3"]));
        assert!(check(&["--samples", "3", "--beams", "3"]));
        assert!(!check(&["--samples", "3", "--beams", "2"]));
    }

    #[test]
    fn outputs_stay_within_the_context() {
        #[track_caller]
        fn check(wanted: Option<usize>, prompt_tokens: usize, want: Result<usize, &str>) {
            let context = Context { positions: 1000, owner: "the model's context" };
            let got = most_tokens(wanted.and_then(NonZero::new), prompt_tokens, context);
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
