//! The scheduler alone: no device, no thread, no clock.

use proptest::prelude::*;
use sluicegate_model::config::KvGroup;

use super::*;

fn config(pages: usize, kv_groups: &[KvGroup]) -> SchedulerConfig {
    SchedulerConfig {
        kv_groups: kv_groups.to_vec(),
        pages_per_group: vec![pages; kv_groups.len()],
        max_in_flight: 3,
        token_budget: 32,
    }
}

fn job(prompt_tokens: u32, max_rows: usize, max_tokens: usize) -> Job {
    Job { prompt: (0..prompt_tokens).collect(), max_rows, max_tokens }
}

fn same_rows(num_rows: usize) -> Vec<Child> {
    (0..num_rows).map(|parent| Child { parent, token: 7 }).collect()
}

#[test]
fn a_prompt_is_ordered_in_chunks_that_follow_each_other() {
    let mut scheduler = Scheduler::new(config(8, &[KvGroup::Full]));
    let group = scheduler.submit(job(70, 1, 4));
    let turns: Vec<Turn> = std::iter::from_fn(|| scheduler.next_turn()).collect();
    let sizes: Vec<usize> = turns.iter().map(|turn| turn.microbatch.num_tokens()).collect();
    assert_eq!(sizes, [32, 32, 6]);
    let sampled: Vec<usize> = turns.iter().map(|turn| turn.microbatch.sampled.len()).collect();
    assert_eq!(sampled, [0, 0, 1], "only the last chunk is sampled");
    assert_eq!(turns[2].microbatch.rows[0].position, 64);
    for turn in &turns {
        scheduler.retire(turn.microbatch.id);
    }
    assert!(scheduler.next_turn().is_none(), "one sample is outstanding");
    scheduler.advance(group, &same_rows(1));
    let turn = scheduler.next_turn().expect("the row has its next token");
    assert_eq!(turn.microbatch.rows[0].tokens, [7]);
    assert_eq!(turn.microbatch.rows[0].position, 70);
    assert!(turn.ancestors.is_empty());
}

#[test]
fn children_of_one_row_share_full_pages_and_copy_the_tail() {
    let mut scheduler = Scheduler::new(config(32, &[KvGroup::Full]));
    let group = scheduler.submit(job(20, 3, 8));
    let turn = scheduler.next_turn().expect("a prompt is waiting");
    scheduler.retire(turn.microbatch.id);
    scheduler.advance(group, &[Child { parent: 0, token: 1 }, Child { parent: 0, token: 2 }]);
    let turn = scheduler.next_turn().expect("two rows go on");
    let [reorder] = &turn.ancestors[..] else { panic!("one reorder, found {:?}", turn.ancestors) };
    assert_eq!((reorder.epoch, &reorder.parents[..]), (1, &[0, 0][..]));
    let [first, second] = &turn.microbatch.rows[..] else { panic!("two rows") };
    let (first, second) = (&first.tables[0].pages, &second.tables[0].pages);
    assert_eq!(first[0], second[0], "the full page is shared");
    assert_ne!(first[1], second[1], "the tail is not");
    let copy = &reorder.copies[0];
    assert_eq!((&copy.rows[..], &copy.target_pages[..]), (&[1][..], &second[1..]));
    assert_eq!(copy.tail_pages, first[1..]);
}

#[test]
fn beams_that_crowd_out_others_fit_into_an_exact_reservation() {
    let mut scheduler = Scheduler::new(config(2, &[KvGroup::Full]));
    let group = scheduler.submit(job(3, 2, 8));
    for epoch in 1..6 {
        let turn = scheduler.next_turn().expect("the group is ready");
        assert!(turn.ancestors.iter().all(|reorder| reorder.epoch == epoch - 1));
        scheduler.retire(turn.microbatch.id);
        scheduler.advance(group, &[Child { parent: 0, token: 1 }, Child { parent: 0, token: 2 }]);
    }
}

