//! The grammar of objects: listed properties in order, then others. Or all in any order, where a
//! guard checks that none is missing.

use std::collections::{HashMap, HashSet, VecDeque};

use llguidance::derivre::{Regex, RegexAst};

use super::super::document::{Document, NodeId, ObjectRules};
use super::super::{patterns, regexes, spelling};
use super::Maker;
use super::chain::{Counts, Member};
use super::conjunct::Conjunct;
use super::parts::PartId;
use super::text;

/// The most patterns for names that are kept apart; each subset of them is one kind of name.
const MAX_PATTERNS: usize = 4;
/// The most patterns against which listed names are matched.
const MAX_KNOWN: usize = 100;
/// The most parts of an object whose properties are counted.
const MAX_COUNTED: usize = 3_000;
/// The most distinct values of properties in any order.
const MAX_KINDS: usize = 2_000;
/// The most matches of names against patterns.
const MAX_MATCHED: usize = 100_000;
/// A kind with no more names than this has few; the fuel for finding that many.
const FEW_NAMES: usize = 40;
const NAMES_FUEL: usize = 20_000;

/// One schema's rules about properties.
#[derive(Default)]
struct Side<'a> {
    listed: HashMap<&'a str, Option<NodeId>>,
    patterns: Vec<(&'a str, Option<NodeId>)>,
    additional: Option<NodeId>,
}

/// All rules about the properties of an object.
struct Sides<'a> {
    all: Vec<Side<'a>>,
    /// Each pattern with its expression, if the engine accepts it.
    patterns: Vec<(&'a str, Option<RegexAst>)>,
    /// The expression for names, and the same compiled for matching.
    names: Option<RegexAst>,
    matcher: Option<Regex>,
}

impl<'a> Maker<'a> {
    pub(super) fn object(&mut self, way: &Conjunct<'a>) -> PartId {
        let mut sides = self.sides(way);
        let rules = || way.all.iter().map(|(id, keywords)| (*id, &keywords.object));
        for (id, rules) in rules() {
            if !rules.needs.is_empty() {
                self.leave(id, "dependentRequired");
            }
            if !rules.dependent.is_empty() {
                self.leave(id, "dependentSchemas");
            }
        }
        let required: HashSet<&str> =
            rules().flat_map(|(_, rules)| &rules.required).map(String::as_str).collect();
        let names = names_in_order(way);
        let min = rules().map(|(_, rules)| rules.min_properties).max().unwrap_or(0);
        let max = rules().filter_map(|(_, rules)| rules.max_properties).min();
        if let Some(max) = max.filter(|max| min > *max) {
            return self
                .fail(&format!("minProperties ({min}) is greater than maxProperties ({max})"));
        }
        let mut counts = Counts { min, max };
        if sides.patterns.len() * names.len() > MAX_MATCHED {
            self.leave_patterns(way);
            sides.patterns.iter_mut().for_each(|(_, text)| *text = None);
        }
        let mut values = Vec::with_capacity(names.len());
        for name in &names {
            let value = self.property(way, &mut sides, name);
            if value == self.grammar.marks.never && required.contains(name) {
                return self.fail(&format!("property {name:?} is required and has no value"));
            }
            values.push(value);
        }
        let others = self.others(way, &sides, &names);
        let is_wide =
            names.len() > self.room.listed || longest_row(&names, &required) > self.room.row;
        if self.is_relaxed || is_wide {
            if let Some((id, rules)) = rules().find(|(_, rules)| says_names(rules)) {
                self.leave(id, if rules.required.is_empty() { "properties" } else { "required" });
            }
            let listed = self.by_value(&names, &values);
            let any = self.grammar.alt(listed.into_iter().chain(others).collect());
            return self.braces(Vec::new(), any, counts);
        }
        let marks = self.grammar.marks;
        let mut members = Vec::with_capacity(names.len());
        for (name, value) in names.iter().zip(values).filter(|(_, value)| *value != marks.never) {
            let written = self.grammar.literal(&spelling::quoted(name));
            let part = self.grammar.seq(vec![written, marks.colon, value]);
            members.push(Member { part, is_required: required.contains(name) });
        }
        let num_required = members.iter().filter(|member| member.is_required).count();
        if counts.max.is_some_and(|max| num_required > max) {
            let max = counts.max.unwrap_or(0);
            return self
                .fail(&format!("`required` names {num_required}, but maxProperties is {max}"));
        }
        counts.min = if counts.min <= num_required { 0 } else { counts.min };
        if others.is_empty() && counts.max.is_some_and(|max| max >= members.len()) {
            counts.max = None;
        }
        let counts = self.counted(way, counts, members.len());
        let others = self.grammar.alt(others);
        self.braces(members, others, counts)
    }

