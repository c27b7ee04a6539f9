//! What is held of a device's memory at this moment, to be compared with what a plan says.

use sluicegate_spec::{device::DeviceId, units::Bytes};

/// Bytes of a device's memory that are in use: of a CPU's by this process, pages of files that it
/// has mapped not counted; of a GPU's by everybody. `None` where the system does not say.
pub fn held(device: DeviceId) -> Option<Bytes> {
    match device {
        DeviceId::Host | DeviceId::Cpu(_) => anonymous(&std::fs::read_to_string(STATUS).ok()?),
        #[cfg(feature = "cuda")]
        DeviceId::Cuda(ordinal) => super::cuda::used_memory(ordinal).ok(),
        #[cfg(not(feature = "cuda"))]
        DeviceId::Cuda(_) => None,
    }
}

/// Only Linux has it.
const STATUS: &str = "/proc/self/status";

/// `RssAnon:    1234 kB`, where a kB is 1,024 bytes.
///
/// Source: `proc_pid_status(5)`.
fn anonymous(status: &str) -> Option<Bytes> {
    let number = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kilobytes: u64 = number.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(Bytes(kilobytes.checked_mul(1024)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_figure_is_read() {
        let status = "Name:\tx\nVmRSS:\t   99 kB\nRssAnon:\t    1536 kB\nRssFile:\t 7 kB\n";
        assert_eq!(anonymous(status), Some(Bytes(1536 * 1024)));
        assert_eq!(anonymous("Name:\tx\n"), None);
        assert_eq!(anonymous("RssAnon:\t many kB\n"), None);
    }
}
