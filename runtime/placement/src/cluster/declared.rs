//! Reads the devices of a cluster file.

use std::collections::BTreeMap;

use sluicegate_spec::{device::DeviceId, units::Bytes};
use toml::Spanned;

use super::{
    Cluster, ClusterDevice, Rates,
    entries::{DeviceEntry, RatesEntry},
    error::{DescriptionError, DescriptionFault},
    figure::{Figure, Measure},
    file::Reader,
    join::{nth, same_kind},
    names::shown,
    preset::DevicePreset,
};

type Found<T> = Result<T, DescriptionError>;

/// The longest device name, since names appear in tables.
const MAX_NAME_CHARS: usize = 60;

impl Reader<'_> {
    /// Reads the devices, and for each the offset of its entry.
    pub(super) fn devices(
        &self,
        entries: Vec<Spanned<DeviceEntry>>,
    ) -> Found<(Vec<ClusterDevice>, BTreeMap<DeviceId, usize>)> {
        let mut devices: Vec<ClusterDevice> = Vec::new();
        let mut seen = BTreeMap::new();
        for entry in entries {
            let at = entry.span().start;
            let entry = entry.into_inner();
            let limit = Cluster::MAX_DEVICES;
            let count = entry.count.as_ref().map_or(Ok(1), |count| self.count(count))?;
            if devices.len() + count > limit {
                return Err(self.wrong(at, DescriptionFault::TooManyDevices { limit }));
            }
            let preset = entry.preset.as_ref().map(|name| self.device_preset(name)).transpose()?;
            let first = self.first_id(&entry, at, preset, &seen)?;
            let model = self.device(&entry, at, preset, first)?;
            for offset in 0..count {
                let id = nth(first, offset).ok_or_else(|| {
                    self.wrong(at, DescriptionFault::NoOrdinals { device: first, count })
                })?;
                if let Some(first) = seen.insert(id, at) {
                    let fault =
                        DescriptionFault::DeviceTwice { device: id, first: self.line(first) };
                    return Err(self.wrong(at, fault));
                }
                devices.push(ClusterDevice { id, ..model.clone() });
            }
        }
        Ok((devices, seen))
    }

    fn count(&self, count: &Spanned<i64>) -> Found<usize> {
        let limit = Cluster::MAX_DEVICES;
        let number = *count.get_ref();
        let wrong = || DescriptionFault::Count { limit, found: number.to_string() };
        let found = usize::try_from(number).ok().filter(|count| (1..=limit).contains(count));
        found.ok_or_else(|| self.wrong(count.span().start, wrong()))
    }

    fn device_preset(&self, name: &Spanned<String>) -> Found<&'static DevicePreset> {
        DevicePreset::find(name.get_ref()).map_err(|nearest| {
            let found = shown(name.get_ref());
            self.wrong(name.span().start, DescriptionFault::UnknownDevice { found, nearest })
        })
    }

    /// Returns the id of an entry's first device: as written, else the next after the last of its
    /// kind.
    fn first_id(
        &self,
        entry: &DeviceEntry,
        at: usize,
        preset: Option<&DevicePreset>,
        seen: &BTreeMap<DeviceId, usize>,
    ) -> Found<DeviceId> {
        if let Some(id) = &entry.id {
            let found = || DescriptionFault::NotADevice { found: shown(id.get_ref()) };
            let parsed = id.get_ref().trim().parse().ok().filter(|id| *id != DeviceId::Host);
            return parsed.ok_or_else(|| self.wrong(id.span().start, found()));
        }
        let missing = || self.wrong(at, DescriptionFault::NoDeviceFigure { field: "id" });
        let zeroth = preset.ok_or_else(missing)?.id(0);
        match seen.keys().filter(|id| same_kind(**id, zeroth)).max() {
            None => Ok(zeroth),
            Some(&last) => nth(last, 1).ok_or_else(|| {
                self.wrong(at, DescriptionFault::NoOrdinals { device: last, count: 1 })
            }),
        }
    }

    fn device(
        &self,
        entry: &DeviceEntry,
        at: usize,
        preset: Option<&DevicePreset>,
        id: DeviceId,
    ) -> Found<ClusterDevice> {
        use Measure::{Gain, Price, Reserve, Seconds, Speed};
        let figure = |figure: &Option<Spanned<Figure>>, field, measure| {
            figure.as_ref().map(|it| self.figure(it, field, measure)).transpose()
        };
        let of_preset = preset.map(|preset| preset.device(id));
        let missing = |field| self.wrong(at, DescriptionFault::NoDeviceFigure { field });
        let memory = figure(&entry.memory, "memory", Measure::Memory)?;
        let bytes_per_s = figure(&entry.bytes_per_s, "bytes_per_s", Speed)?;
        let mut device = match of_preset {
            Some(device) => device,
            None => ClusterDevice {
                id,
                flops_per_s: self.rates(entry, None, at)?,
                bytes_per_s: bytes_per_s.ok_or_else(|| missing("bytes_per_s"))?,
                ..ClusterDevice::cpu(0, bytes(memory.ok_or_else(|| missing("memory"))?))
            },
        };
        device.memory = memory.map_or(device.memory, bytes);
        device.bytes_per_s = bytes_per_s.unwrap_or(device.bytes_per_s);
        device.flops_per_s = self.rates(entry, Some(device.flops_per_s), at)?;
        device.overhead_s =
            figure(&entry.overhead_s, "overhead_s", Seconds)?.unwrap_or(device.overhead_s);
        device.host_bytes_per_s =
            figure(&entry.host_bytes_per_s, "host_bytes_per_s", Speed)?.or(device.host_bytes_per_s);
        device.alone = figure(&entry.alone, "alone", Gain)?.unwrap_or(device.alone);
        device.price_per_hour = figure(&entry.price_per_hour, "price_per_hour", Price)?;
        device.priority = entry.priority.as_ref().map_or(Ok(0), |it| self.priority(it))?;
        if let Some(name) = &entry.name {
            device.name = self.name(name)?;
        }
        device.reserve = match figure(&entry.reserve, "reserve", Reserve)? {
            // A given memory size may be smaller than the preset's reserve.
            None => device.reserve.min(device.memory),
            Some(reserve) if bytes(reserve) < device.memory => bytes(reserve),
            Some(reserve) => {
                let (memory, found) = (device.memory, bytes(reserve));
                return Err(self.wrong(at, DescriptionFault::Reserve { memory, found }));
            }
        };
        Ok(device)
    }

    /// Reads the rates of an entry. Omitted types use those of `base`, else the rate of f32.
    fn rates(&self, entry: &DeviceEntry, base: Option<Rates>, at: usize) -> Found<Rates> {
        let missing = |field| self.wrong(at, DescriptionFault::NoDeviceFigure { field });
        let Some(entry) = &entry.flops_per_s else {
            return base.ok_or_else(|| missing("flops_per_s"));
        };
        let at = entry.span().start;
        let rate = |figure: &Figure, field| {
            let measure = Measure::Rate;
            let wrong = |found| self.wrong(at, DescriptionFault::Figure { field, measure, found });
            figure.value(measure).map_err(wrong)
        };
        let each = match entry.get_ref() {
            RatesEntry::One(figure) => return Ok(Rates::uniform(rate(figure, "flops_per_s")?)),
            RatesEntry::Each(each) => each,
        };
        let of = |figure: &Option<Figure>, field| {
            figure.as_ref().map(|figure| rate(figure, field)).transpose()
        };
        let f32 = of(&each.f32, "flops_per_s.f32")?.or(base.map(|base| base.f32));
        let f32 = f32.ok_or_else(|| missing("flops_per_s.f32"))?;
        let f16 = of(&each.f16, "flops_per_s.f16")?;
        let bf16 = of(&each.bf16, "flops_per_s.bf16")?;
        Ok(Rates {
            f32,
            f16: f16.or(base.map(|base| base.f16)).unwrap_or(f32),
            bf16: bf16.or(base.map(|base| base.bf16)).unwrap_or(f32),
        })
    }

    fn priority(&self, priority: &Spanned<i64>) -> Found<i32> {
        let found = *priority.get_ref();
        let wrong = |_| self.wrong(priority.span().start, DescriptionFault::Priority { found });
        i32::try_from(found).map_err(wrong)
    }

    fn name(&self, name: &Spanned<String>) -> Found<String> {
        let text = name.get_ref().trim();
        let limit = MAX_NAME_CHARS;
        if text.chars().count() > limit || text.chars().any(char::is_control) {
            let fault = DescriptionFault::Name { limit, found: shown(text) };
            return Err(self.wrong(name.span().start, fault));
        }
        Ok(text.to_owned())
    }
}

/// Returns what of a name a file may contain.
pub(super) fn short_name(name: &str) -> String {
    let letters = name.trim().chars().filter(|it| !it.is_control());
    letters.take(MAX_NAME_CHARS).collect::<String>().trim_end().to_owned()
}

/// Converts a size that [`Measure`] allows to [`Bytes`].
fn bytes(size: f64) -> Bytes {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a size is allowed from 0 to below u64::MAX"
    )]
    Bytes(size as u64)
}
