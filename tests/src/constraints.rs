//! The constraint engine as the runtime sets it up, for replaying what it allowed.

use std::sync::Arc;

use sluicegate_constraint::{Compiler, TokenBytes, Vocab, VocabSource};
use sluicegate_model::{open::Model, tokenizer::TokenBytes as ModelTokenBytes};

/// A compiler for the model's vocabulary that knows no preferred tokenisation: its masks allow all
/// that the grammar does.
///
/// # Panics
/// Where the vocabulary is refused.
pub fn compiler(model: &Model) -> Compiler {
    let num_tokens = u32::try_from(model.tokenizer.vocab_size()).expect("a vocabulary is small");
    let tokens = (0..num_tokens).map(|token| match model.tokenizer.token_bytes(token) {
        ModelTokenBytes::Text(bytes) => TokenBytes::Text(bytes.clone()),
        ModelTokenBytes::Special(name) => TokenBytes::Special(name.clone()),
        ModelTokenBytes::Unused => TokenBytes::Unused,
    });
    let source = VocabSource {
        tokens: tokens.collect(),
        eos: model.tokenizer.eos().to_vec(),
        num_logits: model.config.vocab,
    };
    let vocab = Vocab::new(source, None).expect("the vocabulary is fit for constraints");
    Compiler::new(Arc::new(vocab)).expect("a compiler for the vocabulary")
}
