//! The bug that this project grew from: `device="auto"` put a layer of the KV cache on one device
//! and the `ancestors` index on another, and JSON generation crashed in `index_select`.
//!
//! Here it works; and with any one transfer left out, the error says which one is missing.

use sluicegate::{Engine, Prompt, Request};
use sluicegate_model::open::Model;
use sluicegate_placement::{Endpoint, Plan, StageId, Transfer, TransferKind};
use sluicegate_spec::{config::Architecture, device::DeviceId, placed::Misplaced, units::Unit};
use sluicegate_tests::{
    engines::{
        auto_plan, complete, misplaced, samplers, small_schema, smollm2, start, with_schema,
    },
    tiny::{StoredType, TinyModel},
};

fn requests(prompt: &Prompt) -> impl Iterator<Item = (&'static str, Request)> {
    samplers().into_iter().map(|(name, request)| {
        (name, with_schema(Request { prompts: vec![prompt.clone()], ..request }))
    })
}

/// JSON comes out, with every sampler, on 2 and 3 devices.
fn check_json(model: &Model, prompt: &Prompt) {
    let schema = small_schema();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for num_devices in [2, 3] {
        let engine = start(model, &auto_plan(model, num_devices));
        assert_eq!(engine.plan().stages.len(), num_devices as usize);
        for (name, request) in requests(prompt) {
            for output in complete(&engine, &request).outputs {
                let value = serde_json::from_str(&output.text).unwrap();
                assert!(validator.is_valid(&value), "{name}, {num_devices} devices: {value}");
            }
        }
    }
}

/// Each transfer of the production list is left out in turn; every such engine fails, says what is
/// missing, and can be rebuilt.
fn check_mutants(model: &Model, prompt: &Prompt) {
    for num_devices in [2, 3] {
        let plan = auto_plan(model, num_devices);
        let transfers = plan.transfers();
        for removed_idx in 0..transfers.len() {
            let mut kept = transfers.clone();
            let removed = kept.remove(removed_idx);
            for (name, request) in requests(prompt) {
                let engine = Engine::builder(model.clone(), plan.clone())
                    .transfers(kept.clone())
                    .build()
                    .unwrap();
                let error = engine.submit(request.clone()).unwrap().wait().unwrap_err();
                let found =
                    misplaced(&error).unwrap_or_else(|| panic!("{name}: {removed:?}: {error:?}"));
                assert_eq!(*found, wanted(&plan, &removed), "{name}: {removed:?}");
                let text = found.to_string();
                let (source, target) = (removed.source_device, removed.target_device);
                let hint = format!("missing transfer: {} {source} -> {target}", removed.kind);
                assert!(text.ends_with(&hint), "{text}");
                assert!(engine.submit(request).is_err(), "a failed engine takes no requests");
                assert!(engine.failure().is_some());
            }
        }
    }
}

/// The error that must come of leaving a transfer out.
fn wanted(plan: &Plan, removed: &Transfer) -> Misplaced {
    let first_unit = |endpoint| match endpoint {
        Endpoint::Stage(StageId(stage)) => Some(plan.stages[stage].units.first(plan.num_layers)),
        Endpoint::Host => None,
    };
    let unit = first_unit(removed.target);
    let first_layer = match removed.target {
        Endpoint::Stage(StageId(stage)) => {
            Some(Unit::Layer(plan.layers(&plan.stages[stage]).start))
        }
        Endpoint::Host => None,
    };
    let (operation, unit, with) = match (removed.kind, unit) {
        (TransferKind::Hidden, unit) => ("rms_norm", unit, "norm weight"),
        (TransferKind::Order, Some(Unit::Embed)) => ("index_select", unit, "embedding"),
        (TransferKind::Order, unit) => ("rope", unit, "hidden"),
        (TransferKind::Ancestors, _) => ("index_select", first_layer, "kv pages"),
        (TransferKind::Mask, _) => ("apply_mask", Some(Unit::Head), "logits"),
        (TransferKind::Tokens, _) => ("advance", None, "sequences"),
    };
    Misplaced {
        operation,
        unit,
        value: removed.kind.name(),
        found: removed.source_device,
        with,
        wanted: removed.target_device,
    }
}

fn tiny_mistral() -> sluicegate_tests::tiny::TinyFiles {
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
    check_mutants(&Model::open(&files.files).unwrap(), &tiny_prompt());
}

#[test]
fn every_transfer_left_out_is_named_on_smollm2() {
    check_mutants(&smollm2(), &wizard());
}

#[test]
fn devices_of_a_plan_are_those_that_were_asked_for() {
    let files = tiny_mistral();
    let model = Model::open(&files.files).unwrap();
    let plan = auto_plan(&model, 3);
    let devices: Vec<DeviceId> = plan.stages.iter().map(|stage| stage.device).collect();
    assert_eq!(devices, [DeviceId::Cpu(0), DeviceId::Cpu(1), DeviceId::Cpu(2)]);
}
