//! The grammar of values that are listed one by one, and of numbers.

use llguidance::derivre::RegexAst;
use serde_json::{Map, Value};

use super::super::document::{ArrayRules, ObjectRules, Types};
use super::super::numbers::{self, Decimal, Multiple};
use super::super::spelling;
use super::super::values::is_same;
use super::conjunct::Conjunct;
use super::parts::PartId;
use super::{Maker, Value as Made, text};

/// Fuel for finding a multiple within bounds.
const MULTIPLES_FUEL: u64 = 50_000;
/// The most literal comparisons per value.
const MAX_COMPARED: usize = 1_000_000;
/// The most properties of a listed object in any order; each subset of them becomes a part.
const MAX_UNORDERED: usize = 6;
/// The most listed objects of a document in any order; each takes up to 250 parts.
const MAX_UNORDERED_OBJECTS: usize = 30;

impl<'a> Maker<'a> {
    /// Returns the literals that all schemas of a way list; none if no schema lists any.
    pub(super) fn literals_of(&mut self, way: &Conjunct<'a>) -> Option<Vec<&'a Value>> {
        let types = self.types(way);
        let mut lists = way.all.iter().filter_map(|(id, it)| Some((*id, it.literals.as_ref()?)));
        let (_, first) = lists.next()?;
        let mut found: Vec<&Value> = first.iter().filter(|it| types.has(Types::of(it))).collect();
        let mut cost = 0;
        for (id, list) in lists {
            cost += found.len() * list.len();
            if cost > MAX_COMPARED {
                self.leave(id, "enum");
                continue;
            }
            found.retain(|value| list.iter().any(|it| is_same(it, value)));
        }
        Some(found)
    }

    /// Adds the texts of a way's literals.
    pub(super) fn literals(&mut self, way: &Conjunct<'a>, literals: &[&'a Value], made: &mut Made) {
        let mut strings = Vec::new();
        let num_before = made.len();
        for value in literals {
            match value {
                Value::Null | Value::Bool(_) => {
                    made.scalars.push(RegexAst::Literal(value.to_string()));
                }
                Value::String(text) => strings.push(text.clone()),
                Value::Number(number) => {
                    let mut is_within = true;
                    for (id, keywords) in &way.all {
                        let known = keywords.number.allows(number);
                        if known.is_none() {
                            self.leave(*id, "multipleOf");
                        }
                        is_within &= known.unwrap_or(true);
                    }
                    if is_within {
                        let texts = numbers::spellings(number);
                        made.scalars.extend(texts.into_iter().map(RegexAst::Literal));
                    }
                }
                Value::Array(_) => {
                    for (id, keywords) in &way.all {
                        if keywords.array != ArrayRules::default() {
                            self.leave(*id, "enum");
                        }
                    }
                    made.parts.push(self.literal(value));
                }
                Value::Object(_) => {
                    for (id, keywords) in &way.all {
                        if keywords.object != ObjectRules::default() {
                            self.leave(*id, "enum");
                        }
                    }
                    made.parts.push(self.literal(value));
                }
            }
        }
        if !strings.is_empty() {
            made.scalars.extend(self.strings(way, Some(strings)));
        }
        if made.len() == num_before {
            self.fail("none of the listed values is allowed by the other keywords");
        }
    }

    /// Returns the part of a listed value. Recurses as deep as a schema may be nested.
    fn literal(&mut self, value: &Value) -> PartId {
        let marks = self.grammar.marks;
        let mut row = Vec::new();
        match value {
            Value::Array(items) => {
                row.push(marks.bracket);
                for (idx, item) in items.iter().enumerate() {
                    row.extend((idx > 0).then_some(marks.comma));
                    row.push(self.literal(item));
                }
                row.push(marks.end_bracket);
            }
            Value::Object(members) => return self.literal_object(members),
            Value::Number(number) => {
                let texts = numbers::spellings(number).into_iter().map(RegexAst::Literal);
                return self.grammar.lexeme(RegexAst::Or(texts.collect()));
            }
            Value::String(text) => {
                return self.grammar.lexeme(text::quoted(RegexAst::Literal(text.clone())));
            }
            scalar => return self.grammar.literal(&scalar.to_string()),
        }
        self.grammar.seq(row)
    }

