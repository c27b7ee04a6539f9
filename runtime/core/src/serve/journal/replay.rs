//! A journal told to another loop.

use std::{ops::Range, time::Duration};

use serde::Serialize;
use sluicegate_spec::{
    tokens::{TokenBytes, TokenTable},
    units::TokenId,
};

use super::{Header, Line, VERSION, Wanted};
use crate::{
    messages::Method,
    serve::{Admitted, Input, Metrics, Serve, ServeConfig},
};

/// What a replay found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Replayed {
    pub inputs: usize,
    pub actions: usize,
    /// From the first input to the last.
    pub lasted: Duration,
    /// Whether the journal was full before the loop had ended.
    pub is_full: bool,
    pub metrics: Metrics,
}

/// Why a replay did not go as the journal says. Inputs are counted from 1.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    #[error("a journal begins with a line of the kind `begin`")]
    NoBegin,
    #[error("the journal is of version {found}, wanted {VERSION}")]
    Version { found: u32 },
    #[error("{what} is {found}, wanted {wanted}")]
    Header { what: &'static str, found: usize, wanted: &'static str },
    #[error("its vocabulary has token {id}, wanted ids below {limit}")]
    Token { id: TokenId, limit: usize },
    #[error("input {input} goes back in time, or beyond a year")]
    Time { input: usize },
    #[error("input {input} is a request that no loop lets in: {what}")]
    Request { input: usize, what: String },
    #[error(
        "input {input} led to other actions than were recorded: {found} of them, recorded were \
         {recorded}; they are {actions}"
    )]
    Differs { input: usize, recorded: usize, found: usize, actions: String },
}

/// Tells a new loop what a journal says, and compares what it wants done.
///
/// # Errors
/// [`ReplayError`] at the first difference, or where the lines are no journal.
pub fn replay(lines: &[Line]) -> Result<Replayed, ReplayError> {
    let Some((Line::Begin(header), lines)) = lines.split_first() else {
        return Err(ReplayError::NoBegin);
    };
    header.check()?;
    let config = ServeConfig {
        scheduler: header.scheduler.clone(),
        max_depth: header.max_depth,
        bounds: header.bounds.clone(),
        limits: header.limits,
        vocabulary: vocabulary(lines)?,
    };
    let mut serve = Serve::new(config);
    let mut replayed = Replayed {
        inputs: 0,
        actions: 0,
        lasted: Duration::ZERO,
        is_full: lines.last() == Some(&Line::Full),
        metrics: Metrics::default(),
    };
    let mut moments: Option<Range<Duration>> = None;
    for line in lines {
        let Line::Told { at, input, wanted } = line else { continue };
        replayed.inputs += 1;
        let Range { start, end } = moments.unwrap_or(*at..*at);
        if *at < end || *at > LONGEST {
            return Err(ReplayError::Time { input: replayed.inputs });
        }
        moments = Some(start..*at);
        replayed.lasted = at.saturating_sub(start);
        if let Input::Submitted { admitted, .. } = input {
            check_request(admitted, &serve)
                .map_err(|what| ReplayError::Request { input: replayed.inputs, what })?;
        }
        let mut actions = Vec::new();
        serve.on(*at, input.clone(), &mut actions);
        serve.take_left_waiting();
        let found = Wanted::of(&actions, header.without_prompts);
        // A fuzzer goes on: it cannot guess digests, but whoever writes a hostile file can.
        if found != *wanted && !cfg!(fuzzing) {
            return Err(ReplayError::Differs {
                input: replayed.inputs,
                recorded: wanted.actions,
                found: found.actions,
                actions: serde_json::to_string(&actions).unwrap_or_default(),
            });
        }
        replayed.actions += found.actions;
    }
    replayed.metrics = serve.metrics();
    Ok(replayed)
}

/// No loop runs for longer than a year.
const LONGEST: Duration = Duration::from_hours(24 * 366);

/// What a file may say of sizes: more than any engine has, and little enough to be allocated.
const MAX_GROUPS: usize = 64;
const MAX_PAGES: usize = 1 << 24;
const MAX_STAGES: usize = 4_096;
const MAX_DEPTH: usize = 1 << 16;

impl Header {
    /// Numbers that are indexed by, divided by or allocated must be in range.
    fn check(&self) -> Result<(), ReplayError> {
        if self.version != VERSION {
            return Err(ReplayError::Version { found: self.version });
        }
        let Self { scheduler, max_depth, bounds, .. } = self;
        let groups = scheduler.kv_groups.len();
        let numbers = [
            ("the number of KV groups", groups, 1..=MAX_GROUPS, "1 to 64"),
            (
                "the number of page counts",
                scheduler.pages_per_group.len(),
                groups..=groups,
                "one for each KV group",
            ),
            (
                "the number of page bounds",
                bounds.pages_per_group.len(),
                groups..=groups,
                "one for each KV group",
            ),
            ("num_stages", scheduler.num_stages, 1..=MAX_STAGES, "1 to 4096"),
            ("max_in_flight", scheduler.max_in_flight, 1..=MAX_DEPTH, "1 to 65536"),
            ("max_depth", max_depth.unwrap_or(1), 1..=MAX_DEPTH, "1 to 65536"),
        ];
        let pages = scheduler.pages_per_group.iter();
        let pages = pages.map(|pages| ("a number of pages", *pages, 0..=MAX_PAGES, "at most 2^24"));
        for (what, found, range, wanted) in numbers.into_iter().chain(pages) {
            if !range.contains(&found) {
                return Err(ReplayError::Header { what, found, wanted });
            }
        }
        Ok(())
    }
}

/// The most of what a request may ask for.
const MAX_PER_REQUEST: usize = 256;
const MAX_TOKENS: usize = 1 << 30;

/// What an engine checks before a request comes to its loop.
fn check_request(admitted: &Admitted, serve: &Serve) -> Result<(), String> {
    let Admitted { prompts, samples, max_tokens, .. } = admitted;
    let rows = match admitted.params.method {
        Method::Beam { width } => width,
        Method::Greedy | Method::Multinomial(_) => *samples,
    };
    if !(1..=MAX_PER_REQUEST).contains(&prompts.len()) || prompts.iter().any(Vec::is_empty) {
        return Err("wanted 1 to 256 prompts, each with a token".to_owned());
    }
    if !(1..=MAX_PER_REQUEST).contains(samples) || !(1..=MAX_PER_REQUEST).contains(&rows) {
        return Err("wanted 1 to 256 samples or beams".to_owned());
    }
    if !(1..=MAX_TOKENS).contains(max_tokens) {
        return Err(format!("max_tokens is {max_tokens}, wanted 1 to 2^30"));
    }
    let nothing = TokenTable::default();
    let check = |prompt| serve.config().scheduler.check(&admitted.job(prompt, &nothing));
    (0..prompts.len()).try_for_each(check).map_err(|error| error.to_string())
}

/// Vocabularies are no larger than this.
const MAX_VOCAB: usize = 1 << 20;

fn vocabulary(lines: &[Line]) -> Result<TokenTable, ReplayError> {
    let mut tokens = Vec::new();
    for line in lines {
        let Line::Token { id, bytes } = line else { continue };
        let index = *id as usize;
        if index >= MAX_VOCAB {
            return Err(ReplayError::Token { id: *id, limit: MAX_VOCAB });
        }
        if tokens.len() <= index {
            tokens.resize(index + 1, TokenBytes::Unused);
        }
        tokens[index] = bytes.clone();
    }
    Ok(tokens.into())
}
