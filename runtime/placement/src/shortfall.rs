//! Explains why a model does not fit, and what would help.

use sluicegate_spec::{
    device::DeviceId,
    kv::PAGE_TOKENS,
    profile::ModelProfile,
    units::{Bytes, UnitRange},
};

use super::{
    cost::{self, Sizes},
    error::{DeviceLimit, Shortfall},
    held::held,
    search::fits_any as fits,
    setting::{Layout, Setting, Usable},
    stages::Stages,
};

/// With more devices than this, missing memory is only added up, not searched for.
const MAX_SEARCHED: usize = 10;

/// Describes what is missing for `num_pages`, of which `fitting_pages` would fit.
pub(super) fn explain(
    setting: &Setting<'_>,
    num_pages: usize,
    fitting_pages: Option<usize>,
) -> Shortfall {
    let sizes = setting.sizes(num_pages, setting.least_at_once());
    let whole = sizes.span(UnitRange { start: 0, end: sizes.num_units() });
    let is_small = setting.devices.len() <= MAX_SEARCHED;
    let short = match &setting.layout {
        Layout::Auto if is_small => least_extra(setting, &sizes),
        Layout::Auto => None,
        Layout::Given(stages) => largest_excess(setting, &sizes, stages),
    };
    Shortfall {
        weight_bytes: cost::bytes(whole.weights),
        kv_bytes: cost::bytes(whole.kv),
        kv_tokens: num_pages.saturating_mul(PAGE_TOKENS),
        workspace_bytes: cost::bytes(whole.workspace),
        limits: limits(setting),
        short,
        fitting_kv_tokens: fitting_pages.map(|pages| pages.saturating_mul(PAGE_TOKENS)),
        fits_with_another: (setting.layout == Layout::Auto && is_small)
            .then(|| one_more(setting, &sizes))
            .flatten(),
        fitting_kv_element_bytes: [2, 1]
            .into_iter()
            .filter(|bytes| *bytes < setting.profile.kv_element_bytes)
            .find(|bytes| fits_with_kv_of(setting, num_pages, *bytes)),
    }
}

/// Finds the fewest bytes that make the model fit if one device gets them, and the first such
/// device.
fn least_extra(setting: &Setting<'_>, sizes: &Sizes) -> Option<(DeviceId, Bytes)> {
    // Each device is only tested for needing less than the best one before it.
    let whole = sizes.span(UnitRange { start: 0, end: sizes.num_units() }).total();
    let mut least = u64::try_from(whole).ok()?.saturating_add(1);
    let mut found = None;
    for device_idx in 0..setting.devices.len() {
        let fits_with = |extra: u64| {
            let mut setting = setting.clone();
            let cap = &mut setting.devices[device_idx].cap.0;
            *cap = cap.saturating_add(extra);
            fits(&setting, sizes)
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
        found = Some((setting.devices[device_idx].id, Bytes(high)));
    }
    found
}

/// Returns the device that the given stages overfill most.
fn largest_excess(
    setting: &Setting<'_>,
    sizes: &Sizes,
    stages: &Stages,
) -> Option<(DeviceId, Bytes)> {
    let excess = |device: &Usable| {
        let excess = held(sizes, stages, device.id).checked_sub(device.cap.0.into());
        excess.map(|excess| (device.id, cost::bytes(excess)))
    };
    // The first among equals, as everywhere.
    setting.devices.iter().rev().filter_map(excess).max_by_key(|(_, excess)| *excess)
}

/// Returns the first device of which one more would suffice.
fn one_more(setting: &Setting<'_>, sizes: &Sizes) -> Option<DeviceId> {
    let would_do = |device: &&Usable| {
        let devices = setting.devices.iter().copied().chain([**device]).collect();
        fits(&setting.with_devices(devices), sizes)
    };
    setting.devices.iter().find(would_do).map(|device| device.id)
}

fn limits(setting: &Setting<'_>) -> Vec<DeviceLimit> {
    let limit = |usable: &Usable| {
        let mut devices = setting.cluster.devices.iter();
        let device = devices.find(|device| device.id == usable.id)?;
        let (memory, reserve) = (device.memory, device.reserve);
        Some(DeviceLimit { device: usable.id, usable: usable.cap, memory, reserve })
    };
    setting.devices.iter().filter_map(limit).collect()
}

/// Returns whether the cache would fit with elements of this many bytes.
fn fits_with_kv_of(setting: &Setting<'_>, num_pages: usize, element_bytes: usize) -> bool {
    let mut profile: ModelProfile = setting.profile.clone();
    for cache in profile.units.iter_mut().filter_map(|unit| unit.kv.as_mut()) {
        let numbers = cache.bytes_per_token.0.div_ceil(setting.profile.kv_element_bytes as u64);
        cache.bytes_per_token.0 = numbers.saturating_mul(element_bytes as u64);
    }
    let setting = setting.with_profile(&profile);
    fits(&setting, &setting.sizes(num_pages, setting.least_at_once()))
}
