#![no_main]

use sluicegate_constraint::Spec;
use sluicegate_constraint_fuzz::{Rng, compile_and_walk, on_small_stack};
use sluicegate_fuzz_harness::fuzz_target;

fuzz_target!(|data: &[u8]| {
    on_small_stack(|| {
        if let Ok(tag) = serde_json::from_slice(data) {
            compile_and_walk(&Spec::StructuralTag(tag), &mut Rng::of(data));
        }
    });
});
