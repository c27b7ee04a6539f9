//! Clusters in one line: what is read, and what is said of the rest.

use proptest::prelude::*;
use sluicegate_spec::{device::DeviceId, units::Bytes};

use super::{Cluster, ClusterDevice, LinkFigures, Route};

#[track_caller]
fn cluster(text: &str) -> Cluster {
    Cluster::parse_spec(text).unwrap_or_else(|error| panic!("{error}"))
}

fn preset(name: &str) -> LinkFigures {
    LinkFigures::preset(name).expect("the name of a preset")
}

/// The devices as `id name`, joined.
fn devices(cluster: &Cluster) -> String {
    let devices = cluster.devices.iter().map(|it| format!("{} {}", it.id, it.name));
    devices.collect::<Vec<_>>().join(", ")
}

const fn cuda(ordinal: u32) -> DeviceId {
    DeviceId::Cuda(ordinal)
}

#[test]
fn lines_name_devices() {
    #[track_caller]
    fn check(text: &str, want: &str) {
        assert_eq!(devices(&cluster(text)), want, "{text}");
    }
    check("h100", "cuda:0 H100 SXM");
    check("2x rtx4090", "cuda:0 RTX 4090, cuda:1 RTX 4090");
    check("2 RTX 4090", "cuda:0 RTX 4090, cuda:1 RTX 4090");
    check(" 2 X rtx-4090 ", "cuda:0 RTX 4090, cuda:1 RTX 4090");
    check("2xRTX 4090 + 1x rtx3090, pcie4", "cuda:0 RTX 4090, cuda:1 RTX 4090, cuda:2 RTX 3090");
    check("l4+t4 , 10 GbE", "cuda:0 L4, cuda:1 T4");
    check("2x cpu + h200", "cpu:0 , cpu:1 , cuda:0 H200 SXM");
    check("2x H100 PCIe nvlink", "cuda:0 H100 PCIe, cuda:1 H100 PCIe");
}

#[test]
fn memory_can_be_given() {
    let cluster = cluster("2x cpu@300MiB + rtx4090 @ 20 GiB");
    let memory: Vec<_> = cluster.devices.iter().map(|device| device.memory).collect();
    assert_eq!(memory, [Bytes(300 << 20), Bytes(300 << 20), Bytes(20 << 30)]);
    let h100 = self::cluster("2x h100@80GiB nvlink");
    assert_eq!(h100.link(cuda(0), cuda(1)), preset("nvlink4"));
}

#[test]
fn links_join_a_group_or_all() {
    let dgx = cluster("8x h100 nvlink");
    assert_eq!(dgx.links.len(), 56);
    assert_eq!(dgx.link(cuda(7), cuda(0)), preset("nvlink4"));
    assert_eq!(dgx.unlisted, LinkFigures::default());

    let mixed = cluster("2x rtx3090 nvlink + rtx4090, pcie4");
    assert_eq!(mixed.link(cuda(0), cuda(1)), preset("nvlink3-bridge"));
    assert_eq!(mixed.link(cuda(1), cuda(2)), preset("pcie4"));
    assert_eq!(mixed.link(cuda(1), cuda(2)).route, Route::Host);

    let two_machines = cluster("2x h100 nvlink + 2x h100 nvlink, IB NDR");
    assert_eq!(two_machines.links.len(), 4);
    assert_eq!(two_machines.link(cuda(2), cuda(3)), preset("nvlink4"));
    assert_eq!(two_machines.link(cuda(1), cuda(2)), preset("ib-ndr"));

    assert_eq!(cluster("rtx4090 + l4, pcie").unlisted, preset("pcie4"));
    assert_eq!(cluster("4x cpu"), {
        let cpus = Cluster::logical_cpus(4, Bytes(16 << 30));
        Cluster { unlisted: LinkFigures::default(), ..cpus }
    });
}

#[test]
fn devices_are_added_with_the_links_of_their_kind() {
    #[track_caller]
    fn check(before: &str, more: &str, link: (u32, u32), want: &str) {
        let cluster = cluster(before);
        let longer = cluster.extended(more).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(longer.devices[..cluster.devices.len()], cluster.devices[..]);
        for (source, target) in [link, (link.1, link.0)] {
            let found = longer.link(cuda(source), cuda(target));
            let want = if want.is_empty() { cluster.unlisted } else { preset(want) };
            assert_eq!(found, want, "{before} {more}");
        }
    }
    check("2x h100 nvlink", "+1 h100", (0, 2), "nvlink4");
    check("2x h100 nvlink", "+ 3x h100", (2, 4), "nvlink4");
    check("2x h100 nvlink, pcie5", "+1 rtx4090", (0, 2), "pcie5");
    check("2x h100 nvlink", "+1 rtx4090", (0, 2), "");
    // One of a kind shows no link of its kind.
    check("1x h100, pcie5", "+1 h100", (0, 1), "pcie5");
    check("1x h100, pcie5", "+1 h100 nvlink", (0, 1), "nvlink4");
    check("2x h100 nvlink", "+1 l4, 10gbe", (1, 2), "10gbe");
    check("2x h100 nvlink + 2x h100 nvlink, 100gbe", "+1 h100", (1, 4), "nvlink4");
    check("2x h100 nvlink + 2x h100 nvlink, 100gbe", "+1 h100", (3, 4), "100gbe");
}

