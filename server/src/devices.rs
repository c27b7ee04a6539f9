//! `sluicegate devices`: lists the devices of this machine, as a table or as a description.

mod report;
mod table;

use std::io::{self, Write};

use sluicegate::device::{self, Inventory};
use sluicegate_placement::{Cluster, ClusterDevice};

use self::report::Report;
use crate::{
    cli::{DevicesArgs, DevicesForm},
    error::CliError,
    print,
};

/// Runs the command.
///
/// # Errors
/// Only those of stdout: what is missing is part of the list.
pub(crate) fn run(args: &DevicesArgs) -> Result<(), CliError> {
    let inventory = Inventory::take();
    let report = Report::new(&inventory, args.cpu_devices);
    let mut out = io::stdout().lock();
    match args.form {
        DevicesForm::Table => table::print(&report, &mut out)?,
        DevicesForm::Toml => {
            let cluster = device::described(&inventory, args.cpu_devices);
            out.write_all(description(&report, &cluster).as_bytes())?;
        }
        DevicesForm::Json => {
            let cluster = device::described(&inventory, args.cpu_devices);
            print::json(&report.with_cluster(&cluster), &mut out)?;
        }
    }
    Ok(())
}

/// Returns the cluster file, with what is known beside its figures in comments.
fn description(report: &Report, cluster: &Cluster) -> String {
    let driver = report.driver.as_ref().map_or_else(String::new, |it| format!(", driver {it}"));
    let mut text = format!(
        "# This machine as `sluicegate devices --toml` found it{driver}.\n\
         # Memory is what was free. Links are the best that there are; speeds are those of the\n\
         # presets that the names match, or stand-ins.\n"
    );
    text.extend(report.notes.iter().map(|note| format!("# {note}\n")));
    let remark = |device: &ClusterDevice| {
        let gpu = report.gpus.iter().find(|gpu| gpu.id == device.id)?;
        let total = gpu.memory.map_or_else(String::new, |it| format!(", {it} in all"));
        Some(format!("{}{total}", gpu.name))
    };
    text + &cluster.to_toml(remark)
}

#[cfg(test)]
mod tests;
