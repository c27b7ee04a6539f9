//! The utilisation of a plan's stages, as every command prints it.

use std::fmt;

use serde::Serialize;
use sluicegate_core::timeline::{StageUsage, Usage};
use sluicegate_placement::Plan;
use sluicegate_spec::device::DeviceId;

/// The utilisation of all stages in a timeline.
#[derive(Debug, Serialize)]
pub(crate) struct StagesUsed {
    /// The share of the steady window in which the bottleneck did new work; null if the window is
    /// empty.
    fraction_of_ideal: Option<f64>,
    bottleneck: Option<String>,
    window_s: Option<[f64; 2]>,
    stages: Vec<StageReport>,
}

#[derive(Debug, Serialize)]
struct StageReport {
    device: DeviceId,
    units: String,
    #[serde(flatten)]
    usage: StageUsage,
}

impl StagesUsed {
    pub(crate) fn new(plan: &Plan, usage: Option<&Usage>) -> Self {
        let shares = usage.map_or(&[][..], |usage| &usage.stages[..]);
        let stages = plan.stages.iter().zip(shares).map(|(stage, usage)| StageReport {
            device: stage.device,
            units: plan.units(stage),
            usage: *usage,
        });
        Self {
            fraction_of_ideal: usage.map(|usage| usage.fraction_of_ideal),
            bottleneck: usage.map(|usage| usage.bottleneck.to_string()),
            window_s: usage.map(|usage| [usage.start_s, usage.end_s]),
            stages: stages.collect(),
        }
    }
}

/// A column of the table: its name, and the share of a stage's time in it.
type Column = (&'static str, fn(&StageUsage) -> f64);

const COLUMNS: [Column; 5] = [
    ("busy", StageUsage::busy),
    ("lent", |usage| usage.lent),
    ("input", |usage| usage.awaiting_input),
    ("masks", |usage| usage.awaiting_masks),
    ("host", |usage| usage.awaiting_host),
];

impl fmt::Display for StagesUsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(fraction), Some(bottleneck), Some([start_s, end_s])) =
            (self.fraction_of_ideal, &self.bottleneck, self.window_s)
        else {
            return writeln!(f, "the stages were never all in use");
        };
        // Only a device with several stages can lend itself.
        let is_shown = |name| name != "lent" || self.stages.iter().any(|it| it.usage.lent > 0.0);
        let columns = || COLUMNS.iter().filter(|(name, _)| is_shown(*name));
        let width = self.stages.iter().map(|stage| stage.units.len()).max().unwrap_or(0).max(5);
        write!(f, "stage  device  {:<width$}", "units")?;
        for (name, _) in columns() {
            write!(f, "  {name:>7}")?;
        }
        writeln!(f)?;
        for (stage, StageReport { device, units, usage }) in self.stages.iter().enumerate() {
            write!(f, "{stage:>5}  {:<6}  {units:<width$}", device.to_string())?;
            for (_, share) in columns() {
                write!(f, "  {:>5.1} %", 100.0 * share(usage))?;
            }
            writeln!(f)?;
        }
        writeln!(
            f,
            "{:.1} % of the ideal from {start_s:.2} s to {end_s:.2} s; {bottleneck} is busiest",
            100.0 * fraction
        )
    }
}