#[test]
fn a_group_that_ends_before_its_reorder_is_sent_leaves_no_gap() {
    let mut scheduler = Scheduler::new(config(32, &[KvGroup::Full]));
    let groups = [scheduler.submit(job(3, 2, 8)), scheduler.submit(job(3, 2, 8))];
    while let Some(turn) = scheduler.next_turn() {
        scheduler.retire(turn.microbatch.id);
    }
    for group in groups {
        scheduler.advance(group, &[Child { parent: 0, token: 1 }, Child { parent: 0, token: 2 }]);
    }
    scheduler.remove(groups[0]);
    let turn = scheduler.next_turn().expect("the other group is ready");
    assert_eq!(turn.ancestors.iter().map(|reorder| reorder.epoch).collect::<Vec<_>>(), [1]);
}

#[test]
fn a_job_larger_than_the_cache_is_refused_and_one_that_must_wait_waits() {
    let config = config(4, &[KvGroup::Full]);
    let error = config.check(&job(60, 1, 6)).expect_err("five pages do not fit in four");
    let AdmitError::TooLarge { wanted, tokens, rows, found, .. } = error;
    assert_eq!((wanted, tokens, rows, found), (5, 65, 1, 4));
    let mut scheduler = Scheduler::new(config);
    let first = scheduler.submit(job(20, 1, 20));
    scheduler.submit(job(20, 1, 20));
    let turn = scheduler.next_turn().expect("the first fits");
    assert!(turn.microbatch.rows.iter().all(|row| row.group == first));
    assert!(scheduler.next_turn().is_none(), "the second waits for pages");
    scheduler.remove(first);
    assert!(scheduler.next_turn().is_none(), "pages return when the order has retired");
    scheduler.retire(turn.microbatch.id);
    assert!(scheduler.next_turn().is_some());
}

/// One random thing that happens to a group.
#[derive(Debug, Clone)]
enum Action {
    Submit { prompt: u32, rows: usize, tokens: usize },
    Remove(prop::sample::Index),
    Turn,
    Result(Vec<prop::sample::Index>),
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        1 => (1..80u32, 1..5usize, 1..40usize)
            .prop_map(|(prompt, rows, tokens)| Action::Submit { prompt, rows, tokens }),
        1 => any::<prop::sample::Index>().prop_map(Action::Remove),
        4 => Just(Action::Turn),
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
            Action::Turn => {
                if let Some(turn) = scheduler.next_turn() {
                    for reorder in &turn.ancestors {
                        last_epoch += 1;
                        assert_eq!(reorder.epoch, last_epoch);
                    }
                    check_tables(&turn);
                    in_flight.push_back(turn);
                }
            }
            Action::Result(parents) => {
                let Some(turn): Option<Turn> = in_flight.pop_front() else { continue };
                scheduler.retire(turn.microbatch.id);
                for sampled in &turn.microbatch.sampled {
                    let found = running.iter().find(|(id, ..)| *id == sampled.group);
                    let Some(&(_, rows, tokens)) = found else { continue };
                    let children: Vec<Child> = parents
                        .iter()
                        .take(rows)
                        .map(|parent| Child {
                            parent: parent.index(sampled.logit_rows.len()),
                            token: 1,
                        })
                        .collect();
                    let is_over = children.is_empty() || sampled.step as usize + 1 >= tokens;
                    scheduler.advance(sampled.group, if is_over { &[] } else { &children });
                    if is_over {
                        running.retain(|(id, ..)| *id != sampled.group);
                    }
                }
            }
        }
    }
    for (group, ..) in running {
        scheduler.remove(group);
    }
    for turn in in_flight {
        scheduler.retire(turn.microbatch.id);
    }
    assert!(scheduler.is_idle());
    assert_eq!(scheduler.num_free_pages(), config.pages_per_group);
}

/// The slots that a microbatch writes are distinct: no two rows share the page they write.
fn check_tables(turn: &Turn) {
    for kv_idx in 0..turn.microbatch.rows[0].tables.len() {
        let mut written = std::collections::BTreeSet::new();
        for row in &turn.microbatch.rows {
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
