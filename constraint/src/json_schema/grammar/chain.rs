//! Properties in sequence between braces, separated by commas and counted where counts matter.

use std::collections::HashMap;

use super::Maker;
use super::parts::PartId;

/// A listed property.
pub(super) struct Member {
    pub(super) part: PartId,
    pub(super) is_required: bool,
}

/// How many properties there may be.
#[derive(Clone, Copy)]
pub(super) struct Counts {
    pub(super) min: usize,
    pub(super) max: Option<usize>,
}

impl Maker<'_> {
    /// Returns an object: the members in order, then any number of `others`.
    pub(super) fn braces(
        &mut self,
        members: Vec<Member>,
        others: PartId,
        counts: Counts,
    ) -> PartId {
        let mut chain = Chain { maker: self, members, others, counts, known: HashMap::new() };
        let inside = chain.first();
        let marks = self.grammar.marks;
        self.grammar.seq(vec![marks.brace, inside, marks.end_brace])
    }
}

/// Builds a sequence of members separated by commas.
struct Chain<'m, 'a> {
    maker: &'m mut Maker<'a>,
    members: Vec<Member>,
    others: PartId,
    counts: Counts,
    /// For a member index and the number of properties before it, the part that begins with the
    /// next property.
    known: HashMap<(usize, usize), PartId>,
}

impl Chain<'_, '_> {
    /// Builds from the last member to the first, so that nothing recurses.
    fn first(&mut self) -> PartId {
        let is_counted = self.counts.min > 0 || self.counts.max.is_some();
        let most = self.counts.max.unwrap_or(0).max(self.counts.min);
        for idx in (0..=self.members.len()).rev() {
            for count in 0..=if is_counted { most.min(idx) } else { 0 } {
                let next = self.next(idx, count);
                self.known.insert((idx, count), next);
            }
        }
        let next = self.known[&(0, 0)];
        self.or_end(next, 0, 0)
    }

    /// Returns the part that begins with the next property, from member `idx` on.
    fn next(&mut self, idx: usize, count: usize) -> PartId {
        let is_full = self.counts.max.is_some_and(|max| count >= max);
        let Some(member) = self.members.get(idx) else {
            return if is_full { self.maker.grammar.marks.never } else { self.rest(count) };
        };
        let (part, is_required) = (member.part, member.is_required);
        let mut options = Vec::new();
        if !is_full {
            let following = self.following(idx + 1, self.counted(count));
            options.push(self.maker.grammar.seq(vec![part, following]));
        }
        if !is_required {
            options.push(self.known[&(idx + 1, count)]);
        }
        self.maker.grammar.alt(options)
    }

    /// Returns the count after one more property, as far as it matters.
    fn counted(&self, count: usize) -> usize {
        match self.counts {
            Counts { min: 0, max: None } => 0,
            Counts { max: Some(_), .. } => count + 1,
            Counts { min, max: None } => (count + 1).min(min),
        }
    }

    /// Returns what follows a property: a comma and the next one, or the end.
    fn following(&mut self, idx: usize, count: usize) -> PartId {
        let next = self.known[&(idx, count)];
        let comma = self.maker.grammar.marks.comma;
        let more = self.maker.grammar.seq(vec![comma, next]);
        self.or_end(more, idx, count)
    }

    fn or_end(&mut self, more: PartId, idx: usize, count: usize) -> PartId {
        let is_needed = self.members[idx..].iter().any(|member| member.is_required);
        if is_needed || count < self.counts.min { more } else { self.maker.grammar.optional(more) }
    }

    /// Returns at least one of the unlisted properties.
    fn rest(&mut self, count: usize) -> PartId {
        let min = self.counts.min.saturating_sub(count + 1);
        let max = self.counts.max.map(|max| max - count - 1);
        let comma = self.maker.grammar.marks.comma;
        let more = self.maker.grammar.seq(vec![comma, self.others]);
        if more == self.maker.grammar.marks.never {
            return more;
        }
        let more = self.maker.grammar.repeat(more, min, max);
        self.maker.grammar.seq(vec![self.others, more])
    }
}
