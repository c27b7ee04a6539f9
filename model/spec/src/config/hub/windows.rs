//! Sliding windows of a `config.json`: which layers have one, by the family's rule.

use serde_json::Value;

use super::super::keys::Keys;
use crate::{error::ConfigError, family::WindowRule};

impl WindowRule {
    /// Returns per layer how many positions a token attends to.
    pub(crate) fn read(
        self,
        text: &Keys<'_>,
        num_layers: usize,
    ) -> Result<Vec<Option<usize>>, ConfigError> {
        let window = self.window(text)?;
        let per_layer = |is_windowed: &dyn Fn(usize) -> bool, window: Option<usize>| {
            (0..num_layers).map(|layer_idx| window.filter(|_| is_windowed(layer_idx))).collect()
        };
        if matches!(self, Self::Switched { .. }) && text.flag("use_sliding_window")? != Some(true) {
            return Ok(vec![None; num_layers]);
        }
        if let Some(types) = text.list("layer_types")? {
            return layer_types(text, types, window, num_layers);
        }
        Ok(match self {
            Self::Never => vec![None; num_layers],
            Self::All { .. } => vec![window; num_layers],
            Self::Switched { first, .. } => {
                let first = text.size("max_window_layers")?.unwrap_or(first);
                per_layer(&|layer_idx| layer_idx >= first, window)
            }
            Self::AllButEvery { pattern: default, .. } => {
                let pattern = match text.size("sliding_window_pattern")? {
                    Some(pattern) => pattern,
                    None => text.size("_sliding_window_pattern")?.unwrap_or(default),
                };
                if pattern == 0 {
                    return Err(text.wrong("sliding_window_pattern", "1 or more"));
                }
                let is_windowed = |layer_idx: usize| !(layer_idx + 1).is_multiple_of(pattern);
                per_layer(&is_windowed, window)
            }
        })
    }

    /// Returns the window of the layers that have one.
    fn window(self, text: &Keys<'_>) -> Result<Option<usize>, ConfigError> {
        let given = text.size("sliding_window")?;
        let is_given = text.values.contains_key("sliding_window");
        Ok(match self {
            // If the file has null, the class sets no window.
            Self::All { default } if !is_given => default,
            Self::Never | Self::All { .. } => given,
            Self::Switched { .. } if is_given => given,
            Self::Switched { usual, .. } | Self::AllButEvery { usual, .. } => given.or(Some(usual)),
        })
    }
}

fn layer_types(
    text: &Keys<'_>,
    types: &[Value],
    window: Option<usize>,
    num_layers: usize,
) -> Result<Vec<Option<usize>>, ConfigError> {
    if types.len() != num_layers {
        return Err(text.wrong("layer_types", format!("{num_layers} entries, one per layer")));
    }
    let window_of = |layer_type: &Value| match layer_type.as_str() {
        Some("full_attention") => Ok(None),
        Some("sliding_attention") => text.required("sliding_window", window).map(Some),
        _ => Err(text.wrong("layer_types", "full_attention or sliding_attention each")),
    };
    types.iter().map(window_of).collect()
}
