//! How deep the engine recurses over a schema, whatever order it visits references in.

/// Returns an upper bound for the schemas on any way down from node 0, where a reference is
/// followed once on each way. `edges[n]` are the schemas inside and referenced by schema `n`.
///
/// The longest way through a graph is the heaviest way through its strongly connected components.
/// In a component with a cycle every schema may be met twice: in its place, and by reference.
pub(super) fn bound(edges: &[Vec<usize>]) -> usize {
    let mut search = Search {
        order: vec![0; edges.len()],
        low: vec![0; edges.len()],
        levels: vec![None; edges.len()],
        stack: Vec::new(),
        next: 1,
    };
    // Frames of Tarjan's algorithm: a node and how many of its edges are done. An explicit stack,
    // because the depth of this very recursion is what is in question.
    let mut frames = vec![(0, 0)];
    while let Some((node, done)) = frames.pop() {
        if done == 0 {
            search.enter(node);
        }
        let Some(&child) = edges[node].get(done) else {
            search.leave(node, edges);
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
    /// When each node was entered; 0 if not yet.
    order: Vec<usize>,
    /// The earliest entry that each node can get back to.
    low: Vec<usize>,
    /// The bound from each node whose component is complete.
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

    /// Completes the component that `node` is the root of, if it is one.
    fn leave(&mut self, node: usize, edges: &[Vec<usize>]) {
        if self.low[node] != self.order[node] {
            return;
        }
        let start = self.stack.iter().rposition(|&entry| entry == node).unwrap_or(0);
        let members = self.stack.split_off(start);
        let children = || members.iter().flat_map(|&member| &edges[member]);
        let below = children().filter_map(|&child| self.levels[child]).max().unwrap_or(0);
        let has_cycle = members.len() > 1 || children().any(|&child| child == node);
        let own = if has_cycle { 2 * members.len() } else { 1 };
        for &member in &members {
            self.levels[member] = Some(below + own);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::bound;

    #[test]
    fn levels_of_chains_trees_and_cycles() {
        assert_eq!(bound(&[vec![]]), 1);
        assert_eq!(bound(&[vec![1], vec![2], vec![]]), 3);
        assert_eq!(bound(&[vec![1, 2], vec![], vec![3], vec![]]), 3);
        // A diamond is as deep as its longer side.
        assert_eq!(bound(&[vec![1, 2], vec![3], vec![4], vec![], vec![3]]), 4);
        // A schema that contains itself, and one below it.
        assert_eq!(bound(&[vec![0, 1], vec![]]), 3);
        // Three schemas that refer to each other.
        assert_eq!(bound(&[vec![1], vec![2], vec![0, 3], vec![]]), 7);
        // A million in a row end in a number, not in a stack overflow.
        let chain: Vec<Vec<usize>> =
            (1..=1_000_000).map(|next| if next < 1_000_000 { vec![next] } else { vec![] }).collect();
        assert_eq!(bound(&chain), 1_000_000);
    }
}
