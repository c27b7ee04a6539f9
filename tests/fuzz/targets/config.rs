//! `config.json`, read for a run and for a plan.

#![no_main]

use sluicegate_fuzz_harness::{folder, fuzz_target, two_files};
use sluicegate_spec::{
    config::ModelConfig,
    profile::{ModelProfile, Target},
};

fuzz_target!(|data: &[u8]| {
    let (config, generation) = two_files(data);
    let files = [("config.json", config), ("generation_config.json", generation)];
    let folder = folder(&files);
    if let Ok(config) = ModelConfig::from_directory(folder) {
        config.kv_groups();
    }
    for target in [Target::CPU, Target::ACCELERATOR] {
        let _ = ModelProfile::read(folder, target);
    }
});
