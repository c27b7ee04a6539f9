//! The tokenizers of real models, and of small ones made here.
//!
//! The wanted ids of the real models come from their own vocabularies, given to Hugging Face's
//! `tokenizers` (SmolLM2) and to `SentencePiece` (Gemma 3).

use std::{path::Path, sync::LazyLock};

use sluicegate_spec::gguf::writer::Writer;

use super::*;
use crate::source::{ModelSource, Silent};

/// The default model's tokenizer, its file fetched once through the alias.
fn smollm2() -> &'static Tokenizer {
    static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
        let files = ModelSource::parse("smollm2").unwrap().resolve(&Silent).unwrap();
        Tokenizer::from_files(&files).unwrap()
    });
    &TOKENIZER
}

#[track_caller]
fn check(tokenizer: &Tokenizer, text: &str, wanted: &[TokenId]) {
    assert_eq!(tokenizer.encode(text, false).unwrap(), wanted, "tokens of {text:?}");
    assert_eq!(tokenizer.decode(wanted), text, "text of {wanted:?}");
}

#[test]
fn smollm2_tokens_are_those_of_its_own_tokenizer() {
    let check = |text: &str, wanted: &[TokenId]| check(smollm2(), text, wanted);
    check("Hello, world!", &[19556, 28, 905, 17]);
    // Digits stand alone: 2, 0, 2, 4 and 3, 6, 6.
    check(
        "The year 2024 has 366 days",
        &[504, 713, 216, 34, 32, 34, 36, 553, 216, 35, 38, 38, 2009],
    );
    check("   three spaces\n\n\tand a tab", &[256, 1296, 5600, 1116, 197, 397, 253, 10147]);
    check(
        "naïve café – 日本語 🦀",
        &[3546, 46494, 37366, 816, 17097, 241, 115, 40993, 179, 120, 248, 15107, 116, 218],
    );
    check(
        "I'll don't WE'VE 3.14159",
        &[57, 3060, 1326, 982, 26587, 23, 18525, 216, 35, 30, 33, 36, 33, 37, 41],
    );
    check(
        "for (int i = 0; i < 10; ++i) {\n        x[i] += 1;\n}",
        &[
            1710, 365, 591, 2056, 446, 216, 32, 43, 2056, 2067, 216, 33, 32, 43, 1232, 27, 89, 25,
            1662, 448, 1792, 75, 89, 77, 4519, 216, 33, 43, 198, 109,
        ],
    );
}

#[test]
fn special_tokens_in_text_are_tokens_and_decode_to_nothing() {
    let tokens = smollm2().encode("<|im_start|>user\nhi<|im_end|>\n", true).unwrap();
    assert_eq!(tokens, [1, 4093, 198, 6004, 2, 198]);
    assert_eq!(smollm2().decode(&tokens), "user\nhi\n");
    assert_eq!(*smollm2().token_bytes(2), TokenBytes::Special("<|im_end|>".to_owned()));
    assert_eq!((smollm2().bos(), smollm2().eos()), (Some(1), &[2][..]));
    assert!(!smollm2().add_bos());
    assert_eq!(smollm2().vocab_size(), 49_152);
    assert_eq!(*smollm2().token_bytes(49_152), TokenBytes::Unused);
}

#[test]
fn token_bytes_of_the_whole_smollm2_vocabulary_are_what_the_decoder_gives() {
    let Encoder::Gguf { inner: GgufEncoder::ByteLevel(oracle), .. } = &smollm2().0.encoder else {
        panic!("SmolLM2 is byte level");
    };
    let mut texts = 0;
    for token in 0..49_152 {
        if let TokenBytes::Text(bytes) = smollm2().token_bytes(token) {
            let wanted = oracle.decode(&[token], true).unwrap();
            assert_eq!(String::from_utf8_lossy(bytes), wanted, "token {token}");
            texts += 1;
        }
    }
    assert_eq!(texts, 49_152 - 17);
    let all: Vec<TokenId> = (17..49_152).collect();
    assert_eq!(smollm2().decode(&all), oracle.decode(&all, true).unwrap());
}

