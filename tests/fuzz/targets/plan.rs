//! A plan as `plan --save` keeps it: read, compared, written.

#![no_main]

use sluicegate_fuzz_harness::fuzz_target;
use sluicegate_placement::{SavedPlan, diff, predict};

fuzz_target!(|data: &[u8]| {
    let Ok(saved) = serde_json::from_slice::<SavedPlan>(data) else { return };
    saved.differences(&saved.profile, &saved.cluster);
    let _ = predict(&saved.profile, &saved.cluster, &saved.policy, &saved.plan);
    let _ = diff(&saved, &saved);
    let written = serde_json::to_vec(&saved).expect("a plan can be written");
    let again: SavedPlan = serde_json::from_slice(&written).expect("what is written can be read");
    assert_eq!(again, saved);
});
