//! The scheduler alone: no device, no thread, no clock.

use proptest::prelude::*;
use sluicegate_spec::{config::KvGroup, units::TokenId};

use super::*;
use crate::{
    messages::{Choice, GroupId, Token},
    sequence::Rules,
};

fn config(pages: usize, kv_groups: &[KvGroup]) -> SchedulerConfig {
    SchedulerConfig {
        kv_groups: kv_groups.to_vec(),
        pages_per_group: vec![pages; kv_groups.len()],
        num_stages: 1,
        max_in_flight: 3,
        max_rows: usize::MAX,
        rows_per_microbatch: usize::MAX,
        reckons_ahead: false,
        token_budget: 32,
        least_chunk: usize::MAX,
        attention_cost: 0.0,
        shares_prefixes: true,
    }
}

fn job(prompt_tokens: u32, max_rows: usize, max_tokens: usize) -> Job {
    Job { prompt: (0..prompt_tokens).collect(), max_rows, max_tokens, ..Job::default() }
}

/// Goes on with rows, by their places among the earlier ones, and what they have more; with none
/// the group ends.
fn go_on(scheduler: &mut Scheduler, group: GroupId, rows: &[(usize, &[TokenId])]) -> Vec<GroupId> {
    let sequences = scheduler.sequences(group);
    let steps: Vec<_> =
        rows.iter().map(|(row, it)| (sequences[*row].id(), it[..1].to_vec())).collect();
    let continuations = scheduler.continuations(steps);
    let rules = Rules { eos: &[], max_tokens: usize::MAX, is_finished: false };
    let step = scheduler.advance(group, &continuations, |index, sequence| {
        let first = Choice::new(0, Token::certain(0));
        sequence.say(rows[index].1, &first, &rules).finish.is_none()
    });
    match step.expect("the group is there").onward {
        Onward::Ended => Vec::new(),
        Onward::Same => vec![group],
        Onward::Split(groups) => groups,
    }
}

const TWO_CHILDREN: [(usize, &[TokenId]); 2] = [(0, &[1]), (0, &[2])];

fn num_tokens(output: &SchedulerOutput) -> usize {
    output.rows.iter().map(|row| row.tokens.len()).sum()
}

/// The groups of an output's rows.
fn groups_of(output: &SchedulerOutput) -> Vec<GroupId> {
    output.rows.iter().map(|row| row.group).collect()
}

#[test]
fn a_prompt_is_ordered_in_chunks_that_follow_each_other() {
    let mut scheduler = Scheduler::new(config(8, &[KvGroup::Full]));
    let group = scheduler.submit(job(70, 1, 4));
    let outputs: Vec<SchedulerOutput> = std::iter::from_fn(|| scheduler.schedule()).collect();
    let sizes: Vec<usize> = outputs.iter().map(num_tokens).collect();
    assert_eq!(sizes, [23, 24, 23]);
    let sampled: Vec<usize> = outputs.iter().map(|output| output.sampled.len()).collect();
    assert_eq!(sampled, [0, 0, 1], "only the last chunk is sampled");
    assert_eq!(outputs[2].rows[0].position, 47);
    for output in &outputs {
        scheduler.retire(output.microbatch);
    }
    assert!(scheduler.schedule().is_none(), "one sample is outstanding");
    go_on(&mut scheduler, group, &[(0, &[7])]);
    let output = scheduler.schedule().expect("the row has its next token");
    assert_eq!(output.rows[0].tokens, [7]);
    assert_eq!(output.rows[0].position, 70);
    assert!(output.ancestors.is_empty());
}