#[test]
fn a_stream_gives_whole_characters_and_the_same_text() {
    let text = "naïve 日本語 🦀🦀 done";
    let mut stream = smollm2().stream();
    let pieces: Vec<Option<String>> = smollm2()
        .encode(text, false)
        .unwrap()
        .into_iter()
        .map(|token| stream.push(token))
        .collect();
    assert!(pieces.contains(&None), "some token ends within a character");
    let joined: String = pieces.into_iter().flatten().collect();
    assert_eq!(joined, text);
    assert_eq!(stream.flush(), None);
}

#[test]
fn a_stream_replaces_only_what_cannot_become_a_character() {
    // One token for each byte: 3 + byte.
    let tokenizer = tiny_spm(true);
    let mut stream = tokenizer.stream();
    let mut push = |byte: u8| stream.push(3 + TokenId::from(byte));
    assert_eq!(push(b'a'), Some("a".to_owned()));
    assert_eq!((push(0xE2), push(0x96)), (None, None));
    assert_eq!(push(0x81), Some("\u{2581}".to_owned()));
    assert_eq!(push(0xE2), None);
    assert_eq!(push(b'b'), Some("\u{FFFD}b".to_owned()));
    assert_eq!(push(0xFF), Some("\u{FFFD}".to_owned()));
    assert_eq!(push(0xF0), None);
    assert_eq!(stream.push(0), None);
    assert_eq!(stream.flush(), Some("\u{FFFD}".to_owned()));
    assert_eq!(stream.flush(), None);
}

/// A `SentencePiece` vocabulary: three specials, all bytes, and a few pieces.
fn spm_writer() -> Writer {
    let mut texts: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_owned).to_vec();
    texts.extend((0..=255).map(|byte: u8| format!("<0x{byte:02X}>")));
    let pieces: [(&str, f32); 8] = [
        ("▁", -8.0),
        ("a", -9.0),
        ("b", -10.0),
        ("ab", -1.0),
        ("ba", -2.0),
        ("▁ab", -3.0),
        ("aba", -0.5),
        ("\n\n", 0.0),
    ];
    let mut types = vec![2, 3, 3];
    types.extend([6; 256]);
    types.extend([1, 1, 1, 1, 1, 1, 1, 4]);
    let mut scores = vec![0.0; 259];
    for (piece, score) in pieces {
        texts.push(piece.to_owned());
        scores.push(score);
    }
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    Writer::default()
        .text("tokenizer.ggml.model", "llama")
        .texts("tokenizer.ggml.tokens", &texts)
        .f32s("tokenizer.ggml.scores", &scores)
        .i32s("tokenizer.ggml.token_type", &types)
        .u32("tokenizer.ggml.bos_token_id", 1)
        .u32("tokenizer.ggml.eos_token_id", 2)
        .u32("tokenizer.ggml.unknown_token_id", 0)
}

fn tiny_spm(add_space_prefix: bool) -> Tokenizer {
    let file = spm_writer().flag("tokenizer.ggml.add_space_prefix", add_space_prefix).save();
    Tokenizer::from_files(&ModelFiles::Gguf(file.path().to_owned())).unwrap()
}

#[test]
fn pieces_merge_by_score_and_the_rest_falls_back_to_bytes() {
    let [space, a, b, ab, _ba, space_ab, aba, lines] = [259, 260, 261, 262, 263, 264, 265, 266];
    let tokenizer = tiny_spm(false);
    let check = |text: &str, wanted: &[TokenId]| check(&tokenizer, text, wanted);
    check("ab", &[ab]);
    check(" ab", &[space_ab]);
    // The best score first: ab on the left, then aba, which leaves b alone.
    check("abab", &[aba, b]);
    check("aba", &[aba]);
    check("bb a", &[b, b, space, a]);
    check("a\n\n\nb", &[a, lines, 3 + 10, b]);
    check("é", &[3 + 0xC3, 3 + 0xA9]);
    check("", &[]);
    assert_eq!(tokenizer.encode("ab", true).unwrap(), [1, ab]);
    assert_eq!(tokenizer.encode("ab</s>ab", false).unwrap(), [ab, 2, ab]);
    assert_eq!((tokenizer.add_bos(), tokenizer.eos()), (true, &[2][..]));
}

