//! What is wanted of a placement.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sluicegate_spec::{
    device::DeviceId,
    units::{Bytes, LayerRange, UnitRange},
};

/// Objective, expected load and limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    pub objective: Objective,
    /// Concurrent sequences. Always one for [`Objective::Latency`], whatever this says.
    pub sequences: Sequences,
    pub time_limits: TimeLimits,
    /// Expected length of a prompt.
    pub prompt_tokens: usize,
    /// Expected length of an output.
    pub output_tokens: usize,
    /// The most new tokens of a microbatch, unless its rows and their share of the prompts need
    /// more. Longer prompts are prefilled in several microbatches.
    pub chunk_tokens: usize,
    pub kv_tokens: KvTokens,
    /// A limit for weights and cache together. Without it, a cache of [`KvTokens::AsManyAsFit`]
    /// stays within [`MemoryShare::default`], unless the model and one context need more.
    pub memory_share: Option<MemoryShare>,
    /// Caps on the memory of single devices.
    pub memory_caps: BTreeMap<DeviceId, Bytes>,
    /// Devices that must not be used.
    pub forbidden: BTreeSet<DeviceId>,
    /// Runs of layers that must stay together on one device.
    #[serde(alias = "unparted")]
    pub keep_together: Vec<LayerRange>,
    pub placement: Placement,
}

/// How many sequences run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sequences {
    /// As many as give the most tokens per second, up to this number and to what the cache holds at
    /// the expected length.
    UpTo(usize),
    /// This many; fewer if the cache cannot hold them.
    Exactly(usize),
}

impl Sequences {
    /// Returns the largest possible number.
    pub fn most(self) -> usize {
        match self {
            Self::UpTo(most) | Self::Exactly(most) => most,
        }
    }
}

/// How long a sequence may wait while the most others run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TimeLimits {
    /// From one token of a sequence to the next.
    pub per_token: Option<Duration>,
    /// From a request's admission to its first token. Ignored for [`Objective::Latency`], which has
    /// no prompts.
    pub to_first_token: Option<Duration>,
}

/// How much of a device's memory a plan may use, in percent. Other programs need some, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryShare {
    pub gpu_percent: u8,
    /// Of the host's memory, which logical CPU devices share.
    pub host_percent: u8,
}

impl Default for MemoryShare {
    fn default() -> Self {
        Self { gpu_percent: 90, host_percent: 50 }
    }
}

impl MemoryShare {
    /// Returns the usable part of a device's memory.
    pub(super) fn of(self, device: DeviceId, memory: Bytes) -> Bytes {
        let percent = match device {
            DeviceId::Cuda(_) => self.gpu_percent,
            DeviceId::Cpu(_) | DeviceId::Host => self.host_percent,
        };
        let share = u128::from(memory.0) * u128::from(percent.min(100)) / 100;
        Bytes(u64::try_from(share).unwrap_or(memory.0))
    }
}

/// What to optimise.
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
    /// As many as fit into [`Policy::memory_share`] of each device, but no more than
    /// [`Policy::kv_limit`]: memory that nobody can use stays free.
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
    /// The caller, by layers in order. The embedding goes with the first stage, the head with the
    /// last.
    Layers(Vec<(DeviceId, LayerRange)>),
    /// The caller, by all units once and in order, for example those of another plan.
    Stages(Vec<(DeviceId, UnitRange)>),
}

impl Default for Policy {
    /// The policy of an engine that serves chats.
    fn default() -> Self {
        Self {
            objective: Objective::default(),
            sequences: Sequences::UpTo(Self::MAX_SEQUENCES),
            time_limits: TimeLimits::default(),
            prompt_tokens: 512,
            output_tokens: 512,
            chunk_tokens: 256,
            kv_tokens: KvTokens::default(),
            memory_share: None,
            memory_caps: BTreeMap::new(),
            forbidden: BTreeSet::new(),
            keep_together: Vec::new(),
            placement: Placement::default(),
        }
    }
}

impl Policy {
    /// The most concurrent sequences if no number is given.
    pub const MAX_SEQUENCES: usize = 1024;

