//! What a program asks for, in numbers, for the option `counts=FILE`.
//!
//! Counted is what is asked for, whether or not it is done when the process ends.

use std::collections::BTreeMap;

/// What is counted for each device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A kernel, through the driver or the runtime.
    Launch,
    /// A product of cuBLAS, however many matrices it has.
    Product,
    /// Numbers from cuRAND.
    Random,
    /// A copy from memory of the host that is pageable.
    PageableUpload,
    PinnedUpload,
    /// A copy to memory of the host that is pageable. Each is also a [`Kind::BlockingCopy`].
    PageableDownload,
    PinnedDownload,
    CopyWithin,
    /// A copy from one device to another, counted where its stream is.
    CopyBetween,
    Fill,
    Allocation,
    Free,
    PinnedAllocation,
    PinnedFree,
    /// A call in which the host waits for a stream, an event or a device.
    Synchronisation,
    /// A copy in which the host waits until it is done, and for all that its stream had before.
    BlockingCopy,
    EventRecord,
    /// A stream that is told to wait for an event.
    StreamWait,
    /// A send or receive through NCCL.
    Send,
    Receive,
}

impl Kind {
    /// All kinds in their order, each with its name in the file, and whether it has bytes.
    const ALL: [(Self, &'static str, bool); 20] = [
        (Self::Launch, "launches", false),
        (Self::Product, "products", false),
        (Self::Random, "randoms", true),
        (Self::PageableUpload, "pageable_uploads", true),
        (Self::PinnedUpload, "pinned_uploads", true),
        (Self::PageableDownload, "pageable_downloads", true),
        (Self::PinnedDownload, "pinned_downloads", true),
        (Self::CopyWithin, "copies_within", true),
        (Self::CopyBetween, "copies_between", true),
        (Self::Fill, "fills", true),
        (Self::Allocation, "allocations", true),
        (Self::Free, "frees", false),
        (Self::PinnedAllocation, "pinned_allocations", true),
        (Self::PinnedFree, "pinned_frees", false),
        (Self::Synchronisation, "synchronisations", false),
        (Self::BlockingCopy, "blocking_copies", false),
        (Self::EventRecord, "event_records", false),
        (Self::StreamWait, "stream_waits", false),
        (Self::Send, "sends", true),
        (Self::Receive, "receives", true),
    ];
}

/// How often something was asked for, and the bytes of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) number: u64,
    pub(crate) bytes: u64,
}

/// Of one device: the count of each kind.
type DeviceCounts = [Count; Kind::ALL.len()];

/// What each device was asked for.
#[derive(Debug)]
pub(crate) struct Counts {
    devices: Vec<DeviceCounts>,
}

/// How often each function was called.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    by_name: BTreeMap<&'static str, u64>,
    by_device: BTreeMap<usize, u64>,
}

impl Calls {
    pub(crate) const fn new() -> Self {
        Self { by_name: BTreeMap::new(), by_device: BTreeMap::new() }
    }

    /// Counts a call, with the device whose context was current.
    pub(crate) fn add(&mut self, function: &'static str, device: Option<usize>) {
        *self.by_name.entry(function).or_default() += 1;
        if let Some(device) = device {
            *self.by_device.entry(device).or_default() += 1;
        }
    }
}

impl Counts {
    pub(crate) fn new(num_devices: usize) -> Self {
        Self { devices: vec![DeviceCounts::default(); num_devices] }
    }

    pub(crate) fn add(&mut self, device: usize, kind: Kind, bytes: usize) {
        let Count { number, bytes: sum } = &mut self.devices[device][kind as usize];
        *number += 1;
        *sum += bytes as u64;
    }

    #[cfg(test)]
    pub(crate) fn of(&self, device: usize, kind: Kind) -> Count {
        self.devices[device][kind as usize]
    }

    /// The file: `{"calls": {name: number}, "devices": [counts], "all": counts}`. A call while no
    /// device is current is counted in `all` alone.
    pub(crate) fn to_json(&self, calls: &Calls) -> String {
        let names = calls.by_name.iter().map(|(name, number)| format!("    \"{name}\": {number}"));
        let devices = self.devices.iter().enumerate().map(|(device, counts)| {
            let calls = calls.by_device.get(&device).copied().unwrap_or_default();
            format!("    {}", object(calls, counts))
        });
        let all = object(calls.by_name.values().sum(), &self.sum());
        let (names, devices) = (lines(names), lines(devices));
        format!(
            "{{\n  \"calls\": {{\n{names}\n  }},\n  \"devices\": [\n{devices}\n  ],\n  \"all\": {all}\n}}\n"
        )
    }

    fn sum(&self) -> DeviceCounts {
        let mut sum = DeviceCounts::default();
        for device in &self.devices {
            for (sum, Count { number, bytes }) in sum.iter_mut().zip(device) {
                sum.number += number;
                sum.bytes += bytes;
            }
        }
        sum
    }
}

fn lines(lines: impl Iterator<Item = String>) -> String {
    lines.collect::<Vec<_>>().join(",\n")
}

/// A device's counts, on one line.
fn object(calls: u64, counts: &DeviceCounts) -> String {
    let value = |((_, name, has_bytes), Count { number, bytes }): (_, &Count)| {
        if has_bytes {
            format!("\"{name}\": {{\"number\": {number}, \"bytes\": {bytes}}}")
        } else {
            format!("\"{name}\": {number}")
        }
    };
    let values: Vec<String> = Kind::ALL.into_iter().zip(counts).map(value).collect();
    format!("{{\"calls\": {calls}, {}}}", values.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_in_their_order() {
        for (index, (kind, ..)) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index, "{kind:?}");
        }
    }

    #[test]
    fn the_file_has_calls_by_name_and_counts_by_device() {
        let mut calls = Calls::new();
        for (name, device) in [("cuInit", None), ("cuFree", Some(1)), ("cuFree", Some(0))] {
            calls.add(name, device);
        }
        let mut counts = Counts::new(2);
        counts.add(1, Kind::Launch, 0);
        counts.add(0, Kind::PageableUpload, 12);
        counts.add(1, Kind::PageableUpload, 30);
        counts.add(1, Kind::StreamWait, 0);
        let text = counts.to_json(&calls);
        let file: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(file["calls"], serde_json::json!({"cuFree": 2, "cuInit": 1}));
        let found = |counts: &serde_json::Value| {
            let uploads = &counts["pageable_uploads"];
            let numbers = [&counts["calls"], &counts["launches"], &counts["stream_waits"]];
            let numbers = [numbers, [&uploads["number"], &uploads["bytes"], &counts["frees"]]];
            numbers.concat().into_iter().map(|it| it.as_u64().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(found(&file["devices"][0]), [1, 0, 0, 1, 12, 0]);
        assert_eq!(found(&file["devices"][1]), [1, 1, 1, 1, 30, 0]);
        assert_eq!(found(&file["all"]), [3, 1, 1, 2, 42, 0]);
        // Names in their order, and devices on a line each.
        assert!(text.find("cuFree") < text.find("cuInit"));
        assert!(text.find("\"launches\"") < text.find("\"products\""));
        assert_eq!(text.lines().count(), 11, "{text}");
    }
}