#[test]
fn a_space_is_put_before_text_that_begins() {
    let tokenizer = tiny_spm(true);
    assert_eq!(tokenizer.encode("ab", true).unwrap(), [1, 264]);
    assert_eq!(tokenizer.encode("ab</s>ab\n\nab", false).unwrap(), [264, 2, 264, 266, 262]);
}

#[test]
fn a_text_that_goes_on_gets_no_space_before_it() {
    let [a, ab, space_ab] = [260, 262, 264];
    for add_space_prefix in [false, true] {
        let tokenizer = tiny_spm(add_space_prefix);
        let check = |text: &str, wanted: &[TokenId]| {
            assert_eq!(tokenizer.encode_continuation(text).unwrap(), wanted, "{text:?}");
        };
        check("ab", &[ab]);
        check(" ab", &[space_ab]);
        check("a ab", &[a, space_ab]);
        check("é", &[3 + 0xC3, 3 + 0xA9]);
        check("", &[]);
    }
    // The same from `tokenizer.json`, where a normaliser or the pre-tokenizer may add it.
    let vocab: serde_json::Map<String, serde_json::Value> = (0..=255u32)
        .map(|byte| format!("<0x{byte:02X}>"))
        .chain(["▁", "a", "b", "ab", "▁ab"].map(str::to_owned))
        .zip(0..)
        .map(|(text, token)| (text, token.into()))
        .collect();
    let metaspace = |scheme: &str| {
        serde_json::json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme,
                           "split": false})
    };
    for scheme in ["always", "first", "never"] {
        let json = serde_json::json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
            "normalizer": null, "pre_tokenizer": metaspace(scheme), "post_processor": null,
            "decoder": metaspace(scheme),
            "model": {"type": "BPE", "dropout": null, "unk_token": null,
                      "continuing_subword_prefix": null, "end_of_word_suffix": null,
                      "fuse_unk": false, "byte_fallback": true, "vocab": vocab,
                      "merges": ["a b", "▁ ab"]},
        });
        let files = directory(&[("tokenizer.json", &json.to_string())]);
        let tokenizer = read(files.path()).unwrap();
        let first = tokenizer.encode("ab", false).unwrap();
        assert_eq!(first, if scheme == "never" { [259] } else { [260] }, "{scheme}");
        for (text, wanted) in [("ab", &[259][..]), (" ab", &[260]), ("a ab", &[257, 260])] {
            let tokens = tokenizer.encode_continuation(text).unwrap();
            assert_eq!(tokens, wanted, "{text:?} with {scheme}");
            assert_eq!(tokenizer.decode(&tokens), text);
        }
        assert_eq!(*tokenizer.token_bytes(0xC3), TokenBytes::Text(vec![0xC3]));
    }
}

/// The error of a vocabulary holds every part of `wanted`.
#[track_caller]
fn refused(writer: &Writer, wanted: &[&str]) {
    let file = writer.save();
    let error = Tokenizer::from_files(&ModelFiles::Gguf(file.path().to_owned())).unwrap_err();
    let error = error.to_string();
    for part in wanted {
        assert!(error.contains(part), "wanted {part:?} in {error:?}");
    }
}

