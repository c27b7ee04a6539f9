//! Stages as the planner weighs them.

use sluicegate_spec::{device::DeviceId, units::UnitRange};

/// Stages in order, each on a device.
pub(super) type Stages = [(DeviceId, UnitRange)];
