//! The list of three machines, in each form.

use sluicegate::device::{
    gpu::{
        facts::{
            Ancestor, GpuFacts, GpuProcess, MachineFacts, MemoryFacts, MigInstance, NvlinkFacts,
            NvlinkRemote, PairFacts, PciAddress, PcieFacts,
        },
        visible::Visible,
    },
    inventory::ListedGpu,
};
use sluicegate_spec::{device::DeviceId, units::Bytes};

use super::{report::HostReport, *};

fn gpu(name: &str, bus: u32, gib: u64) -> GpuFacts {
    let memory = Bytes(gib << 30);
    GpuFacts {
        uuid: format!("GPU-{bus:08x}"),
        name: name.to_owned(),
        address: PciAddress { domain: 0, bus, device: 0 },
        memory: Some(MemoryFacts { total: memory, free: memory }),
        capability: Some((9, 0)),
        pcie: Some(PcieFacts { generation: 1, width: 16, max_generation: 5, max_width: 16 }),
        nvlinks: Vec::new(),
        processes: Vec::new(),
        mig: None,
        busy_percent: Some(0),
    }
}

/// A machine whose GPUs CUDA shows as they are, but for `hidden`.
fn inventory(gpus: Vec<GpuFacts>, hidden: Option<usize>) -> Inventory {
    let pairs = (0..gpus.len()).flat_map(|second| (0..second).map(move |first| (first, second)));
    let pair = |(first, second)| {
        let (ancestor, is_peer) = (Some(Ancestor::Node), Some(true));
        PairFacts { first, second, ancestor, is_peer }
    };
    let pairs = pairs.map(pair).collect();
    let driver = Some("580.65.06".to_owned());
    let seen = (0..gpus.len()).filter(|index| Some(*index) != hidden);
    let listed = (0..).zip(seen).map(|(ordinal, index)| {
        let facts = &gpus[index];
        let instance = facts.mig.as_ref().map(|_| 0);
        let part = facts.mig.as_ref().map(|instances| &instances[0]);
        let memory = part.map_or(facts.memory, |it| it.memory);
        ListedGpu {
            id: DeviceId::Cuda(ordinal),
            name: part.map_or(&facts.name, |it| &it.name).clone(),
            total: memory.map(|it| it.total),
            free: memory.map(|it| it.free),
            capability: facts.capability,
            refused: None,
            facts: Some(Visible { gpu: index, instance }),
        }
    });
    let gpus_listed = listed.collect();
    let machine = MachineFacts { driver, gpus, pairs, unread: Vec::new() };
    Inventory { gpus: gpus_listed, machine, notes: Vec::new() }
}

fn report(inventory: &Inventory, cpu_devices: u32) -> Report {
    let host = HostReport {
        processor: "x86_64 Processor x16".to_owned(),
        cores: 16,
        memory: Bytes(128 << 30),
        free: Bytes(120 << 30),
        cpu_devices,
    };
    Report::of(inventory, host)
}

