//! What must come of the bug that this project grew from, on any kind of device: a value that is not
//! where an operation needs it, because a transfer was forgotten.

use sluicegate::{Engine, Prompt, Request};
use sluicegate_model::open::Model;
use sluicegate_placement::{Endpoint, Plan, StageId, Transfer, TransferKind};
use sluicegate_spec::{placed::Misplaced, units::Unit};

use crate::engines::{misplaced, samplers, with_schema};

/// JSON, with every sampler.
pub fn json_requests(prompt: &Prompt) -> Vec<(&'static str, Request)> {
    let with_json =
        |(name, request)| (name, with_schema(Request { prompts: vec![prompt.clone()], ..request }));
    samplers().into_iter().map(with_json).collect()
}

/// Each transfer of the production list is left out in turn; every such engine fails, says what is
/// missing, and can be rebuilt.
///
/// # Panics
/// Where one does not.
pub fn check_mutants(model: &Model, plan: &Plan, requests: &[(&'static str, Request)]) {
    let transfers = plan.transfers();
    for removed_idx in 0..transfers.len() {
        let mut kept = transfers.clone();
        let removed = kept.remove(removed_idx);
        for (name, request) in requests {
            let builder = Engine::builder(model.clone(), plan.clone()).transfers(kept.clone());
            let engine = builder.build().expect("an engine starts without one of its transfers");
            let running = engine.submit(request.clone()).expect("it takes a request");
            let error = running.wait().expect_err("a transfer is missing");
            let found =
                misplaced(&error).unwrap_or_else(|| panic!("{name}: {removed:?}: {error:?}"));
            assert_eq!(*found, wanted(plan, &removed), "{name}: {removed:?}");
            let text = found.to_string();
            let (source, target) = (removed.source_device, removed.target_device);
            let hint = format!("missing transfer: {} {source} -> {target}", removed.kind);
            assert!(text.ends_with(&hint), "{text}");
            assert!(engine.submit(request.clone()).is_err(), "a failed engine takes no requests");
            assert!(engine.failure().is_some());
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
