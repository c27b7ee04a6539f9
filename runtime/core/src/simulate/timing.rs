//! How long things take.

use sluicegate_placement::{Hop, MicrobatchCost, RowLoad};

/// A model of time.
pub trait Timing {
    /// The device of each stage; stages with the same one take turns.
    fn devices(&self) -> Vec<String>;

    /// What a microbatch of these rows costs.
    fn microbatch(&self, rows: &[RowLoad]) -> MicrobatchCost;

    /// What the host does for each microbatch that comes back, one after the other.
    fn host_s(&self) -> f64;

    /// What the mask of one row takes a worker.
    fn mask_s(&self) -> f64;
}

/// Stages that take the same time for every microbatch, and so much more for each token.
#[derive(Debug, Clone, PartialEq)]
pub struct Uniform {
    /// Per stage.
    pub stage_s: Vec<f64>,
    pub token_s: f64,
    /// Into every stage but the first.
    pub hop: Option<Hop>,
    pub host_s: f64,
    pub mask_s: f64,
}

impl Uniform {
    /// So many stages that take a second each, and nothing else that takes any time.
    pub fn new(num_stages: usize) -> Self {
        let stage_s = vec![1.0; num_stages];
        Self { stage_s, token_s: 0.0, hop: None, host_s: 0.0, mask_s: 0.0 }
    }
}

impl Timing for Uniform {
    fn devices(&self) -> Vec<String> {
        (0..self.stage_s.len()).map(|stage| format!("device {stage}")).collect()
    }

    fn microbatch(&self, rows: &[RowLoad]) -> MicrobatchCost {
        let tokens: usize = rows.iter().map(|row| row.tokens).sum();
        let seconds = |stage_s: &f64| stage_s + self.token_s * tokens as f64;
        MicrobatchCost {
            stage_s: self.stage_s.iter().map(seconds).collect(),
            hops: (0..self.stage_s.len()).map(|stage| self.hop.filter(|_| stage > 0)).collect(),
        }
    }

    fn host_s(&self) -> f64 {
        self.host_s
    }

    fn mask_s(&self) -> f64 {
        self.mask_s
    }
}