fn table(inventory: &Inventory, cpu_devices: u32) -> String {
    let mut text = Vec::new();
    table::print(&report(inventory, cpu_devices), &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// Three H200s at switches, of which another program uses one and a variable hides one.
fn three() -> Inventory {
    let mut gpus: Vec<GpuFacts> = [0x1a, 0x1b, 0x2c].map(|bus| gpu("NVIDIA H200", bus, 140)).into();
    let nvlink = NvlinkFacts { version: Some(6), remote: NvlinkRemote::Switch };
    for gpu in &mut gpus {
        gpu.nvlinks = vec![nvlink; 18];
    }
    gpus[1].memory = Some(MemoryFacts { total: Bytes(140 << 30), free: Bytes(20 << 30) });
    gpus[1].busy_percent = Some(97);
    let process =
        |pid, name: Option<&str>, memory| GpuProcess { pid, name: name.map(str::to_owned), memory };
    gpus[1].processes = vec![
        process(77, None, None),
        process(4242, Some("/usr/bin/python3 train.py"), Some(Bytes(119 << 30))),
    ];
    inventory(gpus, Some(2))
}

#[test]
fn a_table_says_who_uses_what() {
    insta::assert_snapshot!(table(&three(), 1), @r#"
    id      name                               memory       free  capability  slot        busy  runs here
    cuda:0  NVIDIA H200                     140.0 GiB  140.0 GiB  9.0         PCIe 5 x16   0 %  yes
    cuda:1  NVIDIA H200                     140.0 GiB   20.0 GiB  9.0         PCIe 5 x16  97 %  yes
    -       NVIDIA H200                     140.0 GiB  140.0 GiB  9.0         PCIe 5 x16   0 %  no: CUDA does not show GPU-0000002c
    cpu:0   x86_64 Processor x16, 16 cores  128.0 GiB  120.0 GiB                                yes

    cuda:0 and cuda:1: 18 NVLinks, 450.0 GB/s each way
    cuda:1 is used by a process (77), python3 (4242) with 119.0 GiB
    driver 580.65.06
    "#);
}

#[test]
fn what_is_unknown_or_missing_is_said() {
    let mut gpus = vec![gpu("NVIDIA GeForce RTX 4090", 1, 24), gpu("Tesla T4", 2, 16)];
    gpus.push(gpu("NVIDIA L4", 3, 24));
    gpus[0].pcie = Some(PcieFacts { generation: 1, width: 8, max_generation: 4, max_width: 16 });
    gpus[1].memory = None;
    gpus[1].pcie = None;
    gpus[1].busy_percent = None;
    gpus[2].nvlinks = Vec::new();
    let mut found = inventory(gpus, None);
    found.machine.pairs[1].is_peer = Some(false);
    found.gpus[1].refused = Some("CUDA needs a build with --features cuda".to_owned());
    found.notes.push("GPU 3: this user may not ask NVIDIA's driver".to_owned());
    insta::assert_snapshot!(table(&found, 1), @r#"
    id      name                               memory       free  capability  slot        busy  runs here
    cuda:0  NVIDIA GeForce RTX 4090          24.0 GiB   24.0 GiB  9.0         PCIe 4 x8    0 %  yes
    cuda:1  Tesla T4                                ?          ?  9.0         ?              ?  no: CUDA needs a build with --features cuda
    cuda:2  NVIDIA L4                        24.0 GiB   24.0 GiB  9.0         PCIe 5 x16   0 %  yes
    cpu:0   x86_64 Processor x16, 16 cores  128.0 GiB  120.0 GiB                                yes

    cuda:0 and cuda:2: PCIe, through host memory, 15.8 GB/s each way
    driver 580.65.06
    note: GPU 3: this user may not ask NVIDIA's driver
    "#);
    let none = Inventory { notes: vec!["no driver".to_owned()], ..Inventory::default() };
    insta::assert_snapshot!(table(&none, 2), @r#"
    id     name                              memory      free  capability  slot  busy  runs here
    cpu:0  x86_64 Processor x16, 16 cores  64.0 GiB  60.0 GiB                          yes
    cpu:1  x86_64 Processor x16, 16 cores  64.0 GiB  60.0 GiB                          yes

    note: no driver
    "#);
}

#[test]
fn an_instance_is_listed_by_itself() {
    let mut divided = gpu("NVIDIA A100-SXM4-40GB", 1, 40);
    let memory = MemoryFacts { total: Bytes(5 << 30), free: Bytes(4 << 30) };
    divided.mig = Some(vec![MigInstance {
        uuid: "MIG-1".to_owned(),
        name: "NVIDIA A100-SXM4-40GB MIG 1g.5gb".to_owned(),
        gpu_instance: Some(7),
        compute_instance: Some(0),
        memory: Some(memory),
    }]);
    divided.processes = vec![GpuProcess { pid: 9, name: None, memory: Some(Bytes(1 << 30)) }];
    insta::assert_snapshot!(table(&inventory(vec![divided], None), 1), @r#"
    id      name                                 memory       free  capability  slot        busy  runs here
    cuda:0  NVIDIA A100-SXM4-40GB MIG 1g.5gb    5.0 GiB    4.0 GiB  9.0         PCIe 5 x16     ?  yes
    cpu:0   x86_64 Processor x16, 16 cores    128.0 GiB  120.0 GiB                                yes

    the whole GPU of cuda:0 is used by a process (9) with 1.0 GiB
    driver 580.65.06
    "#);
}

#[test]
fn the_description_is_read_back() {
    let found = three();
    let cluster = device::described(&found, 1);
    let text = description(&report(&found, 1), &cluster);
    assert_eq!(Cluster::parse_toml(&text, "machine.toml").as_ref(), Ok(&cluster));
    insta::assert_snapshot!(text, @r#"
    # This machine as `sluicegate devices --toml` found it, driver 580.65.06.
    # Memory is what was free. Links are the best that there are; speeds are those of the
    # presets that the names match, or stand-ins.
    unlisted = { latency_s = 2e-5, bytes_per_s = 5000000000.0, route = "host", overlaps = false }

    [[devices]]
    # NVIDIA H200, 140.0 GiB in all
    id = "cuda:0"
    name = "H200 SXM"
    memory = 150323855360
    reserve = 1073741824
    bytes_per_s = 3840000000000.0
    flops_per_s = { f32 = 36850000000000.0, f16 = 544225000000000.06, bf16 = 544225000000000.06 }
    overhead_s = 0.0001
    host_bytes_per_s = 50412307692.30769
    alone = 1.0
    priority = 0

    [[devices]]
    # NVIDIA H200, 140.0 GiB in all
    id = "cuda:1"
    name = "H200 SXM"
    memory = 21474836480
    reserve = 1073741824
    bytes_per_s = 3840000000000.0
    flops_per_s = { f32 = 36850000000000.0, f16 = 544225000000000.06, bf16 = 544225000000000.06 }
    overhead_s = 0.0001
    host_bytes_per_s = 50412307692.30769
    alone = 1.0
    priority = 0

    [[links]]
    devices = "cuda:0..2"
    latency_s = 1e-5
    bytes_per_s = 360000000000.0
    route = "peer"
    overlaps = false
    "#);
}

#[test]
fn json_has_all_facts_and_the_cluster() {
    let found = three();
    let cluster = device::described(&found, 1);
    let report = report(&found, 1);
    let json = serde_json::to_value(report.with_cluster(&cluster)).unwrap();
    assert_eq!(json["gpus"][1]["facts"]["processes"][1]["pid"], 4242);
    assert_eq!(json["gpus"][0]["facts"]["nvlinks"][0]["remote"], "switch");
    assert_eq!(json["hidden"][0]["address"], "00000000:2c:00.0");
    assert_eq!(json["links"][0]["devices"][1], "cuda:1");
    assert_eq!(
        (&json["links"][0]["kind"], &json["links"][0]["num_links"]),
        (&"nvlink".into(), &18.into())
    );
    let read: Cluster = serde_json::from_value(json["cluster"].clone()).unwrap();
    assert_eq!(read, cluster);
}
