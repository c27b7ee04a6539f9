//! The tables of a cluster file as written, not yet checked.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use toml::Spanned;

use super::figure::Figure;

/// A whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Entries {
    pub(super) host_s: Option<Spanned<Figure>>,
    pub(super) unlisted: Option<Spanned<UnlistedEntry>>,
    pub(super) devices: Vec<Spanned<DeviceEntry>>,
    pub(super) links: Vec<Spanned<LinkEntry>>,
}

/// One device, or `count` of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeviceEntry {
    pub(super) id: Option<Spanned<String>>,
    pub(super) preset: Option<Spanned<String>>,
    pub(super) count: Option<Spanned<i64>>,
    pub(super) name: Option<Spanned<String>>,
    pub(super) memory: Option<Spanned<Figure>>,
    pub(super) reserve: Option<Spanned<Figure>>,
    pub(super) bytes_per_s: Option<Spanned<Figure>>,
    pub(super) flops_per_s: Option<Spanned<RatesEntry>>,
    pub(super) overhead_s: Option<Spanned<Figure>>,
    pub(super) host_bytes_per_s: Option<Spanned<Figure>>,
    pub(super) alone: Option<Spanned<Figure>>,
    pub(super) priority: Option<Spanned<i64>>,
    pub(super) price_per_hour: Option<Spanned<Figure>>,
}

/// One rate for all types, or one per type.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "wanted a number, a text such as `60TFLOP/s`, or a table with f32, f16 and bf16"
)]
pub(super) enum RatesEntry {
    One(Figure),
    Each(EachRate),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EachRate {
    pub(super) f32: Option<Figure>,
    pub(super) f16: Option<Figure>,
    pub(super) bf16: Option<Figure>,
}

/// Links for every ordered pair of `devices`, or for every pair of a `source` and a `target`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LinkEntry {
    pub(super) devices: Option<Spanned<EndsEntry>>,
    pub(super) source: Option<Spanned<EndsEntry>>,
    pub(super) target: Option<Spanned<EndsEntry>>,
    preset: Option<Spanned<String>>,
    latency_s: Option<Spanned<Figure>>,
    bytes_per_s: Option<Spanned<Figure>>,
    route: Option<Spanned<String>>,
    overlaps: Option<bool>,
}

/// One span of devices, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "wanted a device such as \"cuda:0\", or a list of them")]
pub(super) enum EndsEntry {
    One(String),
    Several(Vec<String>),
}

/// What a link costs: a preset, figures, or a preset with some figures replaced.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FiguresEntry {
    pub(super) preset: Option<Spanned<String>>,
    pub(super) latency_s: Option<Spanned<Figure>>,
    pub(super) bytes_per_s: Option<Spanned<Figure>>,
    pub(super) route: Option<Spanned<String>>,
    pub(super) overlaps: Option<bool>,
}

impl LinkEntry {
    pub(super) fn figures(self) -> FiguresEntry {
        let Self { preset, latency_s, bytes_per_s, route, overlaps, .. } = self;
        FiguresEntry { preset, latency_s, bytes_per_s, route, overlaps }
    }
}

/// The link of all unlisted pairs: the name of a preset, or a table.
#[derive(Debug)]
pub(super) enum UnlistedEntry {
    Preset(String),
    Figures(FiguresEntry),
}

impl<'de> Deserialize<'de> for UnlistedEntry {
    /// Hand-written, because an untagged enum would lose the line numbers inside the table.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = UnlistedEntry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a link preset, or a table of figures")
            }

            fn visit_str<E>(self, name: &str) -> Result<UnlistedEntry, E> {
                Ok(UnlistedEntry::Preset(name.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<UnlistedEntry, A::Error> {
                let figures = FiguresEntry::deserialize(MapAccessDeserializer::new(map))?;
                Ok(UnlistedEntry::Figures(figures))
            }
        }

        deserializer.deserialize_any(Either)
    }
}
