//! The numbers of a layer's attention.

/// The sizes of a layer's attention.
#[derive(Debug, Clone)]
pub struct Heads {
    pub num_heads: usize,
    pub num_kv_heads: usize,
    pub head_dim: usize,
    /// Factor of the scores.
    pub scale: f64,
    /// Soft cap of the scores: `cap * tanh(score / cap)`.
    pub cap: Option<f64>,
    /// How many positions a token attends to, itself included.
    pub window: Option<usize>,
}

impl Heads {
    /// Returns the first position that the token at `position` attends to.
    pub(crate) fn first_visible(&self, position: usize) -> usize {
        self.window.map_or(0, |window| (position + 1).saturating_sub(window))
    }
}
