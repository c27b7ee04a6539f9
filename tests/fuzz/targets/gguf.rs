//! The header of a GGUF file, and all that is read of it before weights are.

#![no_main]

use sluicegate_fuzz_harness::{file, fuzz_target};
use sluicegate_model::{chat::ChatTemplate, tokenizer::Tokenizer};
use sluicegate_spec::{
    config::ModelConfig,
    gguf::{Gguf, GgufHeader},
    profile::{ModelProfile, Target},
};

fuzz_target!(|data: &[u8]| {
    let path = file("model.gguf", data);
    let _ = ModelProfile::read(&path, Target::CPU);
    if let Ok(header) = GgufHeader::open(&path) {
        let _ = Tokenizer::from_gguf(&header);
        for (name, tensor) in header.tensors() {
            assert_eq!(tensor.is_ok(), header.tensor(name).is_ok(), "{name}");
        }
    }
    if let Ok(gguf) = Gguf::open(&path) {
        let _ = ModelConfig::from_gguf(&gguf);
        if let Ok(tokenizer) = Tokenizer::from_gguf(&gguf) {
            let _ = ChatTemplate::from_gguf(&gguf, &tokenizer);
        }
        for (_, tensor) in gguf.tensors() {
            if let Ok(tensor) = tensor {
                // Within the file, or this panics.
                gguf.bytes(tensor);
            }
        }
    }
});
