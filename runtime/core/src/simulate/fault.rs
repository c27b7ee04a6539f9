//! What goes wrong, as it is scripted.

/// One thing that goes wrong at a known time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// Microbatches that a stage begins meanwhile take `factor` times as long.
    SlowStage { stage: usize, from_s: f64, until_s: f64, factor: f64 },
    /// Transfers into a stage that begin meanwhile take `factor` times as long.
    SlowLink { stage: usize, from_s: f64, until_s: f64, factor: f64 },
    /// The mask of one row of a microbatch, by its number, comes so much later.
    LateMask { microbatch: u64, seconds: f64 },
    /// A stage is lost, and with it all that is in flight; the pipeline goes on with empty pages,
    /// under the next incarnation, `restart_s` later.
    LostStage { at_s: f64, restart_s: f64 },
}

/// How many times as long a stage takes that begins now.
pub(super) fn stage_factor(faults: &[Fault], at_stage: usize, now_s: f64) -> f64 {
    let factors = faults.iter().filter_map(|fault| match *fault {
        Fault::SlowStage { stage, from_s, until_s, factor } => {
            (stage == at_stage && (from_s..until_s).contains(&now_s)).then_some(factor)
        }
        _ => None,
    });
    factors.product()
}

/// How many times as long a transfer into a stage takes that begins now.
pub(super) fn link_factor(faults: &[Fault], into: usize, now_s: f64) -> f64 {
    let factors = faults.iter().filter_map(|fault| match *fault {
        Fault::SlowLink { stage, from_s, until_s, factor } => {
            (stage == into && (from_s..until_s).contains(&now_s)).then_some(factor)
        }
        _ => None,
    });
    factors.product()
}

/// By how much a mask of a microbatch is late.
pub(super) fn mask_delay_s(faults: &[Fault], of: u64) -> f64 {
    let delays = faults.iter().filter_map(|fault| match *fault {
        Fault::LateMask { microbatch, seconds } => (microbatch == of).then_some(seconds),
        _ => None,
    });
    delays.sum()
}
