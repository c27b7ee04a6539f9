//! A cluster's file and its short form, and a plan for it.

#![no_main]

use sluicegate_fuzz_harness::fuzz_target;
use sluicegate_placement::{Cluster, Policy, fixtures::model, plan};

/// More take the planner too long for what it shows.
const MAX_DEVICES: usize = 3;

fuzz_target!(|text: &str| {
    for cluster in [Cluster::parse_toml(text, "cluster.toml"), Cluster::parse_spec(text)] {
        match cluster {
            Ok(cluster) if cluster.devices.len() <= MAX_DEVICES => {
                let profile = model(&[1_000_000; 6], 1_000, 1_000);
                let _ = plan(&profile, &cluster, &Policy::default());
            }
            Ok(_) => {}
            // The message shows a part of the file.
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});
