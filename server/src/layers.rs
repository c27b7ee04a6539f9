//! `--layers cpu:0=0..10,cpu:1=10..30`.

use std::str::FromStr;

use sluicegate_placement::Cluster;
use sluicegate_spec::{
    device::{DeviceId, ParseDeviceError},
    units::LayerRange,
};

/// Which layers each stage runs, in the order of the stages. A device may have several stages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StageLayers(pub(crate) Vec<(DeviceId, LayerRange)>);

/// Why a text does not describe stages.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseLayersError {
    #[error("`{0}` is not a stage; wanted DEVICE=FIRST..END such as cpu:0=0..10, joined by commas")]
    Syntax(String),
    #[error(transparent)]
    Device(#[from] ParseDeviceError),
    #[error("`host` runs no layers; wanted cpu:N or cuda:N")]
    Host,
    #[error("{device}: `{found}` is not a range of layers; wanted FIRST..END such as 0..10")]
    Range { device: DeviceId, found: String },
    #[error("{device} is beyond the last device that can be planned for, cpu:{last}")]
    TooHigh { device: DeviceId, last: usize },
}

impl FromStr for StageLayers {
    type Err = ParseLayersError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(',').map(|part| stage(part.trim())).collect::<Result<_, _>>().map(Self)
    }
}

fn stage(part: &str) -> Result<(DeviceId, LayerRange), ParseLayersError> {
    let (device, layers) =
        part.split_once('=').ok_or_else(|| ParseLayersError::Syntax(part.to_owned()))?;
    let device: DeviceId = device.trim().parse()?;
    match device {
        DeviceId::Host => return Err(ParseLayersError::Host),
        // Every logical device named here is created, so a typing error must not pass.
        DeviceId::Cpu(index) if index as usize >= Cluster::MAX_DEVICES => {
            return Err(ParseLayersError::TooHigh { device, last: Cluster::MAX_DEVICES - 1 });
        }
        DeviceId::Cpu(_) | DeviceId::Cuda(_) => {}
    }
    let wrong = || ParseLayersError::Range { device, found: layers.to_owned() };
    let (start, end) = layers.split_once("..").ok_or_else(wrong)?;
    let number = |text: &str| text.trim().parse().map_err(|_| wrong());
    Ok((device, LayerRange { start: number(start)?, end: number(end)? }))
}

impl StageLayers {
    /// Returns the named devices, each once, in order.
    pub(crate) fn devices(&self) -> Vec<DeviceId> {
        let mut devices = Vec::new();
        for (device, _) in &self.0 {
            if !devices.contains(device) {
                devices.push(*device);
            }
        }
        devices
    }

    /// Returns the fewest logical CPU devices that include all those named.
    pub(crate) fn num_cpu_devices(&self) -> u32 {
        let needed = self.0.iter().map(|(device, _)| match device {
            DeviceId::Cpu(index) => index + 1,
            DeviceId::Host | DeviceId::Cuda(_) => 0,
        });
        needed.max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str) {
        let got = match text.parse::<StageLayers>() {
            Ok(StageLayers(stages)) => stages
                .into_iter()
                .map(|(device, layers)| format!("{device}={layers}"))
                .collect::<Vec<_>>()
                .join(" "),
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(got, want);
    }

    #[test]
    fn stages_are_read_in_order() {
        check("cpu:0=0..10,cpu:1=10..30", "cpu:0=0..10 cpu:1=10..30");
        check("cuda:1=0..4, cpu:0 = 4..8, cuda:1=8..12", "cuda:1=0..4 cpu:0=4..8 cuda:1=8..12");
    }

    #[test]
    fn bad_stages_name_the_part() {
        let wanted = "wanted DEVICE=FIRST..END such as cpu:0=0..10, joined by commas";
        check("0..10", &format!("error: `0..10` is not a stage; {wanted}"));
        check("cpu:0=0..10,", &format!("error: `` is not a stage; {wanted}"));
        check("cpu=0..10", "error: `cpu` is not a device; wanted cpu:N or cuda:N");
        check("host=0..10", "error: `host` runs no layers; wanted cpu:N or cuda:N");
        let range = "is not a range of layers; wanted FIRST..END such as 0..10";
        check("cpu:0=10", &format!("error: cpu:0: `10` {range}"));
        check("cpu:0=0..=9", &format!("error: cpu:0: `0..=9` {range}"));
        check("cpu:0=a..b", &format!("error: cpu:0: `a..b` {range}"));
        check(
            "cpu:4000000000=0..1",
            "error: cpu:4000000000 is beyond the last device that can be planned for, cpu:255",
        );
    }

    #[test]
    fn the_devices_named_are_counted() {
        let stages: StageLayers = "cpu:2=0..4,cuda:7=4..8,cpu:2=8..9".parse().unwrap();
        assert_eq!(stages.devices(), [DeviceId::Cpu(2), DeviceId::Cuda(7)]);
        assert_eq!(stages.num_cpu_devices(), 3);
    }
}
