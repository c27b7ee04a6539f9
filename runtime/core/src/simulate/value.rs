//! The arithmetic of a simulated model: hashes in place of activations.
//!
//! Stages and the reference share these functions, and nothing else.

use sluicegate_spec::units::TokenId;

/// Token ids are below this.
const VOCAB: u64 = 1 << 15;

/// The end token, behind all others.
pub(super) const EOS: TokenId = 1 << 15;

/// Mixes two values into one that depends on both, and on which is which.
///
/// Source: the finaliser of `SplitMix64` (Steele, Lea and Flood, 2014).
pub(super) fn mix(a: u64, b: u64) -> u64 {
    let sum = a.rotate_left(23) ^ b.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let once = (sum ^ (sum >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let twice = (once ^ (once >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    twice ^ (twice >> 31)
}

/// The value of a token as it enters the first stage.
pub(super) fn embed(token: TokenId, position: usize) -> u64 {
    mix(token.into(), position as u64)
}

/// What a token leaves in the cache of KV group `kv_idx` at a stage.
pub(super) fn cached(value: u64, stage: usize, kv_idx: usize) -> u64 {
    mix(value, (stage as u64) << 32 | kv_idx as u64)
}

/// A token's value after it has read `history`, oldest first and itself included.
pub(super) fn attend<E>(
    value: u64,
    mut history: impl Iterator<Item = Result<u64, E>>,
) -> Result<u64, E> {
    let folded: Result<u64, E> = history.try_fold(0, |folded, earlier| Ok(mix(folded, earlier?)));
    Ok(mix(value, folded?))
}

/// The token that a value leads to, by an address of randomness.
pub(super) fn draw(value: u64, address: [u64; 3]) -> TokenId {
    to_token(address.into_iter().fold(value, mix))
}

pub(super) fn to_token(hash: u64) -> TokenId {
    TokenId::try_from(hash % VOCAB).expect("the vocabulary is below 2^32")
}
