//! What a microbatch costs on a device: the planner's one model of time.
//!
//! A stage reads the weights of its units once for each microbatch, the cache of each row, and
//! computes on both. It takes as long as the slower of reading and computing, plus what the device
//! adds to every step. (The roofline model: Williams, Waterman and Patterson, 2009.)

use sluicegate_model::{
    config::KvGroup,
    profile::{ModelProfile, UnitProfile},
    units::{Unit, UnitRange},
};

use super::{
    cluster::{ClusterDevice, LinkFigures},
    policy::{Objective, Policy},
};

/// What one microbatch carries, on average over the life of its sequences.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Load {
    /// Sequences that decode one token each.
    rows: f64,
    /// Prompt tokens that ride along: whenever a sequence ends, another one's prompt comes in.
    prompt_tokens: f64,
    /// Positions that a decoding row sees.
    context: f64,
    /// Positions that a prompt token sees.
    prompt_context: f64,
    /// Prompt tokens that share one pass over the cache before them.
    chunk_tokens: f64,
    /// Rows whose logits are wanted.
    logit_rows: f64,
}

/// What one row brings to an actual microbatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowLoad {
    /// Position of the first new token.
    pub position: usize,
    /// New tokens.
    pub tokens: usize,
    pub wants_logits: bool,
}

impl RowLoad {
    /// Whether the row brings the token that was sampled last, and nothing else.
    pub fn is_decoding(&self) -> bool {
        self.tokens == 1 && self.wants_logits
    }
}

impl Load {
    /// A microbatch of `rows` sequences as the policy expects them.
    ///
    /// For [`Objective::Throughput`] the batch is refilled for ever, so each step of a row brings
    /// `prompt / output` prompt tokens; for [`Objective::Latency`] it decodes one sequence.
    pub(super) fn new(profile: &ModelProfile, policy: &Policy, rows: usize) -> Self {
        let longest = policy.context(profile.max_positions) as f64;
        let prompt = (policy.prompt_tokens as f64).min(longest);
        let output = (longest - prompt).max(1.0);
        let rows = rows as f64;
        Self {
            rows,
            prompt_tokens: match policy.objective {
                Objective::Throughput => rows * prompt / output,
                Objective::Latency => 0.0,
            },
            context: (prompt + output / 2.0).min(longest),
            prompt_context: prompt / 2.0,
            chunk_tokens: policy.chunk_tokens as f64,
            logit_rows: rows,
        }
    }

    /// An actual microbatch: what the policy only expects is known.
    pub(super) fn of_rows(rows: &[RowLoad]) -> Self {
        let (mut decoding, mut seen) = (0.0, 0.0);
        let (mut chunks, mut prompt_tokens, mut prompt_seen) = (0.0, 0.0, 0.0);
        for row in rows {
            let (position, tokens) = (row.position as f64, row.tokens as f64);
            if row.is_decoding() {
                decoding += 1.0;
                seen += position + 1.0;
            } else {
                chunks += 1.0;
                prompt_tokens += tokens;
                prompt_seen += tokens * (position + f64::midpoint(tokens, 1.0));
            }
        }
        Self {
            rows: decoding,
            prompt_tokens,
            context: seen / f64::max(decoding, 1.0),
            prompt_context: prompt_seen / f64::max(prompt_tokens, 1.0),
            chunk_tokens: prompt_tokens.max(1.0) / f64::max(chunks, 1.0),
            logit_rows: rows.iter().filter(|row| row.wants_logits).count() as f64,
        }
    }

    /// New tokens of such a microbatch, rounded up.
    pub(super) fn num_tokens(&self) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative, and a cast saturates"
        )]
        let tokens = self.tokens().ceil() as usize;
        tokens
    }

    fn tokens(&self) -> f64 {
        self.rows + self.prompt_tokens
    }
}

/// The work of a microbatch, summed up so that any span of units is one subtraction.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Work {
    /// Bytes read in the units before each unit, and in all.
    bytes: Vec<f64>,
    /// Operations in the units before each unit, and in all.
    flops: Vec<f64>,
    /// Activations that cross a border.
    pub(super) hidden_bytes: f64,
    /// Logits that go to the host, and masks that come from it.
    sampling_bytes: f64,
}

impl Work {
    pub(super) fn new(profile: &ModelProfile, load: Load) -> Self {
        let (mut bytes, mut flops) = (vec![0.0], vec![0.0]);
        for (unit_idx, unit) in profile.units.iter().enumerate() {
            let (read, computed) = unit_work(unit, load, &profile.kv_groups);
            bytes.push(bytes[unit_idx] + read);
            flops.push(flops[unit_idx] + computed);
        }
        let width = (profile.hidden as f64) * profile.hidden_element_bytes as f64;
        let logits = profile.vocab as f64 * 4.0;
        let mask = profile.vocab.div_ceil(32) as f64 * 4.0;
        Self {
            bytes,
            flops,
            hidden_bytes: load.tokens() * width,
            sampling_bytes: load.logit_rows * (logits + mask),
        }
    }

    pub(super) fn num_units(&self) -> usize {
        self.bytes.len() - 1
    }

