//! Compiling as the engine's workers do, for input made to hurt.

use allocation_counter::{AllocationInfo, measure};
use serde_json::Value;
use sluicegate_constraint::{Compiled, Spec, SpecError};

use crate::support::COMPILER;

/// What an answer costs, as what the compiling thread allocates.
///
/// Most loops that a specification can make long allocate in every round, and are seen. Some are
/// not, or only in part: comparisons, which spend fuel instead, and fixed points over what is there
/// already, such as which parts of a grammar match any text (`Grammar::productive`), which schemas
/// have a finite value (`analysis::finite`), and how long their finish is (`level_bytes`). Each
/// round of those but the last settles at least one more part or schema.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    pub(crate) allocations: u64,
    pub(crate) bytes: u64,
}

impl Work {
    /// Of compiling `spec` in this thread.
    pub(crate) fn of(spec: &Spec) -> (Result<Compiled, SpecError>, Self) {
        let (compiler, mut result) = (&*COMPILER, None);
        let info = measure(|| result = Some(compiler.compile(spec)));
        let AllocationInfo { count_total: allocations, bytes_total: bytes, .. } = info;
        (result.expect("it was compiled"), Self { allocations, bytes })
    }
}

/// Compiles on a thread with the small stack that worker threads have, and takes a few masks.
fn on_small_stack(spec: &Spec) -> (Result<Compiled, SpecError>, Work) {
    let run = || {
        let (result, work) = Work::of(spec);
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
        (result, work)
    };
    std::thread::scope(|scope| {
        let worker = std::thread::Builder::new().stack_size(2 << 20);
        worker.spawn_scoped(scope, run).unwrap().join().unwrap()
    })
}

/// Compiles like that, and with no more work than `most`.
#[track_caller]
pub(crate) fn within(most: Work, name: &str, spec: &Spec) -> Result<Compiled, SpecError> {
    let (result, Work { allocations, bytes }) = on_small_stack(spec);
    let shown = result.as_ref().map_or_else(ToString::to_string, |_| "compiled".to_string());
    let is_little = allocations < most.allocations && bytes < most.bytes;
    assert!(is_little, "{name}: {allocations} allocations, {bytes} bytes: {shown}");
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
