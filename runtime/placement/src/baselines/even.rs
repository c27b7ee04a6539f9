//! vLLM's split: the same number of layers for each device.
//!
//! Source: `get_pp_indices` in `vllm/distributed/utils.py`. Remaining layers go one each to the
//! devices before the last, from the back, since the last holds the head. Memory, speed and links
//! are ignored; the cache is sized afterwards.

use super::{BaselineInput, Stages, Unplaced};

pub(super) fn stages(input: &BaselineInput) -> Result<Stages, Unplaced> {
    let (num_layers, num_devices) = (input.num_layers(), input.devices.len());
    if num_layers < num_devices {
        return Err(Unplaced::TooFewLayers { found: num_layers, num_devices });
    }
    let mut layers = vec![num_layers / num_devices; num_devices];
    let rest = num_layers % num_devices;
    for more in layers.iter_mut().rev().skip(1).take(rest) {
        *more += 1;
    }
    Ok(input.stages_of(&layers))
}
