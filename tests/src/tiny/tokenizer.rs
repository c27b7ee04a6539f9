//! A byte-level tokenizer: all bytes, a few merges that JSON is made of, and special tokens.

use serde_json::{Map, Value, json};

use super::TinyModel;

/// Ids 0 to 255 are the bytes; merges follow; these are the special tokens.
pub const TINY_BOS: u32 = 300;
pub const TINY_EOS: u32 = 301;
const SPECIAL: [(u32, &str); 4] =
    [(TINY_BOS, "<|bos|>"), (TINY_EOS, "<|eos|>"), (302, "<|im_start|>"), (303, "<|im_end|>")];

/// Tokens that the tokenizer knows. The models' logits are wider.
pub const TINY_TOKENS: usize = 304;

/// Pairs that are merged, in order; each makes one token.
pub const TINY_MERGES: [(&str, &str); 44] = [
    ("{", "\""),
    ("\"", ":"),
    ("\"", ","),
    ("\"", "}"),
    (" ", "\""),
    (":", " "),
    (",", " "),
    ("n", "a"),
    ("m", "e"),
    ("na", "me"),
    ("a", "g"),
    ("ag", "e"),
    ("t", "r"),
    ("u", "e"),
    ("tr", "ue"),
    ("f", "a"),
    ("l", "s"),
    ("fa", "ls"),
    ("fals", "e"),
    ("n", "u"),
    ("l", "l"),
    ("nu", "ll"),
    ("i", "n"),
    ("e", "r"),
    ("o", "n"),
    ("a", "n"),
    ("t", "h"),
    ("th", "e"),
    (" ", "the"),
    ("r", "e"),
    ("s", "t"),
    ("o", "r"),
    ("e", "n"),
    ("a", "r"),
    ("\":", " "),
    ("\",", " "),
    ("1", "0"),
    ("2", "0"),
    ("]", "}"),
    ("[", "{"),
    ("}", "]"),
    ("}", ","),
    (" ", "a"),
    (" ", "w"),
];

/// The character that stands for a byte in byte-level vocabularies.
///
/// Source: `bytes_to_unicode` of the GPT-2 encoder.
fn character(byte: u8) -> char {
    let is_plain = |byte: u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    if is_plain(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|other| !is_plain(*other)).count();
    char::from_u32(256 + u32::try_from(before).expect("below 256")).expect("below the surrogates")
}

fn spelled(text: &str) -> String {
    text.bytes().map(character).collect()
}

/// The texts of all tokens, in the vocabulary's spelling.
pub(super) fn texts() -> Vec<String> {
    let bytes = (0..=255).map(|byte| character(byte).to_string());
    let merged = TINY_MERGES.iter().map(|(left, right)| spelled(left) + &spelled(right));
    let special = SPECIAL.iter().map(|(_, text)| (*text).to_owned());
    bytes.chain(merged).chain(special).collect()
}

/// The merges, in the vocabulary's spelling.
pub(super) fn merges() -> Vec<(String, String)> {
    TINY_MERGES.iter().map(|(left, right)| (spelled(left), spelled(right))).collect()
}

/// Whether a token is special.
pub(super) fn is_special(token: usize) -> bool {
    SPECIAL.iter().any(|(special, _)| *special as usize == token)
}

/// The chat template of every tiny model.
pub(super) const TEMPLATE: &str = "{% for message in messages %}<|im_start|>{{ message.role }}\n\
     {{ message.content }}<|im_end|>\n{% endfor %}\
     {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// `tokenizer.json`.
pub(super) fn tokenizer_json() -> Value {
    let texts = texts();
    let vocab: Map<String, Value> = texts
        .iter()
        .enumerate()
        .filter(|(token, _)| !is_special(*token))
        .map(|(token, text)| (text.clone(), json!(token)))
        .collect();
    let added: Vec<Value> = SPECIAL
        .iter()
        .map(|(id, content)| {
            json!({
                "id": id, "content": content, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true,
            })
        })
        .collect();
    let byte_level = json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
    });
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": byte_level,
        "post_processor": null,
        "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": false, "vocab": vocab, "merges": merges(),
        },
    })
}

/// `tokenizer_config.json`.
pub(super) fn tokenizer_config_json() -> Value {
    json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": false,
        "bos_token": SPECIAL[0].1,
        "eos_token": SPECIAL[1].1,
        "chat_template": TEMPLATE,
    })
}

/// `generation_config.json`.
pub(super) fn generation_config_json(model: &TinyModel) -> Value {
    let config = model.config();
    json!({ "bos_token_id": config["bos_token_id"], "eos_token_id": config["eos_token_id"] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tokenizer_loads_and_spells_every_byte() {
        let json = tokenizer_json().to_string();
        let tokenizer = tokenizers::Tokenizer::from_bytes(json.as_bytes()).unwrap();
        assert_eq!(tokenizer.get_vocab_size(true), TINY_TOKENS);
        let text = "{\"name\": \"Zoë\", \"age\": 10} <|eos|>";
        let encoding = tokenizer.encode(text, false).unwrap();
        assert_eq!(encoding.get_ids()[0], 256);
        assert_eq!(encoding.get_ids().last(), Some(&TINY_EOS));
        assert_eq!(tokenizer.decode(encoding.get_ids(), false).unwrap(), text);
    }
}