    /// How long a stage with these units computes, in seconds.
    pub(super) fn seconds(&self, speed: Speed, units: UnitRange) -> f64 {
        let UnitRange { start, end } = units;
        let reading = (self.bytes[end] - self.bytes[start]) * speed.s_per_byte;
        let computing = (self.flops[end] - self.flops[start]) * speed.s_per_flop;
        let base = if end == self.num_units() {
            speed.overhead_s + self.sampling_bytes * speed.s_per_host_byte
        } else {
            speed.overhead_s
        };
        if reading > computing { reading + base } else { computing + base }
    }

    /// Lowers `sums[end]`, for every end of a stage that begins with `longest` and is no longer, to
    /// `so_far` and the time of that stage, where that is less.
    ///
    /// The innermost loop of the search, and for that reason one over plain slices.
    pub(super) fn relax(&self, speed: Speed, longest: UnitRange, so_far: f64, sums: &mut [f64]) {
        let UnitRange { start, end: furthest } = longest;
        let base = so_far + speed.overhead_s;
        let (bytes, flops) = (self.bytes[start], self.flops[start]);
        let span = start + 1..=furthest.min(self.num_units() - 1);
        if !span.is_empty() {
            let ends = self.bytes[span.clone()].iter().zip(&self.flops[span.clone()]);
            for (sum, (end_bytes, end_flops)) in sums[span].iter_mut().zip(ends) {
                let reading = (end_bytes - bytes) * speed.s_per_byte;
                let computing = (end_flops - flops) * speed.s_per_flop;
                let slower = if reading > computing { reading } else { computing };
                let candidate = slower + base;
                *sum = if candidate < *sum { candidate } else { *sum };
            }
        }
        if furthest == self.num_units() {
            sums[furthest] = sums[furthest].min(so_far + self.seconds(speed, longest));
        }
    }

    /// Bytes read in the units from `start` up to `end`; nothing where there are none.
    pub(super) fn bytes_between(&self, start: usize, end: usize) -> f64 {
        (self.bytes[end] - self.bytes[start]).max(0.0)
    }

    /// Bytes read in one unit.
    pub(super) fn unit_bytes(&self, unit_idx: usize) -> f64 {
        self.bytes[unit_idx + 1] - self.bytes[unit_idx]
    }

    /// Operations done in one unit.
    pub(super) fn unit_flops(&self, unit_idx: usize) -> f64 {
        self.flops[unit_idx + 1] - self.flops[unit_idx]
    }

    /// Bytes and operations of all units.
    pub(super) fn totals(&self) -> (f64, f64) {
        (self.bytes[self.num_units()], self.flops[self.num_units()])
    }
}

/// Bytes read and operations done by one unit.
fn unit_work(unit: &UnitProfile, load: Load, kv_groups: &[KvGroup]) -> (f64, f64) {
    let tokens = load.tokens();
    let reads = unit.read_bytes.0 as f64;
    let flops = unit.flops_per_token as f64;
    let (mut bytes, mut computed) = match unit.unit {
        // A token looks up one row.
        Unit::Embed => (reads * tokens, flops * tokens),
        Unit::Layer(_) => (reads, flops * tokens),
        // Only the last token of a prompt needs logits.
        Unit::Head => (reads, flops * load.logit_rows),
    };
    bytes += unit.experts.map_or(0.0, |experts| experts.read_bytes(tokens));
    if let Some(cache) = unit.kv {
        let seen = |positions: f64| match kv_groups[cache.group_idx] {
            KvGroup::Full => positions,
            KvGroup::Window(window) => positions.min(window as f64),
        };
        let (context, prompt_context) = (seen(load.context), seen(load.prompt_context));
        let chunks = load.prompt_tokens / load.chunk_tokens;
        let per_token = cache.bytes_per_token.0 as f64;
        bytes += per_token * (load.rows * context + chunks * prompt_context);
        computed += unit.flops_per_position as f64
            * (load.rows * context + load.prompt_tokens * prompt_context);
    }
    (bytes, computed)
}

/// A device as the cost model sees it: seconds for each of what it does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Speed {
    pub(super) s_per_byte: f64,
    pub(super) s_per_flop: f64,
    pub(super) overhead_s: f64,
    s_per_host_byte: f64,
}

impl Speed {
    pub(super) fn of(device: &ClusterDevice, profile: &ModelProfile) -> Self {
        Self {
            s_per_byte: device.bytes_per_s.recip(),
            s_per_flop: device.flops_per_s.of(profile.compute).recip(),
            overhead_s: device.overhead_s,
            s_per_host_byte: device.host_bytes_per_s.map_or(0.0, f64::recip),
        }
    }

    /// A device that reads and computes so many times as fast.
    pub(super) fn times(self, factor: f64) -> Self {
        Self { s_per_byte: self.s_per_byte / factor, s_per_flop: self.s_per_flop / factor, ..self }
    }
}

/// What the hidden values of a microbatch cost on their way into a stage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hop {
    pub seconds: f64,
    /// Whether the stage computes meanwhile.
    pub overlaps: bool,
}

impl Hop {
    pub(super) fn new(link: &LinkFigures, work: &Work) -> Self {
        Self { seconds: link.seconds(work.hidden_bytes), overlaps: link.overlaps }
    }

    /// What the receiving device cannot compute in.
    pub fn blocking_s(self) -> f64 {
        if self.overlaps { 0.0 } else { self.seconds }
    }
}
