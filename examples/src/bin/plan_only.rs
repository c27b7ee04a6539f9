//! Plans a model without its files for devices that need not exist: planning is plain arithmetic.
//!
//! `cargo run --release -p sluicegate-examples --bin plan_only`

use std::io::Write;

use sluicegate::{
    placement::{self, Cluster, ClusterDevice, KvTokens, Policy, Rates, Sequences},
    spec::{
        config::{Architecture, ModelConfig, Rope, RopeScaling},
        device::DeviceId,
        profile::{ElementBytes, ModelProfile},
        units::Bytes,
    },
};

fn main() -> anyhow::Result<()> {
    let profile =
        ModelProfile::new(&llama_3_8b(), |_| None, ElementBytes { weights: 2, hidden: 2, kv: 2 });
    let cluster = Cluster::of(vec![gpu(0, 24), gpu(1, 24), gpu(2, 12)]);
    let mut stdout = std::io::stdout().lock();

    let policy = Policy { sequences: Sequences::Exactly(16), ..Policy::default() };
    writeln!(stdout, "{}\n", placement::plan(&profile, &cluster, &policy)?)?;

    // If the model does not fit, the error says what is missing, and what would fit.
    let policy = Policy { kv_tokens: KvTokens::Exactly(1_000_000), ..policy };
    match placement::plan(&profile, &cluster, &policy) {
        Ok(plan) => writeln!(stdout, "{plan}")?,
        Err(error) => writeln!(stdout, "a cache of a million tokens: {error}")?,
    }
    Ok(())
}

/// A simulated device with `memory_gib` GiB of memory.
fn gpu(ordinal: u32, memory_gib: u64) -> ClusterDevice {
    ClusterDevice {
        id: DeviceId::Cuda(ordinal),
        reserve: Bytes(1 << 30),
        bytes_per_s: 9e11,
        flops_per_s: Rates::uniform(5e13),
        overhead_s: 1e-4,
        ..ClusterDevice::cpu(0, Bytes(memory_gib << 30))
    }
}

fn llama_3_8b() -> ModelConfig {
    ModelConfig {
        architecture: Architecture::Llama,
        num_layers: 32,
        hidden: 4096,
        intermediate: 14336,
        num_heads: 32,
        num_kv_heads: 8,
        head_dim: 128,
        vocab: 128_256,
        max_positions: 8192,
        norm_eps: 1e-5,
        attention_scale: 128_f64.sqrt().recip(),
        score_cap: None,
        logit_cap: None,
        rope: Rope::new(5e5, RopeScaling::None),
        local_rope: None,
        windows: vec![None; 32],
        tied: false,
        bos: Some(128_000),
        eos: vec![128_001, 128_009],
    }
}
