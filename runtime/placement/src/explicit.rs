//! Turns layer ranges given by the caller into the units of stages.

use sluicegate_spec::{
    device::DeviceId,
    units::{LayerRange, UnitRange},
};

use super::error::PlanError;

/// Returns the stages of explicit layer ranges. The embedding goes with the first, norm and head
/// with the last.
///
/// # Errors
/// The ranges do not cover all layers once and in order.
pub(super) fn stages(
    num_layers: usize,
    ranges: &[(DeviceId, LayerRange)],
) -> Result<Vec<(DeviceId, UnitRange)>, PlanError> {
    let mut next = 0;
    for &(device, layers) in ranges {
        if layers.is_empty() {
            return Err(PlanError::EmptyLayers { device, layers });
        }
        if layers.end > num_layers {
            return Err(PlanError::LayersOutOfRange { device, layers, num_layers });
        }
        if layers.start < next {
            return Err(PlanError::LayersRepeated { device, layers, next });
        }
        if layers.start > next {
            let missing = LayerRange { start: next, end: layers.start };
            return Err(PlanError::LayersMissing { device, layers, missing });
        }
        next = layers.end;
    }
    if ranges.is_empty() {
        return Err(PlanError::NoLayers);
    }
    if next < num_layers {
        let missing = LayerRange { start: next, end: num_layers };
        return Err(PlanError::LastLayersMissing { missing });
    }
    // Layer `i` is unit `i + 1`. The first stage starts at the embedding, the last ends after the
    // head.
    let units = |layers: LayerRange| UnitRange {
        start: if layers.start == 0 { 0 } else { layers.start + 1 },
        end: if layers.end == num_layers { num_layers + 2 } else { layers.end + 1 },
    };
    Ok(ranges.iter().map(|&(device, layers)| (device, units(layers))).collect())
}