#[test]
fn added_devices_have_new_ordinals() {
    let mut cluster = cluster("2x l4 + cpu");
    cluster.devices[1].id = cuda(6);
    let longer = cluster.extended("+2 l4 + cpu").expect("a line that is right");
    let ids: Vec<_> = longer.devices.iter().map(|device| device.id.to_string()).collect();
    assert_eq!(ids, ["cuda:0", "cuda:6", "cpu:0", "cuda:7", "cuda:8", "cpu:1"]);
    cluster.devices[1].id = cuda(u32::MAX);
    let error = cluster.extended("+l4").expect_err("there is no ordinal left");
    let want = "cluster `+l4`: too few device numbers for 1 devices from cuda:4294967295 on";
    assert_eq!(error.to_string(), want);
}

#[test]
fn wrong_lines_are_explained() {
    #[track_caller]
    fn check(text: &str, want: &str) {
        let found = Cluster::parse_spec(text).expect_err(text).to_string();
        let (_, fault) = found.split_once("`: ").expect("the place comes first");
        assert_eq!(fault, want, "{text}");
    }
    let nothing = "wanted a device such as `2x rtx4090`, found nothing";
    check("", nothing);
    check("  ", nothing);
    check("2x", nothing);
    check("l4 +", nothing);
    check("l4 + , pcie4", nothing);
    check("8x h10", "there is no device `h10`; the nearest is `h100`");
    check("8x h10 nvlink", "there is no device `h10`; the nearest is `h100`");
    check("2x rtx 4080 pcie4", "there is no device `rtx 4080`; the nearest is `rtx4090`");
    check("h10@80GiB", "there is no device `h10`; the nearest is `h100`");
    check("8x h100 nvlnk4", "there is no link `nvlnk4`; the nearest is `nvlink4`");
    check("8x h100, nvlink 9", "there is no link `nvlink 9`; the nearest is `nvlink2`");
    check("2x rtx4090 nvlink", "rtx4090 has no NVLink");
    check("2x cpu, pcie", "cpu has no PCIe slot");
    check(
        "h100 + 2x a100, nvlink",
        "`nvlink` is ambiguous, since the devices differ; name one of nvlink2, nvlink3, \
         nvlink4, nvlink5, nvlink3-bridge, nvlink4-bridge",
    );
    check("0x l4", "wanted a count of 1 to 256, found 0");
    check("1000000000x l4", "wanted a count of 1 to 256, found 1000000000");
    check(
        "99999999999999999999999x l4",
        "wanted a count of 1 to 256, found 99999999999999999999999",
    );
    check("200x l4 + 100x t4", "there are more than 256 devices");
    check(
        "-2x l4",
        "there is no device `-2x l4`; known are cpu, v100-16, v100-32, t4, a100-40, \
         a100-80, h100, h100-pcie, h100-nvl, h200, b200, l4, l40s, a10, a10g, a6000, rtx6000ada, \
         rtx3090, rtx4090, rtx5090",
    );
    check("l4@", "`@` is not a size; wanted one such as @16GiB");
    check("l4@0GiB", "`@0GiB` is not a size; wanted one such as @16GiB");
    check("l4@lots", "`@lots` is not a size; wanted one such as @16GiB");
    check("l4@16 nvlink", "`@16 nvlink` is not a size; wanted one such as @16GiB");
    check("l4, pcie4, pcie4", "wanted one link after the comma, found another comma");
    check(&"+".repeat(5000), "the description has 5000 bytes; at most 4096 are read");
}

#[test]
fn every_preset_is_a_line() {
    for name in ClusterDevice::presets() {
        assert_eq!(cluster(&format!("3x {name}")).devices.len(), 3, "{name}");
    }
    for name in LinkFigures::presets() {
        assert_eq!(cluster(&format!("2x l4, {name}")).unlisted, preset(name), "{name}");
        assert_eq!(cluster(&format!("2x l4 {name}")).links.len(), 2, "{name}");
    }
}

proptest! {
    #[test]
    fn no_line_makes_it_panic(text in any::<String>()) {
        let _ = Cluster::parse_spec(&text);
        let _ = Cluster::logical_cpus(1, Bytes(1)).extended(&text);
    }

    #[test]
    fn words_in_any_order_are_a_cluster_or_an_error(words in prop::collection::vec(
        prop::sample::select(vec![
            "2x", "8", "h100", "rtx 4090", "cpu", "nvlink", "pcie4", "+", ",", "@", "16GiB", "µ",
        ]), 0..12)
    ) {
        if let Ok(cluster) = Cluster::parse_spec(&words.join(" ")) {
            prop_assert!(cluster.check().is_ok());
            if let Ok(longer) = cluster.extended("+1 h100") {
                prop_assert!(longer.check().is_ok());
            }
        }
    }
}
