//! A model costs the same whether it is opened or planned for by its header.

use std::{fs, path::Path};

use candle_core::quantized::GgmlDType;
use sluicegate_model::{
    open::Model,
    source::{ModelSource, Silent},
};
use sluicegate_spec::{
    config::Architecture,
    files::ModelFiles,
    kv::KvType,
    profile::{ModelProfile, Target},
};
use sluicegate_tests::tiny::{StoredType, TinyModel};

fn opened(files: &ModelFiles) -> ModelProfile {
    Model::open(files).unwrap().profile(KvType::default())
}

fn planned(path: &Path) -> ModelProfile {
    ModelProfile::read(path, Target::CPU).unwrap()
}

#[test]
fn headers_tell_the_sizes_of_opened_models() {
    for architecture in Architecture::ALL {
        let model = TinyModel::new(architecture);
        for stored in [StoredType::F32, StoredType::F16, StoredType::BF16] {
            let files = model.directory(stored);
            let want = opened(&files.files);
            assert_eq!(planned(files.directory()), want, "{architecture:?} {stored:?}");
            // By shapes alone, too.
            fs::remove_file(files.directory().join("model.safetensors")).unwrap();
            assert_eq!(planned(files.directory()), want, "{architecture:?} {stored:?}");
        }
        for kind in [GgmlDType::F16, GgmlDType::Q4_1, GgmlDType::Q8_0] {
            let files = model.gguf(kind);
            let ModelFiles::Gguf(path) = &files.files else { panic!("a GGUF file") };
            assert_eq!(planned(path), opened(&files.files), "{architecture:?} {kind:?}");
        }
    }
}

#[test]
fn the_default_model_is_planned_as_it_is_opened() {
    let files = ModelSource::parse("smollm2").unwrap().resolve(&Silent).unwrap();
    let ModelFiles::Gguf(path) = &files else { panic!("the default model is a GGUF file") };
    assert_eq!(planned(path), opened(&files));
}
