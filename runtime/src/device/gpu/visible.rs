//! Which GPUs a CUDA program sees, and in which order.
//!
//! Source: CUDA programming guide, "CUDA Environment Variables"; MIG user guide, "Device
//! Enumeration". A number is read up to its first letter, and a repeated entry hides everything, as
//! `torch/cuda/__init__.py` found of the driver.

use super::facts::{GpuFacts, MigInstance};

/// The variables that choose and order GPUs, as they are set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variables {
    /// `CUDA_VISIBLE_DEVICES`.
    pub visible: Option<String>,
    /// `CUDA_DEVICE_ORDER`.
    pub order: Option<String>,
}

impl Variables {
    /// Reads those of this process.
    pub fn of_process() -> Self {
        let value = |name| std::env::var_os(name).map(|it| it.to_string_lossy().into_owned());
        Self { visible: value("CUDA_VISIBLE_DEVICES"), order: value("CUDA_DEVICE_ORDER") }
    }
}

/// A GPU that CUDA shows, or an instance of one, by their indices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visible {
    pub gpu: usize,
    pub instance: Option<usize>,
}

/// What CUDA shows, in its order: the first is `cuda:0`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sight {
    pub seen: Vec<Visible>,
    /// What hides GPUs that a user may have wanted to name, in a line.
    pub fault: Option<String>,
    /// What the driver may decide in another way, each in a line.
    pub assumed: Vec<String>,
}

/// Returns which of the GPUs, which are in the order of their addresses, CUDA shows.
pub fn sight(gpus: &[GpuFacts], variables: &Variables) -> Sight {
    if gpus.is_empty() {
        return Sight::default();
    }
    let all = || (0..gpus.len()).map(|gpu| (gpu, None)).collect();
    let list = variables.visible.as_deref();
    let (listed, fault) = list.map_or_else(|| (all(), None), |list| named(gpus, list));
    let mut sight = Sight { fault, ..Sight::default() };
    let by_address = variables.order.as_deref() == Some("PCI_BUS_ID");
    let is_mixed = gpus.windows(2).any(|pair| pair[0].name != pair[1].name);
    let has_numbers = list.is_none_or(has_numbers);
    if is_mixed && !by_address && has_numbers {
        sight.assumed.push(
            "CUDA numbers unlike GPUs by a rule of its own, fastest first; the numbers here are \
             those of CUDA_DEVICE_ORDER=PCI_BUS_ID"
                .to_owned(),
        );
    }
    let visible = |(gpu, instance): Found| match (instance, &gpus[gpu].mig) {
        (Some(_), _) | (None, None) => Some(Visible { gpu, instance }),
        // A GPU that is divided is seen by its first instance.
        (None, Some(instances)) if instances.is_empty() => None,
        (None, Some(_)) => Some(Visible { gpu, instance: Some(0) }),
    };
    sight.seen = listed.into_iter().filter_map(visible).collect();
    if let Some(first) = sight.seen.iter().find(|it| it.instance.is_some()).copied()
        && sight.seen.len() > 1
    {
        sight.seen = vec![first];
        sight.assumed.push("CUDA shows one MIG instance, and no other GPU beside it".to_owned());
    }
    sight
}

fn has_numbers(list: &str) -> bool {
    list.split(',').any(|entry| number(entry).is_some())
}

/// A GPU or an instance of it, by their indices.
type Found = (usize, Option<usize>);

/// Returns the GPUs and instances of `CUDA_VISIBLE_DEVICES`, up to the first entry that names none,
/// and what is wrong with that.
fn named(gpus: &[GpuFacts], list: &str) -> (Vec<Found>, Option<String>) {
    let mut found = Vec::new();
    for entry in list.split(',').map(str::trim) {
        let fault = |what: &str| Some(format!("CUDA_VISIBLE_DEVICES: `{entry}` {what}"));
        match find(gpus, entry) {
            None if matches!(entry, "" | "-1") => break,
            None => return (found, fault("names no GPU, which hides it and all after it")),
            Some(device) if found.contains(&device) => {
                return (Vec::new(), fault("is listed twice, which hides all GPUs"));
            }
            Some(device) => found.push(device),
        }
    }
    (found, None)
}

/// Finds the GPU, or the instance of one, that an entry names.
fn find(gpus: &[GpuFacts], entry: &str) -> Option<Found> {
    if entry.starts_with("MIG-") {
        let instances = gpus.iter().enumerate().flat_map(|(gpu, facts)| {
            let instances = facts.mig.iter().flatten().enumerate();
            instances.map(move |(index, it)| (gpu, Some(index), facts, it))
        });
        let is_named = |gpu: &GpuFacts, it: &MigInstance| {
            it.uuid.starts_with(entry) || old_name(gpu, it).as_deref() == Some(entry)
        };
        return only(instances.filter(|(_, _, gpu, it)| is_named(gpu, it)))
            .map(|(gpu, instance, ..)| (gpu, instance));
    }
    if entry.starts_with("GPU-") {
        let named = gpus.iter().enumerate().filter(|(_, gpu)| gpu.uuid.starts_with(entry));
        return only(named).map(|(gpu, _)| (gpu, None));
    }
    number(entry).filter(|index| *index < gpus.len()).map(|index| (index, None))
}

/// Returns the name that drivers before release 470 gave an instance.
fn old_name(gpu: &GpuFacts, instance: &MigInstance) -> Option<String> {
    let (gpu_instance, compute) = (instance.gpu_instance?, instance.compute_instance?);
    Some(format!("MIG-{}/{gpu_instance}/{compute}", gpu.uuid))
}

