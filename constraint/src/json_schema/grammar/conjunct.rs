//! Splits the schemas that apply to one value into the ways in which they can hold together.

use super::super::disjoint;
use super::super::document::{Body, KeywordGroup, Keywords, NodeId, Types};
use super::Maker;

/// The most ways of one value that are kept apart.
const MAX_WAYS: usize = 256;
/// The most schemas joined to ways in all.
const MAX_WORK: usize = 300_000;
/// The most schemas joined in one way.
const MAX_JOINED: usize = 400;

/// Schemas without choices that all apply to one value, in the order in which they are visited.
#[derive(Clone, Debug)]
pub(super) struct Conjunct<'a> {
    pub(super) all: Vec<(NodeId, &'a Keywords)>,
    seen: Vec<NodeId>,
    /// The types allowed by choices that are left to the guard.
    chosen: Types,
}

impl Default for Conjunct<'_> {
    fn default() -> Self {
        Self { all: Vec::new(), seen: Vec::new(), chosen: Types::ALL }
    }
}

impl Conjunct<'_> {
    /// Returns the types that every schema allows, ignoring `not`.
    pub(super) fn types(&self) -> Types {
        let types = self.all.iter().filter_map(|(_, keywords)| keywords.types);
        types.fold(self.chosen, Types::intersection)
    }
}