#[test]
fn bad_vocabularies_are_refused_by_key() {
    let tokens = |writer: Writer| writer.texts("tokenizer.ggml.tokens", &["a", "b", "ab"]);
    let bpe = || tokens(Writer::default().text("tokenizer.ggml.model", "gpt2"));
    let spm = || tokens(Writer::default().text("tokenizer.ggml.model", "llama"));
    refused(&Writer::default(), &["tokenizer.ggml.tokens", "found nothing"]);
    refused(&tokens(Writer::default()), &["tokenizer.ggml.model", "gpt2 or llama"]);
    let wordpiece = tokens(Writer::default().text("tokenizer.ggml.model", "bert"));
    refused(&wordpiece, &["`bert` is not supported"]);
    refused(&bpe().text("tokenizer.ggml.pre", "new"), &["pre-tokenizer `new`", "smollm", "qwen2"]);
    refused(&bpe(), &["tokenizer.ggml.merges"]);
    for merge in ["ab", "a c", "b a", "c d", "ab ab"] {
        refused(&bpe().texts("tokenizer.ggml.merges", &[merge]), &["merges", merge]);
    }
    refused(&bpe().f32s("tokenizer.ggml.merges", &[1.0]), &["merges", "array of 1 F32"]);
    refused(&spm(), &["tokenizer.ggml.scores"]);
    refused(&spm().f32s("tokenizer.ggml.scores", &[1.0]), &["scores", "one number per token"]);
    let typed = |types: &[i32]| spm().i32s("tokenizer.ggml.token_type", types);
    refused(&typed(&[1, 1]), &["token_type", "3 numbers"]);
    refused(&typed(&[1, 1, 9]), &["token_type", "found 9"]);
    let byte = typed(&[1, 6, 1]).f32s("tokenizer.ggml.scores", &[1.0; 3]);
    refused(&byte, &["byte tokens", "found b"]);
    let good = spm().f32s("tokenizer.ggml.scores", &[1.0; 3]);
    refused(&good.clone().u32("tokenizer.ggml.bos_token_id", 3), &["bos_token_id", "below 3"]);
    refused(&good.u32("tokenizer.ggml.eos_token_id", u32::MAX), &["eos_token_id", "below 3"]);
}

fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

const HUB_TOKENIZER: &str = r#"{"version":"1.0","truncation":null,"padding":null,
    "added_tokens":[
        {"id":5,"content":"<end>","single_word":false,"lstrip":false,"rstrip":false,
         "normalized":false,"special":true},
        {"id":6,"content":"<tool>","single_word":false,"lstrip":false,"rstrip":false,
         "normalized":false,"special":false}],
    "normalizer":null,
    "pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,
        "use_regex":true},
    "post_processor":null,
    "decoder":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true},
    "model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,
        "end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,
        "vocab":{"a":0,"b":1,"Ġ":2,"ab":3,"Ã":4},"merges":["a b"]}}"#;

fn read(path: &Path) -> Result<Tokenizer, TokenizerError> {
    Tokenizer::from_files(&ModelFiles::Directory(path.to_owned()))
}

#[test]
fn a_tokenizer_json_is_read_with_all_end_tokens() {
    let files = directory(&[
        ("tokenizer.json", HUB_TOKENIZER),
        ("config.json", r#"{"eos_token_id": 9, "bos_token_id": 0}"#),
        ("generation_config.json", r#"{"eos_token_id": [3, 6]}"#),
        ("tokenizer_config.json", r#"{"eos_token": {"content": "<end>"}}"#),
    ]);
    let tokenizer = read(files.path()).unwrap();
    assert_eq!(tokenizer.encode("ab a<tool><end>", true).unwrap(), [3, 2, 0, 6, 5]);
    assert_eq!(tokenizer.decode(&[3, 2, 0, 6, 5]), "ab a<tool>");
    assert_eq!(*tokenizer.token_bytes(4), TokenBytes::Text(vec![0xC3]));
    assert_eq!(*tokenizer.token_bytes(7), TokenBytes::Unused);
    assert_eq!(*tokenizer.token_bytes(5), TokenBytes::Special("<end>".to_owned()));
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(0), &[3, 6, 5][..]));
    assert_eq!((tokenizer.vocab_size(), tokenizer.add_bos()), (7, false));
}

#[test]
fn prompts_are_neither_cut_nor_padded() {
    let truncation = r#""truncation":{"direction":"Right","max_length":2,
        "strategy":"LongestFirst","stride":0}"#;
    let padding = r#""padding":{"strategy":{"Fixed":8},"direction":"Right",
        "pad_to_multiple_of":null,"pad_id":5,"pad_type_id":0,"pad_token":"<end>"}"#;
    let json = HUB_TOKENIZER
        .replace("\"truncation\":null", truncation)
        .replace("\"padding\":null", padding);
    let files = directory(&[("tokenizer.json", &json)]);
    let tokenizer = read(files.path()).unwrap();
    for add_special in [false, true] {
        assert_eq!(tokenizer.encode("ab a b a", add_special).unwrap(), [3, 2, 0, 2, 1, 2, 0]);
        assert_eq!(tokenizer.encode("a", add_special).unwrap(), [0]);
    }
    assert_eq!(tokenizer.encode_continuation("ab a").unwrap(), [3, 2, 0]);
}

