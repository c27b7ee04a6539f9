//! What a loop was told, written down, so that an incident is a file and the file a test.
//!
//! A journal is a sequence of [`Line`]s: what the loop was made from, every input with its moment,
//! and a digest of what the loop wanted done. Whoever tells another loop the same finds the same.

mod replay;
mod stand_ins;
#[cfg(test)]
mod tests;

pub use replay::{ReplayError, Replayed, replay};

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use sluicegate_spec::{
    tokens::{TokenBytes, TokenTable},
    units::TokenId,
};

use super::{
    action::Action, input::Input, limits::Limits, output::Event, request::Admitted,
    serve::ServeConfig,
};
use crate::messages::Choice;
use crate::scheduler::{OrderBounds, SchedulerConfig};
use stand_ins::StandIns;

/// The form of the lines; others are refused.
const VERSION: u32 = 3;

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
    /// Whether other prompts stand in for those that were sent.
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
    /// Where prompts are left out.
    stand_ins: Option<StandIns>,
}

impl Journal {
    /// Begins the journal of a loop, with the prompts or without them.
    pub fn begin(config: &ServeConfig, with_prompts: bool) -> (Self, Line) {
        let ServeConfig { scheduler, max_depth, bounds, limits, vocabulary } = config;
        let header = Header {
            version: VERSION,
            scheduler: scheduler.clone(),
            max_depth: *max_depth,
            bounds: bounds.clone(),
            limits: *limits,
            without_prompts: !with_prompts,
        };
        let stand_ins = (!with_prompts).then(|| StandIns::new(bounds.vocab));
        let journal = Self { vocabulary: vocabulary.clone(), seen: BTreeSet::new(), stand_ins };
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
        let mut input = input.clone();
        if let Some(stand_ins) = &mut self.stand_ins {
            if let Input::Submitted { request, admitted } = &mut input {
                let prompts = stand_ins.prompts(*request, &admitted.prompts);
                *admitted = Arc::new(Admitted { prompts, ..(**admitted).clone() });
            }
            for action in actions {
                note_output(stand_ins, action);
            }
        }
        let wanted = Wanted::of(actions, self.stand_ins.is_some());
        lines.push(Line::Told { at, input, wanted });
        lines
    }
}

/// A prompt may go on from an output.
fn note_output(stand_ins: &mut StandIns, action: &Action) {
    match action {
        Action::Tell { request, event: Event::Output(output) } => {
            stand_ins.output(*request, output.id.prompt, &output.token_ids);
        }
        Action::Tell { request, event: Event::Finished { .. } } | Action::Fail { request, .. } => {
            stand_ins.end(*request);
        }
        _ => {}
    }
}

/// Tokens whose bytes matter to the loop.
fn tokens_of(input: &Input) -> Vec<TokenId> {
    match input {
        Input::Sampled(sampled) => {
            let choices = sampled.groups.iter().filter_map(|group| group.choices.as_ref().ok());
            choices.flatten().flat_map(Choice::tokens).map(|token| token.id).collect()
        }
        Input::Advanced { answers, .. } => {
            answers.iter().flatten().flat_map(|answer| &answer.tokens).copied().collect()
        }
        _ => Vec::new(),
    }
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
    for row in &mut batch.rows {
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
