//! What files do not say: how their text is cut, which tokens end a turn, and which take white
//! space.

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

/// A vocabulary of scores with the special tokens of Phi 3.
fn phi3(architecture: &str) -> Tokenizer {
    let mut texts = ["<unk>", "<s>", "</s>"].map(str::to_owned).to_vec();
    texts.extend((0..=255).map(|byte: u8| format!("<0x{byte:02X}>")));
    texts.extend(["\u{2581}", "a", "<|endoftext|>", "<|user|>", "<|end|>"].map(str::to_owned));
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut types = vec![3, 3, 4];
    types.extend([6; 256]);
    types.extend([1, 1, 3, 3, 3]);
    let writer = Writer::default()
        .text("general.architecture", architecture)
        .text("tokenizer.ggml.model", "llama")
        .texts("tokenizer.ggml.tokens", &texts)
        .f32s("tokenizer.ggml.scores", &vec![0.0; texts.len()])
        .i32s("tokenizer.ggml.token_type", &types)
        .u32("tokenizer.ggml.bos_token_id", 1)
        .u32("tokenizer.ggml.eos_token_id", 261)
        .flag("tokenizer.ggml.add_space_prefix", false);
    Tokenizer::from_gguf(&header(&writer)).unwrap()
}

#[test]
fn white_space_behind_special_tokens_of_phi3_is_none_of_the_text() {
    let [bos, end_of_text, user, end] = [1, 261, 262, 263];
    let [space, a, line] = [259, 260, 3 + 10];
    let check = |architecture: &str, text: &str, wanted: &[TokenId]| {
        let tokens = phi3(architecture).encode(text, false).unwrap();
        assert_eq!(tokens, wanted, "{architecture}, {text:?}");
    };
    let turn = "<|user|>\n a<|end|>\n\n<|user|>a a</s> a";
    check("phi3", turn, &[user, a, end, user, a, space, a, 2, a]);
    check("phi3", "<|end|> \n", &[end]);
    check("phi3", "a\n<|end|>", &[a, line, end]);
    check("phi3", "<s>\n<|endoftext|> a<unk> ", &[bos, line, end_of_text, space, a, 0, space]);
    check("llama", "<|user|>\n a<|end|> ", &[user, line, space, a, end, space]);
    assert_eq!(phi3("phi3").decode(&[user, a, end]), "a");
}

#[test]
fn the_token_that_ends_a_turn_ends_a_sequence_too() {
    assert_eq!(phi3("phi3").eos(), [261, 263]);
}
