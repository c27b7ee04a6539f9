//! `tokenizer.json`, `tokenizer_config.json` behind it with its chat template, and texts there and
//! back.

#![no_main]

use sluicegate_fuzz_harness::{folder, fuzz_target, two_files};
use sluicegate_model::{chat::ChatTemplate, tokenizer::Tokenizer};

const TEXT: &str = "It was <s> 12 o'clock, é 終\n";

fuzz_target!(
    // The library's panics are caught: a hook that ends the process must not come first.
    init: std::panic::set_hook(Box::new(|panic| eprintln!("{panic}"))),
    |data: &[u8]| {
        let (tokenizer, config) = two_files(data);
        let files = [("tokenizer.json", tokenizer), ("tokenizer_config.json", config)];
        let folder = folder(&files);
        let Ok(tokenizer) = Tokenizer::from_directory(folder) else { return };
        let _ = ChatTemplate::from_directory(folder, &tokenizer);
        for add_special in [false, true] {
            if let Ok(tokens) = tokenizer.encode(TEXT, add_special) {
                tokenizer.decode(&tokens);
            }
        }
    }
);
