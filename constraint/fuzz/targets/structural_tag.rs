#![no_main]

use libfuzzer_sys::fuzz_target;
use sluicegate_constraint::Spec;
use sluicegate_constraint_fuzz::{Rng, compile_and_walk, on_small_stack};

fuzz_target!(|data: &[u8]| {
    on_small_stack(|| {
        if let Ok(tag) = serde_json::from_slice(data) {
            compile_and_walk(&Spec::StructuralTag(tag), &mut Rng::of(data));
        }
    });
});
