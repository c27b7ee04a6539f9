//! Token ids of awkward strings against what other software makes of the same files.

use serde::Deserialize;
use sluicegate_model::tokenizer::Tokenizer;
use sluicegate_tests::engines::{gemma3, smollm2, tekken};

#[derive(Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
    /// Where names of special tokens in the text make a difference.
    ids_with_special: Option<Vec<u32>>,
}

fn check(tokenizer: &Tokenizer, fixture: &str) {
    let cases: Vec<Case> = serde_json::from_str(fixture).unwrap();
    assert!(cases.len() >= 40);
    for Case { text, ids, ids_with_special } in cases {
        let want = ids_with_special.unwrap_or(ids);
        assert_eq!(tokenizer.encode(&text, false).unwrap(), want, "{text:?}");
        let mut stream = tokenizer.stream();
        let mut streamed = String::new();
        for token in &want {
            streamed.extend(stream.push(*token));
        }
        streamed.extend(stream.flush());
        assert_eq!(streamed, tokenizer.decode(&want), "{text:?}");
    }
}

#[test]
fn smollm2_tokens_are_those_of_llama_cpp() {
    check(&smollm2().tokenizer, include_str!("../fixtures/tokenizers/smollm2.json"));
}

#[test]
fn gemma3_tokens_are_those_of_llama_cpp() {
    let Some(model) = gemma3() else { return };
    check(&model.tokenizer, include_str!("../fixtures/tokenizers/gemma3.json"));
    assert_eq!(model.tokenizer.encode("Hello", true).unwrap(), [2, 9259]);
    assert_eq!(model.tokenizer.eos(), [1, 106], "a turn of a conversation ends an output too");
}

#[test]
fn tekken_tokens_are_those_of_mistral_common() {
    let Some(tokenizer) = tekken() else { return };
    check(&tokenizer, include_str!("../fixtures/tokenizers/tekken.json"));
    assert_eq!(tokenizer.encode("[INST]a</s>", true).unwrap(), [1, 3, 1097, 2]);
}
