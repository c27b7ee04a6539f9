//! Clusters in one line: `8x h100 nvlink`, `2x rtx4090 + 1x rtx3090, pcie4`, `4x cpu@16GiB`.
//!
//! ```text
//! spec   = group { "+" group } [ "," link ]
//! group  = [ count [ "x" ] ] device [ "@" size ] [ link ]
//! device = the name of a device preset
//! link   = the name of a link preset | "nvlink" | "pcie"
//! ```
//!
//! A group's own link connects its devices; the link after the comma connects all pairs without
//! one. `nvlink` and `pcie` mean those of the device. Case, spaces and hyphens are ignored.

use sluicegate_spec::units::Bytes;

use super::{
    Cluster, LinkFigures,
    error::{DescriptionError, DescriptionFault, DescriptionLocation},
    figure,
    names::{Key, shown},
    preset::{DevicePreset, LinkPreset},
};

/// A parsed line.
#[derive(Debug)]
pub(super) struct Spec {
    pub(super) groups: Vec<DeviceGroup>,
    /// The link of all pairs without a group's link.
    pub(super) link: Option<LinkFigures>,
}

/// Several devices of one kind.
#[derive(Debug)]
pub(super) struct DeviceGroup {
    pub(super) count: usize,
    pub(super) preset: &'static DevicePreset,
    /// Replaces the preset's memory.
    pub(super) memory: Option<Bytes>,
    /// The link among the devices of the group.
    pub(super) link: Option<LinkFigures>,
}

/// The longest line accepted.
const MAX_SPEC_BYTES: usize = 4096;

impl Cluster {
    /// Makes the cluster of a line such as `8x h100 nvlink` or `2x rtx4090 + 1x rtx3090, pcie4`.
    ///
    /// Devices are numbered in order. Pairs without a named link get [`LinkFigures::default`].
    ///
    /// # Errors
    /// The line does not follow the grammar (`docs/placement.md`) or names something unknown.
    pub fn parse_spec(text: &str) -> Result<Self, DescriptionError> {
        let empty = Self::of(Vec::new());
        let cluster = parse(text).and_then(|spec| match spec.link {
            Some(unlisted) => Self { unlisted, ..empty }.join(&Spec { link: None, ..spec }),
            None => empty.join(&spec),
        });
        cluster.map_err(|fault| error(text, fault))
    }

    /// Returns the cluster with the devices of a line such as `+1 h100` added.
    ///
    /// They get the next free ordinals and the links that devices of their kind have here; a new
    /// kind gets [`Cluster::unlisted`]. A link named after a group connects the group with its
    /// kind; one after the comma connects the new devices with all others.
    ///
    /// # Errors
    /// As [`Cluster::parse_spec`].
    pub fn extended(&self, text: &str) -> Result<Self, DescriptionError> {
        let line = text.trim_start();
        let line = line.strip_prefix('+').unwrap_or(line);
        parse(line).and_then(|spec| self.join(&spec)).map_err(|fault| error(text, fault))
    }
}

fn error(text: &str, fault: DescriptionFault) -> DescriptionError {
    DescriptionError { location: DescriptionLocation::Spec(shown(text)), fault }
}

fn parse(text: &str) -> Result<Spec, DescriptionFault> {
    if text.len() > MAX_SPEC_BYTES {
        return Err(DescriptionFault::TooLong { found: text.len(), limit: MAX_SPEC_BYTES });
    }
    let (devices, link) = match text.split_once(',') {
        Some((devices, link)) => (devices, Some(link)),
        None => (text, None),
    };
    let groups: Vec<_> = devices.split('+').map(group).collect::<Result<_, _>>()?;
    let link = link.map(|link| last_link(link, &groups)).transpose()?;
    Ok(Spec { groups, link })
}

fn group(text: &str) -> Result<DeviceGroup, DescriptionFault> {
    let (count, rest) = count(text.trim())?;
    if rest.is_empty() {
        return Err(DescriptionFault::NothingThere);
    }
    let Some((name, sized)) = rest.split_once('@') else {
        let (preset, link) = device_and_link(rest)?;
        let link = link.map(|link| link_of(link, preset)).transpose()?;
        return Ok(DeviceGroup { count, preset, memory: None, link });
    };
    let preset = device(name)?;
    let (memory, link) = size_and_link(sized)?;
    let link = link.map(|link| link_of(link, preset)).transpose()?;
    Ok(DeviceGroup { count, preset, memory: Some(memory), link })
}