#[test]
fn tokens_without_a_row_are_of_no_use() {
    let files = directory(&[
        ("tokenizer.json", HUB_TOKENIZER),
        ("generation_config.json", r#"{"eos_token_id": [3, 5, 9]}"#),
    ]);
    let mut tokenizer = read(files.path()).unwrap();
    tokenizer.limit_to(5);
    assert_eq!(tokenizer.eos(), [3]);
    assert_eq!(tokenizer.encode("ab a", true).unwrap(), [3, 2, 0]);
    for name in ["<end>", "<tool>"] {
        let error = tokenizer.encode(&format!("ab{name}"), false).unwrap_err().to_string();
        assert!(error.contains(&format!("`{name}`")) && error.contains("below 5"), "{error}");
    }
}

#[test]
fn a_template_in_another_encoding_does_not_hide_the_end_token() {
    let files = directory(&[("tokenizer.json", HUB_TOKENIZER)]);
    let config = b"{\"eos_token\": \"<end>\", \"chat_template\": \"\xE9\"}";
    std::fs::write(files.path().join("tokenizer_config.json"), config).unwrap();
    assert_eq!(read(files.path()).unwrap().eos(), [5]);
}

#[test]
fn a_git_lfs_pointer_is_no_tokenizer() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9085657\n";
    for name in ["tokenizer.json", "tekken.json"] {
        let error = read(directory(&[(name, pointer)]).path()).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("`git lfs pull`"), "{error}");
    }
}

#[test]
fn bad_tokenizer_files_are_errors() {
    let check = |json: &str, wanted: &str| {
        let files = directory(&[("tokenizer.json", json)]);
        let error = read(files.path()).unwrap_err().to_string();
        assert!(error.contains("tokenizer.json") && error.contains(wanted), "{error}");
    };
    check("{", "not a usable tokenizer");
    check(&HUB_TOKENIZER.replace("\"a b\"", "\"a x\""), "not a usable tokenizer");
    check(&HUB_TOKENIZER.replace("\"a b\"", "\"ab ab\""), "not a usable tokenizer");
    check(&HUB_TOKENIZER.replace("\"Ã\":4", "\"Ã\":99999999"), "ids below");
    let decoder = r#""decoder":{"type":"WordPiece","prefix":"","cleanup":true},"model""#;
    let start = HUB_TOKENIZER.find("\"decoder\"").unwrap();
    let end = HUB_TOKENIZER.find("\"model\"").unwrap() + "\"model\"".len();
    let wordpiece = format!("{}{decoder}{}", &HUB_TOKENIZER[..start], &HUB_TOKENIZER[end..]);
    check(&wordpiece, "is not supported");
    let missing = read(directory(&[]).path()).unwrap_err().to_string();
    assert!(missing.contains("cannot read") && missing.contains("tokenizer.json"), "{missing}");
}
