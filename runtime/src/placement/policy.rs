//! What is wanted of a placement.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sluicegate_model::{
    placed::DeviceId,
    units::{Bytes, LayerRange},
};

/// Objective, expected load and limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    pub objective: Objective,
    /// Sequences at once, and the most rows of a microbatch.
    pub batch: usize,
    /// How many sequences the objective reckons with; none: as many as batch and cache allow.
    pub sequences: Option<usize>,
    /// Expected length of a prompt.
    pub prompt_tokens: usize,
    /// Expected length of an output.
    pub output_tokens: usize,
    /// The most new tokens of a microbatch; a longer prompt is prefilled in several.
    pub chunk_tokens: usize,
    pub kv_tokens: KvTokens,
    /// Less than all memory of a device.
    pub memory_caps: BTreeMap<DeviceId, Bytes>,
    /// Devices that get nothing.
    pub forbidden: BTreeSet<DeviceId>,
    /// Runs of layers that stay together on one device.
    pub unparted: Vec<LayerRange>,
    pub placement: Placement,
}

/// What a good placement is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// Tokens per second of the whole batch.
    #[default]
    Throughput,
    /// Time per token of a single sequence.
    Latency,
}

/// How many tokens the KV cache must hold, all sequences together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KvTokens {
    /// As many as fit, but no more than [`Policy::kv_limit`]: memory that nobody will use stays
    /// free.
    #[default]
    AsManyAsFit,
    /// This many, rounded up to whole pages.
    Exactly(usize),
}

/// Who decides which device holds which layers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// The planner.
    #[default]
    Auto,
    /// The caller: stages in order. The embedding goes with the first, the head with the last.
    Layers(Vec<(DeviceId, LayerRange)>),
}

impl Default for Policy {
    /// A few chats at once.
    fn default() -> Self {
        Self {
            objective: Objective::default(),
            batch: 8,
            sequences: None,
            prompt_tokens: 512,
            output_tokens: 512,
            chunk_tokens: 256,
            kv_tokens: KvTokens::default(),
            memory_caps: BTreeMap::new(),
            forbidden: BTreeSet::new(),
            unparted: Vec::new(),
            placement: Placement::default(),
        }
    }
}

impl Policy {
    /// A context that is allowed for even where shorter ones are expected.
    const USUAL_CONTEXT: usize = 8192;

    /// Expected context of a sequence.
    pub fn context(&self, max_positions: usize) -> usize {
        self.prompt_tokens.saturating_add(self.output_tokens).clamp(1, max_positions.max(1))
    }

    /// The most KV tokens that [`KvTokens::AsManyAsFit`] asks for: the expected contexts of the
    /// whole batch, or one sequence of 8,192 tokens (less if the model ends before) where that is
    /// more.
    pub fn kv_limit(&self, max_positions: usize) -> usize {
        let whole_batch = self.batch.saturating_mul(self.context(max_positions));
        whole_batch.max(max_positions.min(Self::USUAL_CONTEXT)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_covers_the_batch_and_a_usual_context() {
        #[track_caller]
        fn check(batch: usize, max_positions: usize, want: usize) {
            let policy = Policy { batch, ..Policy::default() };
            assert_eq!(policy.kv_limit(max_positions), want);
        }
        check(1, 131_072, 8192);
        check(1, 2048, 2048);
        check(32, 131_072, 32 * 1024);
        check(32, 256, 32 * 256);
        check(usize::MAX, 131_072, usize::MAX);
    }

    #[test]
    fn policies_are_read_with_defaults() {
        let text = r#"{"memory_caps": {"cpu:1": 1024}, "placement": {"layers": [["cpu:0", {"start": 0, "end": 4}]]}}"#;
        let policy: Policy = serde_json::from_str(text).unwrap();
        assert_eq!(policy.memory_caps[&DeviceId::Cpu(1)], Bytes(1024));
        assert_eq!(policy.batch, Policy::default().batch);
        assert!(matches!(&policy.placement, Placement::Layers(stages) if stages.len() == 1));
    }
}
