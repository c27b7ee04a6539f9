//! Files that do not say how their text is cut.

use sluicegate_spec::gguf::writer::Writer;

use super::*;
use crate::{tokenizer::Tokenizer, warnings::heard};

fn header(writer: &Writer) -> GgufHeader {
    GgufHeader::open(writer.save().path()).unwrap()
}

#[test]
fn a_file_that_does_not_say_how_text_is_cut_is_warned_of() {
    #[track_caller]
    fn check(architecture: &str, num_tokens: usize, wanted: &str) {
        let header = header(&Writer::default().text("general.architecture", architecture));
        let (found, warnings) = heard(|| assumed_pre(&header, num_tokens));
        assert_eq!(found, wanted, "{architecture}, {num_tokens}");
        let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
        for part in ["`tokenizer.ggml.pre`", header.path().to_str().unwrap(), wanted] {
            assert!(warning.contains(part), "wanted {part:?} in {warning:?}");
        }
    }
    check("llama", 128_256, "llama-bpe");
    check("llama", 128_258, "llama-bpe");
    check("llama", 131_072, "tekken");
    check("qwen2", 151_936, "qwen2");
    check("qwen3", 100, "qwen2");
    check("llama", 49_152, "default");
    check("gpt2", 128_256, "default");
}

#[test]
fn the_assumed_cut_is_that_of_the_name() {
    let texts = ["1", "2", "12", "a", "\u{120}", "'", "'s", "S", "s"];
    let file = |architecture: &str| {
        Writer::default()
            .text("general.architecture", architecture)
            .text("tokenizer.ggml.model", "gpt2")
            .texts("tokenizer.ggml.tokens", &texts)
            .texts("tokenizer.ggml.merges", &["1 2", "' s"])
    };
    let read = |writer: &Writer| Tokenizer::from_gguf(&header(writer)).unwrap();
    for (architecture, name) in [("qwen3", "qwen2"), ("llama", "default")] {
        let (assumed, warnings) = heard(|| read(&file(architecture)));
        let named = file(architecture).text("tokenizer.ggml.pre", name);
        let (named, none) = heard(|| read(&named));
        assert_eq!((warnings.len(), none.len()), (1, 0));
        for text in ["12a12", "a's 12'S"] {
            assert_eq!(assumed.encode(text, true).unwrap(), named.encode(text, true).unwrap());
        }
    }
}
