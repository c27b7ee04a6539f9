//! mistral.rs' automatic device map: fills the first device, then the next.
//!
//! Source: `get_device_layers` in `mistralrs-core/src/pipeline/loaders/auto_device_map.rs`. Each
//! device reserves 2 % of its memory or 512 MiB, whichever is more. Embedding, norm and head are
//! charged to the first device, each layer with its cache to its own device. A device with room for
//! no layer is skipped. The original also adds activations to each device; they are not part of the
//! input here.
//!
//! There the last activations return to the first device, which has norm and head. Here norm and
//! head go with the last stage, as in the other rules.

use sluicegate_spec::units::{Bytes, Unit};

use super::{BaselineInput, Stages, Unplaced};

const LEAST_MARGIN: u64 = 512 << 20;

pub(super) fn stages(input: &BaselineInput) -> Result<Stages, Unplaced> {
    let num_layers = input.num_layers();
    let mut next = 0;
    let mut layers = Vec::new();
    for (idx, (_, size)) in input.devices.iter().enumerate() {
        let cap = cap(*size);
        let ends = input.weight(0).saturating_add(input.head_weight());
        let mut used = if idx == 0 { ends } else { 0 };
        let first = next;
        while next < num_layers && used.saturating_add(input.layer_bytes(next)) <= cap {
            used = used.saturating_add(input.layer_bytes(next));
            next += 1;
        }
        layers.push(next - first);
    }
    if next < num_layers {
        let unit = if next == 0 { Unit::Embed } else { Unit::Layer(next) };
        return Err(Unplaced::DoesNotFit { unit });
    }
    Ok(input.stages_of(&layers))
}

fn cap(size: Bytes) -> u64 {
    size.0.saturating_sub((size.0 / 50).max(LEAST_MARGIN))
}
