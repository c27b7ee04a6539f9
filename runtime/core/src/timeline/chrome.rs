//! A timeline as tools read it: the JSON array of events of Chrome's tracing.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::span::{Lane, Timeline};

/// Serialises to the trace that `chrome://tracing` and Perfetto open.
///
/// Source: the Trace Event Format, "Complete Events" and "Metadata Events".
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChromeTrace {
    trace_events: Vec<Event>,
    display_time_unit: &'static str,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Event {
    name: String,
    ph: &'static str,
    /// Microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    pid: u32,
    tid: usize,
    args: Arguments,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
enum Arguments {
    Name {
        name: String,
    },
    Span {
        microbatch: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        tokens: Option<usize>,
        #[serde(skip_serializing_if = "Option::is_none")]
        decoding_rows: Option<usize>,
    },
}

impl From<&Timeline> for ChromeTrace {
    fn from(timeline: &Timeline) -> Self {
        let lanes: BTreeSet<Lane> = timeline.spans.iter().map(|span| span.lane).collect();
        let lanes: Vec<Lane> = lanes.into_iter().collect();
        let named = lanes.iter().enumerate().map(|(tid, lane)| Event {
            name: "thread_name".to_owned(),
            ph: "M",
            ts: None,
            dur: None,
            pid: 1,
            tid,
            args: Arguments::Name { name: name(*lane, &timeline.devices) },
        });
        let notes: BTreeMap<u64, _> =
            timeline.microbatches.iter().map(|note| (note.microbatch, note)).collect();
        let spans = timeline.spans.iter().map(|span| {
            let note = notes.get(&span.microbatch);
            Event {
                name: span.activity.to_string(),
                ph: "X",
                ts: Some(span.start_s * 1e6),
                dur: Some(span.seconds() * 1e6),
                pid: 1,
                tid: lanes.binary_search(&span.lane).unwrap_or(lanes.len()),
                args: Arguments::Span {
                    microbatch: span.microbatch,
                    tokens: note.map(|note| note.tokens),
                    decoding_rows: note.map(|note| note.decoding_rows),
                },
            }
        });
        Self { trace_events: named.chain(spans).collect(), display_time_unit: "ms" }
    }
}

/// A lane with the device that it is on.
pub(super) fn name(lane: Lane, devices: &[String]) -> String {
    match lane {
        Lane::Stage(stage) => match devices.get(stage) {
            Some(device) if !device.is_empty() => format!("{lane} ({device})"),
            _ => lane.to_string(),
        },
        _ => lane.to_string(),
    }
}
