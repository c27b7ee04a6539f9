//! Explains why a model does not fit, and what would do.

use sluicegate_model::{
    placed::DeviceId,
    step::PAGE_TOKENS,
    units::{Bytes, UnitRange},
};

use super::{
    balance,
    cost::{self, Sizes},
    error::Shortfall,
    planner::{Cap, Layout, Task, held},
};

/// Describes what is missing for `num_pages`, of which `fitting_pages` would fit.
pub(super) fn explain(
    task: &Task<'_>,
    num_pages: usize,
    fitting_pages: Option<usize>,
) -> Shortfall {
    let sizes = task.sizes(num_pages);
    let whole = sizes.span(UnitRange { start: 0, end: sizes.num_units() });
    let short = match &task.layout {
        Layout::Balanced => least_extra(&sizes, &task.caps),
        Layout::Given(stages) => largest_excess(&sizes, stages, &task.caps),
    };
    Shortfall {
        weight_bytes: cost::bytes(whole.weights),
        kv_bytes: cost::bytes(whole.kv),
        kv_tokens: num_pages.saturating_mul(PAGE_TOKENS),
        workspace_bytes: cost::bytes(whole.workspace),
        limits: task.caps.iter().map(|cap| (cap.device, cap.bytes)).collect(),
        short,
        fitting_kv_tokens: fitting_pages.map(|pages| pages.saturating_mul(PAGE_TOKENS)),
    }
}

/// The fewest bytes that make the model fit when one device gets them; the first such device.
fn least_extra(sizes: &Sizes, caps: &[Cap]) -> Option<(DeviceId, Bytes)> {
    // Each device is asked only whether it can do with less than the best before it.
    let whole = sizes.span(UnitRange { start: 0, end: sizes.num_units() }).total();
    let mut least = u64::try_from(whole).ok()?.saturating_add(1);
    let mut found = None;
    for device_idx in 0..caps.len() {
        let fits_with = |extra: u64| {
            let mut caps = caps.to_vec();
            caps[device_idx].bytes.0 = caps[device_idx].bytes.0.saturating_add(extra);
            balance::fits(sizes, &caps)
        };
        if !fits_with(least - 1) {
            continue;
        }
        let (mut low, mut high) = (0, least - 1);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if fits_with(middle) { high = middle } else { low = middle }
        }
        least = high;
        found = Some((caps[device_idx].device, Bytes(high)));
    }
    found
}

/// The device that the given stages overfill most.
fn largest_excess(
    sizes: &Sizes,
    stages: &[(DeviceId, UnitRange)],
    caps: &[Cap],
) -> Option<(DeviceId, Bytes)> {
    let excess = |cap: &Cap| {
        held(sizes, stages, cap.device)
            .checked_sub(cap.bytes.0.into())
            .map(|excess| (cap.device, cost::bytes(excess)))
    };
    // Of equals the first, as everywhere.
    caps.iter().rev().filter_map(excess).max_by_key(|(_, excess)| *excess)
}
