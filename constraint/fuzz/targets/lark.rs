#![no_main]

use sluicegate_constraint::Spec;
use sluicegate_constraint_fuzz::{Rng, compile_and_walk, on_small_stack};
use sluicegate_fuzz_harness::fuzz_target;

fuzz_target!(|text: &str| {
    on_small_stack(|| {
        compile_and_walk(&Spec::Lark(text.to_string()), &mut Rng::of(text.as_bytes()));
    });
});
