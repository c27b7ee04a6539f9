//! The bug that this project grew from: `device="auto"` put a layer of the KV cache on one device
//! and the `ancestors` index on another, and JSON generation crashed in `index_select`.
//!
//! Here it works; and with any one transfer left out, the error says which one is missing.

use sluicegate::Prompt;
use sluicegate_model::open::Model;
use sluicegate_spec::{config::Architecture, device::DeviceId};
use sluicegate_tests::{
    engines::{auto_plan, complete, small_schema, smollm2, start},
    outlines_bug::{check_mutants, json_requests},
    tiny::{StoredType, TinyFiles, TinyModel},
};

/// JSON comes out, with every sampler, on 2 and 3 devices.
fn check_json(model: &Model, prompt: &Prompt) {
    let schema = small_schema();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for num_devices in [2, 3] {
        let engine = start(model, &auto_plan(model, num_devices));
        assert_eq!(engine.plan().stages.len(), num_devices as usize);
        for (name, request) in json_requests(prompt) {
            for output in complete(&engine, &request).outputs {
                let value = serde_json::from_str(&output.text).unwrap();
                assert!(validator.is_valid(&value), "{name}, {num_devices} devices: {value}");
            }
        }
    }
}

fn check_mutants_on(num_devices: [u32; 2], model: &Model, prompt: &Prompt) {
    for num_devices in num_devices {
        check_mutants(model, &auto_plan(model, num_devices), &json_requests(prompt));
    }
}

fn tiny_mistral() -> TinyFiles {
    TinyModel::new(Architecture::Mistral).directory(StoredType::F32)
}

fn tiny_prompt() -> Prompt {
    Prompt::Tokens((0..21).map(|i| (11 * i + 5) % 256).collect())
}

fn wizard() -> Prompt {
    Prompt::Text("A wizard in JSON: ".to_owned())
}

#[test]
fn auto_devices_with_ancestors_on_another_device_generate_json_on_mistral() {
    let files = tiny_mistral();
    check_json(&Model::open(&files.files).unwrap(), &tiny_prompt());
}

#[test]
fn auto_devices_with_ancestors_on_another_device_generate_json_on_smollm2() {
    check_json(&smollm2(), &wizard());
}

#[test]
fn every_transfer_left_out_is_named_on_mistral() {
    let files = tiny_mistral();
    check_mutants_on([2, 3], &Model::open(&files.files).unwrap(), &tiny_prompt());
}

#[test]
fn every_transfer_left_out_is_named_on_smollm2() {
    check_mutants_on([2, 3], &smollm2(), &wizard());
}

#[test]
fn devices_of_a_plan_are_those_that_were_asked_for() {
    let files = tiny_mistral();
    let model = Model::open(&files.files).unwrap();
    let plan = auto_plan(&model, 3);
    let devices: Vec<DeviceId> = plan.stages.iter().map(|stage| stage.device).collect();
    assert_eq!(devices, [DeviceId::Cpu(0), DeviceId::Cpu(1), DeviceId::Cpu(2)]);
}
