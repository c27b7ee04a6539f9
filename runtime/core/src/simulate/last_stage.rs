//! The last stage: what waits there for masks, and values made into tokens, as the sampler does it
//! with logits.

use std::time::Duration;

use sluicegate_spec::units::TokenId;

use super::{
    error::SimulationError,
    pipeline::Message,
    request::SimulatedRequest,
    value::{EOS, draw, mix, to_token},
};
use crate::{
    messages::{
        Choice, GroupChoices, GroupSampling, Interval, MaskTimes, Masks, Method, MicrobatchId,
        StageTimes, Token,
    },
    parking::{Parked, Parking, requires_masks},
};

/// What the last stage has computed and not yet sampled.
#[derive(Debug, Default)]
pub(super) struct LastStage {
    parking: Parking<Vec<u64>>,
    /// Computed, and since when; it waits for a first message with its masks.
    waiting: Option<(Message, f64)>,
}

/// Groups that can be sampled.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) microbatch: MicrobatchId,
    /// Each with the values of its rows.
    pub(super) groups: Vec<(GroupSampling, Vec<u64>)>,
    pub(super) times: Vec<Option<StageTimes>>,
    pub(super) mask_times: MaskTimes,
    /// Since when the stage has waited for masks of theirs; none where they were parked, and the
    /// stage has long gone on.
    pub(super) since_s: Option<f64>,
}

impl LastStage {
    pub(super) fn computed(&mut self, message: Message, now_s: f64) {
        self.waiting = Some((message, now_s));
    }

    /// The microbatch that waits for masks, and since when.
    pub(super) fn waiting(&self) -> Option<(u64, f64)> {
        self.waiting.as_ref().map(|(message, since_s)| (message.microbatch(), *since_s))
    }

    pub(super) fn receive(&mut self, masks: Masks) {
        self.parking.receive(masks);
    }

    /// What can be sampled next, if anything: a parked group, or what of the microbatch that was
    /// computed has all of its masks.
    pub(super) fn next(&mut self, now_s: f64) -> Result<Option<Ready>, SimulationError> {
        let Self { parking, waiting } = self;
        let now = Duration::from_secs_f64(now_s);
        if let Some(Parked { microbatch, sampling, kept, since }) = parking.take_ready() {
            let mask_times = MaskTimes {
                awaited: Some(Interval { from: since, until: now }),
                filled: parking.take_filled(microbatch),
            };
            let (groups, times) = (vec![(sampling, kept)], Vec::new());
            let ready = Ready { microbatch, groups, times, mask_times, since_s: None };
            return self.checked(ready).map(Some);
        }
        let waiting = waiting.take_if(|(message, _)| !parking.must_wait(&message.batch));
        let Some((message, since_s)) = waiting else { return Ok(None) };
        let (batch, logits) = (&message.batch, message.logits());
        let values = |group: &GroupSampling| logits[group.logit_rows.clone()].to_vec();
        let awaited = Interval { from: Duration::from_secs_f64(since_s), until: now };
        let mask_times = MaskTimes {
            awaited: requires_masks(batch).then_some(awaited),
            filled: parking.take_filled(batch.microbatch),
        };
        let groups = parking.admit(batch, now, values).into_iter();
        let groups = groups.map(|group| (group.clone(), values(group))).collect();
        let (microbatch, mut times) = (batch.microbatch, message.times.clone());
        if let Some(Some(last)) = times.last_mut() {
            last.ended = now;
        }
        let since_s = Some(since_s);
        self.checked(Ready { microbatch, groups, times, mask_times, since_s }).map(Some)
    }

    /// Checks that each row that requires a mask has one, and lets go of them.
    fn checked(&mut self, ready: Ready) -> Result<Ready, SimulationError> {
        let microbatch = ready.microbatch;
        let masks = self.parking.masks(microbatch);
        for (group, _) in &ready.groups {
            for (row_idx, row) in group.logit_rows.clone().zip(&group.rows) {
                let found = masks.get(row_idx).and_then(Option::as_ref).map(|mask| mask.stamp);
                if let Some(wanted) = row.mask.stamp().filter(|wanted| found != Some(*wanted)) {
                    let group = group.group;
                    return Err(SimulationError::Mask { microbatch, group, wanted });
                }
            }
        }
        self.parking.forget(microbatch);
        Ok(ready)
    }
}

/// What is chosen for a group whose rows have these values.
pub(super) fn sample(
    request: &SimulatedRequest,
    sampling: &GroupSampling,
    values: &[u64],
) -> GroupChoices {
    let mut choices = Vec::new();
    for ((row, value), sampled) in (0..).zip(values).zip(&sampling.rows) {
        if let Method::Beam { width } = sampling.params.method {
            choices.extend(candidates(request, width, row, *value));
            continue;
        }
        choices.extend(sampled.draws.iter().map(|key| {
            let drawn = draw(*value, [key.seed, key.sample, key.step]);
            let token = if request.ends(drawn) { EOS } else { drawn };
            choice(row, token, -1.0)
        }));
    }
    GroupChoices { group: sampling.group, choices: Ok(choices) }
}

/// The most likely continuations of a beam, each with a token of its own.
pub(super) fn candidates(
    request: &SimulatedRequest,
    width: usize,
    row: u32,
    value: u64,
) -> impl Iterator<Item = Choice> {
    let first = to_token(value) & !0xff;
    (0..width as u64).zip(0..).map(move |(index, offset)| {
        let log_probability = -0.01 * (1 + mix(value, index) % 1_000) as f64;
        let token = first + ((to_token(mix(value, 0)) + offset) & 0xff);
        let token = if index == 0 && request.ends(token) { EOS } else { token };
        choice(row, token, log_probability)
    })
}

fn choice(row: u32, token: TokenId, log_probability: f64) -> Choice {
    let token = Token { log_probability, ..Token::certain(token) };
    Choice::new(row, token)
}
