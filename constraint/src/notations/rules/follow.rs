//! FIRST and FOLLOW sets over terminals.

use std::collections::HashMap;

use super::RuleId;
use super::skeleton::{Part, Skeleton};

/// A set of terminals.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    pub(super) fn new(num: usize) -> Self {
        Self(vec![0; num.div_ceil(64)])
    }

    pub(super) fn insert(&mut self, idx: usize) {
        self.0[idx / 64] |= 1 << (idx % 64);
    }

    /// Adds all of `other`. Returns whether any was new.
    pub(super) fn add_all(&mut self, other: &Self) -> bool {
        let mut is_new = false;
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            is_new |= more & !*word != 0;
            *word |= more;
        }
        is_new
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().flat_map(|(idx, &word)| {
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| idx * 64 + bit)
        })
    }
}

/// The terminals that may begin a text, and those that may follow each terminal.
pub(super) struct Follow {
    pub(super) start: Bits,
    pub(super) next: Vec<Bits>,
}

struct Finder<'a> {
    skeleton: &'a Skeleton,
    nullable: Vec<bool>,
    idx_of: HashMap<RuleId, usize>,
    /// For each rule, the terminals it may begin with and whether it may be empty.
    first: Vec<(Bits, bool)>,
    after: Vec<Bits>,
    next: Vec<Bits>,
}

impl Follow {
    pub(super) fn new(skeleton: &Skeleton, is_nullable: impl Fn(usize) -> bool) -> Self {
        let num = skeleton.terminals.len();
        let empty = || Bits::new(num);
        let num_rules = skeleton.rules.len();
        let mut finder = Finder {
            skeleton,
            nullable: (0..num).map(is_nullable).collect(),
            idx_of: skeleton
                .rules
                .iter()
                .enumerate()
                .map(|(idx, (rule, _))| (*rule, idx))
                .collect(),
            first: vec![(empty(), false); num_rules],
            after: vec![empty(); num_rules],
            next: vec![empty(); num],
        };
        finder.find_first();
        finder.find_next();
        Self { start: finder.first[0].0.clone(), next: finder.next }
    }
}

impl Finder<'_> {
    /// Iterates backwards, because rules come after those that refer to them.
    fn find_first(&mut self) {
        let mut is_new = true;
        while is_new {
            is_new = false;
            for idx in (0..self.first.len()).rev() {
                let (bits, nullable) = self.first_of(&self.skeleton.rules[idx].1);
                is_new |= self.first[idx].0.add_all(&bits) || nullable != self.first[idx].1;
                self.first[idx].1 = nullable;
            }
        }
    }

    fn find_next(&mut self) {
        let mut todo: Vec<usize> = (0..self.first.len()).rev().collect();
        let mut queued = vec![true; self.first.len()];
        while let Some(idx) = todo.pop() {
            queued[idx] = false;
            let after = self.after[idx].clone();
            self.visit(&self.skeleton.rules[idx].1, &after, &mut |rule| {
                if !std::mem::replace(&mut queued[rule], true) {
                    todo.push(rule);
                }
            });
        }
    }

    fn first_of(&self, part: &Part) -> (Bits, bool) {
        let mut bits = Bits::new(self.nullable.len());
        match part {
            Part::Terminal(idx) => {
                bits.insert(*idx);
                (bits, self.nullable[*idx])
            }
            Part::Rule(rule) => self.first[self.idx_of[rule]].clone(),
            Part::Seq(items) => {
                for item in items {
                    let (first, nullable) = self.first_of(item);
                    bits.add_all(&first);
                    if !nullable {
                        return (bits, false);
                    }
                }
                (bits, true)
            }
            Part::Alt(items) => {
                let mut any = items.is_empty();
                for item in items {
                    let (first, nullable) = self.first_of(item);
                    bits.add_all(&first);
                    any |= nullable;
                }
                (bits, any)
            }
            Part::Repeat(_, _, Some(0)) => (bits, true),
            Part::Repeat(item, min, _) => {
                let (first, nullable) = self.first_of(item);
                (first, nullable || *min == 0)
            }
        }
    }

    /// Records what may follow each terminal and rule inside a part, given what may follow the
    /// part.
    fn visit(&mut self, part: &Part, after: &Bits, changed: &mut impl FnMut(usize)) {
        match part {
            Part::Terminal(idx) => {
                self.next[*idx].add_all(after);
            }
            Part::Rule(rule) => {
                let idx = self.idx_of[rule];
                if self.after[idx].add_all(after) {
                    changed(idx);
                }
            }
            Part::Seq(items) => {
                let mut after = after.clone();
                for item in items.iter().rev() {
                    self.visit(item, &after, changed);
                    let (mut first, nullable) = self.first_of(item);
                    if nullable {
                        first.add_all(&after);
                    }
                    after = first;
                }
            }
            Part::Alt(items) => {
                for item in items {
                    self.visit(item, after, changed);
                }
            }
            Part::Repeat(_, _, Some(0)) => {}
            Part::Repeat(item, _, max) => {
                let mut after = after.clone();
                if *max != Some(1) {
                    after.add_all(&self.first_of(item).0);
                }
                self.visit(item, &after, changed);
            }
        }
    }
}
