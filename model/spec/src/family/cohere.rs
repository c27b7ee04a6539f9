//! Command R. For planning only.

use super::{Defaults, Differs, Family, HubName, llama};

pub(super) const FAMILY: Family = Family {
    runs_as: None,
    hub: &[HubName::new("CohereForCausalLM", "cohere")],
    gguf: Some("command-r"),
    defaults: Defaults { tied: true, ..llama::FAMILY.defaults },
    // Attention and feed-forward block share one norm.
    differs: Differs::NumNorms(1),
    ..llama::FAMILY
};