    /// Returns the counts, unless they would take too many parts.
    fn counted(&mut self, way: &Conjunct<'a>, counts: Counts, num_members: usize) -> Counts {
        let most = counts.max.unwrap_or(0).max(counts.min).min(num_members);
        if counts.min == 0 && counts.max.is_none() || num_members * most <= MAX_COUNTED {
            return counts;
        }
        for (id, keywords) in &way.all {
            if keywords.object.min_properties > 0 {
                self.leave(*id, "minProperties");
            }
            if keywords.object.max_properties.is_some() {
                self.leave(*id, "maxProperties");
            }
        }
        Counts { min: 0, max: None }
    }

    /// Collects the rules about properties of each schema in a way.
    fn sides(&mut self, way: &Conjunct<'a>) -> Sides<'a> {
        let mut all = Vec::new();
        let mut names = Vec::new();
        for (id, keywords) in &way.all {
            let rules: &'a ObjectRules = &keywords.object;
            let named = |(name, schema): &'a (String, NodeId)| (name.as_str(), Some(*schema));
            all.push(Side {
                listed: rules.properties.iter().map(named).collect(),
                patterns: rules.patterns.iter().map(named).collect(),
                additional: rules.additional,
            });
            if let Some(unevaluated) = rules.unevaluated.filter(|it| !self.document.is_always(*it))
            {
                self.leave(*id, "unevaluatedProperties");
                if !self.is_relaxed {
                    all.extend(evaluated(self.document, *id, unevaluated));
                }
            }
            if let Some(schema) = rules.names.filter(|it| !self.document.is_always(*it)) {
                let said = self.names(schema);
                if said.is_none() {
                    self.leave(*id, "propertyNames");
                }
                names.extend(said);
            }
        }
        let mut seen = HashSet::new();
        let patterns = all.iter().flat_map(|side| &side.patterns).map(|(pattern, _)| *pattern);
        let patterns: Vec<&str> = patterns.filter(|pattern| seen.insert(*pattern)).collect();
        self.coarsened.strings |= self.coarse.strings && !patterns.is_empty();
        let is_known = patterns.len() <= MAX_KNOWN && !self.coarse.strings;
        let text = |pattern: &str| {
            let parts = regexes::parts(pattern).and_then(regexes::Parts::for_grammar)?;
            (!parts.is_relaxed).then(|| parts.ast())
        };
        let text = |pattern: &str| if is_known { text(pattern) } else { None };
        let patterns = patterns.into_iter().map(|pattern| (pattern, text(pattern))).collect();
        let names = if names.is_empty() { None } else { Some(RegexAst::And(names)) };
        let matcher = names.as_ref().and_then(text::matcher);
        if names.is_some() && matcher.is_none() {
            self.leave_names(way);
        }
        Sides { all, patterns, names, matcher }
    }

    /// Returns the value of the property with this name.
    fn property(&mut self, way: &Conjunct<'a>, sides: &mut Sides<'a>, name: &str) -> PartId {
        if sides.matcher.as_mut().is_some_and(|names| !names.is_match(name)) {
            return self.fail(&format!("`propertyNames` rules the name {name:?} out"));
        }
        let mut matching: Vec<&str> = Vec::new();
        let mut unknown = sides.patterns.iter().any(|(_, text)| text.is_none());
        for (pattern, _) in sides.patterns.iter().filter(|_| !unknown).collect::<Vec<_>>() {
            match self.patterns.matches(pattern, name) {
                Some(true) => matching.push(pattern),
                Some(false) => {}
                None => unknown = true,
            }
        }
        if unknown {
            self.leave_patterns(way);
        }
        let mut ids = Vec::new();
        for side in &sides.all {
            let listed = side.listed.get(name);
            let by_pattern = side.patterns.iter().filter(|(pattern, _)| matching.contains(pattern));
            let mut is_known = listed.is_some() || unknown && !side.patterns.is_empty();
            ids.extend(listed.copied().flatten());
            for (_, schema) in by_pattern {
                is_known = true;
                ids.extend(*schema);
            }
            if !is_known {
                ids.extend(side.additional);
            }
        }
        self.value(ids)
    }

    /// Returns the properties that are not listed, one part per kind.
    fn others(&mut self, way: &Conjunct<'a>, sides: &Sides<'a>, names: &[&str]) -> Vec<PartId> {
        let taken: Vec<String> = names.iter().map(|name| spelling::quoted(name)).collect();
        let known: Option<Vec<&RegexAst>> =
            sides.patterns.iter().map(|(_, text)| text.as_ref()).collect();
        let known = known.filter(|known| known.len() <= MAX_PATTERNS);
        let Some(known) = known else {
            self.leave_patterns(way);
            // It is unknown which names match, so each may have any value.
            let value = self.value(Vec::new());
            return vec![self.other(sides.names.clone(), &taken, value)];
        };
        let mut others = Vec::new();
        for set in 0..1_usize << known.len() {
            let is_in = |idx: usize| set & 1 << idx != 0;
            let mut ids = Vec::new();
            for side in &sides.all {
                let of_set = |pattern: &&str| {
                    sides.patterns.iter().position(|(it, _)| it == pattern).is_some_and(is_in)
                };
                let matching: Vec<Option<NodeId>> = side
                    .patterns
                    .iter()
                    .filter(|(pattern, _)| of_set(pattern))
                    .map(|(_, schema)| *schema)
                    .collect();
                let additional = side.additional.filter(|_| matching.is_empty());
                ids.extend(matching.into_iter().flatten().chain(additional));
            }
            let mut all: Vec<RegexAst> = Vec::new();
            for (idx, text) in known.iter().enumerate() {
                let text = (*text).clone();
                all.push(if is_in(idx) { text } else { RegexAst::Not(Box::new(text)) });
            }
            all.extend(sides.names.clone());
            let text = if all.is_empty() { None } else { Some(RegexAst::And(all)) };
            if text.as_ref().is_some_and(|text| text::is_empty(text) == Some(true)) {
                continue;
            }
            let value = self.value(ids);
            if value == self.grammar.marks.never {
                continue;
            }
            // If there are few names, all of them may be used up, which only the guard foresees.
            let mut in_set = sides.patterns.iter().enumerate().filter(|(idx, _)| is_in(*idx));
            let is_bounded =
                sides.names.is_some() || in_set.any(|(_, (it, _))| regexes::is_bounded(it));
            if is_bounded && text.as_ref().is_some_and(has_few) {
                self.leave_patterns(way);
                self.leave_names(way);
            }
            others.push(self.other(text, &taken, value));
        }
        others
    }

    fn leave_patterns(&mut self, way: &Conjunct<'a>) {
        for (id, keywords) in &way.all {
            if !keywords.object.patterns.is_empty() {
                self.leave(*id, "patternProperties");
            }
        }
    }

    fn leave_names(&mut self, way: &Conjunct<'a>) {
        for (id, keywords) in &way.all {
            if keywords.object.names.is_some() {
                self.leave(*id, "propertyNames");
            }
        }
    }

    fn other(&mut self, text: Option<RegexAst>, taken: &[String], value: PartId) -> PartId {
        let name = self.grammar.lexeme(text::other_names(text, taken));
        self.grammar.seq(vec![name, self.grammar.marks.colon, value])
    }

    /// Groups listed properties by value, one part per value; drops those without a possible value.
    fn by_value(&mut self, names: &[&str], values: &[PartId]) -> Vec<PartId> {
        let mut kinds: Vec<(PartId, Vec<RegexAst>)> = Vec::new();
        let mut known: HashMap<PartId, usize> = HashMap::new();
        let never = self.grammar.marks.never;
        let possible = || names.iter().zip(values).filter(|(_, value)| **value != never);
        let different = possible().map(|(_, value)| value).collect::<HashSet<_>>().len();
        let any = (different > MAX_KINDS).then(|| self.value(Vec::new()));
        for (name, value) in possible() {
            let value = any.unwrap_or(*value);
            let kind = *known.entry(value).or_insert(kinds.len());
            if kind == kinds.len() {
                kinds.push((value, Vec::new()));
            }
            kinds[kind].1.push(RegexAst::Literal(spelling::quoted(name)));
        }
        let colon = self.grammar.marks.colon;
        let part = |(value, names)| {
            let names = self.grammar.lexeme(RegexAst::Or(names));
            self.grammar.seq(vec![names, colon, value])
        };
        kinds.into_iter().map(part).collect()
    }
}

/// Returns the largest number of names that may all come next, since none before them is required.
fn longest_row(names: &[&str], required: &HashSet<&str>) -> usize {
    names.split(|name| required.contains(name)).map(<[&str]>::len).max().unwrap_or(0)
}

/// Returns whether few texts match; true if that would take too long to find out.
fn has_few(text: &RegexAst) -> bool {
    let Some(mut regex) = text::matcher(text) else { return true };
    let mut fuel = NAMES_FUEL;
    patterns::shortest(&mut regex, FEW_NAMES, &mut fuel).is_none()
}

fn says_names(rules: &ObjectRules) -> bool {
    !rules.properties.is_empty() || !rules.required.is_empty()
}

/// Returns the listed names in the order in which they are visited, then those that are only
/// required.
pub(crate) fn in_order<'k>(all: impl Iterator<Item = &'k ObjectRules> + Clone) -> Vec<&'k str> {
    let listed = all.clone().flat_map(|rules| &rules.properties).map(|(name, _)| name);
    let required = all.flat_map(|rules| &rules.required);
    let mut seen = HashSet::new();
    listed.chain(required).map(String::as_str).filter(|name| seen.insert(*name)).collect()
}

