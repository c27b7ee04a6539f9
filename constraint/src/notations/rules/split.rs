//! Which nodes are no terminals, because they would swallow the text after them.

use std::collections::{HashMap, HashSet};

use super::{Node, NodeId, Rules};

/// Nodes that must not be terminals.
#[derive(Default)]
pub(super) struct Split {
    nodes: HashSet<NodeId>,
    joined: Vec<(Node, NodeId)>,
    /// The nodes of the characters into which literals were split.
    chars: HashMap<char, NodeId>,
}

impl Split {
    pub(super) fn contains(&self, node: NodeId) -> bool {
        self.nodes.contains(&node)
    }

    /// Returns the node that was made of the same neighbours before and then split.
    pub(super) fn joined(&self, node: &Node) -> Option<NodeId> {
        self.joined.iter().find(|(known, _)| known == node).map(|&(_, id)| id)
    }

    /// Splits terminals by one level. Returns whether there were any.
    pub(super) fn split_further(&mut self, rules: &mut Rules, terminals: &[NodeId]) -> bool {
        for &id in terminals {
            self.nodes.insert(id);
            match rules.node(id).clone() {
                Node::Literal(text) => {
                    let each = |c: char| Node::Literal(c.to_string());
                    let mut node = |c| *self.chars.entry(c).or_insert_with(|| rules.add(each(c)));
                    let items = text.chars().map(&mut node).collect();
                    rules.nodes[id.0 as usize] = Node::Seq(items);
                }
                other => self.joined.push((other, id)),
            }
        }
        !terminals.is_empty()
    }
}
