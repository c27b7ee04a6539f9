//! Which parts of a grammar become symbols of the engine's, and what their rules are.
//!
//! A symbol costs the engine microseconds before the first mask, and each time that a place of a
//! text begins with it. So a choice of one thing is that thing, and a sequence that is needed in
//! one place only is written out there.

use super::parts::{Grammar, Part, PartId};

/// How parts are put together.
pub(super) struct Plan {
    /// What a part is, if it is a choice of one thing; else itself.
    meant: Vec<PartId>,
    is_productive: Vec<bool>,
    /// Whether a sequence is written out where it is needed.
    is_inline: Vec<bool>,
    num_symbols: usize,
}

impl Plan {
    /// Plans all that the root is made of. Some text must satisfy the root.
    pub(super) fn new(grammar: &Grammar) -> Self {
        let is_productive = grammar.productive();
        let mut plan = Self {
            meant: aliases(grammar, &is_productive),
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

    /// The symbols that the engine gets, at most: equal lexemes are one.
    pub(super) fn num_symbols(&self) -> usize {
        self.num_symbols
    }

    /// What a part is.
    pub(super) fn meant(&self, id: PartId) -> PartId {
        self.meant[id.0 as usize]
    }

    /// The ways to make a part: parts in order, each a symbol.
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

    /// Writes sequences out. They may be nested deeply.
    fn row(&self, grammar: &Grammar, items: &[PartId]) -> Vec<PartId> {
        let mut row = Vec::new();
        let mut todo: Vec<PartId> = items.iter().rev().copied().collect();
        while let Some(id) = todo.pop() {
            let id = self.meant(id);
            match &grammar.parts[id.0 as usize] {
                Part::Seq(items) if self.is_inline[id.0 as usize] => {
                    todo.extend(items.iter().rev());
                }
                _ => row.push(id),
            }
        }
        row
    }

    /// How often each part is needed below the root; the root once.
    fn num_uses(&self, grammar: &Grammar) -> Vec<usize> {
        let mut num_uses = vec![0; grammar.parts.len()];
        let mut todo = vec![self.meant(grammar.root)];
        // The root is a symbol even if it is a sequence.
        num_uses[todo[0].0 as usize] = 1;
        while let Some(id) = todo.pop() {
            let mut need = |id: PartId| {
                let id = self.meant(id);
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

/// For each part what it is, choices of one thing followed.
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
        // Nothing that some text satisfies is a choice of itself alone.
        let mut id = PartId(idx);
        while let Some(next) = only(id) {
            id = next;
        }
        id
    })
    .collect()
}
