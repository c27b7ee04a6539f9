//! Prints the list as a table.

use std::io::{self, Write};

use sluicegate::device::gpu::{
    facts::{GpuFacts, GpuProcess, PcieFacts},
    topology::{GpuLink, LinkKind},
};
use sluicegate_spec::units::Bytes;

use super::report::{GpuReport, HostReport, LinkReport, Report};
use crate::counted::counted;

const NUM_COLUMNS: usize = 8;
const TITLES: [&str; NUM_COLUMNS] =
    ["id", "name", "memory", "free", "capability", "slot", "busy", "runs here"];
/// Columns of numbers, which end at the same place.
const RIGHT: [bool; NUM_COLUMNS] = [false, false, true, true, false, false, true, false];

type Row = [String; NUM_COLUMNS];

pub(super) fn print(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let mut rows = vec![TITLES.map(str::to_owned)];
    rows.extend(report.gpus.iter().map(gpu_row));
    rows.extend(report.hidden.iter().map(hidden_row));
    rows.extend((0..report.host.cpu_devices).map(|index| cpu_row(index, &report.host)));
    align(&rows, out)?;
    let mut lines = links(&report.links);
    lines.extend(report.gpus.iter().filter_map(users));
    lines.extend(report.driver.iter().map(|release| format!("driver {release}")));
    lines.extend(report.notes.iter().map(|note| format!("note: {note}")));
    if !lines.is_empty() {
        writeln!(out)?;
    }
    lines.iter().try_for_each(|line| writeln!(out, "{line}"))
}

fn gpu_row(gpu: &GpuReport) -> Row {
    let runs = gpu.refused.as_ref().map_or_else(|| "yes".to_owned(), |why| format!("no: {why}"));
    let facts = gpu.facts.as_ref();
    // The driver does not say how busy an instance is.
    let busy = facts.filter(|_| gpu.instance.is_none()).and_then(|it| it.busy_percent);
    [
        gpu.id.to_string(),
        gpu.name.clone(),
        size(gpu.memory),
        size(gpu.free),
        capability(gpu.capability),
        slot(facts.and_then(|it| it.pcie)),
        busy.map_or_else(unknown, |percent| format!("{percent} %")),
        runs,
    ]
}

fn hidden_row(gpu: &GpuFacts) -> Row {
    [
        "-".to_owned(),
        gpu.name.clone(),
        size(gpu.memory.map(|it| it.total)),
        size(gpu.memory.map(|it| it.free)),
        capability(gpu.capability),
        slot(gpu.pcie),
        gpu.busy_percent.map_or_else(unknown, |percent| format!("{percent} %")),
        format!("no: CUDA does not show {}", gpu.uuid),
    ]
}

/// Logical devices have equal parts of the host's memory.
fn cpu_row(index: u32, host: &HostReport) -> Row {
    let part = |Bytes(bytes)| Bytes(bytes / u64::from(host.cpu_devices.max(1))).to_string();
    [
        format!("cpu:{index}"),
        format!("{}, {}", host.processor, counted(host.cores, "core")),
        part(host.memory),
        part(host.free),
        String::new(),
        String::new(),
        String::new(),
        "yes".to_owned(),
    ]
}

fn unknown() -> String {
    "?".to_owned()
}

fn size(bytes: Option<Bytes>) -> String {
    bytes.map_or_else(unknown, |bytes| bytes.to_string())
}

fn capability(capability: Option<(u32, u32)>) -> String {
    capability.map_or_else(unknown, |(major, minor)| format!("{major}.{minor}"))
}

fn slot(pcie: Option<PcieFacts>) -> String {
    pcie.map_or_else(unknown, |it| format!("PCIe {} x{}", it.max_generation, it.width))
}

fn align(rows: &[Row], out: &mut impl Write) -> io::Result<()> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    for row in rows {
        let cell = |column: usize| {
            let width = width(column).unwrap_or(0);
            if RIGHT[column] {
                format!("{:>width$}", row[column])
            } else {
                format!("{:<width$}", row[column])
            }
        };
        let line = (0..NUM_COLUMNS).map(cell).collect::<Vec<_>>().join("  ");
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Writes a line for each kind of link, with the pairs that have it.
fn links(links: &[LinkReport]) -> Vec<String> {
    let mut kinds: Vec<GpuLink> = Vec::new();
    for LinkReport { link, .. } in links {
        if !kinds.contains(link) {
            kinds.push(*link);
        }
    }
    let line = |kind: &GpuLink| {
        let with_it: Vec<String> = links
            .iter()
            .filter(|it| it.link == *kind)
            .map(|it| format!("{} and {}", it.devices.0, it.devices.1))
            .collect();
        let pairs = match with_it.len() {
            count if count == links.len() && count > 1 => "all GPUs".to_owned(),
            _ => with_it.join(", "),
        };
        format!("{pairs}: {}", way(*kind))
    };
    kinds.iter().map(line).collect()
}

fn way(link: GpuLink) -> String {
    let gbytes_per_s = link.peak_bytes_per_s / 1e9;
    let way = match link.kind {
        LinkKind::Nvlink { num_links } => counted(num_links, "NVLink"),
        LinkKind::PciePeer => "PCIe, from memory to memory".to_owned(),
        LinkKind::ThroughHost => "PCIe, through host memory".to_owned(),
    };
    format!("{way}, {gbytes_per_s:.1} GB/s each way")
}

/// Says who else uses a GPU; none if nobody does.
fn users(gpu: &GpuReport) -> Option<String> {
    let facts = gpu.facts.as_ref()?;
    let whole = if gpu.instance.is_some() { "the whole GPU of " } else { "" };
    let user = |it: &GpuProcess| {
        let name = it.name.as_deref().map_or("a process", file_name);
        let memory = it.memory.map_or_else(String::new, |bytes| format!(" with {bytes}"));
        format!("{name} ({}){memory}", it.pid)
    };
    let users: Vec<String> = facts.processes.iter().map(user).collect();
    (!users.is_empty()).then(|| format!("{whole}{} is used by {}", gpu.id, users.join(", ")))
}

/// Returns the program's file without its folder and arguments.
fn file_name(command: &str) -> &str {
    let file = command.split_whitespace().next().unwrap_or(command);
    file.rsplit('/').next().unwrap_or(file)
}
