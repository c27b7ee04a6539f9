//! `--max-memory cpu:0=300MiB,cpu:1=1GiB`.

use std::{collections::BTreeMap, str::FromStr};

use sluicegate_spec::{
    device::{DeviceId, ParseDeviceError},
    units::{Bytes, ParseBytesError},
};

/// The most memory to use on each named device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MemoryCaps(pub(crate) BTreeMap<DeviceId, Bytes>);

/// Why a text does not describe caps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseCapsError {
    #[error(
        "`{0}` is not a cap; wanted DEVICE=SIZE such as cpu:0=300MiB, several joined by commas"
    )]
    Syntax(String),
    #[error(transparent)]
    Device(#[from] ParseDeviceError),
    #[error("{device}: {error}")]
    Size { device: DeviceId, error: ParseBytesError },
    #[error("`host` runs no layers and takes no cap; wanted cpu:N or cuda:N")]
    Host,
    #[error("{0} has two caps")]
    Twice(DeviceId),
}

impl FromStr for MemoryCaps {
    type Err = ParseCapsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut caps = BTreeMap::new();
        for part in text.split(',') {
            let part = part.trim();
            let (device, size) =
                part.split_once('=').ok_or_else(|| ParseCapsError::Syntax(part.to_owned()))?;
            let device: DeviceId = device.trim().parse()?;
            if device == DeviceId::Host {
                return Err(ParseCapsError::Host);
            }
            let size = size.parse().map_err(|error| ParseCapsError::Size { device, error })?;
            if caps.insert(device, size).is_some() {
                return Err(ParseCapsError::Twice(device));
            }
        }
        Ok(Self(caps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str) {
        let got = match text.parse::<MemoryCaps>() {
            Ok(MemoryCaps(caps)) => caps
                .into_iter()
                .map(|(device, Bytes(size))| format!("{device}={size}"))
                .collect::<Vec<_>>()
                .join(" "),
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(got, want);
    }

    #[test]
    fn caps_are_read() {
        check("cpu:0=300MiB", "cpu:0=314572800");
        check("cuda:1=2GB, cpu:0 = 1.5KiB", "cpu:0=1536 cuda:1=2000000000");
    }

    #[test]
    fn bad_caps_name_the_part() {
        let wanted = "wanted DEVICE=SIZE such as cpu:0=300MiB, several joined by commas";
        check("300MiB", &format!("error: `300MiB` is not a cap; {wanted}"));
        check("cpu:0=1GiB,", &format!("error: `` is not a cap; {wanted}"));
        check("gpu=1GiB", "error: `gpu` is not a device; wanted cpu:N or cuda:N");
        check("host=1GiB", "error: `host` runs no layers and takes no cap; wanted cpu:N or cuda:N");
        check("cpu:1=1GiB,cpu:1=2GiB", "error: cpu:1 has two caps");
        check(
            "cpu:0=lots",
            "error: cpu:0: `lots` is not a size; wanted a number with a unit, such as 300MiB, 1.5GiB or 2GB",
        );
    }
}
