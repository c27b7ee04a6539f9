//! Reads cluster files: TOML text to a [`Cluster`]. Every error names a line.

use std::{collections::BTreeMap, ops::Range};

use sluicegate_spec::device::DeviceId;
use toml::Spanned;

use super::{
    Cluster, ClusterLink, LinkFigures, Route,
    entries::{EndsEntry, Entries, FiguresEntry, LinkEntry, UnlistedEntry},
    error::{DescriptionError, DescriptionFault, DescriptionLocation},
    figure::{Figure, Measure},
    join::nth,
    names::shown,
    preset::LinkPreset,
};

/// The longest parser message that is passed on.
const MAX_SYNTAX_CHARS: usize = 300;

impl Cluster {
    /// The largest file accepted; callers need not read more.
    pub const MAX_FILE_BYTES: usize = 1 << 20;

    /// Reads the cluster that a TOML text describes (`docs/placement.md`). `file_name` is for
    /// messages.
    ///
    /// # Errors
    /// With file and line, if the text is not TOML, or describes a cluster that [`Cluster::check`]
    /// refuses.
    pub fn parse_toml(text: &str, file_name: &str) -> Result<Self, DescriptionError> {
        Reader { text, file_name }.cluster()
    }
}

/// The text, and the file name for locations in it.
pub(super) struct Reader<'a> {
    text: &'a str,
    file_name: &'a str,
}

type Found<T> = Result<T, DescriptionError>;

