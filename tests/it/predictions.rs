//! What a plan predicts against what the production scheduler reaches in a virtual clock, in cases
//! that were fixed before the first run.

use std::path::Path;

use sluicegate_core::{
    scheduler::SchedulerConfig,
    simulate::{MaskStart, Planned, Run, Setup, SimulatedRequest, simulate},
};
use sluicegate_placement::{Cluster, Policy, Solution, solve};
use sluicegate_spec::profile::{ModelProfile, Target};

const MACHINES: [(&str, &str); 8] = [
    ("llama-3-70b", "4x h100 nvlink"),
    ("llama-3-70b", "8x a100-80 nvlink"),
    ("llama-3-70b", "4x rtx4090 + 2x a100-80, pcie4"),
    ("llama-3-8b", "2x rtx4090, pcie4"),
    ("gemma-2-9b", "4x a10g, pcie4"),
    ("qwen3-30b-a3b", "2x rtx4090 + 1x rtx3090, pcie4"),
    ("mistral-7b", "3x l4, pcie4"),
    ("mixtral-8x7b", "2x h100 nvlink"),
];

/// Requests for each sequence of a plan.
const WAVES: usize = 4;

fn profile(model: &str) -> ModelProfile {
    let config = format!("fixtures/configs/{model}.json");
    ModelProfile::read(Path::new(&config), Target::ACCELERATOR).unwrap()
}

/// Plans for requests of these lengths and serves them, all asked for at once.
fn serve(model: &str, machine: &str, prompt: usize, output: usize) -> (Solution, Run) {
    let (profile, cluster) = (profile(model), Cluster::parse_spec(machine).unwrap());
    let policy = Policy { prompt_tokens: prompt, output_tokens: output, ..Policy::default() };
    let solution = solve(&profile, &cluster, &policy).unwrap();
    let timing = Planned::new(&profile, &cluster, &solution.plan, 0.0).unwrap();
    let setup = Setup {
        timing: &timing,
        scheduler: SchedulerConfig::new(&solution.plan, &profile),
        mask_workers: 1,
        mask_start: MaskStart::WithOrder,
        keeps_pages: false,
        faults: &[],
    };
    let num_requests = u32::try_from(WAVES * solution.plan.sequences).unwrap();
    // No two prompts begin alike.
    let tokens = |number: u32| [number + 1].into_iter().chain(std::iter::repeat_n(0, prompt - 1));
    let request = |number| SimulatedRequest::new(tokens(number).collect(), output);
    let requests: Vec<SimulatedRequest> = (0..num_requests).map(request).collect();
    (solution, simulate(&setup, &requests).unwrap())
}

#[track_caller]
fn check(prompt: usize, output: usize) {
    let mut off = Vec::new();
    for (model, machine) in MACHINES {
        let (solution, run) = serve(model, machine, prompt, output);
        let predicted = solution.prediction.tokens_per_s();
        let found = run.full.tokens_per_s().unwrap();
        let ratio = found / predicted;
        assert_eq!(run.scheduler.recomputed_tokens, 0);
        if !(0.9..=1.1).contains(&ratio) {
            off.push((model, machine, ratio));
        }
    }
    assert!(off.is_empty(), "{prompt} + {output}: {off:?}");
}

#[test]
fn short_prompts_are_served_as_predicted() {
    check(64, 192);
}

#[test]
fn chats_are_served_as_predicted() {
    check(256, 256);
}

#[test]
fn long_prompts_are_served_as_predicted() {
    check(2048, 128);
}
