//! The suite's results as a table, with means and worst cases.

use std::fmt::{self, Write};

use sluicegate_placement::Baseline;

use super::Outcome;

/// Prints everything.
#[derive(Debug)]
pub struct Report<'a>(pub &'a [Outcome]);

/// A part of the suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Homogeneous,
    Uneven,
    /// Every rule has the best number of sequences for itself and fills its memory.
    OpenHomogeneous,
    OpenUneven,
    All,
}

impl Part {
    pub const ALL: [Self; 5] =
        [Self::Homogeneous, Self::Uneven, Self::OpenHomogeneous, Self::OpenUneven, Self::All];

    /// Whether a case is in it.
    pub fn has(self, outcome: &Outcome) -> bool {
        match self {
            Self::Homogeneous => !outcome.case.policy.is_open() && outcome.case.is_homogeneous,
            Self::Uneven => !outcome.case.policy.is_open() && !outcome.case.is_homogeneous,
            Self::OpenHomogeneous => outcome.case.policy.is_open() && outcome.case.is_homogeneous,
            Self::OpenUneven => outcome.case.policy.is_open() && !outcome.case.is_homogeneous,
            Self::All => true,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Homogeneous => "homogeneous",
            Self::Uneven => "uneven",
            Self::OpenHomogeneous => "open, homogeneous",
            Self::OpenUneven => "open, uneven",
            Self::All => "all",
        }
    }
}

/// Ratios of several cases.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    pub count: usize,
    pub geometric_mean: f64,
    pub worst: f64,
}

impl Summary {
    /// None where there are no ratios.
    pub fn of(ratios: impl IntoIterator<Item = f64>) -> Option<Self> {
        let ratios: Vec<f64> = ratios.into_iter().collect();
        let worst = ratios.iter().copied().reduce(f64::min)?;
        let logarithms: f64 = ratios.iter().map(|ratio| ratio.ln()).sum();
        let geometric_mean = (logarithms / ratios.len() as f64).exp();
        Some(Self { count: ratios.len(), geometric_mean, worst })
    }
}

const SHORT: [(&str, Baseline); 5] = [
    ("even", Baseline::Even),
    ("proport.", Baseline::Proportional),
    ("first fit", Baseline::FirstFit),
    ("acc. bal.", Baseline::AccelerateBalanced),
    ("acc. seq.", Baseline::AccelerateSequential),
];

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cases(f)?;
        writeln!(
            f,
            "\nA rule's seconds per token divided by ours; `-`: its placement does not fit."
        )?;
        for part in Part::ALL {
            self.part(f, part)?;
        }
        Ok(())
    }
}

impl Report<'_> {
    fn cases(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:44} {:13} {:>7} {:>8} {:>7} {:>8}",
            "", "model", "devices", "tokens/s", "gap", "ms"
        )?;
        for (short, _) in SHORT {
            write!(f, " {short:>9}")?;
        }
        writeln!(f, " {:>9}", "best")?;
        for outcome in self.0 {
            let prediction = &outcome.solution.prediction;
            let devices = format!("{}/{}", num_used(outcome), outcome.num_devices);
            let (case, gap) = (&outcome.case, prediction.gap().unwrap_or(f64::NAN) * 100.0);
            let (rate, ms) = (prediction.tokens_per_s(), outcome.elapsed.as_secs_f64() * 1e3);
            write!(f, "{:44} {:13} {devices:>7}", case.name, case.model)?;
            write!(f, " {rate:>8.1} {gap:>5.1} % {ms:>8.1}")?;
            for (_, baseline) in SHORT {
                write!(f, " {}", cell(outcome.ratio(&outcome.peers[baseline.name()])))?;
            }
            writeln!(f, " {}", cell(outcome.best(|_| true)))?;
        }
        Ok(())
    }

    /// A line for each rule, and for the best of all.
    fn part(&self, f: &mut fmt::Formatter<'_>, part: Part) -> fmt::Result {
        let outcomes: Vec<&Outcome> = self.0.iter().filter(|it| part.has(it)).collect();
        writeln!(f, "\n{} ({} cases)", part.name(), outcomes.len())?;
        writeln!(
            f,
            "{:24} {:>5} {:>9} {:>9}   where it uses all devices",
            "", "fits", "geo. mean", "worst"
        )?;
        for baseline in Baseline::ALL {
            let peers = || outcomes.iter().map(|it| (it, &it.peers[baseline.name()]));
            let ratios = peers().filter_map(|(it, peer)| it.ratio(peer));
            let whole = peers().filter(|(it, peer)| it.uses_all(peer));
            line(f, baseline.name(), ratios, whole.filter_map(|(it, peer)| it.ratio(peer)))?;
        }
        let best = outcomes.iter().filter_map(|it| it.best(|_| true));
        let whole = outcomes.iter().filter_map(|it| it.best(|peer| it.uses_all(peer)));
        line(f, "best rule of each case", best, whole)
    }
}

fn line(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    ratios: impl Iterator<Item = f64>,
    whole: impl Iterator<Item = f64>,
) -> fmt::Result {
    let mut text = format!("{name:24}");
    for summary in [Summary::of(ratios), Summary::of(whole)] {
        match summary {
            Some(Summary { count, geometric_mean, worst }) => {
                write!(text, " {count:>5} {geometric_mean:>9.3} {worst:>9.3}  ")?;
            }
            None => write!(text, " {:>5} {:>9} {:>9}  ", 0, "-", "-")?,
        }
    }
    writeln!(f, "{}", text.trim_end())
}

fn cell(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| format!("{:>9}", "-"), |ratio| format!("{ratio:>9.3}"))
}

fn num_used(outcome: &Outcome) -> usize {
    let stages = &outcome.solution.plan.stages;
    let used: std::collections::BTreeSet<_> = stages.iter().map(|stage| stage.device).collect();
    used.len()
}
