//! Plans which parts of a grammar become symbols of the engine, and with which rules.
//!
//! A symbol costs the engine microseconds before the first mask, and again at each position of a
//! text where it may begin. So a choice of a single option is replaced by the option, and a
//! sequence that is used only once is written out in place.

use super::parts::{Grammar, Part, PartId};

/// How parts map to symbols.
pub(super) struct Plan {
    /// For each part the part that replaces it: the single option of a choice, or the part itself.
    resolved: Vec<PartId>,
    is_productive: Vec<bool>,
    /// Whether a sequence is written out where it is used.
    is_inline: Vec<bool>,
    num_symbols: usize,
}

impl Plan {
    /// Plans everything below the root. Some text must match the root.
    pub(super) fn new(grammar: &Grammar) -> Self {
        let is_productive = grammar.productive();
        let mut plan = Self {
            resolved: aliases(grammar, &is_productive),
            is_productive,
            is_inline: vec![false; grammar.parts.len()],
            num_symbols: 0,
        };
        let num_uses = plan.num_uses(grammar);
        for (idx, part) in grammar.parts.iter().enumerate() {
            plan.is_inline[idx] = match part {
                Part::Seq(items) => items.is_empty() || num_uses[idx] == 1,
                _ => false,
            };
            plan.num_symbols += usize::from(num_uses[idx] > 0 && !plan.is_inline[idx]);
        }
        plan
    }

    /// Returns an upper bound of the engine's symbols; equal lexemes share one.
    pub(super) fn num_symbols(&self) -> usize {
        self.num_symbols
    }

    /// Returns the part that replaces this one.
    pub(super) fn resolved(&self, id: PartId) -> PartId {
        self.resolved[id.0 as usize]
    }

    /// Returns the alternatives of a part; each is a sequence of symbols.
    pub(super) fn rules(&self, grammar: &Grammar, id: PartId) -> Vec<Vec<PartId>> {
        match &grammar.parts[id.0 as usize] {
            Part::Lexeme(_) => Vec::new(),
            Part::Seq(items) => vec![self.row(grammar, items)],
            Part::Alt(options) => {
                self.possible(options).map(|option| self.row(grammar, &[option])).collect()
            }
        }
    }

    fn possible<'p>(&'p self, options: &'p [PartId]) -> impl Iterator<Item = PartId> + 'p {
        options.iter().copied().filter(|id| self.is_productive[id.0 as usize])
    }

    /// Writes out inline sequences. Iterative, as they may be nested deeply.
    fn row(&self, grammar: &Grammar, items: &[PartId]) -> Vec<PartId> {
        let mut row = Vec::new();
        let mut todo: Vec<PartId> = items.iter().rev().copied().collect();
        while let Some(id) = todo.pop() {
            let id = self.resolved(id);
            match &grammar.parts[id.0 as usize] {
                Part::Seq(items) if self.is_inline[id.0 as usize] => {
                    todo.extend(items.iter().rev());
                }
                _ => row.push(id),
            }
        }
        row
    }

    /// Counts the uses of each part below the root, and one use of the root.
    fn num_uses(&self, grammar: &Grammar) -> Vec<usize> {
        let mut num_uses = vec![0; grammar.parts.len()];
        let mut todo = vec![self.resolved(grammar.root)];
        // The root is a symbol even if it is a sequence.
        num_uses[todo[0].0 as usize] = 1;
        while let Some(id) = todo.pop() {
            let mut need = |id: PartId| {
                let id = self.resolved(id);
                num_uses[id.0 as usize] += 1;
                if num_uses[id.0 as usize] == 1 {
                    todo.push(id);
                }
            };
            match &grammar.parts[id.0 as usize] {
                Part::Lexeme(_) => {}
                Part::Seq(items) => items.iter().copied().for_each(&mut need),
                Part::Alt(options) => self.possible(options).for_each(&mut need),
            }
        }
        num_uses
    }
}

/// Returns for each part the part that replaces it, following choices of a single option.
fn aliases(grammar: &Grammar, is_productive: &[bool]) -> Vec<PartId> {
    let only = |id: PartId| match &grammar.parts[id.0 as usize] {
        Part::Alt(options) => {
            let mut possible = options.iter().filter(|id| is_productive[id.0 as usize]);
            possible.next().filter(|_| possible.next().is_none()).copied()
        }
        _ => None,
    };
    let all = 0..u32::try_from(grammar.parts.len()).expect("a schema has at most a million parts");
    all.map(|idx| {
        // This ends: a part that some text matches is not a choice of only itself.
        let mut id = PartId(idx);
        while let Some(next) = only(id) {
            id = next;
        }
        id
    })
    .collect()
}
