//! Stages whose threads keep to a core.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    thread,
};

use sluicegate::{Engine, Prompt, Request, engine::BuildError};
use sluicegate_model::{open::Model, threads::check_cores};
use sluicegate_spec::config::Architecture;
use sluicegate_tests::{
    engines::{complete, even_plan},
    tiny::{StoredType, TinyModel},
};

#[test]
#[cfg(target_os = "linux")]
fn each_stage_runs_on_the_core_that_it_was_given() {
    let files = TinyModel::new(Architecture::Llama).directory(StoredType::F32);
    let model = Model::open(&files.files).unwrap();
    let seen: Arc<Mutex<BTreeMap<usize, usize>>> = Arc::default();
    let writes = Arc::clone(&seen);
    let core = check_cores(&[99_999]).unwrap_err().allowed[0];
    // Counts what the stage's thread may run on.
    let engine = Engine::builder(model.clone(), even_plan(&model, 2))
        .pin_to_cores(vec![core, core])
        .before_forward(Arc::new(move |stage, _| {
            let cores = thread::available_parallelism().unwrap().get();
            writes.lock().unwrap().insert(stage.0, cores);
        }))
        .build()
        .unwrap();
    complete(&engine, &Request { max_tokens: 3, ..Request::new(Prompt::Tokens(vec![1, 2])) });
    assert_eq!(*seen.lock().unwrap(), BTreeMap::from([(0, 1), (1, 1)]));
}

#[test]
fn cores_are_checked_before_anything_is_loaded() {
    let files = TinyModel::new(Architecture::Llama).directory(StoredType::F32);
    let model = Model::open(&files.files).unwrap();
    let build = |cores| {
        let builder = Engine::builder(model.clone(), even_plan(&model, 2)).pin_to_cores(cores);
        builder.build().map(|_| ())
    };
    let error = build(vec![0, 1, 2]).unwrap_err();
    assert!(matches!(error, BuildError::Cores { wanted: 2, found: 3 }), "{error}");
    let error = build(vec![99_999, 99_999]).unwrap_err();
    assert!(error.to_string().contains("core 99999 is not available"), "{error}");
}
