//! Drafts and forks: what is asked of a matcher without advancing it, and copies of a long history.

use serde_json::json;
use sluicegate_constraint::{Compiled, Event, MatchError, Matcher, Spec, Thinking, TokenId};

use crate::random_schemas::schema;
use crate::support::{CANONICAL, COMPILER, EOS, NUM_TOKENS, Rng, SPECIAL, UNUSED};

/// Some specification that compiles, and a budget.
fn compiled(rng: &mut Rng) -> (Compiled, Option<usize>) {
    loop {
        let compiler = if rng.below(2) == 0 { &*COMPILER } else { &*CANONICAL };
        let spec = match rng.below(8) {
            0 => Spec::Regex("(ab|[0-9]{2})+-?".to_string()),
            1 => Spec::Text,
            2 => Spec::Gbnf("root ::= \"(\" root \")\" | [ab]+ \"1\"?".to_string()),
            3 => Spec::After {
                thinking: Thinking { begin: None, end: "abc".to_string(), max_tokens: Some(3) },
                then: Box::new(Spec::json(schema(rng, 1))),
            },
            _ => Spec::json(schema(rng, 3)),
        };
        let Ok(compiled) = compiler.compile(&spec) else { continue };
        let needed = compiled.first_witness().map_or(10, <[TokenId]>::len) + 3;
        let budget = (rng.below(2) == 0).then(|| needed + rng.below(20));
        if budget.is_none_or(|it| compiled.check_budget(it).is_ok()) {
            return (compiled, budget);
        }
    }
}

fn start((compiled, budget): &(Compiled, Option<usize>)) -> Matcher {
    budget.map_or_else(|| compiled.matcher(), |it| compiled.matcher_within(it).unwrap())
}

/// Takes a few random tokens; returns those taken.
fn walk(matcher: &mut Matcher, num_steps: usize, rng: &mut Rng) -> Vec<TokenId> {
    let mut taken = Vec::new();
    for _ in 0..num_steps {
        let Ok(mask) = matcher.mask() else { break };
        let token = rng.pick(&mask.iter().collect::<Vec<_>>());
        match matcher.advance(token).unwrap() {
            Event::Vetoed { instead, .. } => taken.push(instead),
            _ => taken.push(token),
        }
    }
    taken
}

/// Tokens that mostly continue `matcher`, but with others in between.
fn draft(matcher: &Matcher, rng: &mut Rng) -> Vec<TokenId> {
    let mut ahead = matcher.fork();
    let mut tokens = Vec::new();
    for _ in 0..rng.below(8) {
        let token = match (rng.below(8), ahead.mask()) {
            (0, _) | (_, Err(_)) => {
                let any = TokenId::try_from(rng.below(NUM_TOKENS)).unwrap();
                rng.pick(&[any, EOS[0], EOS[1], SPECIAL, UNUSED, 99_999])
            }
            (_, Ok(mask)) => rng.pick(&mask.iter().collect::<Vec<_>>()),
        };
        tokens.push(token);
        drop(ahead.advance(token));
    }
    tokens
}

/// How many tokens are taken, one by one.
fn num_taken(mut matcher: Matcher, tokens: &[TokenId]) -> usize {
    let is_taken =
        |token: &&TokenId| matches!(matcher.advance(**token), Ok(Event::Running | Event::Finished));
    tokens.iter().take_while(is_taken).count()
}

#[test]
fn a_prefix_is_accepted_as_far_as_advancing_goes_and_nothing_moves() {
    let mut rng = Rng(0x00d4_af75);
    let (mut num_whole, mut num_part, mut num_guarded) = (0, 0, 0);
    for _ in 0..150 {
        let spec = compiled(&mut rng);
        num_guarded += usize::from(spec.0.is_guarded());
        let mut matcher = start(&spec);
        for _ in 0..6 {
            walk(&mut matcher, rng.below(5), &mut rng);
            let mut untouched = matcher.fork();
            let mask = (rng.below(2) == 0).then(|| matcher.mask());
            let tokens = draft(&matcher, &mut rng);
            let want = num_taken(matcher.fork(), &tokens);
            assert_eq!(matcher.accepted_prefix(&tokens), Ok(want), "{tokens:?} of {matcher:?}");
            num_whole += usize::from(want > 2 && want == tokens.len());
            num_part += usize::from(want > 0 && want < tokens.len());

            assert_eq!(matcher.num_tokens(), untouched.num_tokens());
            assert_eq!(matcher.num_vetoed(), untouched.num_vetoed());
            assert_eq!(matcher.is_finished(), untouched.is_finished());
            let after = matcher.mask();
            assert_eq!(after, untouched.mask());
            assert!(mask.is_none_or(|before| before == after));
            let Ok(mask) = after else { break };
            let token = rng.pick(&mask.iter().collect::<Vec<_>>());
            assert_eq!(matcher.advance(token), untouched.advance(token));
            assert_eq!(matcher.mask(), untouched.mask());
        }
    }
    let found = format!("{num_whole} whole, {num_part} in part, {num_guarded} guarded");
    assert!(num_whole > 100 && num_part > 100 && num_guarded > 30, "{found}");
}

