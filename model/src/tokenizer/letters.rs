//! A tokenizer for a model without one: each byte is a token, and all other ids have names.

use std::path::Path;

use sluicegate_spec::units::TokenId;

use super::{Encoder, Inner, TokenBytes};
use crate::error::TokenizerError;

const NUM_BYTES: usize = 256;

/// Makes a vocabulary of `vocab` tokens; `bos` and `eos` begin and end a text.
pub(super) fn make(
    file: &Path,
    vocab: usize,
    bos: Option<TokenId>,
    eos: &[TokenId],
) -> Result<Inner, TokenizerError> {
    let mut ids = [0; NUM_BYTES];
    let mut next: u16 = 0;
    let mut table = Vec::with_capacity(vocab);
    for id in (0..).take(vocab) {
        let is_end = eos.contains(&id);
        table.push(if is_end || bos == Some(id) {
            TokenBytes::Special(if is_end {
                format!("<end {id}>")
            } else {
                format!("<begin {id}>")
            })
        } else if let Some(slot) = ids.get_mut(usize::from(next)) {
            *slot = id;
            let byte = u8::try_from(next).expect("there are 256 slots");
            next += 1;
            TokenBytes::Text(vec![byte])
        } else {
            TokenBytes::Text(format!("<{id}>").into_bytes())
        });
    }
    if usize::from(next) < NUM_BYTES {
        return Err(TokenizerError::Value {
            file: file.to_owned(),
            key: "vocab_size".to_owned(),
            wanted: "room for the 256 bytes and the tokens that begin and end a text".to_owned(),
            found: vocab.to_string(),
        });
    }
    Ok(Inner {
        encoder: Encoder::Letters(Box::new(ids)),
        table: table.into(),
        bos,
        eos: eos.to_vec(),
        add_bos: bos.is_some(),
        adds_prefix: false,
        num_rows: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::Tokenizer;

    fn letters(vocab: usize, bos: Option<TokenId>, eos: &[TokenId]) -> Tokenizer {
        Tokenizer::letters(Path::new("config.json"), vocab, bos, eos).unwrap()
    }

    #[test]
    fn every_byte_is_a_token_and_comes_back() {
        // As in Llama 2, the ids that begin and end a text lie among those of bytes.
        let tokenizer = letters(300, Some(1), &[2]);
        let text = "Gr\u{fc}\u{df}e,\n\u{1}\u{2}\u{1F600}";
        let tokens = tokenizer.encode(text, false).unwrap();
        assert_eq!(tokens.len(), text.len());
        assert!(!tokens.contains(&1) && !tokens.contains(&2));
        assert_eq!(tokenizer.decode(&tokens), text);
        assert_eq!(tokenizer.encode("a", true).unwrap(), [1, 99]);
        assert_eq!(tokenizer.decode(&[1, 2, 299]), "<299>");
        assert_eq!(tokenizer.vocab_size(), 300);
    }

    #[test]
    fn a_model_without_an_end_token_gets_none() {
        let tokenizer = letters(256, None, &[]);
        assert_eq!((tokenizer.eos(), tokenizer.vocab_size()), (&[][..], 256));
    }

    #[test]
    fn a_vocabulary_without_room_for_bytes_is_refused() {
        let error = Tokenizer::letters(Path::new("a.json"), 256, None, &[7]).unwrap_err();
        let text =
            "wanted room for the 256 bytes and the tokens that begin and end a text, found 256";
        assert!(error.to_string().contains(text), "{error}");
    }
}
