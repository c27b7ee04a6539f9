//! Prints plans, explanations and shortfalls for people.

use std::fmt::{self, Write};

use sluicegate_spec::units::{Bytes, LayerRange};

use super::{
    error::{DeviceLimit, DeviceList, Shortfall, TooSlow},
    evaluate::Bottleneck,
    explanation::{Explanation, LeftOut, Limit, OneMore, Relaxation},
    plan::{Plan, PlannedStage, StageId},
    planner::Solution,
    policy::TimeLimits,
    prediction::{Prediction, Proof},
};

/// Prints a table with aligned columns: words to the left, numbers to the right.
pub(super) fn table<const N: usize>(
    f: &mut impl Write,
    words: [bool; N],
    rows: &[[String; N]],
) -> fmt::Result {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for row in rows {
        let cells = row.iter().zip(widths).zip(words).map(|((cell, width), is_word)| {
            if is_word { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        writeln!(f, "{}", line.trim_end())?;
    }
    Ok(())
}

impl fmt::Display for Plan {
    /// Prints one line per stage, then the size of the cache.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = ["stage", "device", "units", "weights", "KV", "workspace", "total", "of cap"];
        let mut rows = vec![header.map(str::to_owned)];
        rows.extend(self.stages().map(|(StageId(stage_idx), stage)| {
            let total = stage.total_bytes();
            let [weights, kv, workspace] = sizes(stage);
            let (device, units) = (stage.device.to_string(), self.units(stage));
            let share = percent(total.0 as f64 / (stage.cap_bytes.0 as f64).max(1.0));
            [stage_idx.to_string(), device, units, weights, kv, workspace, total.to_string(), share]
        }));
        table(f, [false, true, true, false, false, false, false, false], &rows)?;
        write!(
            f,
            "KV cache for {} tokens; microbatches of up to {} rows and {} new tokens, {} in flight",
            self.kv_tokens, self.batch, self.chunk_tokens, self.microbatches
        )
    }
}

impl Plan {
    /// Returns the units of a stage in words: `embed, layers 0..15`.
    pub fn units(&self, stage: &PlannedStage) -> String {
        let layers: LayerRange = self.layers(stage);
        let mut words = Vec::new();
        if stage.units.has_embed() {
            words.push("embed".to_owned());
        }
        if !layers.is_empty() {
            words.push(format!("layers {layers}"));
        }
        if stage.units.has_head(self.num_layers) {
            words.push("norm+head".to_owned());
        }
        words.join(", ")
    }
}

fn sizes(stage: &PlannedStage) -> [String; 3] {
    [stage.weight_bytes, stage.kv_bytes, stage.workspace_bytes].map(|bytes| bytes.to_string())
}

/// A solution with its explanation, for people.
#[derive(Debug, Clone, Copy)]
pub struct Explained<'a> {
    pub solution: &'a Solution,
    pub explanation: &'a Explanation,
}

impl fmt::Display for Explained<'_> {
    /// Prints one line per stage, then one sentence per finding.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Solution { plan, prediction } = self.solution;
        self.stages(f)?;
        writeln!(f, "{}", in_flight(prediction))?;
        writeln!(f, "{}", bottleneck(prediction))?;
        for relaxation in self.explanation.relaxations.iter().take(3) {
            writeln!(f, "{}", relaxed(relaxation))?;
        }
        if let Some(left_out) = &self.explanation.left_out {
            writeln!(f, "{}", left(left_out))?;
        }
        let kv = &self.explanation.kv;
        writeln!(
            f,
            "KV cache for {} tokens; {} would fit on these stages, then {} is full",
            plan.kv_tokens, kv.fitting_tokens, kv.device
        )?;
        if let Some(price) = self.explanation.price_per_million_tokens {
            writeln!(f, "price of a million tokens: {price:.3}")?;
        }
        write!(f, "{}", proof(prediction))
    }
}

impl Explained<'_> {
    fn stages(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Solution { plan, prediction } = self.solution;
        let header =
            ["stage", "device", "units", "weights", "KV", "workspace", "free", "time", "busy"];
        let mut rows = vec![header.map(str::to_owned)];
        for ((StageId(stage_idx), stage), predicted) in plan.stages().zip(&prediction.stages) {
            let [weights, kv, workspace] = sizes(stage);
            let share = self.explanation.devices.iter().find(|it| it.device == stage.device);
            let (free, busy) = share.map_or_else(Default::default, |share| {
                (share.free_bytes.to_string(), percent(share.busy_share))
            });
            rows.push([
                stage_idx.to_string(),
                stage.device.to_string(),
                plan.units(stage),
                weights,
                kv,
                workspace,
                free,
                time(predicted.seconds),
                busy,
            ]);
        }
        table(f, [false, true, true, false, false, false, false, false, false], &rows)
    }
}

fn in_flight(prediction: &Prediction) -> String {
    let Prediction { sequences, microbatches, rows, cycle_s, full_at, .. } = prediction;
    let tokens_per_s = prediction.tokens_per_s();
    let first = prediction
        .first_token_s
        .map_or_else(String::new, |seconds| format!(", the first one after {}", time(seconds)));
    format!(
        "{tokens_per_s:.1} tokens/s: {} at once in {} of {}, a token each every {}{first}; the pipeline \
         is full with {}",
        count(*sequences, "sequence", "sequences"),
        count(*microbatches, "microbatch", "microbatches"),
        count(*rows, "row", "rows"),
        time(*cycle_s),
        count(*full_at, "microbatch", "microbatches"),
    )
}

