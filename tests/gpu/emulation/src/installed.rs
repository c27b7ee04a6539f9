//! The devices that are there, and those of them that the driver shows.

use crate::machine::Model;

/// The variable that chooses and orders devices.
pub(crate) const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";

/// All devices, as NVML lists them.
#[derive(Debug)]
pub(crate) struct Installed {
    pub(crate) models: Vec<Model>,
    /// The places of those that the driver shows, in its order.
    shown: Vec<usize>,
}

impl Installed {
    /// Without a list the driver shows all, in the order of their places.
    ///
    /// Source: CUDA programming guide, "CUDA Environment Variables": "Only the devices whose index is
    /// present in the sequence are visible to CUDA applications and they are enumerated in the order
    /// of the sequence. If one of the indices is invalid, only the devices whose index precedes the
    /// invalid index are visible". A number is read up to its first letter, and a repeated entry
    /// hides everything, as `torch/cuda/__init__.py` found of the driver.
    pub(crate) fn new(models: Vec<Model>, list: Option<&str>) -> Self {
        let Some(list) = list else {
            let shown = (0..models.len()).collect();
            return Self { models, shown };
        };
        let mut shown = Vec::new();
        for place in list.split(',').map_while(|entry| place(entry.trim(), models.len())) {
            if shown.contains(&place) {
                shown.clear();
                break;
            }
            shown.push(place);
        }
        Self { models, shown }
    }

    /// Those that the driver shows.
    pub(crate) fn shown(&self) -> Vec<Model> {
        self.shown.iter().map(|place| self.models[*place]).collect()
    }

    /// Where a device is that the driver shows.
    pub(crate) fn place(&self, device: usize) -> usize {
        self.shown[device]
    }

    /// Which one the driver shows of a place, if it does.
    pub(crate) fn device(&self, place: usize) -> Option<usize> {
        self.shown.iter().position(|shown| *shown == place)
    }
}

/// The device that an entry names.
fn place(entry: &str, count: usize) -> Option<usize> {
    if entry.starts_with("GPU-") {
        let mut named = (0..count).filter(|place| uuid(*place).starts_with(entry));
        // What several begin with names none of them.
        return named.next().filter(|_| named.next().is_none());
    }
    let digits = entry.strip_prefix('+').unwrap_or(entry);
    let end = digits.find(|it: char| !it.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok().filter(|place| *place < count)
}

/// What NVML calls a device, and nobody else does.
pub(crate) fn uuid(place: usize) -> String {
    format!("GPU-{:08x}-0000-0000-0000-000000000000", place + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(list: Option<&str>, want: &[usize]) {
        let model = Model { memory_bytes: 1, capability: (8, 0) };
        let installed = Installed::new(vec![model; 20], list);
        assert_eq!(installed.shown, want, "{list:?}");
        for (device, place) in want.iter().enumerate() {
            assert_eq!((installed.place(device), installed.device(*place)), (*place, Some(device)));
        }
        assert_eq!(installed.shown().len(), want.len());
    }

    #[test]
    fn devices_are_chosen_and_ordered() {
        check(None, &(0..20).collect::<Vec<usize>>());
        check(Some("2,1"), &[2, 1]);
        check(Some(" 3 , +1,0x"), &[3, 1, 0]);
        check(Some(""), &[]);
        check(Some("-1"), &[]);
        check(Some("0,2,-1,1"), &[0, 2]);
        check(Some("1,20,0"), &[1]);
        check(Some("1,none,0"), &[1]);
        check(Some("1,0,1"), &[]);
        check(Some("GPU-00000003,0"), &[2, 0]);
        check(Some(&format!("5,{}", uuid(7))), &[5, 7]);
        // Two begin so, and none does.
        check(Some("1,GPU-0000001,0"), &[1]);
        check(Some("1,GPU-1,0"), &[1]);
        check(Some("MIG-GPU-00000001/0/0"), &[]);
    }
}
