//! A tiny model as a directory in Hugging Face layout.

use std::{collections::HashMap, fs, path::Path};

use candle_core::{DType, Device, Tensor};

use super::{TinyModel, tokenizer};

/// The type in which a safetensors file holds the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredType {
    F32,
    F16,
    BF16,
}

pub(super) fn write(model: &TinyModel, directory: &Path, stored: StoredType) {
    let (dtype, name) = match stored {
        StoredType::F32 => (DType::F32, "float32"),
        StoredType::F16 => (DType::F16, "float16"),
        StoredType::BF16 => (DType::BF16, "bfloat16"),
    };
    let config = model.clone().with("torch_dtype", name);
    for (file, json) in [
        ("config.json", config.config().clone()),
        ("tokenizer.json", tokenizer::tokenizer_json()),
        ("tokenizer_config.json", tokenizer::tokenizer_config_json()),
        ("generation_config.json", tokenizer::generation_config_json(model)),
    ] {
        fs::write(directory.join(file), json.to_string()).expect("a temporary folder is writable");
    }
    let tensors: HashMap<String, Tensor> = model
        .tensors()
        .into_iter()
        .map(|tensor| {
            #[expect(clippy::disallowed_methods, reason = "a file for tests is made on the host")]
            let values = Tensor::from_vec(tensor.values, tensor.shape, &Device::Cpu);
            let values = values.and_then(|values| values.to_dtype(dtype));
            (tensor.name, values.expect("the formula fills the shape"))
        })
        .collect();
    candle_core::safetensors::save(&tensors, directory.join("model.safetensors"))
        .expect("a temporary folder is writable");
}
