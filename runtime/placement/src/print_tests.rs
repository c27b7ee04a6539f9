//! What people read: explained plans, and plans compared.

use sluicegate_spec::{profile::ModelProfile, units::Bytes};

use super::{
    Cluster, Explained, KvTokens, Objective, Policy, SavedPlan, Sequences, diff, explain,
    fixtures::model, solve,
};

/// Ten layers of half a gigabyte; embedding and head of a fourth of that.
fn profile() -> ModelProfile {
    let mut weights = vec![512 << 20; 12];
    (weights[0], weights[11]) = (128 << 20, 128 << 20);
    let mut profile = model(&weights, 65536, 0);
    profile.units[11].workspace.bytes_per_row = Bytes(1 << 20);
    profile
}

fn policy() -> Policy {
    Policy {
        sequences: Sequences::Exactly(8),
        kv_tokens: KvTokens::Exactly(8192),
        ..Policy::default()
    }
}

fn explained(cluster: &str, policy: &Policy) -> String {
    let cluster = Cluster::parse_spec(cluster).unwrap();
    let solution = solve(&profile(), &cluster, policy).unwrap();
    let explanation = explain(&profile(), &cluster, policy, &solution).unwrap();
    Explained { solution: &solution, explanation: &explanation }.to_string()
}

fn saved(cluster: &Cluster, policy: &Policy) -> SavedPlan {
    SavedPlan {
        version: SavedPlan::VERSION,
        model: "a model".to_owned(),
        profile: profile(),
        cluster: cluster.clone(),
        policy: policy.clone(),
        plan: solve(&profile(), cluster, policy).unwrap().plan,
    }
}

