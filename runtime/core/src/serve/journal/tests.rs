//! Journals that are whole, and what is none.

use std::{sync::Arc, time::Duration};

use sluicegate_spec::{tokens::TokenBytes, units::TokenId};

use super::{Header, Line, replay};
use crate::{
    messages::Method,
    serve::{
        Admitted, Input, Limits,
        tests::{Bench, admitted, choice, free, taken, vetoed},
    },
};

/// Two samples and beams of prompts that begin alike, a veto, a lost stage, and a request that goes
/// away.
fn eventful(with_prompts: bool) -> Bench {
    let mut bench = Bench::recorded(Limits::default(), with_prompts);
    let prompt: Vec<TokenId> = (0..40).map(|it| it % 5).collect();
    let with_prompt = |admitted: Admitted| Admitted { prompts: vec![prompt.clone()], ..admitted };
    bench.submit(with_prompt(admitted(Method::Greedy, 2)));
    bench.step(&[choice(0, 0, -0.1), choice(0, 3, -0.7)], &[taken(0), vetoed(3)]);
    bench.tell(Input::StageLost { microbatch: None, may_pass: true });
    bench.tell(Input::Restarted);
    let gone = bench.submit(with_prompt(free()));
    bench.now += Duration::from_millis(7);
    bench.submit(with_prompt(admitted(Method::Beam { width: 3 }, 2)));
    bench.tell(Input::Cancelled(gone));
    bench
}

#[test]
fn a_journal_leads_another_loop_to_the_same_actions() {
    for with_prompts in [true, false] {
        let bench = eventful(with_prompts);
        let replayed = replay(&bench.journal()).unwrap();
        assert_eq!(replayed.metrics, bench.serve.metrics());
        assert_eq!((replayed.inputs, replayed.is_full), (8, false));
        assert!(replayed.actions > 8 && replayed.lasted == Duration::from_millis(7));
    }
}

#[test]
fn a_journal_without_prompts_does_not_tell_them() {
    let prompts = |with_prompts| {
        let lines = eventful(with_prompts).journal().into_iter();
        let prompt = |line| match line {
            Line::Told { input: Input::Submitted { admitted, .. }, .. } => {
                Some(admitted.prompts[0].clone())
            }
            _ => None,
        };
        lines.filter_map(prompt).collect::<Vec<_>>()
    };
    let (told, hidden) = (prompts(true), prompts(false));
    assert_ne!(told, hidden);
    assert!(hidden.iter().all(|prompt| *prompt == hidden[0] && prompt.len() == 40));
}

#[test]
fn a_difference_and_what_is_no_journal_are_named() {
    let check = |change: &dyn Fn(&mut Vec<Line>), want: &str| {
        let mut lines = eventful(true).journal();
        change(&mut lines);
        let error = replay(&lines).unwrap_err().to_string();
        assert!(error.starts_with(want), "{error}");
    };
    check(&|lines| drop(lines.remove(0)), "a journal begins with a line of the kind `begin`");
    let token = |id| Line::Token { id, bytes: TokenBytes::Unused };
    check(
        &|lines| lines.push(token(1 << 20)),
        "its vocabulary has token 1048576, wanted ids below",
    );
    // Another text for a token; the third input shows it.
    let other = Line::Token { id: 0, bytes: TokenBytes::Text(b"z".to_vec()) };
    check(&|lines| lines.push(other.clone()), "input 3 led to other actions than were recorded");
    let late = |lines: &mut Vec<Line>| {
        let Some(Line::Told { at, .. }) = lines.get_mut(1) else { panic!("an input comes second") };
        *at = Duration::from_secs(9);
    };
    check(&late, "input 2 goes back in time");
}

#[test]
fn what_no_engine_writes_is_refused() {
    let change = |change: &dyn Fn(&mut Header)| {
        let mut lines = eventful(true).journal();
        let Line::Begin(header) = &mut lines[0] else { panic!("it begins") };
        change(header);
        replay(&lines).unwrap_err().to_string()
    };
    let check = |found: String, want: &str| assert!(found.starts_with(want), "{found}");
    check(change(&|it| it.version = 9), "the journal is of version 9, wanted 3");
    check(change(&|it| it.scheduler.max_in_flight = 0), "max_in_flight is 0, wanted 1 to 65536");
    check(change(&|it| it.scheduler.pages_per_group = vec![1 << 32]), "a number of pages is");
    check(change(&|it| it.scheduler.pages_per_group.clear()), "the number of page counts is 0");
    check(change(&|it| it.scheduler.num_stages = usize::MAX), "num_stages is");
    let submitted = |change: &dyn Fn(&mut Admitted)| {
        let mut lines = eventful(true).journal();
        let Line::Told { input: Input::Submitted { admitted, .. }, .. } = &mut lines[1] else {
            panic!("a request comes first");
        };
        change(Arc::make_mut(admitted));
        replay(&lines).unwrap_err().to_string()
    };
    let is = "input 1 is a request that no loop lets in: ";
    check(submitted(&|it| it.prompts[0].clear()), &format!("{is}wanted 1 to 256 prompts"));
    check(submitted(&|it| it.samples = usize::MAX), &format!("{is}wanted 1 to 256 samples"));
    check(submitted(&|it| it.max_tokens = usize::MAX), &format!("{is}max_tokens is"));
    check(submitted(&|it| it.max_tokens = 1 << 20), &format!("{is}65539 pages of KV cache"));
}
