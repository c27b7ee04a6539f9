//! What is printed of measurements that are made up, so that it does not change with the machine.

use std::{num::NonZero, time::Duration};

use serde_json::Value;
use sluicegate_core::timeline::{Lane, StageUsage, Usage};
use sluicegate_placement::{Plan, PlanFields, PlannedStage, Route};
use sluicegate_spec::{
    config::KvGroup,
    device::DeviceId,
    units::{Bytes, UnitRange},
};

use super::{
    measure::{Measured, Task, TokenCounts},
    report::{Machine, Point, Report, Workload},
    side::Side,
    table,
};
use crate::cli::Against;

/// Ten layers, their stages cut after these.
fn plan(cuts: &[usize], microbatches: usize) -> Plan {
    let units = cuts.iter().map(|cut| cut + 1).chain([12]);
    let mut start = 0;
    let stages = units.enumerate().map(|(index, end)| {
        let units = UnitRange { start, end };
        start = end;
        PlannedStage {
            device: DeviceId::Cpu(u32::try_from(index).unwrap()),
            units,
            weight_bytes: Bytes(100),
            kv_bytes: Bytes(10),
            workspace_bytes: Bytes(1),
            cap_bytes: Bytes(1000),
            input_route: Route::Host,
        }
    });
    let fields = PlanFields {
        stages: stages.collect(),
        num_layers: 10,
        kv_tokens: 16,
        kv_groups: vec![KvGroup::Full],
        pages_per_group: vec![1],
        sequences: 1,
        batch: 1,
        chunk_tokens: 16,
        microbatches,
        hidden: 8,
        hidden_element_bytes: 4,
        mask_words: 2,
    };
    fields.try_into().unwrap()
}

fn task(plan: Plan, num_threads: Option<usize>) -> Task {
    Task {
        plan,
        threads_per_stage: num_threads.and_then(NonZero::new),
        num_requests: 2,
        first_prompt: 0,
        is_constrained: false,
        wants_timeline: false,
        records: false,
    }
}

fn side(name: &str, against: Option<Against>, tasks: Vec<Task>) -> Side {
    Side { name: name.to_owned(), against, tasks }
}

fn sides() -> Vec<Side> {
    let own = task(plan(&[6], 3), None);
    let constrained = Task { is_constrained: true, ..own.clone() };
    let single = task(plan(&[], 2), Some(1));
    vec![
        side("2 stages", None, vec![own]),
        side("2 engines of 1 thread", Some(Against::Ceiling), vec![single.clone(), single]),
        side("2 stages, constrained", Some(Against::Constraint), vec![constrained]),
    ]
}

/// Two stages, of which the second waits now and then.
fn usage() -> Usage {
    let first = StageUsage { computing: 0.875, transferring: 0.125, ..StageUsage::default() };
    let second = StageUsage {
        computing: 0.75,
        awaiting_masks: 0.0625,
        awaiting_input: 0.1875,
        ..StageUsage::default()
    };
    Usage {
        start_s: 1.5,
        end_s: 2.25,
        stages: vec![first, second],
        bottleneck: Lane::Stage(0),
        fraction_of_ideal: 1.0,
    }
}

/// 100 tokens in so many milliseconds.
fn measured(millis: u64) -> Measured {
    Measured {
        elapsed: Duration::from_millis(millis),
        usage: TokenCounts { completion: 100, jump_forward: 3, vetoed: 1 },
        first_token_us: vec![millis * 100, millis * 120],
        token_us: vec![millis * 10, millis * 11, millis * 30],
        mask_wait_us: vec![4, 5, 30, millis / 20],
        stages: vec![Some(usage()), None],
        timelines: Vec::new(),
    }
}

fn report() -> Report {
    let runs = |times: [u64; 3]| times.map(measured).to_vec();
    let compared = [runs([1000, 900, 1100]), runs([800, 900, 1000]), runs([1000, 1000, 1000])];
    let alone = [runs([2000, 2100, 2500])];
    Report {
        model: "tiny".to_owned(),
        machine: Machine {
            processor: "x86_64 made up x2".to_owned(),
            cores: 2,
            has_assertions: true,
        },
        workload: Workload { prompt_tokens: 32, output_tokens: 50, runs: 3 },
        points: vec![Point::new(1, &sides()[..1], &alone), Point::new(16, &sides(), &compared)],
    }
}

