//! Which of the found devices a user wants.

use std::{fmt, str::FromStr};

use sluicegate_model::placed::DeviceId;

use super::discover::FoundDevice;

/// `auto`, `cpu`, `cuda`, or a list such as `cuda:1` or `cpu:0,cpu:1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceSelector {
    /// All CUDA devices if there are any, else all logical CPU devices.
    Auto,
    /// All logical CPU devices.
    Cpu,
    /// All CUDA devices.
    Cuda,
    /// These, in this order.
    List(Vec<DeviceId>),
}

/// Why a selector names no device that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    #[error(
        "`{0}` is no device selector; wanted auto, cpu, cuda, or a list such as cpu:0,cpu:1 or cuda:1"
    )]
    Syntax(String),
    #[error("{0} is listed twice")]
    Twice(DeviceId),
    #[error("{wanted} is not there; found {found}{hint}")]
    NotFound { wanted: String, found: String, hint: &'static str },
}

impl FromStr for DeviceSelector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => return Ok(Self::Auto),
            "cpu" => return Ok(Self::Cpu),
            "cuda" => return Ok(Self::Cuda),
            _ => {}
        }
        let mut devices = Vec::new();
        for part in text.split(',') {
            let wrong = || SelectorError::Syntax(text.to_owned());
            let device: DeviceId = part.trim().parse().map_err(|_| wrong())?;
            if device == DeviceId::Host {
                return Err(wrong());
            }
            if devices.contains(&device) {
                return Err(SelectorError::Twice(device));
            }
            devices.push(device);
        }
        Ok(Self::List(devices))
    }
}

impl DeviceSelector {
    /// The found devices that are wanted, in the order in which stages take them.
    ///
    /// # Errors
    /// [`SelectorError::NotFound`] if one is not there, or none is.
    pub fn select(&self, found: &[FoundDevice]) -> Result<Vec<FoundDevice>, SelectorError> {
        let of_kind = |is_wanted: fn(DeviceId) -> bool| -> Vec<FoundDevice> {
            found.iter().copied().filter(|device| is_wanted(device.id)).collect()
        };
        let is_cuda = |id| matches!(id, DeviceId::Cuda(_));
        let is_cpu = |id| matches!(id, DeviceId::Cpu(_));
        let selected = match self {
            Self::Auto if found.iter().any(|device| is_cuda(device.id)) => of_kind(is_cuda),
            Self::Auto | Self::Cpu => of_kind(is_cpu),
            Self::Cuda => of_kind(is_cuda),
            Self::List(devices) => {
                let find = |wanted: &DeviceId| {
                    let device = found.iter().copied().find(|device| device.id == *wanted);
                    device.ok_or_else(|| not_found(wanted.to_string(), *wanted, found))
                };
                devices.iter().map(find).collect::<Result<_, _>>()?
            }
        };
        if selected.is_empty() {
            return Err(not_found("a CUDA device".to_owned(), DeviceId::Cuda(0), found));
        }
        Ok(selected)
    }
}

fn not_found(wanted: String, device: DeviceId, found: &[FoundDevice]) -> SelectorError {
    let hint = match device {
        DeviceId::Cuda(_) if !cfg!(feature = "cuda") => "; CUDA needs a build with --features cuda",
        DeviceId::Cpu(_) => "; --cpu-devices N shows more logical CPU devices",
        DeviceId::Cuda(_) | DeviceId::Host => "",
    };
    let found: Vec<String> = found.iter().map(|device| device.id.to_string()).collect();
    let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
    SelectorError::NotFound { wanted, found, hint }
}

impl fmt::Display for DeviceSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda => f.write_str("cuda"),
            Self::List(devices) => {
                let devices: Vec<String> = devices.iter().map(ToString::to_string).collect();
                f.write_str(&devices.join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sluicegate_model::units::Bytes;

    use super::*;

    #[track_caller]
    fn check(selector: &str, found: &str, want: &str) {
        let found: Vec<FoundDevice> = found
            .split_whitespace()
            .map(|id| FoundDevice { id: id.parse().unwrap(), memory: Bytes(1) })
            .collect();
        let selected = selector.parse::<DeviceSelector>().and_then(|s| s.select(&found));
        let got = match selected {
            Ok(devices) => devices.iter().map(|d| d.id.to_string()).collect::<Vec<_>>().join(" "),
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(got, want);
    }

    #[test]
    fn selectors_choose_among_what_was_found() {
        check("auto", "cpu:0 cpu:1", "cpu:0 cpu:1");
        check("auto", "cuda:0 cuda:1 cpu:0", "cuda:0 cuda:1");
        check("cpu", "cuda:0 cpu:0", "cpu:0");
        check("cuda", "cuda:0 cpu:0", "cuda:0");
        check("cpu:1,cpu:0", "cpu:0 cpu:1", "cpu:1 cpu:0");
        check("cuda:1", "cuda:0 cuda:1", "cuda:1");
    }

    #[test]
    fn a_wrong_selector_says_what_was_wanted() {
        let hint = "; --cpu-devices N shows more logical CPU devices";
        check("cpu:1", "cpu:0", &format!("error: cpu:1 is not there; found cpu:0{hint}"));
        check("cpu:0,cpu:0", "cpu:0", "error: cpu:0 is listed twice");
        let syntax = "is no device selector; wanted auto, cpu, cuda, or a list such as cpu:0,cpu:1 or cuda:1";
        check("gpu", "cpu:0", &format!("error: `gpu` {syntax}"));
        check("host", "cpu:0", &format!("error: `host` {syntax}"));
        check("", "cpu:0", &format!("error: `` {syntax}"));
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn cuda_without_the_feature_names_the_build() {
        let want = "error: a CUDA device is not there; found cpu:0; CUDA needs a build with --features cuda";
        check("cuda", "cpu:0", want);
    }
}
