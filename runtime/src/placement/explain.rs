//! Plans and shortfalls as people read them.

use std::fmt;

use sluicegate_model::units::{Bytes, LayerRange};

use super::{
    error::Shortfall,
    plan::{Plan, PlannedStage, StageId},
};

impl fmt::Display for Plan {
    /// Prints one line for each stage, then what the cache holds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = ["stage", "device", "units", "weights", "KV", "workspace", "total", "of cap"];
        let mut rows = vec![header.map(str::to_owned)];
        rows.extend(self.stages().map(|(id, stage)| self.row(id, stage)));
        let mut widths = [0; 8];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        for row in &rows {
            // Words to the left, numbers to the right.
            let [stage, device, units, weights, kv, workspace, total, share] = row;
            let [w0, w1, w2, w3, w4, w5, w6, w7] = widths;
            writeln!(
                f,
                "{stage:>w0$}  {device:<w1$}  {units:<w2$}  {weights:>w3$}  {kv:>w4$}  \
                 {workspace:>w5$}  {total:>w6$}  {share:>w7$}"
            )?;
        }
        write!(
            f,
            "KV cache for {} tokens; microbatches of up to {} rows and {} new tokens",
            self.kv_tokens, self.batch, self.chunk_tokens
        )
    }
}

impl Plan {
    fn row(&self, StageId(stage_idx): StageId, stage: &PlannedStage) -> [String; 8] {
        let total = stage.total_bytes();
        [
            stage_idx.to_string(),
            stage.device.to_string(),
            self.units(stage),
            stage.weight_bytes.to_string(),
            stage.kv_bytes.to_string(),
            stage.workspace_bytes.to_string(),
            total.to_string(),
            share(total, stage.cap_bytes),
        ]
    }

    /// The units of a stage in words: `embed, layers 0..15`.
    fn units(&self, stage: &PlannedStage) -> String {
        let layers: LayerRange = self.layers(stage);
        let mut words = Vec::new();
        if stage.units.has_embed() {
            words.push("embed".to_owned());
        }
        if !layers.is_empty() {
            words.push(format!("layers {layers}"));
        }
        if stage.units.has_head(self.num_layers) {
            words.push("norm+head".to_owned());
        }
        words.join(", ")
    }
}

fn share(held: Bytes, cap: Bytes) -> String {
    format!("{:.1} %", held.0 as f64 / (cap.0 as f64).max(1.0) * 100.0)
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { weight_bytes, kv_bytes, kv_tokens, workspace_bytes, .. } = self;
        write!(
            f,
            "the model does not fit: wanted {weight_bytes} of weights, {kv_bytes} of KV cache for \
             {kv_tokens} tokens and up to {workspace_bytes} of workspace per stage; found "
        )?;
        for (idx, (device, limit)) in self.limits.iter().enumerate() {
            write!(f, "{}{limit} on {device}", if idx == 0 { "" } else { ", " })?;
        }
        if let Some((device, missing)) = self.short {
            write!(f, "; missing at least {missing} on {device}")?;
        }
        if let Some(tokens) = self.fitting_kv_tokens {
            write!(f, "; a KV cache of {tokens} tokens would fit")?;
        }
        if let Some(device) = self.fits_with_another {
            write!(f, "; with one more device like {device} it would fit")?;
        }
        if self.fits_with_8_bit_kv {
            write!(f, "; with 8-bit elements the KV cache would fit")?;
        }
        Ok(())
    }
}
