//! The balanced cut of a model over devices in a given order, exact by dynamic programming.

use sluicegate_model::{placed::DeviceId, units::UnitRange};

use super::{cost::Sizes, planner::Cap};

/// Cuts the units into one stage for each device, in order, so that the largest share of a cap is
/// as small as can be, and of such cuts the one with the smallest sum of squared shares.
///
/// As few devices as possible stay empty: those that cannot hold a unit, or that are more than
/// there are units. `None` if no cut fits.
pub(super) fn balance(sizes: &Sizes, caps: &[Cap]) -> Option<Vec<(DeviceId, UnitRange)>> {
    let (score, _) = search(sizes, caps, 1.0, f64::max)?;
    let (_, stages) = search(sizes, caps, score.value, |sum, share| sum + share * share)?;
    Some(stages)
}

/// Whether any cut fits.
pub(super) fn fits(sizes: &Sizes, caps: &[Cap]) -> bool {
    search(sizes, caps, 1.0, f64::max).is_some()
}

/// How good a cut is; the smaller, the better.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
struct Score {
    empty_devices: usize,
    value: f64,
}

/// Finds the cut with the least score, no stage having more than `limit` of its cap.
///
/// `combine` adds a stage's share to the score of the stages before it. It must not fall in either:
/// then the best cut of the units before a stage is part of the best cut of all.
fn search(
    sizes: &Sizes,
    caps: &[Cap],
    limit: f64,
    combine: fn(f64, f64) -> f64,
) -> Option<(Score, Vec<(DeviceId, UnitRange)>)> {
    let num_units = sizes.num_units();
    // Best score of covering the units before each one with the devices so far.
    let mut best = vec![None; num_units + 1];
    best[0] = Some(Score { empty_devices: 0, value: 0.0 });
    // Per device and end: where its stage starts; at the end itself if it stays empty.
    let mut starts = Vec::with_capacity(caps.len());
    for cap in caps {
        let skip = |score: Score| Score { empty_devices: score.empty_devices + 1, ..score };
        let mut next: Vec<Option<Score>> = best.iter().map(|score| score.map(skip)).collect();
        let mut start_of: Vec<usize> = (0..=num_units).collect();
        for (start, before) in best.iter().enumerate() {
            let Some(before) = before else { continue };
            for (end, share) in shares(sizes, *cap, start).take_while(|(_, share)| *share <= limit)
            {
                let score = Score { value: combine(before.value, share), ..*before };
                if next[end].is_none_or(|other| score < other) {
                    next[end] = Some(score);
                    start_of[end] = start;
                }
            }
        }
        best = next;
        starts.push(start_of);
    }
    let score = best[num_units]?;
    let mut stages = Vec::new();
    let mut end = num_units;
    for (cap, start_of) in caps.iter().zip(&starts).rev() {
        let start = start_of[end];
        if start < end {
            stages.push((cap.device, UnitRange { start, end }));
        }
        end = start;
    }
    stages.reverse();
    Some((score, stages))
}

/// The share of a cap that a stage from `start` takes, for each end as long as it fits; it only
/// grows with the end.
fn shares(sizes: &Sizes, cap: Cap, start: usize) -> impl Iterator<Item = (usize, f64)> {
    let cap = u128::from(cap.bytes.0);
    let mut workspace = 0;
    (start + 1..=sizes.num_units()).map_while(move |end| {
        workspace = sizes.workspace(end - 1).max(workspace);
        let held = sizes.stored(UnitRange { start, end }) + workspace;
        (held <= cap && cap > 0).then(|| (end, held as f64 / cap as f64))
    })
}
