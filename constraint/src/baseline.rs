//! Plain `llguidance`: its own reading of JSON Schema and its own options, without any rule of this
//! crate. A baseline for time and coverage; no code path that generates text may use it.

use llguidance::ParserFactory;
use llguidance::api::TopLevelGrammar;
use llguidance::panic_utils::catch_unwind;
use serde_json::Value;

use crate::TokenId;
use crate::error::{VocabError, engine_message};
use crate::vocab::Vocab;

/// Compiles schemas with the engine's defaults, for the same vocabulary.
pub struct Baseline {
    factory: ParserFactory,
}

impl Baseline {
    /// Prepares compilation for `vocab`.
    ///
    /// # Errors
    /// The engine cannot index the vocabulary.
    pub fn new(vocab: &Vocab) -> Result<Self, VocabError> {
        let factory = catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut factory = ParserFactory::new_simple(vocab.env())?;
            factory.quiet();
            Ok(factory)
        }));
        match factory {
            Ok(factory) => Ok(Self { factory }),
            Err(error) => Err(VocabError::Trie { message: engine_message(&error.to_string()) }),
        }
    }

    /// Compiles `schema` and computes its first mask.
    ///
    /// # Errors
    /// The engine's message.
    pub fn compile(&self, schema: Value) -> Result<BaselineMatcher, String> {
        catch_unwind(std::panic::AssertUnwindSafe(|| {
            let parser = self.factory.create_parser(TopLevelGrammar::from_json_schema(schema))?;
            let mut matcher = llguidance::Matcher::new(Ok(parser));
            matcher.compute_mask()?;
            Ok(BaselineMatcher(matcher))
        }))
        .map_err(|error| engine_message(&format!("{error:#}")))
    }
}

impl std::fmt::Debug for Baseline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Baseline").finish_non_exhaustive()
    }
}

/// The engine's state for one sequence.
pub struct BaselineMatcher(llguidance::Matcher);

impl BaselineMatcher {
    /// Makes a deep copy that shares nothing with this one.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self(self.0.deep_clone())
    }

    /// Computes the mask and returns whether it allows `token`.
    ///
    /// # Errors
    /// The engine's message.
    pub fn mask_allows(&mut self, token: TokenId) -> Result<bool, String> {
        match self.0.compute_mask() {
            Ok(mask) => Ok((token as usize) < mask.len() && mask.is_allowed(token)),
            Err(error) => Err(engine_message(&error.to_string())),
        }
    }

    /// Takes the next token.
    ///
    /// # Errors
    /// The engine's message.
    pub fn advance(&mut self, token: TokenId) -> Result<(), String> {
        self.0.consume_token(token).map_err(|error| engine_message(&error.to_string()))
    }

    /// Returns whether the value may end here; false where the engine failed.
    pub fn is_accepting(&mut self) -> bool {
        self.0.is_accepting().unwrap_or(false)
    }

    /// Returns whether nothing can follow.
    pub fn is_stopped(&self) -> bool {
        self.0.is_stopped()
    }
}

impl std::fmt::Debug for BaselineMatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BaselineMatcher").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{TokenBytes, VocabSource};

    #[test]
    fn the_engine_alone_takes_what_its_schema_allows() {
        let mut tokens: Vec<_> = (0..=255).map(|byte| TokenBytes::Text(vec![byte])).collect();
        tokens.push(TokenBytes::Special("<eos>".to_string()));
        let vocab = Vocab::new(VocabSource { tokens, eos: vec![256], num_logits: 257 }, None);
        let baseline = Baseline::new(&vocab.unwrap()).unwrap();
        let template = baseline.compile(json!({ "enum": [12, 13] })).unwrap();
        for (text, want) in [("12", true), ("1", false), ("14", false)] {
            let mut matcher = template.copy();
            let is_taken = text.bytes().all(|byte| {
                matcher.mask_allows(byte.into()).unwrap() && matcher.advance(byte.into()).is_ok()
            });
            assert_eq!(is_taken && matcher.is_accepting(), want, "{text}");
        }
        assert!(baseline.compile(json!({ "not": {} })).unwrap_err().contains("not"));
    }
}
