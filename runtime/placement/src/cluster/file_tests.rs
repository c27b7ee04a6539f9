//! Cluster files: what is read, and what is said of the rest.

use proptest::prelude::*;
use sluicegate_spec::{device::DeviceId, units::Bytes};

use super::{Cluster, LinkFigures, Rates, Route};

#[track_caller]
fn cluster(text: &str) -> Cluster {
    Cluster::parse_toml(text, "a.toml").unwrap_or_else(|error| panic!("{error}"))
}

fn preset(name: &str) -> LinkFigures {
    LinkFigures::preset(name).expect("the name of a preset")
}

const fn cuda(ordinal: u32) -> DeviceId {
    DeviceId::Cuda(ordinal)
}

#[test]
fn every_figure_can_be_given() {
    let found = cluster(
        r#"
        host_s = "300us"
        unlisted = { latency_s = 1e-4, bytes_per_s = "1GB/s", route = "network", overlaps = true }

        [[devices]]
        id = "cuda:3"
        name = "the old one"
        memory = "11GiB"
        reserve = "1GiB"
        bytes_per_s = 4.0e11
        flops_per_s = { f32 = "11T", f16 = "50 TFLOP/s" }
        overhead_s = "50us"
        host_bytes_per_s = "12GB/s"
        alone = 1.5
        priority = -2
        price_per_hour = 0.4

        [[devices]]
        id = "cpu:0"
        count = 2
        memory = 4_000_000_000
        bytes_per_s = 20_000_000_000
        flops_per_s = 1e11

        [[links]]
        source = "cuda:3"
        target = ["cpu:0..2"]
        preset = "pcie3-peer"
        overlaps = true
        "#,
    );
    assert_eq!((found.host_s, found.unlisted.route), (300.0 * 1e-6, Route::Network));
    assert!(found.unlisted.overlaps);
    let old = &found.devices[0];
    assert_eq!((old.id, old.name.as_str()), (cuda(3), "the old one"));
    assert_eq!((old.memory, old.reserve), (Bytes(11 << 30), Bytes(1 << 30)));
    assert_eq!(old.flops_per_s, Rates { f32: 1.1e13, f16: 5e13, bf16: 1.1e13 });
    assert_eq!((old.bytes_per_s, old.overhead_s), (4e11, 50.0 * 1e-6));
    assert_eq!(old.host_bytes_per_s, Some(1.2e10));
    assert_eq!((old.alone, old.priority, old.price_per_hour), (1.5, -2, Some(0.4)));
    assert_eq!(found.devices[2].id, DeviceId::Cpu(1));
    assert_eq!(found.devices[2].memory, Bytes(4_000_000_000));
    assert_eq!(found.links.len(), 2);
    let link = found.link(cuda(3), DeviceId::Cpu(1));
    assert_eq!(link, LinkFigures { overlaps: true, ..preset("pcie3-peer") });
    assert_eq!(found.link(DeviceId::Cpu(1), cuda(3)), found.unlisted);
}

#[test]
fn presets_and_groups_say_the_same_as_a_line() {
    let file = cluster(
        r#"
        unlisted = "IB NDR"
        [[devices]]
        preset = "h100"
        count = 4
        [[links]]
        devices = "cuda:0..2"
        preset = "nvlink4"
        [[links]]
        devices = ["cuda:2", "cuda:3"]
        preset = "nvlink4"
        "#,
    );
    let line = Cluster::parse_spec("2x h100 nvlink + 2x h100 nvlink, ib-ndr");
    assert_eq!(Ok(file), line);
}

#[test]
fn presets_are_changed_by_what_is_given() {
    let found = cluster(
        "[[devices]]\npreset = \"rtx 4090\"\nmemory = \"20GiB\"\nreserve = 0\n\
         flops_per_s = {f16 = 1e14}\n\
         [[devices]]\npreset = \"l4\"\nname = \"\"\n\
         [[devices]]\npreset = \"l4\"\nmemory = \"500MiB\"",
    );
    let [rtx, l4, small] = &found.devices[..] else { panic!("three devices") };
    assert_eq!((rtx.memory, rtx.reserve), (Bytes(20 << 30), Bytes(0)));
    let of_preset = Cluster::parse_spec("rtx4090").expect("a preset").devices[0].flops_per_s;
    assert_eq!(rtx.flops_per_s, Rates { f16: 1e14, ..of_preset });
    assert_eq!((l4.id, l4.name.as_str(), l4.reserve), (cuda(1), "", Bytes(1 << 30)));
    assert_eq!((small.id, small.reserve), (cuda(2), small.memory));
}