fn printed(report: &Report) -> String {
    let mut text = Vec::new();
    table::print(report, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn the_table_has_every_side_and_ratio() {
    insta::assert_snapshot!(printed(&report()), @r#"
    tiny: prompts of 32 tokens, outputs of 50; median of 3 runs (least to most)
    x86_64 made up x2, a build with assertions
    placed as cpu:0=0..6,cpu:1=6..10, 3 microbatches

    requests  side                     tokens/s                      first token p50 / p95    a token p50 / p95
           1  2 stages                     47.6  (40.0 to 50.0)           240.0 / 300.0 ms       25.0 / 75.0 ms
          16  2 stages                    100.0  (90.9 to 111.1)          108.0 / 132.0 ms       11.0 / 33.0 ms
              2 engines of 1 thread       111.1  (100.0 to 125.0)          96.0 / 120.0 ms       10.0 / 30.0 ms
              2 stages, constrained       100.0  (100.0 to 100.0)         100.0 / 120.0 ms       11.0 / 30.0 ms

          16  2 stages / 2 engines of 1 thread                 0.909  (0.800 to 1.000)
              2 stages, constrained / 2 stages                 1.000  (0.900 to 1.100)

          16  2 stages, constrained: 9 of 300 tokens jumped forward, 3 vetoed; mask wait p50 / p99 / most 5 / 50 / 50 us

          16  the last run's stages:
    stage  device  units                       busy    input    masks     host
        0  cpu:0   embed, layers 0..6       100.0 %    0.0 %    0.0 %    0.0 %
        1  cpu:1   layers 6..10, norm+head   75.0 %   18.8 %    6.2 %    0.0 %
    100.0 % of the ideal from 1.50 s to 2.25 s; stage 0 is busiest
    "#);
}

#[test]
fn a_table_without_comparisons_ends_with_the_sides() {
    let mut report = report();
    report.points.truncate(1);
    report.workload.runs = 1;
    report.machine.has_assertions = false;
    insta::assert_snapshot!(printed(&report), @r#"
    tiny: prompts of 32 tokens, outputs of 50; one run
    x86_64 made up x2
    placed as cpu:0=0..6,cpu:1=6..10, 3 microbatches

    requests  side                     tokens/s                      first token p50 / p95    a token p50 / p95
           1  2 stages                     47.6  (40.0 to 50.0)           240.0 / 300.0 ms       25.0 / 75.0 ms

           1  the last run's stages:
    stage  device  units                       busy    input    masks     host
        0  cpu:0   embed, layers 0..6       100.0 %    0.0 %    0.0 %    0.0 %
        1  cpu:1   layers 6..10, norm+head   75.0 %   18.8 %    6.2 %    0.0 %
    100.0 % of the ideal from 1.50 s to 2.25 s; stage 0 is busiest
    "#);
}

/// The report of several sides as JSON; each side by its name alone.
fn json_without_sides() -> String {
    let mut json = json();
    for side in json.pointer_mut("/points/0/sides").and_then(Value::as_array_mut).unwrap() {
        *side = side["name"].take();
    }
    serde_json::to_string_pretty(&json).unwrap()
}

fn json_of_side(side: usize) -> String {
    serde_json::to_string_pretty(&json()["points"][0]["sides"][side]).unwrap()
}

fn json() -> Value {
    let mut report = report();
    report.points.remove(0);
    serde_json::to_value(&report).unwrap()
}

#[test]
fn json_says_what_was_measured_where_and_how_sides_compare() {
    insta::assert_snapshot!(json_without_sides(), @r#"
    {
      "model": "tiny",
      "machine": {
        "processor": "x86_64 made up x2",
        "cores": 2,
        "has_assertions": true
      },
      "workload": {
        "prompt_tokens": 32,
        "output_tokens": 50,
        "runs": 3
      },
      "points": [
        {
          "requests": 16,
          "sides": [
            "2 stages",
            "2 engines of 1 thread",
            "2 stages, constrained"
          ],
          "ratios": [
            {
              "side": "2 stages",
              "against": "2 engines of 1 thread",
              "ratio": {
                "median": 0.9090909090909091,
                "least": 0.8,
                "most": 1.0
              }
            },
            {
              "side": "2 stages, constrained",
              "against": "2 stages",
              "ratio": {
                "median": 1.0,
                "least": 0.9,
                "most": 1.1
              }
            }
          ]
        }
      ]
    }
    "#);
}

#[test]
fn json_has_every_figure_of_a_pipeline() {
    insta::assert_snapshot!(json_of_side(0), @r#"
    {
      "name": "2 stages",
      "placements": [
        "cpu:0=0..6,cpu:1=6..10"
      ],
      "threads_per_stage": null,
      "microbatches": 3,
      "tokens_per_s": {
        "median": 100.0,
        "least": 90.9090909090909,
        "most": 111.11111111111111
      },
      "tokens": {
        "completion": 300,
        "jump_forward": 9,
        "vetoed": 3
      },
      "first_token_us": {
        "p50": 108000,
        "p95": 132000
      },
      "token_us": {
        "p50": 11000,
        "p95": 33000
      },
      "mask_wait_us": null,
      "used": [
        {
          "fraction_of_ideal": 1.0,
          "bottleneck": "stage 0",
          "window_s": [
            1.5,
            2.25
          ],
          "stages": [
            {
              "device": "cpu:0",
              "units": "embed, layers 0..6",
              "computing": 0.875,
              "transferring": 0.125,
              "lent": 0.0,
              "awaiting_masks": 0.0,
              "awaiting_input": 0.0,
              "awaiting_host": 0.0
            },
            {
              "device": "cpu:1",
              "units": "layers 6..10, norm+head",
              "computing": 0.75,
              "transferring": 0.0,
              "lent": 0.0,
              "awaiting_masks": 0.0625,
              "awaiting_input": 0.1875,
              "awaiting_host": 0.0
            }
          ]
        }
      ]
    }
    "#);
}

#[test]
fn json_has_every_figure_of_several_engines() {
    insta::assert_snapshot!(json_of_side(1), @r#"
    {
      "name": "2 engines of 1 thread",
      "placements": [
        "cpu:0=0..10",
        "cpu:0=0..10"
      ],
      "threads_per_stage": 1,
      "microbatches": 2,
      "tokens_per_s": {
        "median": 111.11111111111111,
        "least": 100.0,
        "most": 125.0
      },
      "tokens": {
        "completion": 300,
        "jump_forward": 9,
        "vetoed": 3
      },
      "first_token_us": {
        "p50": 96000,
        "p95": 120000
      },
      "token_us": {
        "p50": 10000,
        "p95": 30000
      },
      "mask_wait_us": null,
      "used": [
        {
          "fraction_of_ideal": 1.0,
          "bottleneck": "stage 0",
          "window_s": [
            1.5,
            2.25
          ],
          "stages": [
            {
              "device": "cpu:0",
              "units": "embed, layers 0..10, norm+head",
              "computing": 0.875,
              "transferring": 0.125,
              "lent": 0.0,
              "awaiting_masks": 0.0,
              "awaiting_input": 0.0,
              "awaiting_host": 0.0
            }
          ]
        },
        {
          "fraction_of_ideal": null,
          "bottleneck": null,
          "window_s": null,
          "stages": []
        }
      ]
    }
    "#);
}

#[test]
fn json_has_every_figure_of_a_constrained_side() {
    insta::assert_snapshot!(json_of_side(2), @r#"
    {
      "name": "2 stages, constrained",
      "placements": [
        "cpu:0=0..6,cpu:1=6..10"
      ],
      "threads_per_stage": null,
      "microbatches": 3,
      "tokens_per_s": {
        "median": 100.0,
        "least": 100.0,
        "most": 100.0
      },
      "tokens": {
        "completion": 300,
        "jump_forward": 9,
        "vetoed": 3
      },
      "first_token_us": {
        "p50": 100000,
        "p95": 120000
      },
      "token_us": {
        "p50": 11000,
        "p95": 30000
      },
      "mask_wait_us": {
        "p50": 5,
        "p99": 50,
        "most": 50
      },
      "used": [
        {
          "fraction_of_ideal": 1.0,
          "bottleneck": "stage 0",
          "window_s": [
            1.5,
            2.25
          ],
          "stages": [
            {
              "device": "cpu:0",
              "units": "embed, layers 0..6",
              "computing": 0.875,
              "transferring": 0.125,
              "lent": 0.0,
              "awaiting_masks": 0.0,
              "awaiting_input": 0.0,
              "awaiting_host": 0.0
            },
            {
              "device": "cpu:1",
              "units": "layers 6..10, norm+head",
              "computing": 0.75,
              "transferring": 0.0,
              "lent": 0.0,
              "awaiting_masks": 0.0625,
              "awaiting_input": 0.1875,
              "awaiting_host": 0.0
            }
          ]
        }
      ]
    }
    "#);
}

#[test]
fn what_runs_at_the_same_time_adds_up() {
    let mut sum = measured(1000);
    sum.add(measured(1250));
    assert_eq!((sum.usage.completion, sum.elapsed), (200, Duration::from_millis(1250)));
    assert!((sum.tokens_per_s() - 160.0).abs() < 1e-9);
    assert_eq!(sum.first_token_us.len(), 4);
}
