//! Finds schemas that no value can satisfy together, as far as that is easy to see.

use serde_json::Value;

use super::document::{Body, Document, Keywords, NodeId, Types};
use super::values::is_same;

/// The most comparisons of two schemas per question.
const FUEL: usize = 100_000;
/// Literal comparisons per unit of fuel.
const LITERALS_PER_FUEL: usize = 64;
/// Names examined per unit of fuel.
const NAMES_PER_FUEL: usize = 64;
/// The most nested references and properties to follow.
const MAX_DEPTH: usize = 6;

/// Returns whether these schemas certainly exclude each other pairwise.
pub(super) fn are_disjoint(document: &Document, options: &[NodeId]) -> bool {
    let mut question = Question { document, fuel: FUEL };
    options
        .iter()
        .enumerate()
        .all(|(idx, a)| options[idx + 1..].iter().all(|b| question.are_apart(*a, *b, MAX_DEPTH)))
}

struct Question<'a> {
    document: &'a Document,
    fuel: usize,
}

impl<'a> Question<'a> {
    fn are_apart(&mut self, a: NodeId, b: NodeId, depth: usize) -> bool {
        if self.document.is_never(a) || self.document.is_never(b) {
            return true;
        }
        if depth == 0 || self.fuel == 0 || a == b {
            return false;
        }
        self.fuel -= 1;
        let (all_a, all_b) = (self.all_of(a), self.all_of(b));
        let options = |all: &[&'a Keywords]| -> Vec<&'a Vec<NodeId>> {
            all.iter().flat_map(|it| [&it.any, &it.one]).filter(|it| !it.is_empty()).collect()
        };
        let by_options = options(&all_a)
            .into_iter()
            .any(|any| any.iter().all(|option| self.are_apart(*option, b, depth - 1)))
            || options(&all_b)
                .into_iter()
                .any(|any| any.iter().all(|option| self.are_apart(a, *option, depth - 1)));
        let both = common_types(&all_a, &all_b);
        by_options
            || both.is_empty()
            || self.literals_differ(&all_a, &all_b)
            || both == Types::OBJECT && self.objects_differ(&all_a, &all_b, depth)
    }

    /// Returns the keywords that a value of the schema must satisfy, references followed.
    fn all_of(&self, id: NodeId) -> Vec<&'a Keywords> {
        const MAX: usize = 32;
        let mut todo = vec![id];
        let mut seen = Vec::new();
        let mut all = Vec::new();
        while let Some(id) = todo.pop() {
            if seen.contains(&id) || all.len() == MAX {
                continue;
            }
            seen.push(id);
            if let Body::Keywords(keywords) = &self.document.node(id).body {
                todo.extend(keywords.reference);
                todo.extend(&keywords.all);
                all.push(&**keywords);
            }
        }
        all
    }

    /// Returns whether two lists of literals certainly have none in common.
    fn literals_differ(&mut self, a: &[&'a Keywords], b: &[&'a Keywords]) -> bool {
        let literals = |all: &[&'a Keywords]| -> Vec<&'a Vec<Value>> {
            all.iter().filter_map(|it| it.literals.as_ref()).collect()
        };
        let (a, b) = (literals(a), literals(b));
        a.iter().any(|x| {
            b.iter().any(|y| {
                let cost = x.len() * y.len() / LITERALS_PER_FUEL;
                if cost > self.fuel {
                    self.fuel = 0;
                    return false;
                }
                self.fuel -= cost;
                !x.iter().any(|value| y.iter().any(|it| is_same(value, it)))
            })
        })
    }

    /// Returns whether some required property cannot satisfy both sides.
    fn objects_differ(&mut self, a: &[&'a Keywords], b: &[&'a Keywords], depth: usize) -> bool {
        let required = a.iter().chain(b).flat_map(|it| &it.object.required);
        let required: Vec<&String> = required.collect();
        let listed = a.iter().chain(b).map(|it| it.object.properties.len()).sum::<usize>();
        let cost = required.len() * (1 + listed / NAMES_PER_FUEL);
        if cost > self.fuel {
            self.fuel = 0;
            return false;
        }
        self.fuel -= cost;
        required.into_iter().any(|name| {
            let (for_a, for_b) = (schemas_of(a, name), schemas_of(b, name));
            let is_never = |all: &[NodeId]| all.iter().any(|it| self.document.is_never(*it));
            is_never(&for_a)
                || is_never(&for_b)
                || for_a.iter().any(|x| for_b.iter().any(|y| self.are_apart(*x, *y, depth - 1)))
        })
    }
}

/// Returns the schemas of a property with this name.
fn schemas_of(all: &[&Keywords], name: &str) -> Vec<NodeId> {
    let of_one = |keywords: &&Keywords| {
        let object = &keywords.object;
        let listed = object.properties.iter().find(|(known, _)| known == name);
        // With patterns it is unknown whether the name counts as additional.
        let additional = object.additional.filter(|_| object.patterns.is_empty());
        listed.map(|(_, schema)| *schema).or(additional)
    };
    all.iter().filter_map(of_one).collect()
}

fn common_types(a: &[&Keywords], b: &[&Keywords]) -> Types {
    let of_one = |keywords: &&Keywords| {
        let types = keywords.types.unwrap_or(Types::ALL);
        let literals = keywords
            .literals
            .iter()
            .map(|literals| literals.iter().map(Types::of).fold(Types::NONE, Types::union));
        literals.fold(types, Types::intersection)
    };
    a.iter().chain(b).map(of_one).fold(Types::ALL, Types::intersection)
}
