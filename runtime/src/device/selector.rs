//! Which of the found devices a user wants.

use std::{fmt, str::FromStr};

use sluicegate_spec::device::DeviceId;

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
    NotFound { wanted: String, found: String, hint: String },
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
    /// Whether GPUs may be among the devices that it names.
    pub fn may_want_gpus(&self) -> bool {
        match self {
            Self::Auto | Self::Cuda => true,
            Self::Cpu => false,
            Self::List(devices) => devices.iter().any(|device| matches!(device, DeviceId::Cuda(_))),
        }
    }

    /// Whether it may name this GPU.
    pub fn may_want(&self, gpu: DeviceId) -> bool {
        match self {
            Self::Auto | Self::Cuda => true,
            Self::Cpu => false,
            Self::List(devices) => devices.contains(&gpu),
        }
    }

    /// The found devices that are wanted, in the order in which stages take them. `left_out` says
    /// why GPUs are not among those found.
    ///
    /// # Errors
    /// [`SelectorError::NotFound`] if one is not there, or none is.
    pub fn select(
        &self,
        found: &[FoundDevice],
        left_out: &[String],
    ) -> Result<Vec<FoundDevice>, SelectorError> {
        let of_kind = |is_wanted: fn(DeviceId) -> bool| -> Vec<FoundDevice> {
            found.iter().copied().filter(|device| is_wanted(device.id)).collect()
        };
        let is_cuda = |id| matches!(id, DeviceId::Cuda(_));
        let is_cpu = |id| matches!(id, DeviceId::Cpu(_));
        let selected = match self {
            Self::Auto if found.iter().any(|device| is_cuda(device.id)) => {
                let spare = |it| FoundDevice { is_spare: true, ..it };
                of_kind(is_cuda).into_iter().chain(of_kind(is_cpu).into_iter().map(spare)).collect()
            }
            Self::Auto | Self::Cpu => of_kind(is_cpu),
            Self::Cuda => of_kind(is_cuda),
            Self::List(devices) => {
                let find = |wanted: &DeviceId| {
                    let device = found.iter().copied().find(|device| device.id == *wanted);
                    device.ok_or_else(|| not_found(wanted.to_string(), *wanted, (found, left_out)))
                };
                devices.iter().map(find).collect::<Result<_, _>>()?
            }
        };
        if selected.is_empty() {
            return Err(not_found(
                "a CUDA device".to_owned(),
                DeviceId::Cuda(0),
                (found, left_out),
            ));
        }
        Ok(selected)
    }
}

fn not_found(
    wanted: String,
    device: DeviceId,
    (found, left_out): (&[FoundDevice], &[String]),
) -> SelectorError {
    let hint = match device {
        DeviceId::Cuda(_) if left_out.is_empty() => String::new(),
        DeviceId::Cuda(_) => format!("; {}", left_out.join("; ")),
        DeviceId::Cpu(_) => "; --cpu-devices N shows more logical CPU devices".to_owned(),
        DeviceId::Host => String::new(),
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
    use sluicegate_spec::units::Bytes;

    use super::*;

    #[track_caller]
    fn check(selector: &str, found: &str, want: &str) {
        let found: Vec<FoundDevice> = found
            .split_whitespace()
            .map(|id| FoundDevice { id: id.parse().unwrap(), memory: Bytes(1), is_spare: false })
            .collect();
        let left_out = ["cuda:7: too old".to_owned()];
        let selected = selector.parse::<DeviceSelector>().and_then(|s| s.select(&found, &left_out));
        let got = match selected {
            Ok(devices) => {
                let spare = |it: &FoundDevice| if it.is_spare { " (spare)" } else { "" };
                let name = |it: &FoundDevice| format!("{}{}", it.id, spare(it));
                devices.iter().map(name).collect::<Vec<_>>().join(" ")
            }
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(got, want);
    }

    #[test]
    fn selectors_choose_among_what_was_found() {
        check("auto", "cpu:0 cpu:1", "cpu:0 cpu:1");
        check("auto", "cpu:0 cuda:0 cuda:1", "cuda:0 cuda:1 cpu:0 (spare)");
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

    #[test]
    fn gpus_that_were_left_out_are_explained() {
        let wrong = "is not there; found cpu:0; cuda:7: too old";
        check("cuda", "cpu:0", &format!("error: a CUDA device {wrong}"));
        check("cuda:7", "cpu:0", &format!("error: cuda:7 {wrong}"));
        check("auto", "cpu:0", "cpu:0");
    }

    #[test]
    fn gpus_are_asked_for_only_where_they_may_be_wanted() {
        #[track_caller]
        fn check(selector: &str, any: bool, first: bool, second: bool) {
            let selector: DeviceSelector = selector.parse().unwrap();
            let wanted = [0, 1].map(|ordinal| selector.may_want(DeviceId::Cuda(ordinal)));
            assert_eq!((selector.may_want_gpus(), wanted), (any, [first, second]));
        }
        check("auto", true, true, true);
        check("cuda", true, true, true);
        check("cpu", false, false, false);
        check("cpu:0", false, false, false);
        check("cpu:0,cuda:1", true, false, true);
    }
}
