//! The memory that devices hold under given stages.

use sluicegate_spec::device::DeviceId;

use super::{cost::Sizes, setting::Setting, stages::Stages};

/// Returns whether no device holds more than it may.
pub(super) fn fits_given(setting: &Setting<'_>, sizes: &Sizes, stages: &Stages) -> bool {
    setting.devices.iter().all(|it| held(sizes, stages, it.id) <= it.cap.0.into())
}

/// Returns the memory of all stages on a device.
pub(super) fn held(sizes: &Sizes, stages: &Stages, device: DeviceId) -> u128 {
    let spans = stages.iter().zip(sizes.spans(stages));
    spans.filter(|((owner, _), _)| *owner == device).map(|(_, span)| span.total()).sum()
}