/// Parses the count and returns the rest: `2x rtx4090`, `2 rtx4090`, `2 x rtx4090`.
fn count(text: &str) -> Result<(usize, &str), DescriptionFault> {
    let end = text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    if number.is_empty() {
        return Ok((1, text));
    }
    let limit = Cluster::MAX_DEVICES;
    let count = number.parse().ok().filter(|count| (1..=limit).contains(count));
    let wrong = || DescriptionFault::Count { limit, found: shown(number) };
    let rest = rest.trim_start();
    let rest = rest.strip_prefix(['x', 'X', '×']).unwrap_or(rest);
    Ok((count.ok_or_else(wrong)?, rest.trim_start()))
}

fn device(name: &str) -> Result<&'static DevicePreset, DescriptionFault> {
    DevicePreset::find(name)
        .map_err(|nearest| DescriptionFault::UnknownDevice { found: shown(name.trim()), nearest })
}

/// Parses a device and the link after it. Names may contain spaces, so the longest device name that
/// leaves nothing or a link is taken.
fn device_and_link(text: &str) -> Result<(&'static DevicePreset, Option<&str>), DescriptionFault> {
    if let Ok(preset) = DevicePreset::find(text) {
        return Ok((preset, None));
    }
    let spaces = text.char_indices().rev().filter(|(_, letter)| letter.is_whitespace());
    for (at, _) in spaces {
        if let Ok(preset) = DevicePreset::find(&text[..at]) {
            return Ok((preset, Some(text[at..].trim())));
        }
    }
    // The name is unknown with and without its last words; the message is about the first ones.
    let last_is_link = text.rsplit_once(char::is_whitespace).filter(|(_, word)| is_link(word));
    device(last_is_link.map_or(text, |(name, _)| name)).map(|preset| (preset, None))
}

fn is_link(word: &str) -> bool {
    let key = Key::of(word);
    key.is("nvlink") || key.is("pcie") || LinkPreset::find(word).is_ok()
}

/// Parses a size and the link after it: `16 GiB nvlink`.
fn size_and_link(text: &str) -> Result<(Bytes, Option<&str>), DescriptionFault> {
    let text = text.trim_start();
    let number_end = text.find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(text.len());
    let unit = text[number_end..].trim_start();
    let unit_end = unit.find(|it: char| !it.is_ascii_alphabetic()).unwrap_or(unit.len());
    let (size, link) = text.split_at(text.len() - unit.len() + unit_end);
    let wrong = || DescriptionFault::NotASize { found: shown(text.trim()) };
    let memory = figure::size(size).filter(|memory| memory.0 > 0).ok_or_else(wrong)?;
    let link = link.trim();
    Ok((memory, (!link.is_empty()).then_some(link)))
}

/// Returns the link that a word after a device names.
fn link_of(word: &str, preset: &DevicePreset) -> Result<LinkFigures, DescriptionFault> {
    let key = Key::of(word);
    if key.is("nvlink") {
        let none = DescriptionFault::NoNvlink { device: preset.name };
        return preset.nvlink().map(LinkPreset::figures).ok_or(none);
    }
    if key.is("pcie") {
        let none = DescriptionFault::NoSlot { device: preset.name };
        return preset.pcie().map(LinkPreset::figures).ok_or(none);
    }
    link(word)
}

/// Parses the link after the comma; `nvlink` and `pcie` must mean the same for all devices.
fn last_link(text: &str, groups: &[DeviceGroup]) -> Result<LinkFigures, DescriptionFault> {
    if text.contains(',') {
        return Err(DescriptionFault::CommaTwice);
    }
    let key = Key::of(text);
    let Some(word) = ["nvlink", "pcie"].into_iter().find(|word| key.is(word)) else {
        return link(text);
    };
    let mut found = groups.iter().map(|group| link_of(word, group.preset));
    let first = found.next().ok_or(DescriptionFault::NothingThere)??;
    for other in found {
        if other? != first {
            let known = LinkFigures::presets();
            let known = known.into_iter().filter(|name| name.starts_with(word));
            let known = known.collect::<Vec<_>>().join(", ");
            return Err(DescriptionFault::AmbiguousLink { word, known });
        }
    }
    Ok(first)
}

fn link(name: &str) -> Result<LinkFigures, DescriptionFault> {
    let unknown = |nearest| DescriptionFault::UnknownLink { found: shown(name.trim()), nearest };
    LinkPreset::find(name).map(LinkPreset::figures).map_err(unknown)
}
