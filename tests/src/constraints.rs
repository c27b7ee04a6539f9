//! The constraint engine as the runtime sets it up, for replaying what it allowed.

use std::sync::Arc;

use sluicegate::{
    messages::{MaskBits, MaskRow, Stamp},
    vocabulary,
};
use sluicegate_constraint::{Compiler, EncodedMask, Vocab};
use sluicegate_model::open::Model;

/// A compiler for the model's vocabulary that knows no preferred tokenisation: its masks allow all
/// that the grammar does.
///
/// # Panics
/// Where the vocabulary is refused.
pub fn compiler(model: &Model) -> Compiler {
    let source = vocabulary::source(&model.tokenizer, model.config.vocab);
    let vocab = Vocab::new(source, None).expect("the vocabulary is fit for constraints");
    Compiler::new(Arc::new(vocab)).expect("a compiler for the vocabulary")
}

/// A mask of the next position as plain words: a bit per token of the vocabulary, 32 to a word.
pub fn dense_mask(stamp: Stamp, words: &[u32]) -> MaskRow {
    MaskRow::new(stamp, MaskBits::Own(EncodedMask::dense(words).into_bytes()))
}