impl<'a> Maker<'a> {
    /// Returns the ways in which all these schemas can hold; empty if they cannot.
    pub(super) fn ways(&mut self, ids: &[NodeId]) -> Vec<Conjunct<'a>> {
        let mut ways = vec![Conjunct::default()];
        for id in ids {
            ways = self.joined(ways, *id);
        }
        ways
    }

    fn joined(&mut self, mut ways: Vec<Conjunct<'a>>, id: NodeId) -> Vec<Conjunct<'a>> {
        let document = self.document;
        if !self.finite[id.index()] {
            return Vec::new();
        }
        let keywords = match &document.node(id).body {
            Body::Always => return ways,
            Body::Never => return Vec::new(),
            Body::Keywords(keywords) => &**keywords,
        };
        self.work += ways.len();
        let (mut known, mut others): (Vec<_>, Vec<_>) =
            ways.drain(..).partition(|way| way.seen.contains(&id));
        if others.iter().any(|way| way.seen.len() >= MAX_JOINED) {
            self.leave(id, "allOf");
            known.append(&mut others);
            return known;
        }
        for way in &mut others {
            way.seen.push(id);
        }
        let mut is_own_met = false;
        for group in &keywords.order {
            others = match group {
                KeywordGroup::Own | KeywordGroup::Literals if is_own_met => others,
                KeywordGroup::Own | KeywordGroup::Literals => {
                    is_own_met = true;
                    for way in &mut others {
                        way.all.push((id, keywords));
                    }
                    others.retain(|way| !way.types().is_empty());
                    others
                }
                _ if self.coarse.alone && keywords.order.len() > 1 => {
                    self.coarsened.alone = true;
                    self.leave(id, name(*group));
                    others
                }
                KeywordGroup::All => {
                    keywords.all.iter().fold(others, |ways, child| self.joined(ways, *child))
                }
                KeywordGroup::Reference => {
                    if keywords.dynamic.is_some() {
                        self.leave(id, "$dynamicRef");
                    }
                    keywords.reference.iter().fold(others, |ways, child| self.joined(ways, *child))
                }
                KeywordGroup::Any => self.with_each(others, id, *group, &each(&keywords.any)),
                KeywordGroup::One => {
                    if !self.is_wide(&keywords.one) {
                        self.check_disjoint(id, keywords);
                    }
                    self.with_each(others, id, *group, &each(&keywords.one))
                }
                KeywordGroup::Condition => match self.branches(id, keywords) {
                    Some(branches) => self.with_each(others, id, *group, &branches),
                    None => others,
                },
            };
        }
        known.append(&mut others);
        known
    }

    /// Joins each way with each option; an option is a list of schemas.
    fn with_each(
        &mut self,
        ways: Vec<Conjunct<'a>>,
        id: NodeId,
        group: KeywordGroup,
        options: &[Vec<NodeId>],
    ) -> Vec<Conjunct<'a>> {
        let mut joined = Vec::new();
        let mut is_hard =
            self.hard.contains(&(id, name(group))) || options.len() > self.room.options;
        for option in options {
            is_hard |= joined.len() > MAX_WAYS || self.work > MAX_WORK;
            if is_hard {
                break;
            }
            joined
                .extend(option.iter().fold(ways.clone(), |ways, child| self.joined(ways, *child)));
        }
        if !is_hard && joined.len() <= MAX_WAYS {
            return joined;
        }
        if ways.len() == 1 {
            self.hard.insert((id, name(group)));
        }
        self.leave(id, name(group));
        let of_option = |option: &Vec<NodeId>| {
            option.iter().map(|id| self.types_of(*id)).fold(Types::ALL, Types::intersection)
        };
        let chosen = options.iter().map(of_option).fold(Types::NONE, Types::union);
        let narrowed =
            ways.into_iter().map(|way| Conjunct { chosen: way.chosen.intersection(chosen), ..way });
        narrowed.filter(|way| !way.types().is_empty()).collect()
    }

    /// Returns an upper bound of the types that a schema allows, from its keywords and its
    /// references.
    pub(super) fn types_of(&self, id: NodeId) -> Types {
        let mut types = Types::ALL;
        let mut next = Some(id);
        while let Some(id) = next.take() {
            // Circular references are not finite, so this loop ends.
            if !self.finite[id.index()] {
                return Types::NONE;
            }
            let Some(keywords) = self.document.keywords(id) else { continue };
            let literals = keywords.literals.iter();
            let literals =
                literals.map(|it| it.iter().map(Types::of).fold(Types::NONE, Types::union));
            let all = keywords.types.into_iter().chain(literals);
            types = all.fold(types, Types::intersection);
            next = keywords.reference;
        }
        types
    }

    /// Returns whether a choice has too many options to keep apart.
    fn is_wide(&self, options: &[NodeId]) -> bool {
        let may_hold_others = |id: &&NodeId| self.types_of(**id).has(Types::CONTAINERS);
        let most = self.room.options;
        options.len() > most && options.iter().filter(may_hold_others).count() > most
    }

    /// Returns the options of a schema that is a choice and nothing else.
    pub(super) fn only_choice(&mut self, id: NodeId) -> Option<Vec<Vec<NodeId>>> {
        let document = self.document;
        let keywords = document.keywords(id)?;
        if !self.finite[id.index()] {
            return None;
        }
        match keywords.order[..] {
            [KeywordGroup::Any] if !self.is_wide(&keywords.any) => Some(each(&keywords.any)),
            [KeywordGroup::One] if !self.is_wide(&keywords.one) => {
                self.check_disjoint(id, keywords);
                Some(each(&keywords.one))
            }
            _ => None,
        }
    }

    fn check_disjoint(&mut self, id: NodeId, keywords: &Keywords) {
        let (document, one) = (self.document, &keywords.one);
        let known = self.disjoint.entry(id);
        if !*known.or_insert_with(|| disjoint::are_disjoint(document, one)) {
            self.leave(id, "oneOf");
        }
    }

    /// Returns what applies if a condition holds, and what if not. The guard checks that the
    /// condition selects the right one.
    fn branches(&mut self, id: NodeId, keywords: &Keywords) -> Option<Vec<Vec<NodeId>>> {
        let condition = keywords.condition?;
        if condition.then.is_none() && condition.otherwise.is_none() {
            return None;
        }
        self.leave(id, "if");
        let otherwise = condition.otherwise?;
        let mut then = vec![condition.test];
        then.extend(condition.then);
        Some(vec![then, vec![otherwise]])
    }
}

fn each(options: &[NodeId]) -> Vec<Vec<NodeId>> {
    options.iter().map(|option| vec![*option]).collect()
}

fn name(group: KeywordGroup) -> &'static str {
    match group {
        KeywordGroup::Own => "type",
        KeywordGroup::Literals => "enum",
        KeywordGroup::All => "allOf",
        KeywordGroup::Any => "anyOf",
        KeywordGroup::One => "oneOf",
        KeywordGroup::Reference => "$ref",
        KeywordGroup::Condition => "if",
    }
}