fn names_in_order<'a>(way: &Conjunct<'a>) -> Vec<&'a str> {
    let rules: Vec<&'a ObjectRules> =
        way.all.iter().map(|(_, keywords)| &keywords.object).collect();
    in_order(rules.iter().copied())
}

/// Excludes names that no schema of the value mentions. Which of these schemas hold, and so which
/// names really count, is left to the guard. None if some schema may evaluate any name.
fn evaluated(document: &Document, id: NodeId, unevaluated: NodeId) -> Option<Side<'_>> {
    let mut side = Side { additional: Some(unevaluated), ..Side::default() };
    let mut seen = HashSet::from([id]);
    let mut todo = VecDeque::from([id]);
    while let Some(next) = todo.pop_front() {
        let Some(keywords) = document.keywords(next) else { continue };
        let object = &keywords.object;
        let is_open = object.additional.is_some() || next != id && object.unevaluated.is_some();
        if is_open || keywords.dynamic.is_some() {
            return None;
        }
        side.listed.extend(object.properties.iter().map(|(name, _)| (name.as_str(), None)));
        side.patterns.extend(object.patterns.iter().map(|(pattern, _)| (pattern.as_str(), None)));
        todo.extend(keywords.in_place().filter(|child| seen.insert(*child)));
    }
    Some(side)
}
