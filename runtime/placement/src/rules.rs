//! Placements by the rules of other systems.

use sluicegate_spec::{
    device::DeviceId,
    units::{Bytes, UnitRange},
};

use super::{
    baselines::{Baseline, BaselineInput},
    cost::{self, Sizes},
    held::fits_given,
    setting::Setting,
};

/// Returns the placements of all rules that fit.
pub(super) fn placements(setting: &Setting<'_>, sizes: &Sizes) -> Vec<Vec<(DeviceId, UnitRange)>> {
    let input = input(setting, sizes);
    let stages = Baseline::ALL.into_iter().filter_map(|baseline| baseline.stages(&input).ok());
    stages.filter(|stages| fits_given(setting, sizes, stages)).collect()
}

pub(super) fn input(setting: &Setting<'_>, sizes: &Sizes) -> BaselineInput {
    let span = |unit_idx| sizes.span(UnitRange { start: unit_idx, end: unit_idx + 1 });
    BaselineInput {
        weight_bytes: setting.profile.units.iter().map(|unit| unit.weight_bytes).collect(),
        kv_bytes: (0..setting.num_units()).map(|it| cost::bytes(span(it).kv)).collect(),
        devices: setting.devices.iter().map(|usable| (usable.id, usable.cap)).collect(),
        tied: setting.profile.tied_embedding_bytes > Bytes(0),
    }
}
