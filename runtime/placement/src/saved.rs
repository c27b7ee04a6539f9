//! Saved plans: a plan with everything it was made from, for files and comparisons.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
};

use serde::{Deserialize, Serialize};
use sluicegate_spec::{device::DeviceId, profile::ModelProfile, units::Bytes};

use super::{
    cluster::Cluster,
    error::PlanError,
    explain::{table, time},
    plan::Plan,
    planner::predict,
    policy::Policy,
};

/// A plan with its model, cluster and policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedPlan {
    pub version: u32,
    /// The name of the model.
    pub model: String,
    pub profile: ModelProfile,
    pub cluster: Cluster,
    pub policy: Policy,
    pub plan: Plan,
}

impl SavedPlan {
    /// The version that is written; no other is read.
    pub const VERSION: u32 = 1;

    /// Returns the changes that invalidate the plan: other sizes of the model, missing devices, or
    /// devices without enough memory for their stages. Changed speeds do not count.
    pub fn differences(&self, profile: &ModelProfile, cluster: &Cluster) -> Vec<String> {
        let mut found = model_differences(&self.profile, profile);
        let (planned, layers) = (self.plan.num_layers, self.profile.num_layers);
        if planned != layers {
            found.push(format!("layers of the plan: {planned}, of its model: {layers}"));
        }
        // Compares with what the stages need, not with what the devices had: free memory changes
        // from one second to the next.
        let mut needed: BTreeMap<DeviceId, u64> = BTreeMap::new();
        for stage in &self.plan.stages {
            let bytes = needed.entry(stage.device).or_default();
            *bytes = bytes.saturating_add(stage.total_bytes().0);
        }
        for (id, needed) in needed {
            match cluster.devices.iter().find(|device| device.id == id) {
                None => found.push(format!("{id} is not there")),
                Some(device) => {
                    let there = device.memory.0.saturating_sub(device.reserve.0);
                    if there < needed {
                        let (needed, there) = (Bytes(needed), Bytes(there));
                        found.push(format!("{id}: its stages need {needed}, found {there}"));
                    }
                }
            }
        }
        found
    }
}

fn model_differences(planned: &ModelProfile, found: &ModelProfile) -> Vec<String> {
    let mut differences = Vec::new();
    let mut compare = |what: &str, planned: String, found: String| {
        if planned != found {
            differences.push(format!("{what}: planned for {planned}, found {found}"));
        }
    };
    compare("layers", planned.num_layers.to_string(), found.num_layers.to_string());
    compare("hidden", planned.hidden.to_string(), found.hidden.to_string());
    compare("vocabulary", planned.vocab.to_string(), found.vocab.to_string());
    compare("KV groups", format!("{:?}", planned.kv_groups), format!("{:?}", found.kv_groups));
    let activation = |profile: &ModelProfile| format!("{} bytes", profile.hidden_element_bytes);
    compare("activations", activation(planned), activation(found));
    for (planned, found) in planned.units.iter().zip(&found.units) {
        let unit = planned.unit;
        let weights = |bytes: Bytes| format!("{} bytes", bytes.0);
        compare(
            &format!("weights of {unit}"),
            weights(planned.weight_bytes),
            weights(found.weight_bytes),
        );
        let cache = |kv: Option<sluicegate_spec::profile::UnitKv>| {
            format!("{} bytes per token", kv.map_or(0, |kv| kv.bytes_per_token.0))
        };
        compare(&format!("KV cache of {unit}"), cache(planned.kv), cache(found.kv));
    }
    // The first few differences tell enough.
    let num_more = differences.len().saturating_sub(3);
    differences.truncate(3);
    if num_more > 0 {
        differences.push(format!("and {num_more} more"));
    }
    differences
}

/// Compares two plans, for people.
///
/// # Errors
/// A plan does not match its own model and cluster.
pub fn diff(before: &SavedPlan, after: &SavedPlan) -> Result<String, PlanError> {
    let header = ["device", "before", "after", "weights"].map(str::to_owned);
    let mut rows = vec![header];
    let mut devices: Vec<DeviceId> = Vec::new();
    for stage in before.plan.stages.iter().chain(&after.plan.stages) {
        if !devices.contains(&stage.device) {
            devices.push(stage.device);
        }
    }
    devices.sort();
    for device in devices {
        let (old, new) = (on(&before.plan, device), on(&after.plan, device));
        let change =
            if old.1 == new.1 { new.1.to_string() } else { format!("{} -> {}", old.1, new.1) };
        rows.push([device.to_string(), old.0, new.0, change]);
    }
    let mut text = String::new();
    write(&mut text, before, after, &rows)?.expect("a string can be written to");
    Ok(text.trim_end().to_owned())
}

/// Writes the table and the change in performance.
fn write(
    text: &mut String,
    before: &SavedPlan,
    after: &SavedPlan,
    rows: &[[String; 4]],
) -> Result<fmt::Result, PlanError> {
    let predict = |it: &SavedPlan| predict(&it.profile, &it.cluster, &it.policy, &it.plan);
    let (old, new) = (predict(before)?, predict(after)?);
    let counts = [
        ("sequences", old.sequences, new.sequences),
        ("microbatches", old.microbatches, new.microbatches),
        ("KV tokens", before.plan.kv_tokens, after.plan.kv_tokens),
    ];
    let mut write = || {
        table(text, [true; 4], rows)?;
        let (slow, fast) = (old.tokens_per_s(), new.tokens_per_s());
        let gain = (fast / slow - 1.0) * 100.0;
        writeln!(text, "tokens/s: {slow:.1} -> {fast:.1} ({gain:+.1} %)")?;
        let (slow, fast) = (time(old.cycle_s), time(new.cycle_s));
        writeln!(text, "a token of each sequence: {slow} -> {fast}")?;
        for (what, old, new) in counts {
            if old == new {
                writeln!(text, "{what}: {new}")?;
            } else {
                writeln!(text, "{what}: {old} -> {new}")?;
            }
        }
        Ok(())
    };
    Ok(write())
}

/// Returns the units on a device in words, and their weights.
fn on(plan: &Plan, device: DeviceId) -> (String, Bytes) {
    let stages: Vec<_> = plan.stages.iter().filter(|stage| stage.device == device).collect();
    if stages.is_empty() {
        return ("-".to_owned(), Bytes(0));
    }
    let units: Vec<String> = stages.iter().map(|stage| plan.units(stage)).collect();
    (units.join("; "), Bytes(stages.iter().map(|stage| stage.weight_bytes.0).sum()))
}
