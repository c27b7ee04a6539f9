//! Checks whether a constraint accepts a whole text, in the same way as the engine: each token by
//! its mask, then the end.

use std::{
    fmt,
    time::{Duration, Instant},
};

use sluicegate_constraint::{Event, Mask, MatchError, Matcher, TokenId};

/// One token of a text, and the result of its check.
#[derive(Debug)]
pub(crate) struct TokenCheck<'a> {
    pub(crate) token: TokenId,
    pub(crate) mask: &'a Mask,
    pub(crate) mask_time: Duration,
    /// `None` if the mask lacks the token.
    pub(crate) advance_time: Option<Duration>,
}

/// Where and why a text is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Tokens of the text before the refused one; all of them if the text may not end.
    pub(crate) num_tokens: usize,
    pub(crate) why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Why {
    /// The mask lacks the token.
    NotAllowed,
    /// The token was replaced: no valid continuation of it is known.
    Vetoed { instead: TokenId },
    /// The value is complete, but the text continues.
    GoesOn,
    /// The text ends where the value may not.
    Unfinished,
    /// The constraint engine gave up.
    Failed(MatchError),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAllowed => f.write_str("not allowed"),
            Self::Vetoed { .. } => f.write_str("vetoed"),
            Self::GoesOn => f.write_str("goes on after its end"),
            Self::Unfinished => f.write_str("may not end here"),
            Self::Failed(error) => write!(f, "failed: {error}"),
        }
    }
}

/// Feeds `tokens` to a fresh matcher, and each check to `watch`.
///
/// # Errors
/// [`Refusal`] at the first refused token, or at the end.
pub(crate) fn validate(
    matcher: &mut Matcher,
    tokens: &[TokenId],
    mut watch: impl FnMut(&TokenCheck<'_>),
) -> Result<(), Refusal> {
    for (num_tokens, &token) in tokens.iter().enumerate() {
        take(matcher, token, &mut watch).map_err(|why| Refusal { num_tokens, why })?;
    }
    let num_tokens = tokens.len();
    end(matcher).map_err(|why| Refusal { num_tokens, why })
}

fn take(
    matcher: &mut Matcher,
    token: TokenId,
    watch: &mut impl FnMut(&TokenCheck<'_>),
) -> Result<(), Why> {
    if matcher.is_finished() {
        return Err(Why::GoesOn);
    }
    let started = Instant::now();
    let mask = matcher.mask();
    let mask_time = started.elapsed();
    let mask = mask.map_err(Why::Failed)?;
    if !mask.allows(token) {
        watch(&TokenCheck { token, mask: &mask, mask_time, advance_time: None });
        return Err(Why::NotAllowed);
    }
    let started = Instant::now();
    let event = matcher.advance(token);
    let advance_time = Some(started.elapsed());
    watch(&TokenCheck { token, mask: &mask, mask_time, advance_time });
    match event.map_err(Why::Failed)? {
        Event::Vetoed { instead, .. } => Err(Why::Vetoed { instead }),
        _ => Ok(()),
    }
}

/// An end token must be in the mask, since the last stage samples from it.
fn end(matcher: &mut Matcher) -> Result<(), Why> {
    if matcher.is_finished() {
        return Ok(());
    }
    let mask = matcher.mask().map_err(Why::Failed)?;
    let mut ends = matcher.vocab().eos().iter().copied();
    let eos = ends.find(|eos| mask.allows(*eos)).ok_or(Why::Unfinished)?;
    match matcher.advance(eos).map_err(Why::Failed)? {
        Event::Finished => Ok(()),
        Event::Vetoed { instead, .. } => Err(Why::Vetoed { instead }),
        _ => Err(Why::Unfinished),
    }
}
