//! The planner's suite: what must hold of it, whatever the figures are.

use sluicegate_tests::suite::{Part, Report, Suite};

#[test]
fn the_suite_is_as_mixed_as_it_claims() {
    let suite = Suite::read();
    let num_homogeneous = suite.cases.iter().filter(|case| case.is_homogeneous).count();
    assert!(suite.cases.len() >= 30);
    assert_eq!(num_homogeneous * 3, suite.cases.len());
}

#[test]
fn no_rule_beats_the_planner_on_the_suite() {
    let outcomes = Suite::read().run();
    for outcome in &outcomes {
        for (rule, peer) in &outcome.peers {
            let ratio = outcome.ratio(peer);
            let is_beaten = ratio.is_some_and(|ratio| ratio < 1.0 - 1e-9);
            assert!(!is_beaten, "{}: {rule} takes {ratio:?} of our time", outcome.case.name);
        }
        let Some(gap) = outcome.solution.prediction.gap() else { panic!("auto searches") };
        assert!(gap < 1e-9 || outcome.num_devices > 8, "{}: {gap}", outcome.case.name);
    }
    let is_in = |part: Part| outcomes.iter().filter(move |it| part.has(it)).count();
    let parts = Part::ALL.into_iter().filter(|part| *part != Part::All);
    assert_eq!(parts.map(is_in).sum::<usize>(), is_in(Part::All));
    assert!(is_in(Part::OpenUneven) >= 10);
    assert!(Report(&outcomes).to_string().contains("best rule of each case"));
}
