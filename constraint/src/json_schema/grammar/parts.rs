//! A grammar of JSON texts as plain data.

use std::collections::HashMap;

use llguidance::derivre::RegexAst;

use crate::spacing::Spacing;

/// The index of a part in its grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct PartId(pub(super) u32);

/// A set of texts.
#[derive(Clone, Debug)]
pub(super) enum Part {
    /// One lexeme.
    Lexeme(RegexAst),
    /// All of these in sequence.
    Seq(Vec<PartId>),
    /// Any of these; without options it matches nothing.
    Alt(Vec<PartId>),
}

/// A grammar: parts that refer to each other.
#[derive(Debug)]
pub(crate) struct Grammar {
    pub(super) parts: Vec<Part>,
    pub(super) root: PartId,
    pub(super) spacing: Spacing,
    literals: HashMap<String, PartId>,
    /// Repetitions made so far: the part, the count, and whether it is exact.
    repeated: HashMap<(PartId, usize, bool), PartId>,
    pub(super) marks: Marks,
}

/// The lexemes between values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks {
    pub(super) comma: PartId,
    pub(super) colon: PartId,
    pub(super) brace: PartId,
    pub(super) end_brace: PartId,
    pub(super) bracket: PartId,
    pub(super) end_bracket: PartId,
    pub(super) empty: PartId,
    pub(super) never: PartId,
}

/// Repetitions are built from groups of this many, so that the number of parts is logarithmic.
const FACTOR: usize = 4;

impl Grammar {
    /// Makes a grammar without a root.
    pub(super) fn new(spacing: Spacing) -> Self {
        let none = PartId(0);
        let marks = Marks {
            comma: none,
            colon: none,
            brace: none,
            end_brace: none,
            bracket: none,
            end_bracket: none,
            empty: none,
            never: none,
        };
        let mut grammar = Self {
            parts: Vec::new(),
            root: none,
            spacing,
            literals: HashMap::new(),
            repeated: HashMap::new(),
            marks,
        };
        let mut mark = |regex: &str| grammar.add(Part::Lexeme(RegexAst::Regex(regex.to_owned())));
        let [comma, colon] = spacing.separators().map(&mut mark);
        let [brace, bracket, end_brace, end_bracket] = spacing.brackets().map(&mut mark);
        let empty = grammar.add(Part::Seq(Vec::new()));
        let never = grammar.add(Part::Alt(Vec::new()));
        grammar.marks =
            Marks { comma, colon, brace, end_brace, bracket, end_bracket, empty, never };
        grammar
    }

    fn add(&mut self, part: Part) -> PartId {
        let id = u32::try_from(self.parts.len()).expect("a schema has at most a million parts");
        self.parts.push(part);
        PartId(id)
    }

    pub(super) fn len(&self) -> usize {
        self.parts.len()
    }

    pub(super) fn set_root(&mut self, root: PartId) {
        self.root = root;
    }

    /// Adds a part that matches nothing until it is defined.
    pub(super) fn declare(&mut self) -> PartId {
        self.add(Part::Alt(Vec::new()))
    }

    /// Sets the body of a declared part.
    pub(super) fn define(&mut self, declared: PartId, part: PartId) {
        self.parts[declared.0 as usize] = Part::Alt(vec![part]);
    }

    pub(super) fn lexeme(&mut self, text: RegexAst) -> PartId {
        self.add(Part::Lexeme(text))
    }

    /// Adds a text as one lexeme.
    pub(super) fn literal(&mut self, text: &str) -> PartId {
        if let Some(known) = self.literals.get(text) {
            return *known;
        }
        let id = self.add(Part::Lexeme(RegexAst::Literal(text.to_owned())));
        self.literals.insert(text.to_owned(), id);
        id
    }

    pub(super) fn seq(&mut self, mut items: Vec<PartId>) -> PartId {
        items.retain(|item| *item != self.marks.empty);
        match items[..] {
            [only] => only,
            [] => self.marks.empty,
            _ if items.contains(&self.marks.never) => self.marks.never,
            _ => self.add(Part::Seq(items)),
        }
    }

