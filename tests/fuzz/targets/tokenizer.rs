//! `tokenizer.json`, `tokenizer_config.json` behind it, and texts there and back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sluicegate_fuzz::{folder, two_files};
use sluicegate_model::tokenizer::Tokenizer;

const TEXT: &str = "It was <s> 12 o'clock, é 終\n";

fuzz_target!(
    // The library's panics are caught: a hook that ends the process must not come first.
    init: std::panic::set_hook(Box::new(|panic| eprintln!("{panic}"))),
    |data: &[u8]| {
        let (tokenizer, config) = two_files(data);
        let files = [("tokenizer.json", tokenizer), ("tokenizer_config.json", config)];
        let Ok(tokenizer) = Tokenizer::from_directory(folder(&files)) else { return };
        for add_special in [false, true] {
            if let Ok(tokens) = tokenizer.encode(TEXT, add_special) {
                tokenizer.decode(&tokens);
            }
        }
    }
);
