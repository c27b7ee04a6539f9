//! `tekken.json`, and texts there and back.

#![no_main]

use sluicegate_fuzz_harness::{folder, fuzz_target};
use sluicegate_model::tokenizer::Tokenizer;

const TEXT: &str = "It was <s> 12 o'clock, é 終\n";

fuzz_target!(|data: &[u8]| {
    let folder = folder(&[("tekken.json", data)]);
    let Ok(tokenizer) = Tokenizer::from_directory(folder) else { return };
    for add_special in [false, true] {
        if let Ok(tokens) = tokenizer.encode(TEXT, add_special) {
            tokenizer.decode(&tokens);
        }
    }
});
