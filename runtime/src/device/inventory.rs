//! The GPUs of this machine: those that CUDA shows, each with what NVML says of it.

use sluicegate_spec::{device::DeviceId, units::Bytes};

use super::{
    driver::{self, Gpu, NoCuda},
    gpu::{
        facts::{GpuFacts, MachineFacts, MemoryFacts, MigInstance},
        nvml::{self, NvmlFailure},
        visible::{Sight, Variables, Visible, sight},
    },
};

/// All GPUs, whether or not this build can use them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Those that CUDA shows, or would show to a build with it, in its order.
    pub gpus: Vec<ListedGpu>,
    /// What NVML says; empty without it.
    pub machine: MachineFacts,
    /// What is missing or assumed, each in a line.
    pub notes: Vec<String>,
}

/// A GPU, or an instance of one that is divided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedGpu {
    pub id: DeviceId,
    pub name: String,
    pub total: Option<Bytes>,
    /// `None` where only a context on it could tell.
    pub free: Option<Bytes>,
    pub capability: Option<(u32, u32)>,
    /// Why this build cannot run on it, if it cannot.
    pub refused: Option<String>,
    /// Its index in [`MachineFacts::gpus`], and that of the instance.
    pub facts: Option<Visible>,
}

impl Inventory {
    /// Takes stock of this machine. No context is made on any GPU.
    pub fn take() -> Self {
        Self::join(driver::gpus(), nvml::read(), &Variables::of_process())
    }

    /// Joins what the driver shows with what NVML says.
    pub(super) fn join(
        shown: Result<Vec<Gpu>, NoCuda>,
        said: Result<MachineFacts, NvmlFailure>,
        variables: &Variables,
    ) -> Self {
        let (machine, silence) = match said {
            Ok(machine) => (machine, None),
            Err(failure) => (MachineFacts::default(), Some(failure.to_string())),
        };
        let Sight { seen, fault, assumed } = sight(&machine.gpus, variables);
        let mut inventory = Self { gpus: Vec::new(), notes: machine.unread.clone(), machine };
        match shown {
            Ok(shown) => {
                let join = |gpu| inventory.of_driver(gpu, &seen);
                inventory.gpus = shown.into_iter().map(join).collect();
            }
            Err(reason) => {
                let ordinals = (0..).zip(&seen);
                let join = |(ordinal, it): (u32, &Visible)| {
                    inventory.of_nvml(ordinal, *it, reason.to_string())
                };
                inventory.gpus = ordinals.map(join).collect();
                inventory.notes.extend(assumed);
                if inventory.machine.gpus.is_empty() {
                    inventory.notes.push(reason.to_string());
                }
            }
        }
        inventory.notes.extend(fault);
        inventory.notes.extend(silence);
        inventory
    }

    /// Returns what is known of a GPU beside its entry.
    pub fn facts(&self, gpu: &ListedGpu) -> Option<&GpuFacts> {
        self.machine.gpus.get(gpu.facts?.gpu)
    }

    /// Returns the instance that is listed in the place of its GPU.
    pub fn instance(&self, gpu: &ListedGpu) -> Option<&MigInstance> {
        self.facts(gpu)?.mig.as_ref()?.get(gpu.facts?.instance?)
    }

    /// Returns the GPUs of which CUDA shows neither them nor a part.
    pub fn hidden(&self) -> Vec<&GpuFacts> {
        let is_listed =
            |index| self.gpus.iter().any(|gpu| gpu.facts.is_some_and(|it| it.gpu == index));
        let gpus = self.machine.gpus.iter().enumerate();
        gpus.filter(|(index, _)| !is_listed(*index)).map(|(_, gpu)| gpu).collect()
    }

    /// Returns the entry of a device.
    pub fn get(&self, id: DeviceId) -> Option<&ListedGpu> {
        self.gpus.iter().find(|gpu| gpu.id == id)
    }

    /// A GPU that the driver shows is found by its address: the numbers of NVML are others.
    fn of_driver(&self, gpu: Gpu, seen: &[Visible]) -> ListedGpu {
        let is_it = |facts: &GpuFacts| Some(facts.address) == gpu.address;
        let facts = self.machine.gpus.iter().position(is_it).map(|index| {
            let same = seen.iter().find(|it| it.gpu == index).copied();
            let first = self.machine.gpus[index].mig.as_ref().map(|_| 0);
            same.unwrap_or(Visible { gpu: index, instance: first })
        });
        let memory = facts.and_then(|it| self.memory(it));
        ListedGpu {
            id: gpu.id,
            name: gpu.name,
            total: Some(gpu.memory),
            free: memory.map(|it| it.free.min(gpu.memory)),
            capability: Some(gpu.capability),
            refused: gpu.refused,
            facts,
        }
    }

    fn of_nvml(&self, ordinal: u32, it: Visible, refused: String) -> ListedGpu {
        let gpu = &self.machine.gpus[it.gpu];
        let instance = it.instance.and_then(|index| gpu.mig.as_ref()?.get(index));
        let memory = self.memory(it);
        ListedGpu {
            id: DeviceId::Cuda(ordinal),
            name: instance.map_or(&gpu.name, |instance| &instance.name).clone(),
            total: memory.map(|it| it.total),
            free: memory.map(|it| it.free),
            capability: gpu.capability,
            refused: Some(refused),
            facts: Some(it),
        }
    }