/// Returns the only item: a prefix that several names share names none of them.
fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let first = items.next()?;
    items.next().is_none().then_some(first)
}

/// Reads the digits with which an entry begins.
fn number(entry: &str) -> Option<usize> {
    let entry = entry.trim();
    let entry = entry.strip_prefix('+').unwrap_or(entry);
    let end = entry.find(|it: char| !it.is_ascii_digit()).unwrap_or(entry.len());
    entry[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::gpu::topology::tests::gpu;

    fn instance(gpu: &str, number: u32) -> MigInstance {
        MigInstance {
            uuid: format!("MIG-{gpu}{number}-aaaa"),
            name: format!("{gpu} MIG 1g.10gb"),
            gpu_instance: Some(number),
            compute_instance: Some(0),
            memory: None,
        }
    }

    fn variables(visible: Option<&str>) -> Variables {
        Variables { visible: visible.map(str::to_owned), order: None }
    }

    /// Lists what is seen as `gpu` or `gpu/instance`, and the notes.
    fn seen(gpus: &[GpuFacts], variables: &Variables) -> (String, Vec<String>) {
        let Sight { seen, fault, assumed } = sight(gpus, variables);
        let notes = fault.into_iter().chain(assumed).collect();
        let name = |it: &Visible| match it.instance {
            None => it.gpu.to_string(),
            Some(instance) => format!("{}/{instance}", it.gpu),
        };
        (seen.iter().map(name).collect::<Vec<_>>().join(" "), notes)
    }

    #[track_caller]
    fn check(visible: Option<&str>, want: &str, want_note: &str) {
        let gpus: Vec<_> = [0x1a, 0x1b, 0x2c, 0x3d].map(|bus| gpu("H200", bus, 141)).into();
        let (found, notes) = seen(&gpus, &variables(visible));
        assert_eq!((found.as_str(), notes.join("; ").as_str()), (want, want_note));
    }

    #[test]
    fn gpus_are_named_by_number_or_by_the_beginning_of_a_uuid() {
        check(None, "0 1 2 3", "");
        check(Some("2,1"), "2 1", "");
        check(Some(" 3 , 0"), "3 0", "");
        check(Some("1gpu2,2ampere"), "1 2", "");
        check(Some("GPU-0000002c"), "2", "");
        check(Some("GPU-0000003d-1111-2222-3333-444444444444,0"), "3 0", "");
        check(Some(""), "", "");
        check(Some("-1"), "", "");
        check(Some("0,2,-1,1"), "0 2", "");
    }

    #[test]
    fn wrong_entries_hide_gpus_and_are_said() {
        let hides = |entry| {
            format!("CUDA_VISIBLE_DEVICES: `{entry}` names no GPU, which hides it and all after it")
        };
        check(Some("NoDevFiles"), "", &hides("NoDevFiles"));
        check(Some("1,4,0"), "1", &hides("4"));
        check(Some("0,GPU-f,1"), "0", &hides("GPU-f"));
        // Two of them begin so.
        check(Some("GPU-0000001"), "", &hides("GPU-0000001"));
        check(Some("99999999999999999999999"), "", &hides("99999999999999999999999"));
        let twice = "CUDA_VISIBLE_DEVICES: `1` is listed twice, which hides all GPUs";
        check(Some("1,0,1"), "", twice);
        // Nothing is known of any.
        assert_eq!(seen(&[], &variables(Some("0"))), (String::new(), Vec::new()));
    }

    #[test]
    fn instances_are_seen_one_at_a_time() {
        #[track_caller]
        fn check(gpus: &[GpuFacts], visible: Option<&str>, want: &str, num_notes: usize) {
            let (found, notes) = seen(gpus, &variables(visible));
            assert_eq!((found.as_str(), notes.len()), (want, num_notes), "{notes:?}");
        }

        let mut gpus = vec![gpu("A100", 1, 40), gpu("A100", 2, 40), gpu("A100", 3, 40)];
        gpus[1].mig = Some(vec![instance("x", 1), instance("x", 2)]);
        gpus[2].mig = Some(Vec::new());
        check(&gpus, None, "1/0", 1);
        check(&gpus, Some("0"), "0", 0);
        check(&gpus, Some("0,1"), "1/0", 1);
        check(&gpus, Some("1"), "1/0", 0);
        check(&gpus, Some("2"), "", 0);
        check(&gpus, Some("MIG-x2"), "1/1", 0);
        check(&gpus, Some("MIG-x1-aaaa,MIG-x2-aaaa"), "1/0", 1);
        check(&gpus, Some("MIG-x"), "", 1);
        check(&gpus, Some(&format!("MIG-{}/2/0", gpus[1].uuid)), "1/1", 0);
        check(&gpus, Some(&format!("MIG-{}/7/0", gpus[1].uuid)), "", 1);
    }

    #[test]
    fn the_order_of_unlike_gpus_is_an_assumption() {
        let gpus = [gpu("RTX 3090", 1, 24), gpu("RTX 4090", 2, 24)];
        let fastest = |visible: Option<&str>, order: Option<&str>| {
            let order = order.map(str::to_owned);
            seen(&gpus, &Variables { order, ..variables(visible) }).1.len()
        };
        assert_eq!(fastest(None, None), 1);
        assert_eq!(fastest(Some("1"), Some("FASTEST_FIRST")), 1);
        assert_eq!(fastest(None, Some("PCI_BUS_ID")), 0);
        assert_eq!(fastest(Some("GPU-00000001"), None), 0);
    }
}