#[test]
fn prompts_are_cut_so_that_all_stages_work() {
    let sizes = |num_stages, prompts: &[u32]| -> Vec<usize> {
        let config = SchedulerConfig {
            num_stages,
            max_in_flight: 20,
            token_budget: 256,
            least_chunk: 64,
            ..config(200, &[KvGroup::Full])
        };
        let mut scheduler = Scheduler::new(config);
        for (number, tokens) in (0..).zip(prompts) {
            scheduler.submit(own_job(number, *tokens, 4));
        }
        let outputs = std::iter::from_fn(|| scheduler.schedule());
        outputs.map(|output| num_tokens(&output)).collect()
    };
    assert_eq!(sizes(1, &[512]), [256, 256]);
    assert_eq!(sizes(1, &[300]), [150, 150], "the rest is not cut further");
    assert_eq!(sizes(2, &[512]), [128, 128, 128, 128]);
    assert_eq!(sizes(2, &[100; 6]), [150, 150, 150, 150]);
    assert_eq!(sizes(4, &[512]), [64; 8]);
    assert_eq!(sizes(4, &[100]), [50, 50], "short ones are not cut further");
    assert_eq!(sizes(2, &[2_000]).iter().max(), Some(&250), "nor is the budget exceeded");
}

#[test]
fn children_of_one_row_share_full_pages_and_copy_the_tail() {
    let mut scheduler = Scheduler::new(config(32, &[KvGroup::Full]));
    let group = scheduler.submit(job(20, 3, 8));
    let output = scheduler.schedule().expect("a prompt is waiting");
    scheduler.retire(output.microbatch);
    go_on(&mut scheduler, group, &TWO_CHILDREN);
    let output = scheduler.schedule().expect("two rows go on");
    let [reorder] = &output.ancestors[..] else {
        panic!("one reorder, found {:?}", output.ancestors)
    };
    assert_eq!((reorder.epoch, &reorder.parents[..]), (1, &[0, 0][..]));
    let [first, second] = &output.rows[..] else { panic!("two rows") };
    let (first, second) = (&first.tables[0].pages, &second.tables[0].pages);
    assert_eq!(first[0], second[0], "the full page is shared");
    assert_ne!(first[1], second[1], "the tail is not");
    let copy = &reorder.copies[0];
    // The first to write gets the copy, and the last one writes in place.
    assert_eq!((&copy.rows[..], &copy.target_pages[..]), (&[0][..], &first[1..]));
    assert_eq!(copy.tail_pages, second[1..]);
}

#[test]
fn beams_that_crowd_out_others_fit_into_an_exact_reservation() {
    let mut scheduler = Scheduler::new(config(2, &[KvGroup::Full]));
    let group = scheduler.submit(job(3, 2, 8));
    for epoch in 1..6 {
        let output = scheduler.schedule().expect("the group is ready");
        assert!(output.ancestors.iter().all(|reorder| reorder.epoch == epoch - 1));
        scheduler.retire(output.microbatch);
        go_on(&mut scheduler, group, &TWO_CHILDREN);
    }
}

#[test]
fn a_group_that_ends_before_its_reorder_is_sent_leaves_no_gap() {
    let mut scheduler = Scheduler::new(config(32, &[KvGroup::Full]));
    let groups = [scheduler.submit(job(3, 2, 8)), scheduler.submit(job(3, 2, 8))];
    while let Some(output) = scheduler.schedule() {
        scheduler.retire(output.microbatch);
    }
    for group in groups {
        go_on(&mut scheduler, group, &TWO_CHILDREN);
    }
    scheduler.remove(groups[0]);
    let output = scheduler.schedule().expect("the other group is ready");
    assert_eq!(output.ancestors.iter().map(|reorder| reorder.epoch).collect::<Vec<_>>(), [1]);
}

#[test]
fn a_job_larger_than_the_cache_is_refused_and_one_that_must_wait_waits() {
    let config = config(4, &[KvGroup::Full]);
    let error = config.check(&job(60, 1, 6)).expect_err("five pages do not fit in four");
    let AdmitError::TooLarge { wanted, tokens, rows, found, .. } = error;
    assert_eq!((wanted, tokens, rows, found), (5, 65, 1, 4));
    let mut scheduler = Scheduler::new(config);
    let first = scheduler.submit(job(20, 1, 20));
    scheduler.submit(own_job(1, 40, 20));
    let output = scheduler.schedule().expect("the first fits");
    assert!(output.rows.iter().all(|row| row.group == first));
    assert!(scheduler.schedule().is_none(), "the second waits for pages");
    scheduler.remove(first);
    assert!(scheduler.schedule().is_none(), "pages return when the order has retired");
    scheduler.retire(output.microbatch);
    assert!(scheduler.schedule().is_some());
}

