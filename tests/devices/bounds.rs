//! How far the log-probability of a chosen token may be from the CPU's on another kind of device.
//!
//! Measured on emulated GPUs, and not on hardware, whose sums are in another order. What differs:
//! products of f16 and bf16 weights take activations of the weights' type, with 11 and 8 bits, in
//! each of seven layers (found: 2e-3 and 2e-2); quantised products take activations of 8 bits in
//! blocks, as on the CPU, but of other blocks for K types, and rounding moves the logits of these
//! models by up to 3 % on either side (found: 0.11).

use candle_core::quantized::GgmlDType;
use sluicegate_spec::kv::KvType;
use sluicegate_tests::tiny::StoredType;

/// With f32 weights: the order of sums alone.
pub(crate) const F32: f64 = 1e-3;

pub(crate) fn of_dense(stored: StoredType) -> f64 {
    match stored {
        StoredType::F32 => F32,
        StoredType::F16 => 5e-3,
        StoredType::BF16 => 0.05,
    }
}

pub(crate) fn of_quantised(kind: GgmlDType) -> f64 {
    match kind {
        GgmlDType::F32 => F32,
        GgmlDType::F16 => of_dense(StoredType::F16),
        _ => 0.2,
    }
}

/// Both sides round what they keep.
pub(crate) fn of_cache(kv_type: KvType) -> f64 {
    match kv_type {
        KvType::F32 => F32,
        KvType::F16 => 5e-3,
        KvType::Bf16 => 0.03,
    }
}