    fn literal_object(&mut self, members: &Map<String, Value>) -> PartId {
        let marks = self.grammar.marks;
        let mut all = Vec::with_capacity(members.len());
        for (name, member) in members {
            let name = self.grammar.literal(&spelling::quoted(name));
            let value = self.literal(member);
            all.push(self.grammar.seq(vec![name, marks.colon, value]));
        }
        let is_small = all.len() <= MAX_UNORDERED && self.num_unordered < MAX_UNORDERED_OBJECTS;
        let inside = if self.is_relaxed && is_small {
            self.num_unordered += 1;
            self.in_any_order(&all)
        } else {
            let row = all.into_iter().enumerate();
            let row = row
                .flat_map(|(idx, part)| (idx > 0).then_some(marks.comma).into_iter().chain([part]));
            self.grammar.seq(row.collect())
        };
        self.grammar.seq(vec![marks.brace, inside, marks.end_brace])
    }

    /// Returns all these parts in any order, separated by commas. Each subset becomes one part.
    fn in_any_order(&mut self, all: &[PartId]) -> PartId {
        let marks = self.grammar.marks;
        let mut of_sets = vec![marks.empty];
        for set in 1..1_usize << all.len() {
            let first = (0..all.len()).filter(|idx| set & 1 << idx != 0);
            let options = first.map(|idx| {
                let rest = set & !(1 << idx);
                let comma = if rest == 0 { marks.empty } else { marks.comma };
                self.grammar.seq(vec![all[idx], comma, of_sets[rest]])
            });
            let options = options.collect();
            of_sets.push(self.grammar.alt(options));
        }
        of_sets[of_sets.len() - 1]
    }

    /// Returns the numbers of these types that a way allows; none if there are none.
    pub(super) fn numbers(&mut self, way: &Conjunct<'a>, types: Types) -> Option<RegexAst> {
        let mut least: Option<(Decimal, bool)> = None;
        let mut most: Option<(Decimal, bool)> = None;
        let mut multiple_of: Option<Multiple> = None;
        for (id, keywords) in &way.all {
            let rules = &keywords.number;
            for (bound, tightest, keyword) in
                [(&rules.minimum, &mut least, "minimum"), (&rules.maximum, &mut most, "maximum")]
            {
                let Some(bound) = bound else { continue };
                let value = Decimal::new(&bound.value);
                if !value.is_writable() {
                    self.leave(*id, keyword);
                    continue;
                }
                let is_tighter = tightest.as_ref().is_none_or(|(known, is_within)| {
                    let order =
                        if keyword == "minimum" { value.cmp(known) } else { known.cmp(&value) };
                    order.is_gt() || order.is_eq() && *is_within
                });
                if is_tighter {
                    *tightest = Some((value, !bound.is_exclusive));
                }
            }
            if let Some(multiple) = &rules.multiple_of {
                let both = Multiple::new(multiple).and_then(|it| it.and(multiple_of));
                self.coarsened.strings |= self.coarse.strings && both.is_some();
                match both.filter(|_| !self.coarse.strings) {
                    Some(both) => multiple_of = Some(both),
                    None => self.leave(*id, "multipleOf"),
                }
            }
        }
        let (least, most) = (least.as_ref().map(bound), most.as_ref().map(bound));
        let within = if types.has(Types::FRACTION) {
            numbers::decimals(least, most)
        } else {
            numbers::integers(least, most)
        };
        let Some(within) = within else {
            self.fail("no number is within the bounds");
            return None;
        };
        let mut all = vec![within];
        if !types.has(Types::INTEGER) {
            all.push(numbers::fractions());
        }
        if let Some(multiple) = multiple_of {
            let multiple = if types.has(Types::FRACTION) { multiple } else { multiple.whole() };
            if !multiple.is_within(least, most) {
                self.fail("no multiple of `multipleOf` is within the bounds");
                return None;
            }
            all.push(multiple.texts());
            // Checked here because a mask in the middle of a text has no fuel for it.
            let is_bounded = least.is_some() || most.is_some() || !types.has(Types::INTEGER);
            let text = RegexAst::And(all.clone());
            if is_bounded && text::is_empty_within(MULTIPLES_FUEL, &text).is_none() {
                all.pop();
                for (id, _) in way.all.iter().filter(|(_, it)| it.number.multiple_of.is_some()) {
                    self.leave(*id, "multipleOf");
                }
            }
        }
        let text = RegexAst::And(all);
        let is_empty = || text::is_empty_within(MULTIPLES_FUEL, &text) != Some(false);
        if !types.has(Types::INTEGER) && is_empty() {
            self.fail("no number with a fraction is within the bounds");
            return None;
        }
        Some(text)
    }
}

fn bound((value, is_within): &(Decimal, bool)) -> numbers::Bound<'_> {
    (value, *is_within)
}