#[track_caller]
fn check(text: &str, want: &str) {
    let found = Cluster::parse_toml(text, "a.toml").expect_err(text).to_string();
    assert_eq!(found, want, "{text}");
}

const L4: &str = "[[devices]]\npreset = \"l4\"\ncount = 2\n";

#[track_caller]
fn check_after_two(text: &str, want: &str) {
    check(&format!("{L4}{text}"), want);
}

#[test]
fn wrong_devices_are_explained_with_their_line() {
    check("", "a.toml:1: the cluster has no devices");
    check("devices = []", "a.toml:1: the cluster has no devices");
    check_after_two(
        "[[devices]]\nid = \"cuda:7\"",
        "a.toml:4: the device has neither a preset nor flops_per_s",
    );
    check_after_two("[[devices]]\n", "a.toml:4: the device has neither a preset nor id");
    check(
        "# One.\n[[devices]]\npreset = \"rtx409\"",
        "a.toml:3: there is no device `rtx409`; the nearest is `rtx4090`",
    );
    check_after_two(
        "memory = -1",
        "a.toml:4: memory: wanted a size above 0, such as 24GiB, found -1",
    );
    check_after_two(
        "memory = \"-3GiB\"",
        "a.toml:4: memory: wanted a size above 0, such as 24GiB, found `-3GiB`",
    );
    check_after_two(
        "memory = nan",
        "a.toml:4: memory: wanted a size above 0, such as 24GiB, found NaN",
    );
    check_after_two(
        "bytes_per_s = 0",
        "a.toml:4: bytes_per_s: wanted bytes per second above 0, such as 1.5e12 or 900GB/s, found 0",
    );
    check_after_two(
        "flops_per_s = { f32 = inf }",
        "a.toml:4: flops_per_s.f32: wanted operations per second above 0, such as 6e13 or \
         60TFLOP/s, found inf",
    );
    check_after_two(
        "overhead_s = \"5 parsecs\"",
        "a.toml:4: overhead_s: wanted a time of 0 or more, such as 2e-5 or 20us, found `5 parsecs`",
    );
    check_after_two("alone = 0.5", "a.toml:4: alone: wanted a number of at least 1, found 0.5");
    check_after_two(
        "priority = 9999999999",
        "a.toml:4: priority: wanted a whole number of 32 bits, found 9999999999",
    );
    check_after_two(
        "reserve = \"2TiB\"",
        "a.toml:1: reserve: wanted less than the memory of 22.5 GiB, found 2.0 TiB",
    );
    check_after_two(
        "name = \"a\\nb\"",
        "a.toml:4: name: wanted at most 60 characters on one line, found `a\\nb`",
    );
    check_after_two("id = \"gpu0\"", "a.toml:4: `gpu0` is not a device; wanted cpu:N or cuda:N");
    check_after_two("id = \"host\"", "a.toml:4: `host` is not a device; wanted cpu:N or cuda:N");
    check_after_two(
        "[[devices]]\nid = \"cuda:1\"\npreset = \"t4\"",
        "a.toml:4: cuda:1 is listed twice, first in line 1",
    );
    check_after_two(
        "id = \"cuda:4294967295\"",
        "a.toml:1: too few device numbers for 2 devices from cuda:4294967295 on",
    );
}

#[test]
fn counts_are_bounded() {
    for count in ["0", "-1", "257", "1000000000"] {
        let text = format!("[[devices]]\npreset = \"l4\"\ncount = {count}");
        check(&text, &format!("a.toml:3: wanted a count of 1 to 256, found {count}"));
    }
    let text = "[[devices]]\npreset = \"l4\"\ncount = 200\n".repeat(2);
    check(&text, "a.toml:4: there are more than 256 devices");
    let text = "#".repeat(Cluster::MAX_FILE_BYTES + 1);
    check(&text, "a.toml:1: the description has 1048577 bytes; at most 1048576 are read");
}

