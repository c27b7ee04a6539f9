//! How many microbatches should be in flight, from what was measured.

/// Learns what a microbatch costs each stage, and finds the number of microbatches with the
/// shortest cycle.
///
/// A stage takes a fixed time for a microbatch (it reads its weights) and some for each row. With
/// `n` rows in `M` microbatches, one token of every row takes
/// `C(M) = max(M * max t, sum(t) + rest)` with `t` for `ceil(n / M)` rows, and `rest` for what lies
/// between the stages and on the host: the planner's formula (`placement/evaluate.rs`), measured.
///
/// Microbatches of one size do not tell the two parts apart, so once, for a few of them, there are
/// half as many, if that is enough for the stages.
#[derive(Debug, Clone)]
pub struct Depth {
    stages: Vec<Line>,
    /// Seconds of a round that no stage accounts for: the least of the last ones, since others hold
    /// time that was spent waiting for a stage.
    rests: Vec<f64>,
    num_observed: usize,
    trial: Option<Trial>,
    max: usize,
}

/// A number of microbatches that is tried to learn from it, up to a number of observations.
#[derive(Debug, Clone, Copy)]
struct Trial {
    depth: usize,
    until: usize,
}

/// A line through the points that were measured, old ones counting less and less.
#[derive(Debug, Clone, Copy, Default)]
struct Line {
    weight: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
    /// The fixed part and the part per row, when both were last known; their ratio stays.
    shape: Option<(f64, f64)>,
}

/// How much each point counts when the next one comes.
const KEEP: f64 = 0.98;

/// Rounds whose rest is remembered.
const NUM_RESTS: usize = 32;

/// Observations of one size before another is tried, and of that.
const BEFORE_TRIAL: usize = 16;
const IN_TRIAL: usize = 8;

/// Another number of microbatches must promise a cycle shorter by this much.
const WORTH_IT: f64 = 0.97;

impl Depth {
    /// For a pipeline of so many stages and at most so many microbatches.
    pub fn new(num_stages: usize, max: usize) -> Self {
        let stages = vec![Line::default(); num_stages];
        Self { stages, rests: Vec::new(), num_observed: 0, trial: None, max: max.max(1) }
    }

    /// Takes note of a microbatch of decoding rows: what each stage took for it, and how long its
    /// round took, in seconds.
    pub fn observe(&mut self, num_rows: usize, stage_s: &[f64], round_s: f64) {
        for (line, seconds) in self.stages.iter_mut().zip(stage_s) {
            line.add(num_rows as f64, *seconds);
        }
        let rest = (round_s - stage_s.iter().sum::<f64>()).max(0.0);
        if self.rests.len() < NUM_RESTS {
            self.rests.push(rest);
        } else {
            self.rests[self.num_observed % NUM_RESTS] = rest;
        }
        self.num_observed += 1;
    }

    /// The best number of microbatches for so many rows; `current` as long as too little is known,
    /// or nothing is better by much.
    pub fn best(&mut self, num_rows: usize, current: usize) -> usize {
        if num_rows == 0 {
            return current;
        }
        if let Some(trial) = self.trial.filter(|trial| self.num_observed < trial.until) {
            return trial.depth;
        }
        let candidates = 1..=self.max.min(num_rows);
        let cycle_s = |depth| self.cycle_s(num_rows, depth);
        let Some(now_s) = cycle_s(current.min(num_rows)) else {
            return self.try_another(num_rows, current);
        };
        let cycles = candidates.filter_map(|depth| Some((depth, cycle_s(depth)?)));
        let best = cycles.reduce(|best, next| if next.1 < best.1 { next } else { best });
        best.filter(|(_, best_s)| *best_s < WORTH_IT * now_s).map_or(current, |(depth, _)| depth)
    }

    /// Begins a trial of half as many microbatches, if enough is known of the current number.
    fn try_another(&mut self, num_rows: usize, current: usize) -> usize {
        let effective = current.min(num_rows);
        // Fewer than there are stages leave one idle, which nothing makes up for.
        if self.num_observed < BEFORE_TRIAL || effective <= self.stages.len() {
            return current;
        }
        let depth = (effective / 2).max(self.stages.len());
        // The first ones are still as they were.
        let until = self.num_observed + effective + IN_TRIAL;
        self.trial = Some(Trial { depth, until });
        depth
    }

    fn cycle_s(&self, num_rows: usize, depth: usize) -> Option<f64> {
        let rows = num_rows.div_ceil(depth) as f64;
        let stage_s: Vec<f64> = self.stages.iter().map(|it| it.at(rows)).collect::<Option<_>>()?;
        let rest_s = self.rests.iter().copied().fold(f64::INFINITY, f64::min);
        let slowest_s = stage_s.iter().copied().fold(0.0, f64::max);
        Some((depth as f64 * slowest_s).max(stage_s.iter().sum::<f64>() + rest_s))
    }
}