fn bottleneck(prediction: &Prediction) -> String {
    let place = match prediction.bottleneck {
        Bottleneck::Device(device) => device.to_string(),
        Bottleneck::Link(source, target) => format!("the link {source} -> {target}"),
    };
    let busy = time(prediction.bottleneck_s);
    if prediction.microbatches < prediction.full_at {
        let round = time(prediction.round_s);
        return format!(
            "bound by the round through all stages, {round}; {place} is busiest, for {busy} of it"
        );
    }
    format!("bottleneck: {place}, busy for {busy} with each microbatch")
}

fn relaxed(relaxation: &Relaxation) -> String {
    let gain = signed_percent(relaxation.gain);
    match relaxation.limit {
        Limit::Memory(device) => format!("with twice the memory on {device}: {gain} tokens/s"),
        Limit::Links => format!("with links that cost nothing: {gain} tokens/s"),
        Limit::Head => format!("with a head that costs nothing: {gain} tokens/s"),
        Limit::Speed(device) => format!("with {device} a tenth faster: {gain} tokens/s"),
    }
}

fn left(left_out: &LeftOut) -> String {
    let LeftOut { devices, num_used, with_one_more } = left_out;
    let (used, all) = (num_used, num_used + devices.len());
    let devices = DeviceList(devices.clone());
    let more = match with_one_more {
        OneMore::Gain(gain) => {
            format!("; the best use of one more: {} tokens/s", signed_percent(*gain))
        }
        OneMore::None => "; there is no placement that uses one more".to_owned(),
        OneMore::NotSearched => {
            "; the search for one more was skipped: too many kinds of devices".to_owned()
        }
        OneMore::Given => String::new(),
    };
    format!("uses {used} of {all} devices, not {devices}{more}")
}

fn proof(prediction: &Prediction) -> String {
    match (prediction.proof, prediction.gap()) {
        (Proof::Search { infeasible_s, .. }, Some(gap)) if gap < 1e-6 => {
            let certificate = infeasible_s.map_or_else(String::new, |seconds| {
                format!(": nothing keeps every device and link below {}", time(seconds))
            });
            format!("proven: no placement is better{certificate}")
        }
        (Proof::Search { .. }, Some(gap)) => {
            format!("not proven to be the best: at most {} from it", percent(gap))
        }
        _ => "the stages were given, not searched for".to_owned(),
    }
}

/// Formats a number with its noun.
fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn signed_percent(share: f64) -> String {
    // A share that rounds to zero gets no sign.
    let percent = Some(share * 100.0).filter(|percent| percent.abs() >= 0.05).unwrap_or(0.0);
    format!("{percent:+.1} %")
}

/// Formats a time with at least three digits.
pub(super) fn time(seconds: f64) -> String {
    match seconds {
        1.0.. => format!("{seconds:.2} s"),
        1e-3.. => format!("{:.2} ms", seconds * 1e3),
        _ => format!("{:.1} us", seconds * 1e6),
    }
}

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TimeLimits { per_token, to_first_token } = self.wanted;
        write!(f, "no placement is fast enough: wanted")?;
        if let Some(limit) = per_token {
            write!(f, " at most {} for each token", time(limit.as_secs_f64()))?;
        }
        if let Some(limit) = to_first_token {
            let and = if per_token.is_some() { " and" } else { " at most" };
            write!(f, "{and} {} to the first one", time(limit.as_secs_f64()))?;
        }
        let sequences = count(self.sequences, "sequence", "sequences");
        write!(f, "; found {} for each token of {sequences}", time(self.per_token_s))?;
        match self.first_token_s {
            Some(seconds) => write!(f, " and {} to the first one", time(seconds)),
            None => Ok(()),
        }
    }
}

/// Formats usable and total memory, as `23.0 GiB of 24.0 GiB`; once if both are equal.
fn usable_of(usable: Bytes, memory: Bytes) -> String {
    if usable == memory { memory.to_string() } else { format!("{usable} of {memory}") }
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { weight_bytes, kv_bytes, kv_tokens, workspace_bytes, .. } = self;
        write!(
            f,
            "the model does not fit: wanted {weight_bytes} of weights, {kv_bytes} of KV cache for \
             {kv_tokens} tokens and up to {workspace_bytes} of workspace per stage; found "
        )?;
        if self.limits.len() > 8 {
            let sum = |bytes: fn(&DeviceLimit) -> Bytes| {
                Bytes(self.limits.iter().fold(0, |sum: u64, it| sum.saturating_add(bytes(it).0)))
            };
            let limit = usable_of(sum(|it| it.usable), sum(|it| it.memory));
            write!(f, "{limit} on {} devices", self.limits.len())?;
        } else {
            for (idx, limit) in self.limits.iter().enumerate() {
                let DeviceLimit { device, usable, memory, reserve } = *limit;
                let limit = usable_of(usable, memory);
                write!(f, "{}{limit} on {device}", if idx == 0 { "" } else { ", " })?;
                if usable == Bytes(0) && reserve > Bytes(0) {
                    write!(f, " beside its reserve of {reserve}")?;
                }
            }
        }
        if let Some((device, missing)) = self.short {
            write!(f, "; missing at least {missing} on {device}")?;
        }
        if let Some(tokens) = self.fitting_kv_tokens {
            write!(f, "; a KV cache of {tokens} tokens would fit")?;
        }
        if let Some(device) = self.fits_with_another {
            write!(f, "; one more device like {device} would suffice")?;
        }
        Ok(())
    }
}
