//! Writes cluster files: a [`Cluster`] to TOML text that is read back to the same cluster.

use std::fmt::Write;

use sluicegate_spec::device::DeviceId;

use super::{Cluster, ClusterDevice, ClusterLink, LinkFigures, Rates, Route, declared, join::nth};

impl Cluster {
    /// Writes the cluster as the text of a file, with every figure in its base unit. `remark` says
    /// in a line what a reader may want to know of a device.
    ///
    /// [`Cluster::parse_toml`] reads the same cluster, if [`Cluster::check`] accepts it. A file
    /// allows less of some things: of a name only what a file may contain is written, and a reserve
    /// of all memory as a byte less.
    pub fn to_toml(&self, remark: impl Fn(&ClusterDevice) -> Option<String>) -> String {
        let mut text = String::new();
        if self.host_s > 0.0 {
            line(&mut text, "host_s", &figure(self.host_s));
        }
        line(&mut text, "unlisted", &format!("{{ {} }}", figures(self.unlisted, ", ")));
        for device in &self.devices {
            text.push_str("\n[[devices]]\n");
            if let Some(remark) = remark(device) {
                line_of(&mut text, &format!("# {}", one_line(&remark)));
            }
            text.push_str(&entry(device));
        }
        for group in self.groups() {
            text.push_str("\n[[links]]\n");
            text.push_str(&group.ends);
            line_of(&mut text, &figures(group.figures, "\n"));
        }
        text
    }

    /// Returns the links as entries, in their order: one for all pairs if they are alike, else one
    /// for each run of links from a device that are alike.
    fn groups(&self) -> Vec<LinkGroup> {
        let ids: Vec<DeviceId> = self.devices.iter().map(|device| device.id).collect();
        let pairs = ids.iter().flat_map(|source| ids.iter().map(move |target| (*source, *target)));
        let pairs = pairs.filter(|(source, target)| source != target);
        let of_links = self.links.iter().map(|link| (link.source, link.target));
        if let Some(ClusterLink { figures, .. }) = self.links.first()
            && pairs.eq(of_links)
            && self.links.iter().all(|link| link.figures == *figures)
        {
            let ends = format!("devices = {}\n", ends(&ids));
            return vec![LinkGroup { ends, figures: *figures }];
        }
        let is_alike = |one: &ClusterLink, next: &ClusterLink| {
            one.source == next.source && one.figures == next.figures
        };
        let group = |links: &[ClusterLink]| {
            let targets: Vec<DeviceId> = links.iter().map(|link| link.target).collect();
            let source = ends(&[links[0].source]);
            let ends = format!("source = {source}\ntarget = {}\n", ends(&targets));
            LinkGroup { ends, figures: links[0].figures }
        };
        self.links.chunk_by(is_alike).map(group).collect()
    }
}

/// Links with the same figures.
struct LinkGroup {
    /// The lines that say which.
    ends: String,
    figures: LinkFigures,
}

fn entry(device: &ClusterDevice) -> String {
    let ClusterDevice { id, memory, reserve, bytes_per_s, flops_per_s, .. } = device;
    let Rates { f32, f16, bf16 } = flops_per_s;
    let rates = [f32, f16, bf16].map(|rate| figure(*rate));
    let mut text = String::new();
    line(&mut text, "id", &quoted(&id.to_string()));
    if !device.name.is_empty() {
        line(&mut text, "name", &quoted(&declared::short_name(&device.name)));
    }
    let memory = memory.0.max(1);
    line(&mut text, "memory", &memory.to_string());
    line(&mut text, "reserve", &reserve.0.min(memory - 1).to_string());
    line(&mut text, "bytes_per_s", &figure(*bytes_per_s));
    let [f32, f16, bf16] = rates;
    line(&mut text, "flops_per_s", &format!("{{ f32 = {f32}, f16 = {f16}, bf16 = {bf16} }}"));
    line(&mut text, "overhead_s", &figure(device.overhead_s));
    if let Some(bytes_per_s) = device.host_bytes_per_s {
        line(&mut text, "host_bytes_per_s", &figure(bytes_per_s));
    }
    line(&mut text, "alone", &figure(device.alone));
    line(&mut text, "priority", &device.priority.to_string());
    if let Some(price) = device.price_per_hour {
        line(&mut text, "price_per_hour", &figure(price));
    }
    text
}

fn figures(figures: LinkFigures, between: &str) -> String {
    let LinkFigures { latency_s, bytes_per_s, route, overlaps } = figures;
    let route = match route {
        Route::Peer => "peer",
        Route::Nccl => "nccl",
        Route::Host => "host",
        Route::Network => "network",
    };
    let fields = [
        format!("latency_s = {}", figure(latency_s)),
        format!("bytes_per_s = {}", figure(bytes_per_s)),
        format!("route = {}", quoted(route)),
        format!("overlaps = {overlaps}"),
    ];
    fields.join(between)
}

fn line(text: &mut String, key: &str, value: &str) {
    line_of(text, &format!("{key} = {value}"));
}

fn line_of(text: &mut String, content: &str) {
    writeln!(text, "{content}").expect("a text has room");
}

/// Writes a number with as many digits as tell it from its neighbours, and a point or an exponent.
fn figure(number: f64) -> String {
    format!("{number:?}")
}