impl Line {
    fn add(&mut self, x: f64, y: f64) {
        let Self { weight, x: sx, y: sy, xx, xy, .. } = self;
        for (sum, new) in [(weight, 1.0), (sx, x), (sy, y), (xx, x * x), (xy, x * y)] {
            *sum = *sum * KEEP + new;
        }
        self.shape = self.fit().or(self.shape);
    }

    /// The fixed part and the part per row; none while all points have about the same `x`. Neither
    /// is below zero: more rows are not cheaper.
    fn fit(&self) -> Option<(f64, f64)> {
        let (mean_x, mean_y) = (self.x / self.weight, self.y / self.weight);
        let variance = self.xx / self.weight - mean_x * mean_x;
        if self.weight < 4.0 || variance < 0.2 {
            return None;
        }
        let covariance = self.xy / self.weight - mean_x * mean_y;
        let rise = (covariance / variance).clamp(0.0, mean_y / mean_x);
        Some((mean_y - rise * mean_x, rise))
    }

    /// Through the middle of the points, with the last known shape.
    fn at(&self, x: f64) -> Option<f64> {
        let (fixed, rise) = self.shape?;
        let (mean_x, mean_y) = (self.x / self.weight, self.y / self.weight);
        let middle = fixed + rise * mean_x;
        Some(if middle > 0.0 { mean_y * (fixed + rise * x) / middle } else { mean_y })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has seen microbatches of 1 to 8 rows, on stages with these fixed times and times per row.
    fn learned(stages: &[(f64, f64)], rest_s: f64, max: usize) -> Depth {
        let mut depth = Depth::new(stages.len(), max);
        for rows in (1..=8).cycle().take(40) {
            let stage_s: Vec<f64> =
                stages.iter().map(|(fixed, per_row)| fixed + per_row * rows as f64).collect();
            // Some rounds wait for a stage.
            let waits = if rows == 3 { 0.0 } else { 5.0 };
            depth.observe(rows, &stage_s, stage_s.iter().sum::<f64>() + rest_s + waits);
        }
        depth
    }

    #[track_caller]
    fn check(stages: &[(f64, f64)], rest_s: f64, num_rows: usize, want: usize) {
        assert_eq!(learned(stages, rest_s, 8).best(num_rows, 1), want);
    }

    #[test]
    fn the_pipeline_is_filled_where_rows_are_what_costs() {
        // Four equal stages and a rest: one microbatch more than stages.
        check(&[(0.0, 1.0); 4], 0.4, 40, 5);
        check(&[(0.0, 1.0); 4], 0.0, 40, 4);
        check(&[(0.0, 1.0); 2], 0.1, 66, 3);
        check(&[(0.0, 1.0)], 0.0, 16, 1);
        check(&[(0.0, 1.0); 4], 0.4, 1, 1);
    }

    #[test]
    fn few_microbatches_are_better_where_weights_are_what_costs() {
        check(&[(1.0, 0.0); 2], 0.1, 64, 1);
        check(&[(1.0, 0.01)], 0.1, 16, 1);
        // Two microbatches, not the three that would fill the pipeline.
        check(&[(1.0, 0.01); 2], 0.1, 16, 2);
        check(&[(4.0, 0.5); 2], 0.1, 16, 2);
    }

    #[test]
    fn another_number_is_tried_once_before_anything_is_known() {
        let mut depth = Depth::new(2, 8);
        assert_eq!((depth.best(16, 4), depth.best(0, 4)), (4, 4));
        let seconds = |rows: usize| 3.0 + 0.25 * rows as f64;
        let mut current = 4;
        let mut seen = Vec::new();
        for _ in 0..400 {
            let rows = 16_usize.div_ceil(current);
            depth.observe(rows, &[seconds(rows); 2], 2.0 * seconds(rows) + 0.1);
            current = depth.best(16, current);
            if seen.last() != Some(&current) {
                seen.push(current);
            }
        }
        // Two microbatches of 8 take 10 s a cycle, four of 4 take 16 s.
        assert_eq!(seen, [4, 2]);
        assert_eq!(depth.best(1, 2), 2, "one row is one microbatch, whatever is allowed");
        let mut single = Depth::new(2, 8);
        for _ in 0..100 {
            single.observe(1, &[1.0, 1.0], 2.5);
        }
        assert_eq!(single.best(1, 4), 4, "there is nothing else to try");
        let mut full = Depth::new(2, 8);
        for _ in 0..100 {
            full.observe(8, &[1.0, 1.0], 2.5);
        }
        assert_eq!(full.best(16, 2), 2, "one would leave a stage idle");
    }
}
