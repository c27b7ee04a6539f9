//! A journal's lines, told to a loop.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sluicegate_core::serve::{Line, replay};

fuzz_target!(|text: &str| {
    let lines: Result<Vec<Line>, _> = text.lines().map(serde_json::from_str).collect();
    if let Ok(lines) = lines {
        let _ = replay(&lines);
    }
});
