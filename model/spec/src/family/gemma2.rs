//! Gemma 2: every other layer has a window, and scores and logits are capped.

use super::{Caps, Defaults, Family, HeadNorm, HubName, QueryScale, WindowRule, gemma3};
use crate::architecture::Architecture;

pub(super) const FAMILY: Family = Family {
    runs_as: Some(Architecture::Gemma2),
    hub: &[HubName::new("Gemma2ForCausalLM", "gemma2")],
    gguf: Some("gemma2"),
    defaults: Defaults {
        vocab: Some(256_000),
        max_positions: 8192,
        theta: 10_000.0,
        ..gemma3::FAMILY.defaults
    },
    windows: WindowRule::AllButEvery { pattern: 2, usual: 4096 },
    gguf_window: Some(4096),
    query_scale: QueryScale::Stated { usual: 256.0, layers_of_largest: 46 },
    caps: Some(Caps { scores: 50.0, logits: 30.0 }),
    local_theta: None,
    head_norm: HeadNorm::Absent,
    hub_prefixes: &["model."],
    ..gemma3::FAMILY
};
