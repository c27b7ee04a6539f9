//! What a step of decoding costs: what the program asks the driver and each device for, for one more
//! token of every row.
//!
//! Of two runs one makes a few tokens more. What it asks for beyond the other is what these steps
//! cost: the weights, the prompt and the end are in both. All steps are alike but for the bytes that
//! go up, since these name every position of a row; their mean is a whole number, too.

use std::{array, fs};

use serde_json::Value;
use sluicegate_slow::Slow;

use super::{PROMPT, run::Rig};

/// Tokens of an output in the shorter run, and how many more the longer one makes.
const TOKENS: u64 = 4;
const MORE: u64 = 8;

/// What is counted of a stage; calls are those of all functions while its device is current.
const NAMES: [&str; 10] = [
    "launches",
    "products",
    "uploads",
    "bytes up",
    "downloads",
    "bytes down",
    "blocking copies",
    "allocations",
    "synchronisations",
    "calls",
];

/// How many of these are alike in all steps. A stage that runs for long sets another event by which
/// it tells the time, so the others may have a few more in one run.
const NUM_ALIKE: usize = 8;

/// The number of each.
type Cost = [u64; NAMES.len()];

/// A model on stages of equal size, each on a GPU of its own, with as many microbatches as stages.
#[derive(Debug, Clone, Copy)]
struct Setup {
    number: &'static str,
    layers: usize,
    stages: usize,
    rows: usize,
}

impl Setup {
    const fn of(number: &'static str, layers: usize, stages: usize, rows: usize) -> Self {
        Self { number, layers, stages, rows }
    }

    /// What a step costs each stage.
    #[track_caller]
    fn costs(&self, rig: &Rig) -> Vec<Cost> {
        let plan = self.plan(rig);
        let [fewer, more] = [TOKENS, TOKENS + MORE].map(|tokens| self.counts(rig, &plan, tokens));
        let devices = |counts: &Value| -> Vec<Cost> {
            counts["devices"].as_array().unwrap().iter().map(cost).collect()
        };
        let stages = devices(&fewer).into_iter().zip(devices(&more));
        let costs = stages.map(|(fewer, more)| {
            array::from_fn(|index| {
                let total = more[index].saturating_sub(fewer[index]);
                let is_whole = total % MORE == 0 || index >= NUM_ALIKE;
                assert!(is_whole, "{self:?}: {}: {total}", NAMES[index]);
                total / MORE
            })
        });
        costs.collect()
    }

    /// The counts of a run that makes so many tokens of each row.
    fn counts(&self, rig: &Rig, plan: &str, tokens: u64) -> Value {
        let (rows, tokens) = (self.rows.to_string(), tokens.to_string());
        let options = ["--plan", plan, "--samples", &rows, "--max-tokens", &tokens];
        let options = [&options[..], &["--temperature", "1", "--ignore-eos", PROMPT]].concat();
        rig.counts(&self.machine(), &rig.model(self.number, self.layers), &options)
    }