#[test]
fn plans_on_equal_devices_are_explained() {
    insta::assert_snapshot!(explained("4x rtx4090, pcie4", &policy()), @r"
    stage  device  units                    weights       KV  workspace      free     time     busy
        0  cuda:0  embed, layers 0..2       1.1 GiB  1.0 GiB        0 B  20.9 GiB  2.35 ms   89.4 %
        1  cuda:1  layers 2..5              1.5 GiB  1.5 GiB        0 B  20.0 GiB  2.60 ms  100.0 %
        2  cuda:2  layers 5..8              1.5 GiB  1.5 GiB        0 B  20.0 GiB  2.60 ms  100.0 %
        3  cuda:3  layers 8..10, norm+head  1.1 GiB  1.0 GiB    2.0 MiB  20.9 GiB  1.93 ms   74.6 %
    761.6 tokens/s: 8 sequences at once in 4 microbatches of 2 rows, a token each every 10.50 ms, the first one after 18.38 ms; the pipeline is full with 4 microbatches
    bottleneck: cuda:1, busy for 2.63 ms with each microbatch
    with cuda:0 a tenth faster: +2.1 % tokens/s
    with cuda:1 a tenth faster: +2.1 % tokens/s
    with cuda:2 a tenth faster: +2.1 % tokens/s
    KV cache for 8192 tokens; 117344 would fit on these stages, then cuda:1 is full
    proven: no placement is better: nothing keeps every device and link below 2.63 ms
    ");
}

#[test]
fn plans_on_unequal_devices_are_explained() {
    insta::assert_snapshot!(explained("1x t4 + 1x h100, pcie4", &policy()), @r"
    stage  device  units                           weights       KV  workspace      free     time     busy
        0  cuda:1  embed, layers 0..10, norm+head  5.2 GiB  5.0 GiB    8.0 MiB  68.4 GiB  6.40 ms  100.0 %
    1250.6 tokens/s: 8 sequences at once in 1 microbatch of 8 rows, a token each every 6.40 ms, the first one after 25.59 ms; the pipeline is full with 1 microbatch
    bottleneck: cuda:1, busy for 6.40 ms with each microbatch
    with cuda:1 a tenth faster: +9.8 % tokens/s
    with a head that costs nothing: +0.8 % tokens/s
    uses 1 of 2 devices, not cuda:0; the best use of one more: -9.1 % tokens/s
    KV cache for 8192 tokens; 120240 would fit on these stages, then cuda:1 is full
    proven: no placement is better
    ");
}

#[test]
fn plans_for_one_sequence_are_explained() {
    let latency = Policy { objective: Objective::Latency, ..policy() };
    insta::assert_snapshot!(explained("2x t4 + 1x l4, pcie4", &latency), @r"
    stage  device  units                           weights       KV  workspace      free      time     busy
        0  cuda:2  embed, layers 0..10, norm+head  5.2 GiB  5.0 GiB    1.0 MiB  11.2 GiB  25.69 ms  100.0 %
    38.9 tokens/s: 1 sequence at once in 1 microbatch of 1 row, a token each every 25.69 ms; the pipeline is full with 1 microbatch
    bottleneck: cuda:2, busy for 25.69 ms with each microbatch
    with cuda:2 a tenth faster: +10.0 % tokens/s
    with a head that costs nothing: +2.2 % tokens/s
    uses 1 of 3 devices, not cuda:0, cuda:1; the best use of one more: -0.5 % tokens/s
    KV cache for 8192 tokens; 26608 would fit on these stages, then cuda:2 is full
    proven: no placement is better
    ");
}

#[test]
fn a_change_is_weighed() {
    let cluster = Cluster::parse_spec("1x rtx3090, pcie4").unwrap();
    let more = cluster.extended("+1 rtx4090").unwrap();
    let before = saved(&cluster, &policy());
    insta::assert_snapshot!(diff(&before, &saved(&more, &policy())).unwrap(), @r"
    device  before                          after                          weights
    cuda:0  embed, layers 0..10, norm+head  embed, layers 0..4; norm+head  5.2 GiB -> 2.2 GiB
    cuda:1  -                               layers 4..10                   0 B -> 3.0 GiB
    tokens/s: 433.6 -> 654.5 (+50.9 %)
    a token of each sequence: 18.45 ms -> 12.22 ms
    sequences: 8
    microbatches: 1 -> 2
    KV tokens: 8192
    ");
    let larger = Policy {
        kv_tokens: KvTokens::Exactly(16384),
        sequences: Sequences::Exactly(16),
        ..policy()
    };
    insta::assert_snapshot!(diff(&before, &saved(&cluster, &larger)).unwrap(), @r"
    device  before                          after                           weights
    cuda:0  embed, layers 0..10, norm+head  embed, layers 0..10, norm+head  5.2 GiB
    tokens/s: 433.6 -> 546.4 (+26.0 %)
    a token of each sequence: 18.45 ms -> 29.28 ms
    sequences: 8 -> 16
    microbatches: 1
    KV tokens: 8192 -> 16384
    ");
}

#[test]
fn what_has_changed_since_a_plan_was_made_is_named() {
    let cluster = Cluster::parse_spec("2x rtx3090, pcie4").unwrap();
    let saved = saved(&cluster, &policy());
    assert_eq!(saved.differences(&profile(), &cluster), Vec::<String>::new());
    // What is free changes all the time; it need only suffice.
    let less_free = Cluster::parse_spec("2x rtx3090@20GiB, pcie4").unwrap();
    assert_eq!(saved.differences(&profile(), &less_free), Vec::<String>::new());
    let mut other = profile();
    (other.hidden, other.units[2].weight_bytes) = (16, Bytes(3));
    let smaller = Cluster::parse_spec("1x rtx3090@4GiB").unwrap();
    insta::assert_snapshot!(saved.differences(&other, &smaller).join("\n"), @r"
    hidden: planned for 8, found 16
    weights of layer 1: planned for 536870912 bytes, found 3 bytes
    cuda:0: its stages need 5.1 GiB, found 3.0 GiB
    cuda:1 is not there
    ");
    let mut mixed = saved.clone();
    (mixed.profile.num_layers, other.num_layers) = (7, 7);
    let found = mixed.differences(&other, &cluster);
    assert_eq!(found.last().unwrap(), "layers of the plan: 10, of its model: 7");
}
