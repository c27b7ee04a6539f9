//! The split by memory, as in llama.cpp by default and in exo.
//!
//! Source: exo's `allocate_layers_proportionally` in `src/exo/master/placement_utils.py`. Largest
//! remainder, ties to the earlier device; then each device without layers takes one from the first
//! device with the most. llama.cpp cuts at the running sums of the shares instead, head included,
//! which differs by at most one layer. The rule does not check whether the layers fit.

use std::cmp::Reverse;

use sluicegate_spec::units::Unit;

use super::{BaselineInput, Stages, Unplaced};

pub(super) fn stages(input: &BaselineInput) -> Result<Stages, Unplaced> {
    let (num_layers, num_devices) = (input.num_layers(), input.devices.len());
    if num_layers < num_devices {
        return Err(Unplaced::TooFewLayers { found: num_layers, num_devices });
    }
    let sizes: Vec<u128> = input.devices.iter().map(|(_, size)| u128::from(size.0)).collect();
    let total: u128 = sizes.iter().sum();
    if total == 0 {
        return Err(Unplaced::DoesNotFit { unit: Unit::Embed });
    }
    let shares: Vec<u128> = sizes.iter().map(|size| size * num_layers as u128).collect();
    let whole = |share: &u128| usize::try_from(share / total).unwrap_or(num_layers);
    let mut layers: Vec<usize> = shares.iter().map(whole).collect();

    let mut by_remainder: Vec<usize> = (0..num_devices).collect();
    by_remainder.sort_by_key(|idx| Reverse(shares[*idx] % total));
    let rest = num_layers - layers.iter().sum::<usize>();
    for idx in by_remainder.into_iter().cycle().take(rest) {
        layers[idx] += 1;
    }

    for idx in 0..num_devices {
        let most = (0..num_devices).max_by_key(|idx| (layers[*idx], Reverse(*idx)));
        if let Some(most) = most.filter(|_| layers[idx] == 0) {
            layers[most] -= 1;
            layers[idx] = 1;
        }
    }
    Ok(input.stages_of(&layers))
}