    fn memory(&self, it: Visible) -> Option<MemoryFacts> {
        let gpu = &self.machine.gpus[it.gpu];
        match it.instance {
            None => gpu.memory,
            Some(instance) => gpu.mig.as_ref()?.get(instance)?.memory,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::device::gpu::{
        facts::Ancestor,
        topology::tests::{gpu, machine},
    };

    pub(crate) fn shown(ordinal: u32, facts: &GpuFacts) -> Gpu {
        Gpu {
            id: DeviceId::Cuda(ordinal),
            name: facts.name.clone(),
            memory: facts.memory.unwrap().total,
            capability: facts.capability.unwrap(),
            address: Some(facts.address),
            refused: None,
        }
    }

    /// Three cards, of which another program has 10 GiB of the last.
    fn three() -> MachineFacts {
        let mut gpus = vec![gpu("RTX 3090", 1, 24), gpu("RTX 4090", 2, 24), gpu("L4", 3, 24)];
        gpus[2].memory = gpus[2].memory.map(|it| MemoryFacts { free: Bytes(14 << 30), ..it });
        machine(gpus, Ancestor::Node, false)
    }

    /// Lists `name, free GiB` of each GPU, then those that are hidden.
    fn list(inventory: &Inventory) -> String {
        let free =
            |it: &ListedGpu| it.free.map_or_else(|| "?".to_owned(), |it| (it.0 >> 30).to_string());
        let seen = inventory.gpus.iter().map(|it| format!("{} {} {}", it.id, it.name, free(it)));
        let hidden = inventory.hidden().into_iter().map(|it| format!("hidden {}", it.name));
        seen.chain(hidden).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn gpus_of_the_driver_are_found_by_their_addresses() {
        let machine = three();
        // The fastest first, and one is hidden.
        let two = vec![shown(0, &machine.gpus[1]), shown(1, &machine.gpus[2])];
        let inventory = Inventory::join(Ok(two), Ok(machine), &Variables::default());
        assert_eq!(list(&inventory), "cuda:0 RTX 4090 24; cuda:1 L4 14; hidden RTX 3090");
        assert_eq!(inventory.notes, Vec::<String>::new());
        assert!(inventory.gpus.iter().all(|gpu| gpu.refused.is_none()));

        let machine = three();
        let one = vec![shown(0, &machine.gpus[1])];
        let wrong = Variables { visible: Some("GPU-00000002,x".to_owned()), order: None };
        let inventory = Inventory::join(Ok(one), Ok(machine), &wrong);
        assert_eq!(inventory.notes.len(), 1, "{:?}", inventory.notes);
        assert!(inventory.notes[0].contains("`x` names no GPU"));
    }

    #[test]
    fn without_cuda_gpus_are_those_that_the_variables_choose() {
        let variables =
            Variables { visible: Some("2,0".to_owned()), order: Some("PCI_BUS_ID".to_owned()) };
        let inventory = Inventory::join(Err(NoCuda::NotBuilt), Ok(three()), &variables);
        assert_eq!(list(&inventory), "cuda:0 L4 14; cuda:1 RTX 3090 24; hidden RTX 4090");
        let refused = inventory.gpus.iter().filter_map(|gpu| gpu.refused.as_deref());
        assert!(refused.eq(["CUDA needs a build with --features cuda"; 2]));
        assert_eq!(inventory.notes, Vec::<String>::new());
    }

    #[test]
    fn what_is_missing_is_said() {
        let failure = || NvmlFailure::NotFound;
        let none = Inventory::join(Err(NoCuda::NotBuilt), Err(failure()), &Variables::default());
        assert_eq!(none.gpus, []);
        assert_eq!(none.notes.len(), 2);
        let machine = three();
        let driver = vec![shown(0, &machine.gpus[0])];
        let alone = Inventory::join(Ok(driver), Err(failure()), &Variables::default());
        assert_eq!(list(&alone), "cuda:0 RTX 3090 ?");
        assert_eq!(alone.notes.len(), 1);
        let unread = MachineFacts { unread: vec!["GPU 1: lost".to_owned()], ..three() };
        let found = Inventory::join(Err(NoCuda::NotBuilt), Ok(unread), &Variables::default());
        assert_eq!(found.notes[0], "GPU 1: lost");
    }

    #[test]
    fn an_instance_takes_the_place_of_its_gpu() {
        let instance = |number, gib: u64| MigInstance {
            uuid: format!("MIG-{number}"),
            name: format!("A100 MIG {number}g"),
            gpu_instance: Some(number),
            compute_instance: Some(0),
            memory: Some(MemoryFacts { total: Bytes(gib << 30), free: Bytes(gib << 30) }),
        };
        let mut divided = gpu("A100", 1, 40);
        divided.mig = Some(vec![instance(1, 5), instance(2, 10)]);
        let machine = machine(vec![divided], Ancestor::Node, false);
        let variables =
            |visible: &str| Variables { visible: Some(visible.to_owned()), order: None };
        let found = |visible| {
            let said = Ok(machine.clone());
            list(&Inventory::join(Err(NoCuda::NotBuilt), said, &variables(visible)))
        };
        assert_eq!(found("MIG-2"), "cuda:0 A100 MIG 2g 10");
        assert_eq!(found("0"), "cuda:0 A100 MIG 1g 5");

        let mut shown = shown(0, &machine.gpus[0]);
        shown.memory = Bytes(10 << 30);
        let found = Inventory::join(Ok(vec![shown]), Ok(machine.clone()), &variables("MIG-2"));
        assert_eq!(found.instance(&found.gpus[0]).map(|it| it.uuid.as_str()), Some("MIG-2"));
    }
}
