//! Small files of Mistral's form, good and bad.

use serde_json::{Value, json};

use super::{super::Tokenizer, *};

#[test]
fn base_64_is_read_whole_or_not_at_all() {
    let check = |text: &str, want: Option<&[u8]>| {
        assert_eq!(decode_base64(text).as_deref(), want, "{text}");
    };
    check("", Some(b""));
    check("YQ==", Some(b"a"));
    check("YWI=", Some(b"ab"));
    check("YWJj", Some(b"abc"));
    check("AP/+", Some(&[0, 0xFF, 0xFE]));
    for bad in ["Y", "YQ", "YQ=", "Y===", "====", "Y Q=", "YQ-=", "é==="] {
        check(bad, None);
    }
}

fn encode_base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut padded = [0; 4];
        padded[1..=chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes(padded);
        for digit in 0..4 {
            let value = (bits >> (18 - 6 * digit) & 63) as usize;
            text.push(if digit <= chunk.len() { char::from(ALPHABET[value]) } else { '=' });
        }
    }
    text
}

/// Three special tokens, all bytes, `ab`, `bc`, `abc` and ` ab`; one more that is not used.
fn file() -> Value {
    let bytes = (0..=255u8).map(|byte| vec![byte]);
    let merged = ["ab", "bc", "abc", " ab", "unused"].map(|text| text.as_bytes().to_vec());
    let vocab: Vec<Value> = bytes
        .chain(merged)
        .enumerate()
        .map(|(rank, bytes)| json!({"rank": rank, "token_bytes": encode_base64(&bytes)}))
        .collect();
    let special = |(rank, name): (usize, &str)| json!({"rank": rank, "token_str": name});
    let special: Vec<Value> =
        ["<unk>", "<s>", "</s>"].into_iter().enumerate().map(special).collect();
    json!({
        "config": {"pattern": " ?[a-z]+|\\s+|.", "default_vocab_size": 264,
                   "default_num_special_tokens": 4, "num_vocab_tokens": 261, "version": "v3"},
        "vocab": vocab,
        "special_tokens": special,
    })
}

fn read_value(file: &Value, others: &[(&str, Value)]) -> Result<Tokenizer, TokenizerError> {
    let folder = tempfile::tempdir().unwrap();
    for (name, value) in [("tekken.json", file.clone())].iter().chain(others) {
        fs::write(folder.path().join(name), value.to_string()).unwrap();
    }
    Tokenizer::from_directory(folder.path())
}

#[test]
fn bytes_merge_by_rank_and_special_names_are_tokens() {
    let ends = json!({"eos_token_id": [2, 3]});
    let tokenizer = read_value(&file(), &[("generation_config.json", ends)]).unwrap();
    let [ab, bc, abc, space_ab] = [260, 261, 262, 263];
    let byte = |byte: u8| 4 + TokenId::from(byte);
    let check = |text: &str, wanted: &[TokenId]| {
        assert_eq!(tokenizer.encode(text, false).unwrap(), wanted, "{text:?}");
        assert_eq!(tokenizer.encode_continuation(text).unwrap(), wanted, "{text:?}");
    };
    check("abc", &[abc]);
    check("bcd", &[bc, byte(b'd')]);
    // `ab` has the lowest rank, wherever it is; ` ab` is formed only where it is left to.
    check("abcabx", &[abc, ab, byte(b'x')]);
    check(" ab", &[space_ab]);
    check("é", &[byte(0xC3), byte(0xA9)]);
    check("", &[]);
    check("ab</s>ab", &[ab, 2, ab]);
    assert_eq!(tokenizer.encode("ab", true).unwrap(), [1, ab]);
    assert_eq!(tokenizer.decode(&[1, abc, 2, ab]), "abcab");
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(1), &[2, 3][..]));
    assert_eq!((tokenizer.vocab_size(), tokenizer.add_bos()), (264, true));
    assert_eq!(*tokenizer.token_bytes(3), TokenBytes::Special("<SPECIAL_3>".to_owned()));
}

#[test]
fn bad_files_are_refused_by_key() {
    #[track_caller]
    fn check(change: impl FnOnce(&mut Value), wanted: &[&str]) {
        let mut file = file();
        change(&mut file);
        let error = read_value(&file, &[]).unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string);
        let text = format!("{error} {}", source.unwrap_or_default());
        assert!(wanted.iter().all(|part| text.contains(part)), "{wanted:?} in {text:?}");
    }
    check(|file| file["vocab"] = json!("a"), &["tekken.json", "not a usable tokenizer"]);
    check(|file| file["config"]["pattern"] = json!("(a"), &["not a usable tokenizer"]);
    check(
        |file| file["config"]["default_vocab_size"] = json!(4),
        &["default_vocab_size", "found 4"],
    );
    check(
        |file| file["config"]["default_vocab_size"] = json!(u64::MAX),
        &["default_vocab_size", "at most"],
    );
    check(|file| file["config"]["default_vocab_size"] = json!(266), &["vocab", "no rank 261"]);
    check(|file| file["vocab"][7]["rank"] = json!(6), &["vocab", "rank 6 twice"]);
    check(|file| file["vocab"][7]["token_bytes"] = json!("?"), &["vocab", "found ?"]);
    check(|file| file["vocab"][7]["token_bytes"] = json!(""), &["vocab", "with bytes"]);
    check(|file| file["special_tokens"][1]["rank"] = json!(9), &["special_tokens", "found 9"]);
    check(|file| file["special_tokens"][2]["token_str"] = json!("x"), &["special_tokens", "</s>"]);
    // Without a list there are twenty, which four places do not hold.
    check(|file| file["special_tokens"] = Value::Null, &["special_tokens", "ranks below 4"]);
}
