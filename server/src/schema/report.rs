//! The findings of `schema check`: the output of `--json`, and the input of `print`.

use std::time::Duration;

use serde::Serialize;
use sluicegate_constraint::{Compiled, EncodedMask, Mask, MaskForm, TokenId, Vocab};

use super::{
    instance::Instance,
    refusal::{RefusalReport, locate},
};
use crate::{
    facts::{self, GuardedKeyword, Witness},
    maskbench::times::microseconds,
    validation::{TokenCheck, validate},
};

#[derive(Debug, Serialize)]
pub(super) struct CheckReport<'a> {
    pub(super) model: &'a str,
    pub(super) schema: SchemaReport,
    pub(super) instances: Vec<InstanceReport>,
}

#[derive(Debug, Serialize)]
pub(super) struct SchemaReport {
    pub(super) compile_us: f64,
    pub(super) first_witness_us: f64,
    /// Keywords that the grammar does not express.
    pub(super) guarded: Vec<GuardedKeyword>,
    /// A valid text, and its tokens: a budget of that many suffices.
    pub(super) example: String,
    pub(super) example_tokens: usize,
    pub(super) warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct InstanceReport {
    /// Null for JSON on the command line.
    pub(super) file: Option<String>,
    pub(super) accepted: bool,
    pub(super) tokens: usize,
    pub(super) refused: Option<RefusalReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) trace: Option<Vec<TraceReport>>,
}

/// One token, and the mask before it.
#[derive(Debug, Serialize)]
pub(super) struct TraceReport {
    pub(super) token: TokenId,
    pub(super) text: String,
    pub(super) allowed: bool,
    pub(super) num_allowed: usize,
    pub(super) mask: &'static str,
    pub(super) mask_us: f64,
    /// Null if the token is not allowed.
    pub(super) advance_us: Option<f64>,
}

impl SchemaReport {
    pub(super) fn new(compiled: &Compiled, compile: Duration, witness: &Witness) -> Self {
        Self {
            compile_us: microseconds(compile),
            first_witness_us: microseconds(witness.time),
            guarded: facts::guarded(compiled),
            example: text(&witness.tokens, compiled.vocab()),
            example_tokens: witness.tokens.len(),
            warnings: compiled.warnings().to_vec(),
        }
    }
}

impl InstanceReport {
    pub(super) fn new(compiled: &Compiled, instance: &Instance, is_traced: bool) -> Self {
        let vocab = compiled.vocab();
        let tokens = vocab.tokenize(&instance.bytes);
        let mut trace = Vec::new();
        let mut matcher = compiled.matcher();
        let outcome = validate(&mut matcher, &tokens, |check| {
            if is_traced {
                trace.push(TraceReport::new(check, vocab));
            }
        });
        let refused = outcome.err();
        let refused = refused.map(|it| locate(compiled, &instance.bytes, &tokens, &it));
        Self {
            file: instance.file.clone(),
            accepted: refused.is_none(),
            tokens: tokens.len(),
            refused,
            trace: is_traced.then_some(trace),
        }
    }
}

impl TraceReport {
    fn new(check: &TokenCheck<'_>, vocab: &Vocab) -> Self {
        Self {
            token: check.token,
            text: text(&[check.token], vocab),
            allowed: check.mask.allows(check.token),
            num_allowed: check.mask.num_allowed(),
            mask: mask_kind(check.mask, vocab),
            mask_us: microseconds(check.mask_time),
            advance_us: check.advance_time.map(microseconds),
        }
    }
}

/// Decodes tokens; an incomplete character becomes a replacement character.
fn text(tokens: &[TokenId], vocab: &Vocab) -> String {
    let bytes: Vec<u8> = tokens.iter().flat_map(|it| vocab.token_bytes(*it)).copied().collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Names the encoding in which a mask is sent.
fn mask_kind(mask: &Mask, vocab: &Vocab) -> &'static str {
    match EncodedMask::new(mask, vocab).form() {
        MaskForm::All => "all",
        MaskForm::Only => "only",
        MaskForm::Sparse => "sparse",
        MaskForm::Denied => "denied",
        MaskForm::Dense => "dense",
    }
}
