//! What operations and engines give on each kind of device, against one stage on the CPU: stages,
//! samplers, beams, constraints, serving, times, the
//! ledger, forgotten transfers.
//!
//! The same functions run on the CPU, where two stages on one device must give the same bits as
//! one, and with the feature `cuda` on a GPU, where they must lie within the bounds of `bounds.rs`.
//! Where there is no GPU their tests are skipped, with the reason; with `SLUICEGATE_NEEDS_GPU` set, as
//! the scripts set it that run them on one, they fail.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]
#![allow(clippy::print_stdout, reason = "how far a device is off is worth a line of the log")]

mod bounds;
mod kernels;
mod numbers;
mod operands;
mod operations;
mod quantised;
mod requests;
mod runs;
mod sampling;
mod target;

/// Makes a test of each suite on one choice of devices.
macro_rules! on {
    ($name:ident, $target:expr) => {
        mod $name {
            use crate::{
                kernels, numbers, operations, quantised, requests, runs, sampling, target::Target,
            };

            fn on_target(suites: &[fn(&Target)]) {
                if let Some(target) = $target {
                    for suite in suites {
                        suite(&target);
                    }
                }
            }

            #[test]
            fn operations_give_the_same_values() {
                on_target(&operations::ALL);
            }

            #[test]
            fn kernels_compute_what_loops_on_a_cpu_do() {
                on_target(&kernels::ALL);
            }

            #[test]
            fn rows_are_sampled_as_on_a_cpu() {
                on_target(&[sampling::of_rows]);
            }

            #[test]
            fn quantised_products_lose_little_more_than_on_the_cpu() {
                on_target(&[quantised::of_quantised_products]);
            }

            #[test]
            fn families_give_the_same_numbers() {
                on_target(&[numbers::of_families]);
            }

            #[test]
            fn dense_types_give_the_same_numbers() {
                on_target(&[numbers::of_dense_types]);
            }

            #[test]
            fn quantised_types_give_the_same_numbers() {
                on_target(&[numbers::of_quantised_types]);
            }

            #[test]
            fn caches_give_the_same_numbers() {
                on_target(&[numbers::of_cache_types]);
            }

            #[test]
            fn samplers_draw_the_same_tokens() {
                on_target(&[requests::of_samplers]);
            }

            #[test]
            fn beams_find_the_same_texts() {
                on_target(&[requests::of_beams]);
            }

            #[test]
            fn constraints_let_the_same_texts_through() {
                on_target(&[requests::of_constraints]);
            }

            #[test]
            fn requests_together_get_what_each_gets_alone() {
                on_target(&[requests::together]);
            }

            #[test]
            fn times_are_those_of_the_work() {
                on_target(&[runs::of_times]);
            }

            #[test]
            fn what_crosses_is_what_the_plan_foresees() {
                on_target(&[runs::of_the_ledger]);
            }

            #[test]
            fn the_outlines_bug_is_named() {
                on_target(&[runs::of_the_outlines_bug]);
            }

            #[test]
            fn stages_begin_anew_and_nobody_notices() {
                on_target(&[requests::after_a_failure]);
            }
        }
    };
}

on!(one_stage_on_a_cpu, Target::cpu(1));
on!(two_stages_on_a_cpu, Target::cpu(2));
on!(one_stage_on_a_gpu, Target::gpus(1));
on!(two_stages_on_gpus, Target::gpus(2));
on!(four_stages_on_gpus, Target::peers(4));
