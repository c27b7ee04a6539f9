//! Compiling as the engine's workers do, for input made to hurt.

use std::time::{Duration, Instant};

use serde_json::Value;
use sluicegate_constraint::{Compiled, Spec, SpecError};

use crate::support::COMPILER;

/// Compiles on a thread with the small stack that worker threads have, and takes a few masks.
/// Returns what the compilation took, too.
pub(crate) fn on_small_stack(spec: &Spec) -> (Result<Compiled, SpecError>, Duration) {
    let run = || {
        let start = Instant::now();
        let result = COMPILER.compile(spec);
        let elapsed = start.elapsed();
        if let Ok(compiled) = &result {
            let mut matcher = compiled.matcher();
            for _ in 0..4 {
                let Ok(mask) = matcher.mask() else { break };
                let Some(token) = mask.iter().last() else { break };
                if matcher.advance(token).is_err() {
                    break;
                }
            }
        }
        (result, elapsed)
    };
    std::thread::scope(|scope| {
        let worker = std::thread::Builder::new().stack_size(2 << 20);
        worker.spawn_scoped(scope, run).unwrap().join().unwrap()
    })
}

/// Takes a deep value apart, as dropping it would recurse.
pub(crate) fn drop_deep(spec: Spec) {
    let (Spec::Json { schema: value, .. } | Spec::StructuralTag(value)) = spec else { return };
    let mut todo = vec![value];
    while let Some(value) = todo.pop() {
        match value {
            Value::Array(items) => todo.extend(items),
            Value::Object(object) => todo.extend(object.into_iter().map(|(_, inner)| inner)),
            _ => {}
        }
    }
}
