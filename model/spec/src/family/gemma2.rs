//! Gemma 2. Planned for only: its scores are capped.

use super::{Defaults, Differs, Family, HeadNormWidth, HubName, WindowRule, gemma3};

pub(super) const FAMILY: Family = Family {
    runs_as: None,
    hub: &[HubName::new("Gemma2ForCausalLM", "gemma2")],
    gguf: Some("gemma2"),
    defaults: Defaults { vocab: Some(256_000), max_positions: 8192, ..gemma3::FAMILY.defaults },
    windows: WindowRule::AllButEvery(2),
    differs: Differs::HeadNorm(HeadNormWidth::Absent),
    ..gemma3::FAMILY
};
