//! Phi 3. Planned for only: its matrices are fused.

use super::{Family, HubName, RotaryShare, WindowRule, llama};

pub(super) const FAMILY: Family = Family {
    runs_as: None,
    hub: &[HubName::new("Phi3ForCausalLM", "phi3")],
    gguf: Some("phi3"),
    windows: WindowRule::All { default: None },
    rotary_share: RotaryShare::Stated,
    ..llama::FAMILY
};
