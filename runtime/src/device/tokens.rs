//! What comes back from the last stage: tokens with scores and parents.

use candle_core::Device;
use sluicegate_core::messages::{Choice, GroupChoices, MicrobatchId};
use sluicegate_model::placed::Named;
use sluicegate_placement::TransferKind;

use super::payload::{Payload, PayloadSize};
use crate::pipeline::{MaskTimes, StageTimes};

/// The outcome of one microbatch; without groups if it only filled the cache.
#[derive(Debug, Clone)]
pub struct Sampled {
    pub microbatch: MicrobatchId,
    pub groups: Vec<GroupChoices>,
    /// When each stage worked on it.
    pub times: Vec<StageTimes>,
    pub mask_times: MaskTimes,
    /// Bytes of logits that the sampler read out of another memory than its own.
    pub logit_bytes: usize,
}

impl Named for Sampled {
    const NAME: &'static str = "tokens";
}

impl Payload for Sampled {
    const KIND: TransferKind = TransferKind::Tokens;

    /// Per choice its token, parent and log-probability, and the likeliest tokens with theirs. Raw are the logits, where they had to be
    /// read out of a GPU's memory to be sampled.
    fn size(&self) -> PayloadSize {
        let choices = self.groups.iter().filter_map(|group| group.choices.as_ref().ok());
        let choice = |choice: &Choice| 16 + 12 * choice.likeliest.len();
        let group = |choices: &Vec<Choice>| 8 + choices.iter().map(choice).sum::<usize>();
        let bytes = 8 + choices.map(group).sum::<usize>();
        PayloadSize { bytes, raw_bytes: bytes.max(self.logit_bytes) }
    }

    fn copy_to(&self, _device: &Device) -> candle_core::Result<Self> {
        Ok(self.clone())
    }
}