impl Reader<'_> {
    fn cluster(&self) -> Found<Cluster> {
        let (found, limit) = (self.text.len(), Cluster::MAX_FILE_BYTES);
        if found > limit {
            return Err(self.wrong(0, DescriptionFault::TooLong { found, limit }));
        }
        // Within this length the parser's time is bounded: it refuses nesting deeper than 80.
        let entries: Entries = toml::from_str(self.text).map_err(|error| self.syntax(&error))?;
        let (devices, starts) = self.devices(entries.devices)?;
        let unlisted = entries.unlisted.map(|entry| self.unlisted(entry)).transpose()?;
        let host_s = entries.host_s.map(|figure| self.figure(&figure, "host_s", Measure::Seconds));
        let cluster = Cluster {
            devices,
            links: self.links(entries.links, &starts)?,
            unlisted: unlisted.unwrap_or_default(),
            host_s: host_s.transpose()?.unwrap_or(0.0),
        };
        cluster.check().map_err(|error| self.wrong(0, error))?;
        Ok(cluster)
    }

    fn links(
        &self,
        entries: Vec<Spanned<LinkEntry>>,
        devices: &BTreeMap<DeviceId, usize>,
    ) -> Found<Vec<ClusterLink>> {
        let mut seen = BTreeMap::new();
        let mut links = Vec::new();
        for entry in entries {
            let at = entry.span().start;
            let entry = entry.into_inner();
            let pairs = self.pairs(&entry, at, devices)?;
            let figures = self.link_figures(entry.figures(), at)?;
            for (source, target) in pairs {
                if let Some(first) = seen.insert((source, target), at) {
                    let first = self.line(first);
                    let (link_source, link_target) = (source, target);
                    let fault = DescriptionFault::LinkTwice { link_source, link_target, first };
                    return Err(self.wrong(at, fault));
                }
                links.push(ClusterLink { source, target, figures });
            }
        }
        Ok(links)
    }

    /// Returns the ordered pairs that an entry covers.
    fn pairs(
        &self,
        entry: &LinkEntry,
        at: usize,
        devices: &BTreeMap<DeviceId, usize>,
    ) -> Found<Vec<(DeviceId, DeviceId)>> {
        let ends = |ends: &Spanned<EndsEntry>| self.ends(ends, devices);
        let (sources, targets) = match (&entry.devices, &entry.source, &entry.target) {
            (Some(group), None, None) => {
                let group = ends(group)?;
                if group.len() < 2 {
                    let fault = DescriptionFault::TooFewToLink { found: group.len() };
                    return Err(self.wrong(at, fault));
                }
                (group.clone(), group)
            }
            (None, Some(source), Some(target)) => {
                let (sources, targets) = (ends(source)?, ends(target)?);
                if let Some(device) = sources.iter().find(|it| targets.contains(it)) {
                    let fault = DescriptionFault::LinkToItself { device: *device };
                    return Err(self.wrong(target.span().start, fault));
                }
                (sources, targets)
            }
            _ => return Err(self.wrong(at, DescriptionFault::LinkEnds)),
        };
        let pairs = sources.iter().flat_map(|source| targets.iter().map(|it| (*source, *it)));
        Ok(pairs.filter(|(source, target)| source != target).collect())
    }

    /// Returns the devices of `"cuda:0"`, `"cuda:0..4"` or a list of such texts, each once.
    fn ends(
        &self,
        entry: &Spanned<EndsEntry>,
        devices: &BTreeMap<DeviceId, usize>,
    ) -> Found<Vec<DeviceId>> {
        let at = entry.span().start;
        let texts = match entry.get_ref() {
            EndsEntry::One(text) => std::slice::from_ref(text),
            EndsEntry::Several(texts) => texts,
        };
        let mut found = Vec::new();
        for text in texts {
            let (first, offsets) = span(text)
                .ok_or_else(|| self.wrong(at, DescriptionFault::NotASpan { found: shown(text) }))?;
            for offset in offsets {
                let device = nth(first, offset).unwrap_or(first);
                if !devices.contains_key(&device) {
                    return Err(self.wrong(at, DescriptionFault::NoSuchDevice { device }));
                }
                if found.contains(&device) {
                    return Err(self.wrong(at, DescriptionFault::LinkToItself { device }));
                }
                found.push(device);
            }
        }
        Ok(found)
    }

    fn unlisted(&self, entry: Spanned<UnlistedEntry>) -> Found<LinkFigures> {
        let at = entry.span().start;
        match entry.into_inner() {
            UnlistedEntry::Preset(name) => self.link_preset(&name, at),
            UnlistedEntry::Figures(figures) => self.link_figures(figures, at),
        }
    }

    fn link_figures(&self, entry: FiguresEntry, at: usize) -> Found<LinkFigures> {
        let preset = entry.preset.map(|it| self.link_preset(it.get_ref(), it.span().start));
        let preset = preset.transpose()?;
        let latency_s = entry
            .latency_s
            .map(|it| self.figure(&it, "latency_s", Measure::Seconds))
            .transpose()?;
        let bytes_per_s = entry
            .bytes_per_s
            .map(|it| self.figure(&it, "bytes_per_s", Measure::Speed))
            .transpose()?;
        let route = entry.route.map(|route| self.route(&route)).transpose()?;
        let missing = |field| self.wrong(at, DescriptionFault::NoLinkFigure { field });
        let base = LinkFigures::default();
        Ok(LinkFigures {
            latency_s: latency_s
                .or(preset.map(|it| it.latency_s))
                .ok_or_else(|| missing("latency_s"))?,
            bytes_per_s: bytes_per_s
                .or(preset.map(|it| it.bytes_per_s))
                .ok_or_else(|| missing("bytes_per_s"))?,
            route: route.unwrap_or(preset.unwrap_or(base).route),
            overlaps: entry.overlaps.unwrap_or(preset.unwrap_or(base).overlaps),
        })
    }

    fn link_preset(&self, name: &str, at: usize) -> Found<LinkFigures> {
        let unknown =
            |nearest| self.wrong(at, DescriptionFault::UnknownLink { found: shown(name), nearest });
        LinkPreset::find(name).map(LinkPreset::figures).map_err(unknown)
    }

    fn route(&self, route: &Spanned<String>) -> Found<Route> {
        match route.get_ref().as_str() {
            "peer" => Ok(Route::Peer),
            "nccl" => Ok(Route::Nccl),
            "host" => Ok(Route::Host),
            "network" => Ok(Route::Network),
            other => {
                let fault = DescriptionFault::Route { found: shown(other) };
                Err(self.wrong(route.span().start, fault))
            }
        }
    }

    /// Returns a number in the measure's base unit.
    pub(super) fn figure(
        &self,
        figure: &Spanned<Figure>,
        field: &'static str,
        measure: Measure,
    ) -> Found<f64> {
        let at = figure.span().start;
        let wrong = |found| self.wrong(at, DescriptionFault::Figure { field, measure, found });
        figure.get_ref().value(measure).map_err(wrong)
    }

    pub(super) fn wrong(&self, at: usize, fault: impl Into<DescriptionFault>) -> DescriptionError {
        let location =
            DescriptionLocation::Line { file: self.file_name.to_owned(), line: self.line(at) };
        DescriptionError { location, fault: fault.into() }
    }

    /// Returns the line of a byte of the text, counted from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        let before = self.text.get(..at).unwrap_or_default();
        before.matches('\n').count() + 1
    }

    fn syntax(&self, error: &toml::de::Error) -> DescriptionError {
        let Range { start, .. } = error.span().unwrap_or_default();
        let lines = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
        let message = lines.chars().take(MAX_SYNTAX_CHARS).collect();
        self.wrong(start, DescriptionFault::Syntax(message))
    }
}

/// Parses `cuda:0` or `cuda:0..4` (end exclusive). Returns the first device and the offsets from
/// it.
fn span(text: &str) -> Option<(DeviceId, Range<usize>)> {
    let (first, end) = match text.trim().split_once("..") {
        None => (text.trim(), None),
        Some((first, end)) => (first, Some(end.parse::<u32>().ok()?)),
    };
    let first: DeviceId = first.parse().ok()?;
    let ordinal = match first {
        DeviceId::Host => return None,
        DeviceId::Cpu(index) => index,
        DeviceId::Cuda(ordinal) => ordinal,
    };
    let num_devices = match end {
        None => 1,
        Some(end) => end.checked_sub(ordinal).filter(|count| *count > 0)?,
    };
    Some((first, 0..usize::try_from(num_devices).ok()?))
}
