//! What rounds of decoding rows took, put together from what is known at different times: a stage on
//! a GPU may tell its part after the tokens have come back, or before.

use std::{collections::BTreeMap, time::Duration};

use crate::messages::MicrobatchId;

/// Rounds of which something is still unknown.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    open: BTreeMap<MicrobatchId, OpenRound>,
}

#[derive(Debug)]
struct OpenRound {
    num_rows: usize,
    seconds: Option<f64>,
    stage_s: Vec<Option<f64>>,
}

/// A round that is known.
#[derive(Debug, PartialEq)]
pub(super) struct Round {
    pub(super) num_rows: usize,
    /// From the order to its tokens.
    pub(super) seconds: f64,
    /// What each stage took of it.
    pub(super) stage_s: Vec<f64>,
}

impl Rounds {
    /// A microbatch of so many decoding rows was sent to so many stages.
    pub(super) fn begin(&mut self, id: MicrobatchId, num_rows: usize, num_stages: usize) {
        let stage_s = vec![None; num_stages];
        self.open.insert(id, OpenRound { num_rows, seconds: None, stage_s });
    }

    /// Its tokens have come back, with what is known of its stages. Returns the round if that is all.
    pub(super) fn came_back(
        &mut self,
        id: MicrobatchId,
        took: Duration,
        stage_s: &[Option<f64>],
    ) -> Option<Round> {
        let round = self.open.get_mut(&id)?;
        // Groups whose masks were late come back later, and are no round of their own.
        round.seconds.get_or_insert(took.as_secs_f64());
        for (known, told) in round.stage_s.iter_mut().zip(stage_s) {
            *known = known.or(*told);
        }
        self.take_known(id)
    }

    /// What one of its stages took. Returns the round if that was all that was missing.
    pub(super) fn timed(
        &mut self,
        id: MicrobatchId,
        stage: usize,
        took: Duration,
    ) -> Option<Round> {
        *self.open.get_mut(&id)?.stage_s.get_mut(stage)? = Some(took.as_secs_f64());
        self.take_known(id)
    }

    /// Whatever was in flight will not come back.
    pub(super) fn lose(&mut self) {
        self.open.clear();
    }

    fn take_known(&mut self, id: MicrobatchId) -> Option<Round> {
        let OpenRound { num_rows, seconds, stage_s } = self.open.get(&id)?;
        let round = Round {
            num_rows: *num_rows,
            seconds: (*seconds)?,
            stage_s: stage_s.iter().copied().collect::<Option<_>>()?,
        };
        self.open.remove(&id);
        Some(round)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: MicrobatchId = MicrobatchId(7);
    const MS: Duration = Duration::from_millis(1);

    fn begun() -> Rounds {
        let mut rounds = Rounds::default();
        rounds.begin(ID, 3, 2);
        rounds
    }

    fn known() -> Round {
        Round { num_rows: 3, seconds: 0.009, stage_s: vec![0.004, 0.002] }
    }

    #[test]
    fn a_round_is_known_once_all_of_it_has_been_told_in_any_order() {
        let all = [Some(0.004), Some(0.002)];
        assert_eq!(begun().came_back(ID, 9 * MS, &all), Some(known()));
        let mut late = begun();
        assert_eq!(late.came_back(ID, 9 * MS, &[None, Some(0.002)]), None);
        assert_eq!(late.timed(ID, 0, 4 * MS), Some(known()));
        let mut early = begun();
        assert_eq!(early.timed(ID, 0, 4 * MS), None);
        assert_eq!(early.came_back(ID, 9 * MS, &[None, Some(0.002)]), Some(known()));
        assert_eq!(early.timed(ID, 0, 4 * MS), None, "it is told once");
    }

    #[test]
    fn what_was_lost_or_never_begun_is_no_round() {
        let mut rounds = begun();
        rounds.lose();
        assert_eq!(rounds.came_back(ID, 9 * MS, &[Some(0.1), Some(0.1)]), None);
        assert_eq!(begun().timed(MicrobatchId(8), 0, MS), None);
        assert_eq!(begun().timed(ID, 2, MS), None, "there is no such stage");
    }
}
