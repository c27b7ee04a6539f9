//! Bounds how deep the engine recurses over a schema, in whatever order it visits references.

/// A schema where a path may start: the root, or the target of a reference.
#[derive(Debug, Default)]
pub(super) struct Start {
    /// The number of schemas on its longest path down, without following references.
    pub(super) height: usize,
    /// The starts to which its references lead.
    pub(super) edges: Vec<usize>,
}

/// Returns an upper bound for the number of schemas on any path down from start 0. A path follows
/// each reference at most once, since the engine remembers which ones it has seen.
///
/// Such a path visits each start at most once. So its length is bounded by the heaviest path
/// through the strongly connected components, where a component weighs as much as all its members.
pub(super) fn bound(starts: &[Start]) -> usize {
    let mut search = Search {
        order: vec![0; starts.len()],
        low: vec![0; starts.len()],
        levels: vec![None; starts.len()],
        stack: Vec::new(),
        next: 1,
    };
    // Frames of Tarjan's algorithm: a node, and how many of its edges are done. The stack is
    // explicit, because recursion depth is what this function protects.
    let mut frames = vec![(0, 0)];
    while let Some((node, done)) = frames.pop() {
        if done == 0 {
            search.enter(node);
        }
        let Some(&child) = starts[node].edges.get(done) else {
            search.leave(node, starts);
            if let Some(&(parent, _)) = frames.last() {
                search.low[parent] = search.low[parent].min(search.low[node]);
            }
            continue;
        };
        frames.push((node, done + 1));
        if search.order[child] == 0 {
            frames.push((child, 0));
        } else if search.levels[child].is_none() {
            search.low[node] = search.low[node].min(search.order[child]);
        }
    }
    search.levels.first().copied().flatten().unwrap_or(0)
}

struct Search {
    /// The order in which the nodes were entered; 0 if not yet.
    order: Vec<usize>,
    /// The earliest entry that each node can reach.
    low: Vec<usize>,
    /// The bound for each node whose component is complete.
    levels: Vec<Option<usize>>,
    stack: Vec<usize>,
    next: usize,
}

impl Search {
    fn enter(&mut self, node: usize) {
        self.order[node] = self.next;
        self.low[node] = self.next;
        self.next += 1;
        self.stack.push(node);
    }

    /// Completes the component rooted at `node`, if there is one.
    fn leave(&mut self, node: usize, starts: &[Start]) {
        if self.low[node] != self.order[node] {
            return;
        }
        let start = self.stack.iter().rposition(|&entry| entry == node).unwrap_or(0);
        let members = self.stack.split_off(start);
        let children = members.iter().flat_map(|&member| &starts[member].edges);
        let below = children.filter_map(|&child| self.levels[child]).max().unwrap_or(0);
        let own: usize = members.iter().map(|&member| starts[member].height).sum();
        for &member in &members {
            self.levels[member] = Some(below + own);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(starts: &[(usize, &[usize])], want: usize) {
        let start = |&(height, edges): &(usize, &[usize])| Start { height, edges: edges.to_vec() };
        assert_eq!(bound(&starts.iter().map(start).collect::<Vec<_>>()), want);
    }

    #[test]
    fn levels_of_chains_trees_and_cycles() {
        check(&[(1, &[])], 1);
        check(&[(1, &[1]), (5, &[2]), (1, &[])], 7);
        check(&[(1, &[1, 2]), (1, &[]), (1, &[3]), (1, &[])], 3);
        // A diamond is as deep as its longer side.
        check(&[(1, &[1, 2]), (1, &[3]), (1, &[4]), (1, &[]), (1, &[3])], 4);
        // A schema that contains itself, and one below it.
        check(&[(2, &[1]), (2, &[1, 2]), (3, &[])], 7);
        // Three schemas that refer to each other, in any order.
        check(&[(1, &[1]), (2, &[2]), (3, &[3]), (4, &[1, 2])], 10);
        check(&[(1, &[3]), (2, &[3, 2]), (3, &[1]), (4, &[1, 2])], 10);
    }

    #[test]
    fn a_million_in_a_row_are_a_number_and_no_stack_overflow() {
        let edges = |next| if next < 1_000_000 { vec![next] } else { Vec::new() };
        let chain = (1..=1_000_000).map(|next| Start { height: 1, edges: edges(next) });
        assert_eq!(bound(&chain.collect::<Vec<_>>()), 1_000_000);
    }
}
