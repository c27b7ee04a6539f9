//! The measured requests: their prompts, and what makes each do the same work.

use std::ops::Range;

use sluicegate::{Prompt, Request};
use sluicegate_constraint::Spec;
use sluicegate_model::{error::TokenizerError, open::Model};
use sluicegate_spec::units::TokenId;

/// Words and punctuation: at each step thousands of tokens are allowed and none is forced. The text
/// may end anywhere, so it has as many tokens as an unconstrained one.
const WORDS: &str = r"([A-Za-z]+[ ,.;:'\n-]{1,2})*[A-Za-z]*";

const TEXT: &str = "The first engines that moved by steam were made to lift water out of mines. They \
    were slow and burnt much coal, and nobody thought of putting them on wheels. Then a better boiler \
    was found, and with it the same work took half of the fuel; soon there were engines in mills, on \
    ships and on rails, and towns that had been days apart came within an afternoon of each other. ";

/// Returns the default constraint of the constrained side.
pub(super) fn words() -> Spec {
    Spec::Regex(WORDS.to_owned())
}

/// Makes a greedy request of exactly `output_tokens` tokens, unless the constraint ends earlier.
pub(super) fn request(prompt: Vec<TokenId>, output_tokens: usize, constraint: Spec) -> Request {
    Request {
        constraint,
        max_tokens: output_tokens,
        ignore_eos: true,
        ..Request::new(Prompt::Tokens(prompt))
    }
}

/// Returns prompts by their numbers. No two begin alike, so none finds its pages in the cache.
///
/// # Errors
/// The text cannot be tokenized.
pub(super) fn prompts(
    model: &Model,
    numbers: Range<usize>,
    num_tokens: usize,
) -> Result<Vec<Vec<TokenId>>, TokenizerError> {
    let num_words = TEXT.split_whitespace().count();
    // A word has at least one token.
    let text = TEXT.repeat(num_tokens.div_ceil(num_words));
    let prompt = |number: usize| -> Result<Vec<TokenId>, TokenizerError> {
        let mut tokens = model.tokenizer.encode(&format!("{number}. {text}"), true)?;
        tokens.truncate(num_tokens);
        Ok(tokens)
    };
    numbers.map(prompt).collect()
}
