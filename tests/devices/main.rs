//! What operations and engines give on each kind of device, against one stage on the CPU: stages,
//! samplers, beams, constraints, serving, times, the
//! ledger, forgotten transfers.
//!
//! The same functions run on the CPU, where two stages on one device must give the same bits as
//! one, and with the feature `cuda` on a GPU, where they must lie within the bounds of `bounds.rs`.
//! In a build with `cuda` the tests of a GPU fail where there is none, and say why.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]
#![allow(clippy::print_stdout, reason = "how far a device is off is worth a line of the log")]

mod bounds;
mod numbers;
mod operands;
mod operations;
mod quantised;
mod requests;
mod runs;
mod target;

/// Makes a test of each suite on one choice of devices.
macro_rules! on {
    ($name:ident, $target:expr) => {
        mod $name {
            use crate::{numbers, operations, quantised, requests, runs, target::Target};

            fn target() -> Target {
                $target
            }

            #[test]
            fn operations_give_the_same_values() {
                operations::of_elements(&target());
                operations::of_types(&target());
                operations::of_repetitions(&target());
                operations::of_indices(&target());
                operations::of_rows(&target());
                operations::of_products(&target());
            }

            #[test]
            fn quantised_products_lose_no_more_than_on_the_cpu() {
                quantised::of_quantised_products(&target());
            }

            #[test]
            fn families_give_the_same_numbers() {
                numbers::of_families(&target());
            }

            #[test]
            fn dense_types_give_the_same_numbers() {
                numbers::of_dense_types(&target());
            }

            #[test]
            fn quantised_types_give_the_same_numbers() {
                numbers::of_quantised_types(&target());
            }

            #[test]
            fn caches_give_the_same_numbers() {
                numbers::of_cache_types(&target());
            }

            #[test]
            fn samplers_draw_the_same_tokens() {
                requests::of_samplers(&target());
            }

            #[test]
            fn beams_find_the_same_texts() {
                requests::of_beams(&target());
            }

            #[test]
            fn constraints_let_the_same_texts_through() {
                requests::of_constraints(&target());
            }

            #[test]
            fn requests_together_get_what_each_gets_alone() {
                requests::together(&target());
            }

            #[test]
            fn times_are_those_of_the_work() {
                runs::of_times(&target());
            }

            #[test]
            fn what_crosses_is_what_the_plan_foresees() {
                runs::of_the_ledger(&target());
            }

            #[test]
            fn the_outlines_bug_is_named() {
                runs::of_the_outlines_bug(&target());
            }

            #[test]
            fn stages_begin_anew_and_nobody_notices() {
                requests::after_a_failure(&target());
            }
        }
    };
}

on!(one_stage_on_a_cpu, Target::cpu(1));
on!(two_stages_on_a_cpu, Target::cpu(2));
#[cfg(feature = "cuda")]
on!(one_stage_on_a_gpu, Target::gpu(1));
#[cfg(feature = "cuda")]
on!(two_stages_on_gpus, Target::gpu(2));
#[cfg(feature = "cuda")]
on!(four_stages_on_gpus, Target::gpu(4));