    /// Returns the expected context of a sequence.
    pub fn context(&self, max_positions: usize) -> usize {
        self.prompt_tokens.saturating_add(self.output_tokens).clamp(1, max_positions.max(1))
    }

    /// Returns the expected lengths of prompt and output, scaled down together if they exceed the
    /// model's context.
    pub fn lengths(&self, max_positions: usize) -> (usize, usize) {
        let (prompt, output) = (self.prompt_tokens, self.output_tokens);
        let (sum, context) = (prompt as u128 + output as u128, self.context(max_positions));
        if sum <= context as u128 {
            return (prompt, output);
        }
        let shortened = prompt as u128 * context as u128 / sum;
        let prompt = usize::try_from(shortened).expect("a part of the context");
        (prompt, context - prompt)
    }

    /// Returns whether the planner chooses the number of sequences and the size of the cache.
    pub fn is_open(&self) -> bool {
        self.objective == Objective::Throughput
            && self.kv_tokens == KvTokens::AsManyAsFit
            && matches!(self.sequences, Sequences::UpTo(_))
    }

    /// Returns the most KV tokens for [`KvTokens::AsManyAsFit`]: what the sequences can fill.
    pub fn kv_limit(&self, max_positions: usize) -> usize {
        self.sequences.most().saturating_mul(max_positions).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_what_all_sequences_can_fill() {
        #[track_caller]
        fn check(sequences: Sequences, max_positions: usize, want: usize) {
            let policy = Policy { sequences, ..Policy::default() };
            assert_eq!(policy.kv_limit(max_positions), want);
        }
        check(Sequences::UpTo(32), 2048, 32 * 2048);
        check(Sequences::Exactly(1), 131_072, 131_072);
        check(Sequences::UpTo(usize::MAX), 131_072, usize::MAX);
    }

    #[test]
    fn lengths_are_shortened_to_the_context() {
        #[track_caller]
        fn check(lengths: (usize, usize), max_positions: usize, want: (usize, usize)) {
            let (prompt_tokens, output_tokens) = lengths;
            let policy = Policy { prompt_tokens, output_tokens, ..Policy::default() };
            assert_eq!(policy.lengths(max_positions), want);
        }
        check((512, 512), 1024, (512, 512));
        check((512, 512), 512, (256, 256));
        check((300, 100), 100, (75, 25));
        check((0, 100), 50, (0, 50));
        check((usize::MAX, usize::MAX), 64, (32, 32));
    }

    #[test]
    fn shares_are_of_gpus_and_of_the_host() {
        let share = MemoryShare::default();
        assert_eq!(share.of(DeviceId::Cuda(1), Bytes(1000)), Bytes(900));
        assert_eq!(share.of(DeviceId::Cpu(0), Bytes(1000)), Bytes(500));
        assert_eq!(share.of(DeviceId::Cuda(0), Bytes(u64::MAX)), Bytes(u64::MAX / 10 * 9 + 4));
        let all = MemoryShare { gpu_percent: 200, host_percent: 100 };
        assert_eq!(all.of(DeviceId::Cuda(0), Bytes(7)), Bytes(7));
    }

    #[test]
    fn policies_are_read_with_defaults() {
        let text = r#"{"memory_caps": {"cpu:1": 1024}, "placement": {"layers": [["cpu:0", {"start": 0, "end": 4}]]}}"#;
        let policy: Policy = serde_json::from_str(text).unwrap();
        assert_eq!(policy.memory_caps[&DeviceId::Cpu(1)], Bytes(1024));
        assert_eq!(policy.sequences, Sequences::UpTo(1024));
        assert!(matches!(&policy.placement, Placement::Layers(stages) if stages.len() == 1));
    }

    #[test]
    fn layers_to_keep_together_are_read_by_their_old_name_too() {
        let layers = LayerRange { start: 1, end: 4 };
        for key in ["keep_together", "unparted"] {
            let text = format!(r#"{{"{key}": [{{"start": 1, "end": 4}}]}}"#);
            let policy: Policy = serde_json::from_str(&text).unwrap();
            assert_eq!(policy.keep_together, [layers], "{key}");
        }
        let written = serde_json::to_value(Policy::default()).unwrap();
        assert!(written.get("keep_together").is_some() && written.get("unparted").is_none());
    }
}