    /// Saves a plan. The planner may want more microbatches than there are stages, and an engine
    /// that has more tries other numbers of them, by the clock.
    fn plan(&self, rig: &Rig) -> String {
        let Self { number, layers, stages, rows } = *self;
        let share = layers / stages;
        let stage = |it: usize| format!("cuda:{it}={}..{}", it * share, (it + 1) * share);
        let placed: Vec<String> = (0..stages).map(stage).collect();
        let (model, placed, rows) = (rig.model(number, layers), placed.join(","), rows.to_string());
        let file = rig.file("plan.json");
        let file = file.to_str().unwrap();
        let lengths = ["--prompt-tokens", "64", "--output-tokens", "64"];
        let numbers = ["--kv-bits", "32", "--save", file];
        let options = ["plan", "--model", &model, "--layers", &placed, "--batch", &rows];
        let ran = rig.on(&self.machine(), &[&options[..], &lengths, &numbers].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let saved = fs::read_to_string(file).unwrap();
        let mut saved: Value = serde_json::from_str(&saved).unwrap();
        saved["plan"]["microbatches"] = stages.into();
        // `plan` takes the type of activations from the model's file, and the engine has its own.
        for part in ["plan", "profile"] {
            saved[part]["hidden_element_bytes"] = 4.into();
        }
        fs::write(file, saved.to_string()).unwrap();
        file.to_owned()
    }

    fn machine(&self) -> String {
        format!("{}x 256MiB", self.stages)
    }
}

fn cost(device: &Value) -> Cost {
    let count = |pointer: &str| device.pointer(pointer).and_then(Value::as_u64).unwrap();
    let copies = |way: &str, part: &str| -> u64 {
        ["pageable", "pinned"].map(|kind| count(&format!("/{kind}_{way}/{part}"))).iter().sum()
    };
    [
        count("/launches"),
        count("/products"),
        copies("uploads", "number"),
        copies("uploads", "bytes"),
        copies("downloads", "number"),
        copies("downloads", "bytes"),
        count("/blocking_copies"),
        count("/allocations/number"),
        count("/synchronisations"),
        count("/calls"),
    ]
}

/// What a step costs today, by stage, in the order of [`NAMES`]; calls in fifties. These are
/// ratchets: nothing may cost more, and who makes something cheaper lowers its numbers.
const BOUNDS: &[(Setup, &[Cost])] = &[
    (Setup::of("float32", 4, 1, 1), &[[127, 37, 64, 3094, 1, 1280, 1, 212, 4, 1250]]),
    (Setup::of("float32", 4, 1, 4), &[[319, 61, 231, 12008, 1, 5120, 1, 595, 4, 3350]]),
    (
        Setup::of("float32", 4, 2, 1),
        &[[65, 18, 35, 1634, 1, 256, 1, 110, 4, 650], [66, 19, 36, 1890, 1, 1280, 1, 113, 4, 700]],
    ),
    (
        Setup::of("float32", 4, 2, 4),
        &[
            [210, 44, 140, 6792, 2, 1024, 2, 378, 8, 2200],
            [212, 46, 142, 7816, 2, 5120, 2, 384, 8, 2200],
        ],
    ),
    (Setup::of("bfloat16", 4, 1, 1), &[[157, 37, 64, 3094, 1, 1280, 1, 242, 4, 1400]]),
    (Setup::of("bfloat16", 4, 1, 4), &[[349, 61, 231, 12008, 1, 5120, 1, 625, 4, 3550]]),
    (
        Setup::of("bfloat16", 4, 2, 1),
        &[[80, 18, 35, 1634, 1, 256, 1, 125, 4, 750], [81, 19, 36, 1890, 1, 1280, 1, 128, 4, 750]],
    ),
    (
        Setup::of("bfloat16", 4, 2, 4),
        &[
            [240, 44, 140, 6792, 2, 1024, 2, 408, 8, 2350],
            [242, 46, 142, 7816, 2, 5120, 2, 414, 8, 2400],
        ],
    ),
];

/// The same of more layers on more stages, which take half a minute each: see `docs/gpu.md`.
const LARGE_BOUNDS: &[(Setup, &[Cost])] = &[
    (
        Setup::of("float32", 32, 4, 16),
        &[
            [2516, 480, 1800, 93664, 4, 4096, 4, 4668, 16, 26000],
            [2512, 480, 1800, 97696, 4, 4096, 4, 4664, 16, 26000],
            [2512, 480, 1800, 97696, 4, 4096, 4, 4664, 16, 26000],
            [2520, 484, 1804, 97760, 4, 20480, 4, 4680, 16, 26100],
        ],
    ),
    (
        Setup::of("bfloat16", 32, 4, 16),
        &[
            [2744, 480, 1800, 93664, 4, 4096, 4, 4896, 16, 27400],
            [2736, 480, 1800, 97696, 4, 4096, 4, 4888, 16, 27350],
            [2736, 480, 1800, 97696, 4, 4096, 4, 4888, 16, 27350],
            [2748, 484, 1804, 97760, 4, 20480, 4, 4908, 16, 27450],
        ],
    ),
];

#[track_caller]
fn check(setup: Setup, costs: &[Cost], bounds: &[Cost]) {
    assert_eq!(costs.len(), bounds.len(), "{setup:?}");
    for (stage, (cost, bound)) in costs.iter().zip(bounds).enumerate() {
        for (name, (found, most)) in NAMES.iter().zip(cost.iter().zip(bound)) {
            let step = format!("a step of {setup:?}, stage {stage}");
            assert!(found <= most, "{step}: {found} {name}, wanted at most {most}");
        }
    }
}

#[test]
fn a_step_costs_no_more_than_it_did() {
    let Some(rig) = Rig::new() else { return };
    for &(setup, bounds) in BOUNDS {
        let costs = setup.costs(&rig);
        println!("a step of {setup:?}: {costs:?}");
        check(setup, &costs, bounds);
    }
}

#[test]
fn a_step_of_many_rows_on_four_stages_costs_no_more_than_it_did() {
    let Some(rig) = Rig::new() else { return };
    if !Slow::Gpus.is_wanted("16 rows of 32 layers on four emulated GPUs") {
        return;
    }
    for &(setup, bounds) in LARGE_BOUNDS {
        let costs = setup.costs(&rig);
        println!("a step of {setup:?}: {costs:?}");
        check(setup, &costs, bounds);
    }
}
