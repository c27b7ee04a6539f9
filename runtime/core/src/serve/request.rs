//! A request that was checked: what is scheduled from here on cannot be wrong.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sluicegate_spec::{tokens::TokenTable, units::TokenId};

use crate::{
    messages::{Method, SamplingParams},
    scheduler::Job,
    sequence::Transcript,
};

/// A request that can run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Admitted {
    /// Tokens of each prompt; at least one each.
    pub prompts: Vec<Vec<TokenId>>,
    /// Whether its sequences have matchers.
    pub is_constrained: bool,
    pub params: Arc<SamplingParams>,
    /// Outputs per prompt.
    pub samples: usize,
    /// Tokens that an output has at most.
    pub max_tokens: usize,
    /// Texts that end an output.
    pub stop: Vec<String>,
    /// Whether outputs have their tokens with log-probabilities.
    pub keeps_tokens: bool,
    pub length_penalty: f64,
    pub seed: u64,
    pub priority: i32,
}

impl Admitted {
    /// The job of one prompt.
    pub fn job(&self, prompt: usize, vocabulary: &TokenTable) -> Job {
        // Samples part after their first token, and can wait for each other.
        let (max_rows, samples) = self.beam_width().map_or((1, self.samples), |width| (width, 1));
        Job {
            prompt: self.prompts[prompt].clone(),
            max_rows,
            samples,
            max_tokens: self.max_tokens,
            priority: self.priority,
            index: prompt,
            transcript: Transcript::new(vocabulary, &self.stop, self.keeps_tokens),
        }
    }

    /// How many beams are kept together, if that is how it is searched.
    pub fn beam_width(&self) -> Option<usize> {
        match self.params.method {
            Method::Beam { width } => Some(width),
            Method::Greedy | Method::Multinomial(_) => None,
        }
    }
}
