//! Prompts that stand in for others: as long, and with the same beginnings where theirs were the
//! same. They tell nothing else.

use std::collections::BTreeMap;

use sluicegate_spec::units::TokenId;

use super::{FNV_BASIS, fnv};
use crate::messages::RequestId;

/// All beginnings of prompts and outputs so far, as a tree of tokens.
#[derive(Debug)]
pub(super) struct StandIns {
    vocab: usize,
    nodes: Vec<Node>,
    /// Where the prompts of running requests end.
    ends: BTreeMap<RequestId, Vec<usize>>,
}

/// What comes after one beginning.
#[derive(Debug, Default)]
struct Node(Vec<Child>);

#[derive(Debug)]
struct Child {
    token: TokenId,
    stands_in: TokenId,
    node: usize,
}

impl StandIns {
    pub(super) fn new(vocab: usize) -> Self {
        Self { vocab, nodes: vec![Node::default()], ends: BTreeMap::new() }
    }

    /// What stands in for the prompts of a request.
    pub(super) fn prompts(
        &mut self,
        request: RequestId,
        prompts: &[Vec<TokenId>],
    ) -> Vec<Vec<TokenId>> {
        let mut ends = Vec::with_capacity(prompts.len());
        let mut stand_ins = Vec::with_capacity(prompts.len());
        for prompt in prompts {
            let mut at = 0;
            let mut stands_in = Vec::with_capacity(prompt.len());
            for token in prompt {
                let child = self.child(at, *token, false);
                stands_in.push(child.0);
                at = child.1;
            }
            ends.push(at);
            stand_ins.push(stands_in);
        }
        self.ends.insert(request, ends);
        stand_ins
    }

    /// Takes note of an output, whose tokens are no secret: a prompt that goes on from it has them,
    /// too.
    pub(super) fn output(&mut self, request: RequestId, prompt: usize, tokens: &[TokenId]) {
        let end = self.ends.get(&request).and_then(|ends| ends.get(prompt).copied());
        let Some(mut at) = end else { return };
        for token in tokens {
            at = self.child(at, *token, true).1;
        }
    }

    /// Takes note that a request has ended.
    pub(super) fn end(&mut self, request: RequestId) {
        self.ends.remove(&request);
    }

    /// What stands in for a token behind a beginning, and the beginning with it.
    fn child(&mut self, at: usize, token: TokenId, is_known: bool) -> (TokenId, usize) {
        let vocab = self.vocab.max(1) as u64;
        let Node(children) = &self.nodes[at];
        if let Some(child) = children.iter().find(|child| child.token == token) {
            return (child.stands_in, child.node);
        }
        // By the order of their appearance, and no two the same.
        let first = fnv(FNV_BASIS, &(at as u64).to_le_bytes());
        let candidates = (0..vocab).map(|offset| first.wrapping_add(offset) % vocab);
        let candidates = candidates.filter_map(|it| TokenId::try_from(it).ok());
        let is_free = |it: &TokenId| children.iter().all(|child| child.stands_in != *it);
        let stands_in = Some(token).filter(|it| is_known && is_free(it));
        let stands_in = stands_in.or_else(|| candidates.into_iter().find(is_free)).unwrap_or(0);
        let node = self.nodes.len();
        self.nodes.push(Node::default());
        self.nodes[at].0.push(Child { token, stands_in, node });
        (stands_in, node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_begins_alike_is_told() {
        let mut stand_ins = StandIns::new(1_000);
        let prompts = [vec![5, 6, 7, 8], vec![5, 6, 9, 8], vec![5, 5, 5, 5]];
        let made = stand_ins.prompts(RequestId(1), &prompts);
        assert_eq!(made[0][..2], made[1][..2]);
        assert_ne!(made[0][2], made[1][2]);
        assert_ne!(made[0][3], made[1][3], "the same token behind another beginning");
        assert!(made[2].windows(2).all(|pair| pair[0] != pair[1]), "{made:?}");
        // The numbers of other tokens in the same order of appearance are the same.
        let others = [vec![1, 2, 3, 4], vec![1, 2, 7, 4], vec![1, 1, 1, 1]];
        assert_eq!(StandIns::new(1_000).prompts(RequestId(1), &others), made);
    }

    #[test]
    fn a_prompt_that_goes_on_from_an_output_has_its_tokens() {
        let mut stand_ins = StandIns::new(1_000);
        let first = stand_ins.prompts(RequestId(1), &[vec![5, 6]]).remove(0);
        stand_ins.output(RequestId(1), 0, &[40, 41]);
        stand_ins.end(RequestId(1));
        let second = stand_ins.prompts(RequestId(2), &[vec![5, 6, 40, 41, 7]]).remove(0);
        assert_eq!(second[..2], first);
        assert_eq!(second[2..4], [40, 41]);
        assert_ne!(second[4], 7);
    }

    #[test]
    fn a_vocabulary_of_any_size_will_do() {
        for vocab in [0, 1, 2] {
            let made = StandIns::new(vocab).prompts(RequestId(1), &[vec![1, 2], vec![2, 1]]);
            assert!(made.concat().iter().all(|token| (*token as usize) < vocab.max(1)));
        }
    }
}
