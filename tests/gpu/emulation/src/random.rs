//! Random numbers as cuRAND gives them: uniform, but not the same.

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use crate::{
    memory::{Memory, Span, Touched},
    product::Number,
};

/// Numbers above 0 and up to 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Uniform {
    pub(crate) target: Span,
    pub(crate) number: Number,
    pub(crate) seed: u64,
    /// Numbers that the generator gave before.
    pub(crate) skipped: u64,
}

impl Uniform {
    pub(crate) fn run(&self, device: usize, memory: &mut Memory) -> Result<Touched, String> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_word_pos(u128::from(self.skipped) * 2);
        let (bytes, touched) = memory.write(device, self.target)?;
        // 24 bits, as an f32 holds them.
        let values =
            std::iter::repeat_with(|| ((rng.next_u64() >> 40) + 1) as f64 / f64::from(1 << 24));
        self.number.write(values, bytes);
        Ok(touched)
    }
}
