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
        let counts = rig.counts(&self.machine(), &rig.model(self.number, self.layers), &options);
        for device in counts["devices"].as_array().unwrap() {
            let [allocated, freed] =
                ["/allocations/number", "/frees"].map(|it| device.pointer(it).unwrap());
            assert_eq!(allocated, freed, "{self:?}: memory was kept, or given back in vain");
        }
        counts
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

/// What a step costs today, by stage, in the order of [`NAMES`]; calls with a fifth
/// more, since a stage asks how far its GPU has come as often as it has time to. These are ratchets:
/// nothing may cost more, and who makes something cheaper lowers its numbers.
const BOUNDS: &[(Setup, &[Cost])] = &[
    (Setup::of("float32", 4, 1, 1), &[[29, 17, 2, 144, 1, 32, 1, 54, 0, 320]]),
    (Setup::of("float32", 4, 1, 4), &[[29, 17, 2, 564, 1, 128, 1, 54, 0, 320]]),
    (
        Setup::of("float32", 4, 2, 1),
        &[[14, 8, 1, 48, 1, 256, 0, 26, 0, 200], [16, 9, 3, 400, 1, 32, 1, 32, 0, 220]],
    ),
    (
        Setup::of("float32", 4, 2, 4),
        &[[28, 16, 2, 184, 2, 1024, 0, 52, 0, 400], [32, 18, 6, 1592, 2, 128, 2, 64, 0, 430]],
    ),
    (Setup::of("bfloat16", 4, 1, 1), &[[33, 17, 2, 144, 1, 32, 1, 58, 0, 350]]),
    (Setup::of("bfloat16", 4, 1, 4), &[[33, 17, 2, 564, 1, 128, 1, 58, 0, 350]]),
    (
        Setup::of("bfloat16", 4, 2, 1),
        &[[16, 8, 1, 48, 1, 256, 0, 28, 0, 200], [18, 9, 3, 400, 1, 32, 1, 34, 0, 250]],
    ),
    (
        Setup::of("bfloat16", 4, 2, 4),
        &[[32, 16, 2, 184, 2, 1024, 0, 56, 0, 450], [36, 18, 6, 1592, 2, 128, 2, 68, 0, 460]],
    ),
];

/// The same of more layers on more stages, which take half a minute each: see `docs/gpu.md`.
const LARGE_BOUNDS: &[(Setup, &[Cost])] = &[
    (
        Setup::of("float32", 32, 4, 16),
        &[
            [200, 128, 4, 720, 4, 4096, 0, 368, 0, 2250],
            [196, 128, 8, 4816, 4, 4096, 0, 368, 0, 2250],
            [196, 128, 8, 4816, 4, 4096, 0, 368, 0, 2250],
            [208, 132, 12, 6352, 4, 512, 4, 392, 0, 2350],
        ],
    ),
    (
        Setup::of("bfloat16", 32, 4, 16),
        &[
            [232, 128, 4, 720, 4, 4096, 0, 400, 0, 2450],
            [228, 128, 8, 4816, 4, 4096, 0, 400, 0, 2500],
            [228, 128, 8, 4816, 4, 4096, 0, 400, 0, 2500],
            [240, 132, 12, 6352, 4, 512, 4, 424, 0, 2550],
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