    pub(super) fn alt(&mut self, mut options: Vec<PartId>) -> PartId {
        options.retain(|option| *option != self.marks.never);
        match options[..] {
            [only] => only,
            [] => self.marks.never,
            _ => self.add(Part::Alt(options)),
        }
    }

    pub(super) fn optional(&mut self, part: PartId) -> PartId {
        self.alt(vec![part, self.marks.empty])
    }

    /// Adds a repetition of a part, `min` to `max` times.
    pub(super) fn repeat(&mut self, part: PartId, min: usize, max: Option<usize>) -> PartId {
        debug_assert!(max.is_none_or(|max| min <= max), "callers refuse this");
        let needed = self.exactly(part, min);
        let more = match max {
            Some(max) => self.at_most(part, max.saturating_sub(min)),
            None => self.any_number(part),
        };
        self.seq(vec![needed, more])
    }

    /// Left-recursive, which suits the engine's parser.
    fn any_number(&mut self, part: PartId) -> PartId {
        if let Some(known) = self.repeated.get(&(part, usize::MAX, false)) {
            return *known;
        }
        let all = self.declare();
        let longer = self.seq(vec![all, part]);
        self.parts[all.0 as usize] = Part::Alt(vec![self.marks.empty, longer]);
        self.repeated.insert((part, usize::MAX, false), all);
        all
    }

    fn exactly(&mut self, part: PartId, times: usize) -> PartId {
        if times <= 2 * FACTOR {
            return self.seq(vec![part; times]);
        }
        if let Some(known) = self.repeated.get(&(part, times, true)) {
            return *known;
        }
        let group = self.seq(vec![part; FACTOR]);
        let mut items = vec![part; times % FACTOR];
        items.push(self.exactly(group, times / FACTOR));
        let all = self.seq(items);
        self.repeated.insert((part, times, true), all);
        all
    }

    fn at_most(&mut self, part: PartId, times: usize) -> PartId {
        if times == 0 {
            return self.marks.empty;
        }
        if let Some(known) = self.repeated.get(&(part, times, false)) {
            return *known;
        }
        let all = if times < 3 * FACTOR {
            let options = (0..=times).map(|count| self.exactly(part, count)).collect();
            self.alt(options)
        } else {
            // Either all full groups and a remainder, or fewer groups and less than one more group.
            let group = self.seq(vec![part; FACTOR]);
            let full = self.exactly(group, times / FACTOR);
            let left = self.at_most(part, times % FACTOR);
            let fewer = self.at_most(group, times / FACTOR - 1);
            let less = self.at_most(part, FACTOR - 1);
            let longest = self.seq(vec![full, left]);
            let shorter = self.seq(vec![fewer, less]);
            self.alt(vec![longest, shorter])
        };
        self.repeated.insert((part, times, false), all);
        all
    }

    /// Returns for each part whether some text matches it.
    pub(super) fn productive(&self) -> Vec<bool> {
        // Computes the least fixed point. Parts mostly come after the parts they consist of.
        let mut productive = vec![false; self.parts.len()];
        let mut has_changed = true;
        while has_changed {
            has_changed = false;
            for (idx, part) in self.parts.iter().enumerate() {
                let is = |id: &PartId| productive[id.0 as usize];
                let now = match part {
                    Part::Lexeme(_) => true,
                    Part::Seq(items) => items.iter().all(is),
                    Part::Alt(options) => options.iter().any(is),
                };
                has_changed |= now != productive[idx];
                productive[idx] = now;
            }
        }
        productive
    }

    /// Returns the parts from the root down that match nothing, each because of the next; empty if
    /// some text matches the root.
    pub(super) fn dead_ends(&self) -> Vec<PartId> {
        let productive = self.productive();
        let is_dead = |id: &&PartId| !productive[id.0 as usize];
        let mut found = Vec::new();
        let mut next = Some(self.root).filter(|root| is_dead(&root));
        while let Some(id) = next.filter(|id| !found.contains(id)) {
            found.push(id);
            next = match &self.parts[id.0 as usize] {
                Part::Lexeme(_) => None,
                Part::Seq(parts) | Part::Alt(parts) => parts.iter().find(is_dead).copied(),
            };
        }
        found
    }
}
