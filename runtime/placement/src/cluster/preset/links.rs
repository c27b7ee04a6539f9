//! The table of links. Peaks are for one direction, from the standards and datasheets named.
//!
//! Latencies are assumptions: starting a small copy and waiting for it. Copies between cards of one
//! machine run in the receiving stage's stream, so they do not overlap with its work. A network
//! card fills host memory while the stage computes.

use super::{LinkPreset, Route};

const PEER_LATENCY_S: f64 = 1e-5;
const HOST_LATENCY_S: f64 = 3e-5;

const fn nvlink(
    name: &'static str,
    aliases: &'static [&'static str],
    gbytes_per_s: f64,
) -> LinkPreset {
    LinkPreset { name, aliases, ..peer(gbytes_per_s) }
}

pub(super) const fn peer(gbytes_per_s: f64) -> LinkPreset {
    LinkPreset {
        name: "",
        aliases: &[],
        gbytes_per_s,
        num_copies: 1.0,
        latency_s: PEER_LATENCY_S,
        route: Route::Peer,
        overlaps: false,
    }
}

/// A copy from one card to host memory, then to the other card.
pub(super) const fn through_host(gbytes_per_s: f64) -> LinkPreset {
    LinkPreset {
        num_copies: 2.0,
        latency_s: HOST_LATENCY_S,
        route: Route::Host,
        ..peer(gbytes_per_s)
    }
}

const fn network(gbytes_per_s: f64, latency_s: f64) -> LinkPreset {
    LinkPreset { latency_s, route: Route::Network, overlaps: true, ..peer(gbytes_per_s) }
}

/// PCIe x16 bandwidth after 128b/130b encoding, in one direction.
const PCIE3: f64 = 15.75;
const PCIE4: f64 = 31.5;
const PCIE5: f64 = 63.0;

pub(super) const LINKS: &[LinkPreset] = &[
    // NVIDIA V100 datasheet: 300 GB/s, both directions together.
    nvlink("nvlink2", &["nvlinkgen2"], 150.0),
    // NVIDIA A100 datasheet: 600 GB/s, both directions together.
    nvlink("nvlink3", &["nvlinkgen3"], 300.0),
    // NVIDIA H100 datasheet: 900 GB/s, both directions together.
    nvlink("nvlink4", &["nvlinkgen4"], 450.0),
    // NVIDIA HGX B200 datasheet: 1.8 TB/s, both directions together.
    nvlink("nvlink5", &["nvlinkgen5"], 900.0),
    // Ampere GA102 whitepaper: 112.5 GB/s, both directions together, between two cards.
    nvlink("nvlink3-bridge", &["nvlinkbridge"], 56.25),
    // NVIDIA H100 NVL and H100 PCIe datasheets: 600 GB/s, both directions together.
    nvlink("nvlink4-bridge", &[], 300.0),
    // PCI Express base specification, x16.
    LinkPreset { name: "pcie3", aliases: &["pciegen3", "pcie3host"], ..through_host(PCIE3) },
    LinkPreset { name: "pcie4", aliases: &["pciegen4", "pcie4host"], ..through_host(PCIE4) },
    LinkPreset { name: "pcie5", aliases: &["pciegen5", "pcie5host"], ..through_host(PCIE5) },
    LinkPreset { name: "pcie3-peer", aliases: &["pcie3p2p"], ..peer(PCIE3) },
    LinkPreset { name: "pcie4-peer", aliases: &["pcie4p2p"], ..peer(PCIE4) },
    LinkPreset { name: "pcie5-peer", aliases: &["pcie5p2p"], ..peer(PCIE5) },
    // Line rates of IEEE 802.3; the latency is that of TCP with its copies.
    LinkPreset { name: "1gbe", aliases: &["gbe", "1gige"], ..network(0.125, 1e-4) },
    LinkPreset { name: "10gbe", aliases: &["10gige"], ..network(1.25, 5e-5) },
    LinkPreset { name: "25gbe", aliases: &["25gige"], ..network(3.125, 5e-5) },
    LinkPreset { name: "100gbe", aliases: &["100gige"], ..network(12.5, 5e-5) },
    // InfiniBand with four lanes; the latency is that of RDMA with a copy to the card.
    LinkPreset { name: "ib-hdr", aliases: &["hdr", "infinibandhdr"], ..network(25.0, 1e-5) },
    LinkPreset { name: "ib-ndr", aliases: &["ndr", "infinibandndr"], ..network(50.0, 1e-5) },
];
