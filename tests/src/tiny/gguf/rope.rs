//! What a file holds of a rotary embedding: keys, and divisors of its frequencies as tensors.

use candle_core::quantized::gguf_file::Value;

use super::super::TinyModel;

/// Divisors of the frequencies, by the names of their tensors.
pub(super) fn tensors(model: &TinyModel) -> Vec<(&'static str, Vec<f32>)> {
    let scaling = &model.config()["rope_scaling"];
    if is_longrope(model) {
        let list = |key: &str| {
            let list = scaling[key].as_array().expect("longrope has two lists");
            #[expect(clippy::cast_possible_truncation, reason = "the file holds f32")]
            let list = list.iter().map(|it| it.as_f64().expect("a number") as f32).collect();
            list
        };
        return vec![
            ("rope_factors_long.weight", list("long_factor")),
            ("rope_factors_short.weight", list("short_factor")),
        ];
    }
    llama3(model).map(|factors| ("rope_freqs.weight", factors)).into_iter().collect()
}

/// The keys behind the architecture's name.
pub(super) fn metadata(model: &TinyModel) -> Vec<(&'static str, Value)> {
    let config = model.config();
    let size = |size: usize| Value::U32(u32::try_from(size).expect("a tiny size"));
    let share = config["partial_rotary_factor"].as_f64().unwrap_or(1.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a tiny size"
    )]
    let width = (share * model.size("head_dim") as f64) as usize;
    let mut keys = vec![("rope.dimension_count", size(width))];
    if is_longrope(model) {
        let original = model.size("original_max_position_embeddings");
        let longer = model.size("max_position_embeddings") as f64 / original as f64;
        let grown = (1.0 + longer.ln() / (original as f64).ln()).sqrt();
        #[expect(clippy::cast_possible_truncation, reason = "the file holds f32")]
        let factor = if longer > 1.0 { grown as f32 } else { 1.0 };
        keys.extend([
            ("rope.scaling.original_context_length", size(original)),
            ("rope.scaling.attn_factor", Value::F32(factor)),
        ]);
    }
    keys
}

fn is_longrope(model: &TinyModel) -> bool {
    model.config()["rope_scaling"]["type"] == "longrope"
}

/// What llama3 scaling divides each frequency by.
fn llama3(model: &TinyModel) -> Option<Vec<f32>> {
    let scaling = &model.config()["rope_scaling"];
    if scaling["rope_type"] != "llama3" {
        return None;
    }
    let number = |key: &str| scaling[key].as_f64().expect("llama3 scaling has all its numbers");
    let (factor, low, high) =
        (number("factor"), number("low_freq_factor"), number("high_freq_factor"));
    let context = number("original_max_position_embeddings");
    let theta = model.config()["rope_theta"].as_f64().expect("presets have one");
    let head_dim = model.size("head_dim");
    let divisor = |pair: usize| {
        let frequency = theta.powf(-2.0 * pair as f64 / head_dim as f64);
        let turns = context * frequency / std::f64::consts::TAU;
        let blend = ((turns - low) / (high - low)).clamp(0.0, 1.0);
        1.0 / ((1.0 - blend) / factor + blend)
    };
    #[expect(clippy::cast_possible_truncation, reason = "the file holds f32")]
    let factors = (0..head_dim / 2).map(|pair| divisor(pair) as f32).collect();
    Some(factors)
}