#[test]
fn wrong_links_are_explained_with_their_line() {
    let link = |text: &str| format!("[[links]]\npreset = \"pcie4\"\n{text}");
    check_after_two(
        &link("source = \"cuda:0\"\ntarget = \"cuda:9\""),
        "a.toml:7: the cluster has no device cuda:9",
    );
    check_after_two(
        &link("devices = \"cuda:0..4294967295\""),
        "a.toml:6: the cluster has no device cuda:2",
    );
    check_after_two(
        &link("devices = [\"cuda:1..0\"]"),
        "a.toml:6: `cuda:1..0` is not a device or a span of them; wanted cuda:N or cuda:N..END",
    );
    check_after_two(
        &link("source = \"cuda:0\""),
        "a.toml:4: a link has either `devices` or both `source` and `target`",
    );
    check_after_two(
        &link("source = \"cuda:0\"\ntarget = \"cuda:0..2\""),
        "a.toml:7: a link from cuda:0 to itself",
    );
    check_after_two(&link("devices = []"), "a.toml:4: a link needs two devices, found 0");
    check_after_two(&link("devices = \"cuda:0\""), "a.toml:4: a link needs two devices, found 1");
    let twice = link("devices = \"cuda:0..2\"\n").repeat(2);
    check_after_two(&twice, "a.toml:7: link cuda:0 -> cuda:1 is listed twice, first in line 4");
    check_after_two(
        "[[links]]\ndevices = \"cuda:0..2\"\nbytes_per_s = 1e9",
        "a.toml:4: the link has neither a preset nor latency_s",
    );
    check_after_two(
        &link("devices = \"cuda:0..2\"\nlatency_s = -1e-6"),
        "a.toml:7: latency_s: wanted a time of 0 or more, such as 2e-5 or 20us, found -0.000001",
    );
    check_after_two(
        &link("devices = \"cuda:0..2\"\nroute = \"road\""),
        "a.toml:7: route: wanted peer, nccl, host or network, found `road`",
    );
    check("unlisted = \"pcie 9\"", "a.toml:1: there is no link `pcie 9`; the nearest is `pcie3`");
    check(
        &format!("\nunlisted = \"nvlnk3\"\n{L4}"),
        "a.toml:2: there is no link `nvlnk3`; the nearest is `nvlink3`",
    );
    check(
        &format!("host_s = 0\n[unlisted]\npreset = \"pcie4\"\nlatency_s = \"soon\"\n{L4}"),
        "a.toml:4: latency_s: wanted a time of 0 or more, such as 2e-5 or 20us, found `soon`",
    );
}

#[test]
fn what_is_no_such_file_is_explained_with_its_line() {
    #[track_caller]
    fn check_part(text: &str, line: usize, part: &str) {
        let found = Cluster::parse_toml(text, "a.toml").expect_err(text).to_string();
        assert!(found.starts_with(&format!("a.toml:{line}: ")), "{found}");
        assert!(found.contains(part), "{found}");
        assert!(found.len() < 400 && !found.contains('\n'), "{found}");
    }
    check_part(&format!("{L4}memroy = 3"), 4, "unknown field `memroy`, expected one of `id`");
    check_part("[device]\n", 1, "unknown field `device`");
    check_part(&format!("{L4}count = 3"), 4, "duplicate key");
    check_part("devices = 3", 1, "expected a sequence");
    check_part(&format!("{L4}memory = {{}}"), 4, "wanted a number, or a text with a number");
    check_part(&format!("{L4}flops_per_s = {{f64 = 1}}"), 4, "or a table with f32, f16 and bf16");
    check_part(&format!("{L4}\n[[links]]\ndevices = 3"), 6, "wanted a device such as");
    check_part("unlisted = 3", 1, "the name of a link preset, or a table of figures");
    check_part("[unlisted]\nspeed = 3", 2, "unknown field `speed`");
    check_part("a = [", 1, "");
    check_part("\u{feff}= 3", 1, "");
    check_part(&format!("x = \"{}\"", "y".repeat(9999)), 1, "");
    check_part(&format!("{} = 1", "y".repeat(9999)), 1, "unknown field");
}

