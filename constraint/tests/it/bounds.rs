//! Compiling as the engine's workers do, for input made to hurt.

use std::time::{Duration, Instant};

use serde_json::Value;
use sluicegate_constraint::{Compiled, Spec, SpecError};

use crate::support::COMPILER;

/// Compiles on a thread with the small stack that worker threads have, and takes a few masks.
/// Returns what the compilation took, too.
fn on_small_stack(spec: &Spec) -> (Result<Compiled, SpecError>, Duration) {
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

/// Compiles like that, and in no more time than `max_compile`.
#[track_caller]
pub(crate) fn within(
    max_compile: Duration,
    name: &str,
    spec: &Spec,
) -> Result<Compiled, SpecError> {
    let (result, elapsed) = on_small_stack(spec);
    let shown = result.as_ref().map_or_else(ToString::to_string, |_| "compiled".to_string());
    assert!(elapsed < max_compile, "{name} took {elapsed:?}: {shown}");
    result
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