/// A job with other tokens than those of any other number.
fn own_job(number: u32, prompt_tokens: u32, max_tokens: usize) -> Job {
    let prompt = (0..prompt_tokens).map(|token| 1_000 * number + token).collect();
    Job { prompt, ..job(1, 1, max_tokens) }
}

#[test]
fn a_prompt_that_begins_like_an_earlier_one_shares_its_full_pages() {
    let mut scheduler = Scheduler::new(config(16, &[KvGroup::Full]));
    let first = scheduler.submit(job(40, 1, 4));
    let outputs: Vec<SchedulerOutput> = std::iter::from_fn(|| scheduler.schedule()).collect();
    // While the first one still runs.
    let second = scheduler.submit(job(50, 1, 4));
    let output = scheduler.schedule().expect("the second is ready");
    let row = &output.rows[0];
    assert_eq!((row.group, row.position, row.tokens.len()), (second, 32, 18));
    let shared = &outputs[1].rows[0].tables[0].pages[..2];
    assert_eq!(&row.tables[0].pages[..2], shared);
    for output in outputs.iter().chain([&output]) {
        scheduler.retire(output.microbatch);
    }
    scheduler.remove(first);
    scheduler.remove(second);
    assert_eq!(scheduler.num_free_pages(), [16]);
    // And after they have ended; the last token has to be computed all the same.
    scheduler.submit(job(48, 1, 4));
    let output = scheduler.schedule().expect("the third is ready");
    assert_eq!(output.rows[0].position, 32);
    let stats = scheduler.stats();
    assert_eq!((stats.admitted_tokens, stats.shared_tokens), (138, 64));
    assert_eq!(stats.pages, [PageStats { total: 16, held: 3, kept: 1 }]);
}

#[test]
fn the_youngest_gives_its_pages_up_and_loses_nothing() {
    let mut scheduler = Scheduler::new(config(4, &[KvGroup::Full]));
    let old = scheduler.submit(own_job(1, 32, 18));
    let young = scheduler.submit(own_job(2, 30, 18));
    let first = scheduler.schedule().expect("both are ready");
    assert_eq!(groups_of(&first), [old], "the budget is for one");
    let second = scheduler.schedule().expect("the second is ready");
    assert_eq!(groups_of(&second), [young]);
    scheduler.retire(first.microbatch);
    go_on(&mut scheduler, old, &[(0, &[7])]);
    assert!(scheduler.schedule().is_none(), "the young one's pages are in use");
    scheduler.retire(second.microbatch);
    go_on(&mut scheduler, young, &[(0, &[9])]);
    let output = scheduler.schedule().expect("the old one goes on");
    assert_eq!(groups_of(&output), [old]);
    assert_eq!(scheduler.stats().preemptions, 1);
    scheduler.retire(output.microbatch);
    scheduler.remove(old);
    // Computed again, with the token that it had; what nobody needed is still there.
    let output = scheduler.schedule().expect("the young one comes back");
    let row = &output.rows[0];
    assert_eq!((row.group, row.wants_logits), (young, true));
    assert_eq!((row.position, row.tokens.len()), (16, 15));
    assert_eq!(row.tokens.last(), Some(&9));
    assert_eq!(output.sampled[0].step, 1);
}

