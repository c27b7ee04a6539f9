//! What a loop was told, written down, so that an incident is a file and the file a test.
//!
//! A journal is a sequence of [`Line`]s: what the loop was made from, every input with its moment, and
//! a digest of what the loop wanted done. Whoever tells another loop the same finds the same.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use sluicegate_spec::{
    tokens::{TokenBytes, TokenTable},
    units::TokenId,
};

use super::{
    action::Action,
    input::Input,
    limits::Limits,
    request::Admitted,
    serve::{Serve, ServeConfig},
};
use crate::scheduler::{OrderBounds, SchedulerConfig};

/// The form of the lines; others are refused.
const VERSION: u32 = 1;

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// What the loop was made from; the first line.
    Begin(Header),
    /// What a token stands for that comes up in the next input.
    Token { id: TokenId, bytes: TokenBytes },
    /// What the loop was told, when, and what it wanted done.
    Told { at: Duration, input: Input, wanted: Wanted },
    /// The journal ends here, though the loop went on: it had its full length.
    Full,
}

/// What a loop was made from, but for its vocabulary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    version: u32,
    scheduler: SchedulerConfig,
    max_depth: Option<usize>,
    bounds: OrderBounds,
    limits: Limits,
    /// Whether prompts are replaced by others that are as long, and begin alike where they did.
    without_prompts: bool,
}

/// What a loop wanted done, as far as it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    actions: usize,
    /// FNV-1a of the actions as JSON.
    digest: u64,
}

/// Writes a loop's journal down.
#[derive(Debug)]
pub struct Journal {
    vocabulary: TokenTable,
    seen: BTreeSet<TokenId>,
    /// Stands in for prompts that are left out, with how many tokens there are.
    salt: Option<(u64, usize)>,
}

impl Journal {
    /// Begins the journal of a loop. With a salt prompts are left out: nobody who does not know it can
    /// tell them from the journal.
    pub fn begin(config: &ServeConfig, salt: Option<u64>) -> (Self, Line) {
        let ServeConfig { scheduler, max_depth, bounds, limits, vocabulary } = config;
        let header = Header {
            version: VERSION,
            scheduler: scheduler.clone(),
            max_depth: *max_depth,
            bounds: bounds.clone(),
            limits: *limits,
            without_prompts: salt.is_some(),
        };
        let salt = salt.map(|salt| (salt, bounds.vocab));
        let journal = Self { vocabulary: vocabulary.clone(), seen: BTreeSet::new(), salt };
        (journal, Line::Begin(header))
    }

    /// The lines of one input, and of what the loop wanted done by it.
    pub fn told(&mut self, at: Duration, input: &Input, actions: &[Action]) -> Vec<Line> {
        let mut lines = Vec::new();
        for id in tokens_of(input) {
            if self.seen.insert(id) {
                lines.push(Line::Token { id, bytes: self.vocabulary.get(id).clone() });
            }
        }
        let input = match (self.salt, input) {
            (Some(salt), Input::Submitted { request, admitted }) => {
                let prompts = admitted.prompts.iter().map(|prompt| stand_in(prompt, salt));
                let admitted = Admitted { prompts: prompts.collect(), ..(**admitted).clone() };
                Input::Submitted { request: *request, admitted: Arc::new(admitted) }
            }
            (_, input) => input.clone(),
        };
        let wanted = Wanted::of(actions, self.salt.is_some());
        lines.push(Line::Told { at, input, wanted });
        lines
    }
}

/// Tokens whose bytes matter to the loop.
fn tokens_of(input: &Input) -> Vec<TokenId> {
    match input {
        Input::Sampled(sampled) => {
            let choices = sampled.groups.iter().filter_map(|group| group.choices.as_ref().ok());
            choices.flatten().map(|choice| choice.token).collect()
        }
        Input::Advanced { answers, .. } => {
            answers.iter().flatten().flat_map(|answer| &answer.tokens).copied().collect()
        }
        _ => Vec::new(),
    }
}

/// Another prompt of the same length. Two of them have the same beginning where the prompts had.
fn stand_in(prompt: &[TokenId], (salt, vocab): (u64, usize)) -> Vec<TokenId> {
    let mut hash = salt;
    let token = |token: &TokenId| {
        hash = fnv(hash, &token.to_le_bytes());
        TokenId::try_from(hash % vocab.max(1) as u64).unwrap_or_default()
    };
    prompt.iter().map(token).collect()
}

impl Wanted {
    fn of(actions: &[Action], without_prompts: bool) -> Self {
        let mut digest = FNV_BASIS;
        for action in actions {
            let masked = without_prompts.then(|| without_tokens(action)).flatten();
            let json = serde_json::to_vec(masked.as_ref().unwrap_or(action));
            digest = fnv(digest, &json.unwrap_or_default());
        }
        Self { actions: actions.len(), digest }
    }
}

/// An order whose tokens are left out: they are a prompt's, or tell of it.
fn without_tokens(action: &Action) -> Option<Action> {
    let Action::Send(batch) = action else { return None };
    let mut batch = batch.clone();
    for row in &mut batch.turn.microbatch.rows {
        row.tokens.fill(0);
    }
    for row in batch.sampling.iter_mut().flat_map(|group| &mut group.rows) {
        row.counts.clear();
    }
    Some(Action::Send(batch))
}

const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;

/// Source: Fowler, Noll and Vo, <http://www.isthe.com/chongo/tech/comp/fnv/>.
fn fnv(basis: u64, bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    bytes.iter().fold(basis, step)
}

/// What a replay found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Replayed {
    pub inputs: usize,
    pub actions: usize,
    /// The moment of the last input.
    pub until: Duration,
    /// Whether the journal was full before the loop had ended.
    pub is_full: bool,
    pub metrics: super::Metrics,
}

/// Why a replay did not go as the journal says. Inputs are counted from 1.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    #[error("a journal begins with a line of the kind `begin`")]
    NoBegin,
    #[error("the journal is of version {found}, wanted {VERSION}")]
    Version { found: u32 },
    #[error("its vocabulary has token {id}, wanted ids below {limit}")]
    Token { id: TokenId, limit: usize },
    #[error("input {input} goes back in time")]
    Time { input: usize },
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
    if header.version != VERSION {
        return Err(ReplayError::Version { found: header.version });
    }
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
        until: Duration::ZERO,
        is_full: lines.last() == Some(&Line::Full),
        metrics: serve.metrics(),
    };
    for line in lines {
        let Line::Told { at, input, wanted } = line else { continue };
        replayed.inputs += 1;
        if *at < replayed.until {
            return Err(ReplayError::Time { input: replayed.inputs });
        }
        replayed.until = *at;
        let mut actions = Vec::new();
        serve.on(*at, input.clone(), &mut actions);
        serve.take_begun();
        let found = Wanted::of(&actions, header.without_prompts);
        if found != *wanted {
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

/// Vocabularies are no larger than this.
const MAX_TOKENS: usize = 1 << 20;

fn vocabulary(lines: &[Line]) -> Result<TokenTable, ReplayError> {
    let mut tokens = Vec::new();
    for line in lines {
        let Line::Token { id, bytes } = line else { continue };
        let place = *id as usize;
        if place >= MAX_TOKENS {
            return Err(ReplayError::Token { id: *id, limit: MAX_TOKENS });
        }
        if tokens.len() <= place {
            tokens.resize(place + 1, TokenBytes::Unused);
        }
        tokens[place] = bytes.clone();
    }
    Ok(tokens.into())
}