#[test]
fn a_failed_matcher_accepts_no_prefix_and_an_ended_one_an_empty_one() {
    let compiled = COMPILER.compile(&Spec::json(json!({"const": "a"}))).unwrap();
    let mut matcher = compiled.matcher();
    let whole = crate::support::bytewise(b"\"a\"");
    assert_eq!(matcher.accepted_prefix(&[&whole[..], &[EOS[1], EOS[0]]].concat()), Ok(4));
    for token in whole {
        matcher.advance(token).unwrap();
    }
    assert_eq!(matcher.accepted_prefix(&[34]), Ok(0));
    assert_eq!(matcher.accepted_prefix(&[EOS[0], 34]), Ok(1));
    matcher.advance(EOS[0]).unwrap();
    assert_eq!(matcher.accepted_prefix(&[EOS[0]]), Ok(0));
    matcher.rollback(1).unwrap();
    let error = MatchError::NotAllowed { token: 34, num_tokens: 3 };
    assert_eq!(matcher.advance(34).unwrap_err(), error);
    assert_eq!(matcher.accepted_prefix(&[]).unwrap_err(), error);
}

/// Arrays of pairs that end only when their budget does, under a guard or none.
fn long(is_unique: bool) -> Compiled {
    let item = json!({
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": ["integer", "null"]}},
        "required": ["name", "age"], "additionalProperties": false,
    });
    let schema = json!({"type": "array", "uniqueItems": is_unique, "items": item});
    COMPILER.compile(&Spec::json(schema)).unwrap()
}

#[test]
fn forks_of_a_long_history_allow_what_a_replay_does() {
    let mut rng = Rng(0xbea3);
    for (is_unique, budget) in [(false, None), (true, None), (true, Some(620)), (false, Some(620))]
    {
        let spec = (long(is_unique), budget);
        assert_eq!(spec.0.is_guarded(), is_unique);
        let mut matcher = start(&spec);
        let mut history = Vec::new();
        while history.len() < 512 {
            let next = format!("\", \"age\": {}}}, {{\"name\":\"", history.len());
            let begin = if history.is_empty() { "[{\"name\":\"" } else { next.as_str() };
            let words = "ab the".repeat(rng.below(20));
            for token in crate::support::greedy(format!("{begin}{words}").as_bytes()) {
                assert_eq!(matcher.advance(token), Ok(Event::Running));
                history.push(token);
            }
        }
        for _ in 0..5 {
            let mut beam = matcher.fork();
            let mut taken = history.clone();
            for _ in 0..3 {
                taken.extend(walk(&mut beam, 2, &mut rng));
                let mut replay = start(&spec);
                for &token in &taken {
                    assert!(matches!(replay.advance(token), Ok(Event::Running | Event::Finished)));
                }
                assert_eq!(beam.num_tokens(), replay.num_tokens());
                assert_eq!(beam.is_accepting(), replay.is_accepting());
                assert_eq!(beam.mask(), replay.mask());
            }
        }
        assert_eq!(matcher.num_tokens(), history.len());
    }
}

#[test]
fn forks_allow_what_a_replay_does_whatever_the_specification() {
    let mut rng = Rng(0xf02c);
    let mut num_guarded = 0;
    for _ in 0..80 {
        let spec = compiled(&mut rng);
        num_guarded += usize::from(spec.0.is_guarded());
        let mut matcher = start(&spec);
        let mut taken = Vec::new();
        for _ in 0..6 {
            taken.extend(walk(&mut matcher, rng.below(6), &mut rng));
            let mut beam = matcher.fork();
            let tail = walk(&mut beam, 3, &mut rng);
            let mut replay = start(&spec);
            for &token in taken.iter().chain(&tail) {
                let event = replay.advance(token);
                assert!(matches!(event, Ok(Event::Running | Event::Finished)), "{event:?}");
            }
            assert_eq!(beam.is_finished(), replay.is_finished());
            assert_eq!(beam.mask(), replay.mask());
        }
    }
    assert!(num_guarded > 15, "{num_guarded}");
}
