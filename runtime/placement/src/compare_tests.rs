//! No rule of another system is ever better, whether the search was exact or not.

use std::cell::Cell;

use proptest::{prelude::*, test_runner::TestRunner};
use sluicegate_slow::Slow;

use super::{
    baselines,
    instances::{Instance, any_instance},
    search::Search,
    setting::Setting,
    solve,
};

fn check(instance: &Instance) -> Result<(), TestCaseError> {
    let Instance { profile, cluster, policy } = instance;
    let Ok(solution) = solve(profile, cluster, policy) else { return Ok(()) };
    let ours = solution.prediction.objective_value;
    for (rule, peer) in baselines(profile, cluster, policy, &solution) {
        // A rule may cut what is to stay together; that is no placement.
        let parts = |layers: &sluicegate_spec::units::LayerRange| {
            peer.stages
                .iter()
                .any(|(_, units)| (layers.start + 2..=layers.end).contains(&units.end))
        };
        if !peer.feasible || policy.keep_together.iter().any(parts) {
            continue;
        }
        let theirs = peer.objective_value.expect("what fits has stages");
        prop_assert!(theirs >= ours * (1.0 - 1e-9), "{rule}: {theirs}, found {ours}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn no_rule_beats_the_planner(instance in any_instance(3..20, 1..7)) {
        check(&instance)?;
    }
}

/// So many devices of kinds of their own are more than the search tries all sets of.
#[test]
fn no_rule_beats_the_planner_where_the_search_is_not_exact() {
    let is_wanted = Slow::Plans.is_wanted("940 more instances: four minutes");
    let cases = if is_wanted { 1_000 } else { 60 };
    let config = ProptestConfig { cases, ..ProptestConfig::default() };
    let num_inexact = Cell::new(0);
    let outcome = TestRunner::new(config).run(&any_instance(8..30, 14..17), |instance| {
        let Instance { profile, cluster, policy } = &instance;
        let setting = Setting::new(profile, cluster, policy);
        let is_inexact = setting.is_ok_and(|setting| !Search::new(&setting).is_exact());
        num_inexact.set(num_inexact.get() + u32::from(is_inexact));
        check(&instance)
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    assert!(num_inexact.get() > cases / 5, "{num_inexact:?} of {cases}");
}