/// Writes devices as `"cuda:0..4"` if they follow each other, else as a list.
fn ends(devices: &[DeviceId]) -> String {
    let follows = |(offset, id): (usize, &DeviceId)| nth(devices[0], offset) == Some(*id);
    let end = nth(devices[0], devices.len());
    match (devices, end) {
        ([one], _) => quoted(&one.to_string()),
        (_, Some(DeviceId::Cpu(end) | DeviceId::Cuda(end)))
            if devices.iter().enumerate().all(follows) =>
        {
            quoted(&format!("{}..{end}", devices[0]))
        }
        _ => {
            let names: Vec<String> = devices.iter().map(|id| quoted(&id.to_string())).collect();
            format!("[{}]", names.join(", "))
        }
    }
}

/// Writes a basic string of TOML; callers pass no control characters.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn one_line(text: &str) -> String {
    text.chars().map(|it| if it.is_control() { ' ' } else { it }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sluicegate_spec::units::Bytes;

    use super::*;

    #[track_caller]
    fn check_round_trip(cluster: &Cluster) -> String {
        assert_eq!(cluster.check(), Ok(()));
        let text = cluster.to_toml(|device| Some(format!("{}\n[[devices]]", device.name)));
        assert_eq!(Cluster::parse_toml(&text, "written.toml").as_ref(), Ok(cluster), "{text}");
        text
    }

    #[test]
    fn a_line_becomes_a_file() {
        let cluster = Cluster::parse_spec("2x h100 nvlink, pcie5").unwrap();
        check_round_trip(&cluster);
        let text = cluster.to_toml(|device| Some(format!("{} in all", device.memory)));
        insta::assert_snapshot!(text, @r#"
        unlisted = { latency_s = 3e-5, bytes_per_s = 25200000000.0, route = "host", overlaps = false }

        [[devices]]
        # 79.6 GiB in all
        id = "cuda:0"
        name = "H100 SXM"
        memory = 85520809984
        reserve = 1073741824
        bytes_per_s = 2680000000000.0
        flops_per_s = { f32 = 36850000000000.0, f16 = 544225000000000.06, bf16 = 544225000000000.06 }
        overhead_s = 0.0001
        host_bytes_per_s = 50400000000.0
        alone = 1.0
        priority = 0

        [[devices]]
        # 79.6 GiB in all
        id = "cuda:1"
        name = "H100 SXM"
        memory = 85520809984
        reserve = 1073741824
        bytes_per_s = 2680000000000.0
        flops_per_s = { f32 = 36850000000000.0, f16 = 544225000000000.06, bf16 = 544225000000000.06 }
        overhead_s = 0.0001
        host_bytes_per_s = 50400000000.0
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
    fn every_kind_of_cluster_is_read_back() {
        for line in [
            "cpu",
            "4x cpu@16GiB",
            "8x h100 nvlink",
            "2x rtx4090 + 1x rtx3090, pcie4",
            "4x h100 nvlink + 4x h100 nvlink, ib-ndr",
            "2x a100 nvlink + 2x cpu",
        ] {
            check_round_trip(&Cluster::parse_spec(line).unwrap());
        }
        let mut odd = Cluster::parse_spec("3x t4").unwrap();
        odd.host_s = 1.0 / 3.0 * 1e-3;
        odd.devices[0].name = "a \"quoted\" \\ name".to_owned();
        odd.devices[1].id = DeviceId::Cuda(u32::MAX);
        odd.devices[2].price_per_hour = Some(0.1);
        odd.devices[2].priority = i32::MIN;
        odd.devices[2].memory = Bytes((1 << 53) - 1);
        check_round_trip(&odd);
    }

    #[test]
    fn only_what_a_file_may_contain_is_written() {
        let mut cluster = Cluster::parse_spec("t4").unwrap();
        cluster.devices[0].name = format!(" a\nb{}", "c".repeat(100));
        let text = cluster.to_toml(|_| None);
        let read = Cluster::parse_toml(&text, "written.toml").unwrap();
        assert_eq!(read.devices[0].name, format!("ab{}", "c".repeat(58)));
        let full = Cluster::parse_spec("t4@1B").unwrap().to_toml(|_| None);
        let read = Cluster::parse_toml(&full, "written.toml").unwrap();
        assert_eq!((read.devices[0].memory, read.devices[0].reserve), (Bytes(1), Bytes(0)));
    }

    fn any_link() -> impl Strategy<Value = LinkFigures> {
        let routes = vec![Route::Peer, Route::Nccl, Route::Host, Route::Network];
        let routes = proptest::sample::select(routes);
        (0.0..1.0_f64, 1e-3..1e13_f64, routes, any::<bool>()).prop_map(
            |(latency_s, bytes_per_s, route, overlaps)| LinkFigures {
                latency_s,
                bytes_per_s,
                route,
                overlaps,
            },
        )
    }

    proptest! {
        /// Links to a few of the pairs, some of them alike.
        #[test]
        fn links_are_read_back_in_their_order(
            num_devices in 2_u32..6,
            kinds in proptest::collection::vec(any_link(), 1..3),
            chosen in proptest::collection::vec((0_usize..36, 0_usize..3), 0..30),
        ) {
            let mut cluster = Cluster::logical_cpus(num_devices, Bytes(1 << 30));
            for (pair, kind) in chosen {
                let ends = [pair / 6, pair % 6].map(|it| DeviceId::Cpu(u32::try_from(it).unwrap()));
                let [source, target] = ends;
                let is_known = |id| cluster.devices.iter().any(|device| device.id == id);
                let is_new = !cluster.links.iter().any(|it| (it.source, it.target) == (source, target));
                if source != target && is_known(source) && is_known(target) && is_new {
                    let figures = kinds[kind % kinds.len()];
                    cluster.links.push(ClusterLink { source, target, figures });
                }
            }
            check_round_trip(&cluster);
        }
    }
}