#[test]
fn a_prompt_longer_than_the_cache_of_a_window_is_admitted() {
    let config = SchedulerConfig { token_budget: 5, ..config(6, &[KvGroup::Window(9)]) };
    assert_eq!(config.check(&job(200, 1, 8)), Ok(()));
    let mut scheduler = Scheduler::new(config);
    scheduler.submit(job(200, 1, 8));
    let mut computed = 0;
    while let Some(output) = scheduler.schedule() {
        computed += num_tokens(&output);
        scheduler.retire(output.microbatch);
    }
    assert_eq!(computed, 200);
}

#[test]
fn samples_go_on_as_groups_of_their_own() {
    let mut scheduler = Scheduler::new(config(16, &[KvGroup::Full]));
    let group = scheduler.submit(job(20, 1, 8));
    let output = scheduler.schedule().expect("a prompt is waiting");
    scheduler.retire(output.microbatch);
    let forks = go_on(&mut scheduler, group, &[(0, &[1]), (0, &[2]), (0, &[3, 4])]);
    let outputs: Vec<SchedulerOutput> = std::iter::from_fn(|| scheduler.schedule()).collect();
    let ordered: Vec<GroupId> = outputs.iter().flat_map(groups_of).collect();
    assert_eq!(ordered, forks);
    let steps: Vec<u32> = outputs.iter().map(|output| output.sampled[0].step).collect();
    assert_eq!(steps, [1, 1, 2]);
    // Two copy the tail, the last one writes in place.
    let epochs: Vec<Vec<u64>> =
        outputs.iter().map(|output| output.ancestors.iter().map(|it| it.epoch).collect()).collect();
    assert_eq!(epochs, [vec![1], vec![2], vec![]]);
    for output in &outputs {
        scheduler.retire(output.microbatch);
    }
    for group in &forks {
        scheduler.remove(*group);
    }
    assert!(scheduler.is_idle());
    assert_eq!(scheduler.num_free_pages(), [16]);
}

#[test]
fn a_sample_that_gives_way_leaves_the_shared_page_to_the_other() {
    let mut scheduler = Scheduler::new(config(2, &[KvGroup::Full]));
    let group = scheduler.submit(job(20, 1, 8));
    let output = scheduler.schedule().expect("a prompt is waiting");
    scheduler.retire(output.microbatch);
    let forks = go_on(&mut scheduler, group, &TWO_CHILDREN);
    // No page is left to copy the tail to: the second sample waits, and the first writes in place.
    let output = scheduler.schedule().expect("nothing is in flight, so one of them goes on");
    assert_eq!(groups_of(&output), forks[..1]);
    assert_eq!((output.ancestors.len(), scheduler.stats().preemptions), (0, 1));
    scheduler.retire(output.microbatch);
    scheduler.remove(forks[0]);
    let output = scheduler.schedule().expect("the other one comes back");
    assert_eq!(groups_of(&output), forks[1..]);
}

#[test]
fn decoding_rows_are_spread_over_the_microbatches() {
    let mut scheduler = Scheduler::new(config(64, &[KvGroup::Full]));
    let groups: Vec<GroupId> = (0..10).map(|it| scheduler.submit(own_job(it, 3, 40))).collect();
    let mut in_flight = std::collections::VecDeque::new();
    let mut sizes = Vec::new();
    for _ in 0..24 {
        while let Some(output) = scheduler.schedule() {
            sizes.push(output.rows.len());
            in_flight.push_back(output);
        }
        let output = in_flight.pop_front().expect("something is in flight");
        scheduler.retire(output.microbatch);
        for group in groups_of(&output) {
            go_on(&mut scheduler, group, &[(0, &[5])]);
        }
    }
    assert_eq!(sizes[0], 10, "all prompts fit into one microbatch");
    let settled = &sizes[sizes.len() - 9..];
    assert!(settled.iter().all(|size| (3..=4).contains(size)), "{sizes:?}");
    assert_eq!(settled[..3].iter().sum::<usize>(), 10, "{sizes:?}");
    drop(groups);
}