#[test]
fn nested_and_long_files_end_in_bounded_time() {
    let megabyte = Cluster::MAX_FILE_BYTES;
    let fill = |piece: &str| piece.repeat(megabyte / piece.len());
    let dotted = "a.".repeat(70);
    let number = |line: &dyn Fn(usize) -> String| (0..5000).map(line).collect::<Vec<_>>().concat();
    for text in [
        fill("["),
        fill("a."),
        format!("{}a = 1", &fill("a.")[..megabyte - 6]),
        format!("[{}a]", &fill("a.")[..megabyte - 6]),
        format!("a = {{{}a = 1}}", &fill("a.")[..megabyte - 16]),
        format!("a = {}", &fill("[")[..megabyte - 4]),
        format!("a = {}", &fill("{a=")[..megabyte - 4]),
        fill(&format!("{dotted}b = 1\n")),
        fill(&format!("[{dotted}b]\n")),
        number(&|idx| format!("b{idx}.{dotted}b = 1\n")),
        number(&|idx| format!("[b{idx}.{dotted}b]\n")),
        number(&|idx| format!("b{idx} = {{{dotted}b = 1}}\n")),
        fill("[[devices]]\n"),
        fill("[[links]]\ndevices=\"cuda:0\"\n"),
        fill("[a.b.c]\n"),
        fill("\"\"\"\n"),
        fill("a\n"),
        fill("\n"),
    ] {
        assert!(Cluster::parse_toml(&text, "a.toml").is_err());
    }
}

#[test]
fn examples_are_read() {
    let one_line = |text: &str| Cluster::parse_spec(text).expect("a line that is right");
    let page = include_str!("../../../../docs/placement.md");
    let (_, page) = page.split_once("```toml\n").expect("an example in the page");
    let (page, _) = page.split_once("```").expect("an end of the example");
    let page = cluster(page);
    assert_eq!((page.devices.len(), page.links.len()), (5, 14));

    let laptop = cluster(include_str!("../../../../examples/clusters/laptop.toml"));
    assert_eq!(laptop.devices.len(), 3);
    let two_cards = cluster(include_str!("../../../../examples/clusters/two-cards.toml"));
    assert_eq!(two_cards.unlisted, one_line("rtx4090 + rtx3090, pcie4").unlisted);
    let mut eight = cluster(include_str!("../../../../examples/clusters/eight-h100.toml"));
    for device in &mut eight.devices {
        assert_eq!(device.price_per_hour.take(), Some(2.5));
    }
    assert_eq!(eight, one_line("8x h100 nvlink, pcie5"));
    let machines = cluster(include_str!("../../../../examples/clusters/two-machines.toml"));
    assert_eq!((machines.devices.len(), machines.links.len()), (6, 14));
    assert_eq!(machines.link(cuda(3), cuda(4)).route, Route::Network);
    let measured = LinkFigures { bytes_per_s: 2.2e10, ..preset("pcie4-peer") };
    assert_eq!(machines.link(cuda(4), cuda(5)), measured);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let _ = Cluster::parse_toml(&text, "a.toml");
    }

    #[test]
    fn lines_in_any_order_are_a_cluster_or_an_error(lines in prop::collection::vec(
        prop::sample::select(vec![
            "[[devices]]", "[[links]]", "[unlisted]", "preset = \"l4\"", "preset = \"pcie4\"",
            "id = \"cuda:1\"", "count = 3", "memory = \"1GiB\"", "reserve = \"2GiB\"",
            "bytes_per_s = 1e9", "flops_per_s = {f32 = 1}", "devices = [\"cuda:0..3\"]",
            "source = \"cuda:0\"", "target = \"cuda:1\"", "latency_s = nan", "route = \"peer\"",
            "unlisted = \"pcie4\"", "host_s = -1", "alone = 2", "]", "\"",
        ]), 0..14)
    ) {
        if let Ok(cluster) = Cluster::parse_toml(&lines.join("\n"), "a.toml") {
            prop_assert!(cluster.check().is_ok());
        }
    }
}
