//! A journal's lines, told to a loop: the input itself, or one that an engine might have written
//! with the changes that the input says.

#![no_main]

use serde_json::Value;
use sluicegate_core::serve::{Line, replay};
use sluicegate_fuzz_harness::fuzz_target;

/// An input that begins so is a list of changes.
const CHANGES: u8 = b'~';

fuzz_target!(|data: &[u8]| {
    match data.split_first() {
        Some((&CHANGES, changes)) => tell(&changed(changes)),
        _ => tell(&String::from_utf8_lossy(data)),
    }
});

fn tell(text: &str) {
    let lines: Result<Vec<Line>, _> = text.lines().map(serde_json::from_str).collect();
    if let Ok(lines) = lines {
        let _ = replay(&lines);
    }
}

/// The seed with three bytes a change: a line, what happens to it, and a number for that.
fn changed(changes: &[u8]) -> String {
    let whole = include_str!("../seeds/journal/with_prompts");
    let mut lines: Vec<Value> =
        whole.lines().map(|line| serde_json::from_str(line).expect("a seed is JSON")).collect();
    for change in changes.chunks_exact(3) {
        let [idx, what, number] = [0, 1, 2].map(|it| usize::from(change[it]));
        let idx = idx % lines.len();
        match what {
            0 if lines.len() > 1 => drop(lines.remove(idx)),
            1 => lines.insert(number % (lines.len() + 1), lines[idx].clone()),
            nth => {
                let mut nth = nth;
                replace(&mut lines[idx], &mut nth, number);
            }
        }
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Replaces the `nth` number or flag of a value.
fn replace(value: &mut Value, nth: &mut usize, number: usize) -> bool {
    const NUMBERS: [u64; 8] = [63, 64, 1_000, 65_536, 1 << 31, u32::MAX as u64, 1 << 60, u64::MAX];
    match value {
        Value::Array(items) => items.iter_mut().any(|item| replace(item, nth, number)),
        Value::Object(fields) => fields.values_mut().any(|field| replace(field, nth, number)),
        Value::String(_) | Value::Null => false,
        Value::Number(_) | Value::Bool(_) if *nth > 0 => {
            *nth -= 1;
            false
        }
        Value::Bool(flag) => {
            *flag = !*flag;
            true
        }
        Value::Number(_) => {
            let large = number.checked_sub(248).and_then(|idx| NUMBERS.get(idx));
            *value = Value::from(large.copied().unwrap_or(number as u64));
            true
        }
    }
}