#[test]
fn requests_take_turns_and_priorities_go_first() {
    let mut scheduler =
        Scheduler::new(SchedulerConfig { token_budget: 1_000, ..config(2, &[KvGroup::Full]) });
    let job = |number: u32, index, priority| Job { priority, index, ..own_job(number, 16, 1) };
    let submit = |scheduler: &mut Scheduler, number, index, priority| {
        scheduler.submit(job(number, index, priority))
    };
    let many: Vec<GroupId> =
        (0..6).map(|index| submit(&mut scheduler, index, index as usize, 0)).collect();
    let late = submit(&mut scheduler, 10, 0, 0);
    let urgent = submit(&mut scheduler, 11, 0, 1);
    let mut order = Vec::new();
    while let Some(output) = scheduler.schedule() {
        scheduler.retire(output.microbatch);
        for group in groups_of(&output) {
            order.push(group);
            scheduler.remove(group);
        }
    }
    let want = [urgent, many[0], late, many[1], many[2], many[3], many[4], many[5]];
    assert_eq!(order, want);
}

#[test]
fn a_job_of_a_lower_priority_gives_its_pages_up() {
    let mut scheduler = Scheduler::new(config(2, &[KvGroup::Full]));
    let low = scheduler.submit(own_job(1, 20, 8));
    let output = scheduler.schedule().expect("a prompt is waiting");
    let equal = scheduler.submit(own_job(2, 20, 8));
    let urgent = scheduler.submit(Job { priority: 1, ..own_job(3, 20, 8) });
    assert!(scheduler.schedule().is_none(), "all pages are in use");
    scheduler.retire(output.microbatch);
    go_on(&mut scheduler, low, &[(0, &[7])]);
    let output = scheduler.schedule().expect("the urgent one has them");
    assert_eq!((groups_of(&output), scheduler.stats().preemptions), (vec![urgent], 1));
    scheduler.retire(output.microbatch);
    scheduler.remove(urgent);
    let output = scheduler.schedule().expect("the first goes on");
    assert_eq!(groups_of(&output), [low]);
    scheduler.retire(output.microbatch);
    assert!(scheduler.schedule().is_none(), "one of the same priority waits");
    scheduler.remove(low);
    assert_eq!(groups_of(&scheduler.schedule().expect("now it has its turn")), [equal]);
}

#[test]
fn after_a_restart_everything_is_computed_again() {
    let mut scheduler = Scheduler::new(config(8, &[KvGroup::Full]));
    let beams = scheduler.submit(job(20, 2, 8));
    let output = scheduler.schedule().expect("a prompt is waiting");
    scheduler.retire(output.microbatch);
    go_on(&mut scheduler, beams, &TWO_CHILDREN);
    let lost = scheduler.schedule().expect("two rows go on");
    assert_eq!(lost.ancestors[0].epoch, 1);
    let leaving = scheduler.submit(own_job(1, 4, 4));
    scheduler.schedule().expect("the second is ready");
    scheduler.remove(leaving);
    scheduler.restart(|_| false);
    scheduler.retire(lost.microbatch);
    assert_eq!((scheduler.num_in_flight(), scheduler.num_free_pages()), (0, vec![8]));
    // Both rows, up to their last token, and then that one together.
    let outputs: Vec<SchedulerOutput> = std::iter::from_fn(|| scheduler.schedule()).collect();
    let last = outputs.last().expect("the beams are ready");
    assert_eq!((last.sampled[0].group, last.sampled[0].step), (beams, 1));
    let tokens: Vec<&[TokenId]> = last.rows.iter().map(|row| row.tokens.as_slice()).collect();
    assert_eq!(tokens, [[1], [2]]);
    assert!(outputs.iter().all(|output| output.ancestors.is_empty()), "no row continues another");
    let computed: usize = outputs.iter().map(num_tokens).sum();
    assert_eq!(computed, 42);
    for output in &outputs {
        scheduler.retire(output.microbatch);
    }
    scheduler.remove(beams);
    assert!(scheduler.is_idle());
}

