//! The texts of a request that runs alone, from plain vectors: no scheduler, no pages, no tables.

use std::{convert::Infallible, rc::Rc};

use sluicegate_spec::{config::KvGroup, units::TokenId};

use super::{
    outputs::Outputs,
    request::SimulatedRequest,
    value::{attend, cached, embed},
};

/// What a stage has cached of one sequence: per stage and KV group, a value for each position.
#[derive(Debug, Clone)]
struct Sequence<'a> {
    kv_groups: &'a [KvGroup],
    cached: Vec<Vec<Vec<u64>>>,
    /// The last token's value as it leaves the last stage.
    value: u64,
}

/// All outputs of a request, in order, as a pipeline of `num_stages` must give them.
pub fn alone(
    request: &SimulatedRequest,
    num_stages: usize,
    kv_groups: &[KvGroup],
) -> Vec<Vec<TokenId>> {
    let mut sequence = Sequence {
        kv_groups,
        cached: vec![vec![Vec::new(); kv_groups.len()]; num_stages],
        value: 0,
    };
    sequence.extend(&request.prompt);
    let mut running = vec![(Outputs::new(Rc::new(request.clone())), vec![sequence])];
    let mut ended = Vec::new();
    while let Some((mut outputs, sequences)) = running.pop() {
        let values: Vec<u64> = sequences.iter().map(|sequence| sequence.value).collect();
        let step = outputs.take(&values);
        ended.extend(step.ended);
        let continued = step.children.iter().map(|child| {
            let mut sequence = sequences[child.parent].clone();
            sequence.extend(&child.tokens);
            sequence
        });
        let continued: Vec<Sequence<'_>> = continued.collect();
        if step.is_split {
            running.extend(outputs.split().zip(continued.into_iter().map(|it| vec![it])));
        } else if !continued.is_empty() {
            running.push((outputs, continued));
        }
    }
    ended.sort_unstable();
    ended.into_iter().map(|(_, tokens)| tokens).collect()
}

impl Sequence<'_> {
    fn extend(&mut self, tokens: &[TokenId]) {
        for token in tokens {
            self.push(*token);
        }
    }

    fn push(&mut self, token: TokenId) {
        let position = self.cached.first().and_then(|it| it.first()).map_or(0, Vec::len);
        let mut value = embed(token, position);
        for (stage, of_groups) in self.cached.iter_mut().enumerate() {
            for (kv_idx, (cache, group)) in of_groups.iter_mut().zip(self.kv_groups).enumerate() {
                cache.push(cached(value, stage, kv_idx));
                let seen = match group {
                    KvGroup::Full => &cache[..],
                    KvGroup::Window(window) => &cache[cache.len().saturating_sub(*window)..],
                };
                let attended = attend(value, seen.iter().map(|it| Ok::<_, Infallible>(*it)));
                let Ok(attended) = attended;
                value = attended;
            }
        }
        self.value = value;
    }
}
