//! In which order the blocks and warps of each launch run.

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use sluicegate_ptx::Order;

/// Of so many launches one mixes its warps, which takes a few hundredths longer than all in turn.
const MIXED: u32 = 4;

/// Draws an order for each launch, or the plain one each time.
#[derive(Debug)]
pub(crate) struct Orders(Option<ChaCha8Rng>);

impl Orders {
    /// With the seed 0 all is in turn.
    pub(crate) fn new(seed: u64) -> Self {
        Self((seed != 0).then(|| ChaCha8Rng::seed_from_u64(seed)))
    }

    pub(crate) fn next(&mut self) -> Order {
        let Some(rng) = &mut self.0 else { return Order::InTurn };
        let seed = rng.next_u64();
        if rng.next_u32() % MIXED == 0 { Order::Mixed(seed) } else { Order::Shuffled(seed) }
    }
}