/// One random thing that happens to a group.
#[derive(Debug, Clone)]
enum Action {
    Submit { prompt: u32, rows: usize, tokens: usize },
    Remove(prop::sample::Index),
    Schedule,
    Result(Vec<prop::sample::Index>),
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        1 => (1..80u32, 1..5usize, 1..40usize)
            .prop_map(|(prompt, rows, tokens)| Action::Submit { prompt, rows, tokens }),
        1 => any::<prop::sample::Index>().prop_map(Action::Remove),
        4 => Just(Action::Schedule),
        4 => prop::collection::vec(any::<prop::sample::Index>(), 0..5).prop_map(Action::Result),
    ];
    prop::collection::vec(action, 1..120)
}

/// Every held page is a row's own from its first unshared token on, epochs count up by one, and
/// nothing leaks: whatever happens, in the end all pages are free.
fn check_run(actions: &[Action], kv_groups: &[KvGroup]) {
    let config = config(24, kv_groups);
    let mut scheduler = Scheduler::new(config.clone());
    let mut running: Vec<(GroupId, usize, usize)> = Vec::new();
    let mut in_flight = std::collections::VecDeque::new();
    let mut last_epoch = 0;
    for action in actions {
        match action {
            Action::Submit { prompt, rows, tokens } => {
                let job = job(*prompt, *rows, *tokens);
                if config.check(&job).is_ok() {
                    running.push((scheduler.submit(job), *rows, *tokens));
                }
            }
            Action::Remove(index) if !running.is_empty() => {
                let (group, ..) = running.swap_remove(index.index(running.len()));
                scheduler.remove(group);
            }
            Action::Remove(_) => {}
            Action::Schedule => {
                if let Some(output) = scheduler.schedule() {
                    for reorder in &output.ancestors {
                        last_epoch += 1;
                        assert_eq!(reorder.epoch, last_epoch);
                    }
                    check_tables(&output);
                    in_flight.push_back(output);
                }
            }
            Action::Result(parents) => {
                let Some(output): Option<SchedulerOutput> = in_flight.pop_front() else { continue };
                scheduler.retire(output.microbatch);
                for sampled in &output.sampled {
                    let found = running.iter().find(|(id, ..)| *id == sampled.group);
                    let Some(&(_, rows, tokens)) = found else { continue };
                    let parents = parents.iter().take(rows);
                    let children: Vec<(usize, &[TokenId])> = parents
                        .map(|parent| (parent.index(sampled.logit_rows.len()), &[1][..]))
                        .collect();
                    let is_over = children.is_empty() || sampled.step as usize + 1 >= tokens;
                    let children = if is_over { &[][..] } else { &children };
                    // Samples go on as groups of their own.
                    running.retain(|(id, ..)| *id != sampled.group);
                    let groups = go_on(&mut scheduler, sampled.group, children);
                    running.extend(groups.into_iter().map(|group| (group, rows, tokens)));
                }
            }
        }
    }
    for (group, ..) in running {
        scheduler.remove(group);
    }
    for output in in_flight {
        scheduler.retire(output.microbatch);
    }
    assert!(scheduler.is_idle());
    assert_eq!(scheduler.num_free_pages(), config.pages_per_group);
}

/// The slots that a microbatch writes are distinct: no two rows share the page they write.
fn check_tables(output: &SchedulerOutput) {
    for kv_idx in 0..output.rows[0].tables.len() {
        let mut written = std::collections::BTreeSet::new();
        for row in &output.rows {
            let table = &row.tables[kv_idx];
            for position in row.position..row.position + row.tokens.len() {
                let page = table.pages[(position - table.first_position) / 16];
                assert!(written.insert((page, position % 16)), "page {page} is written twice");
            }
        }
    }
}

proptest! {
    #[test]
    fn no_page_leaks_and_no_epoch_skips(actions in actions()) {
        check_run(&actions, &[KvGroup::Full]);
        check_run(&actions, &[KvGroup::Full, KvGroup::Window(8)]);
    }
}
