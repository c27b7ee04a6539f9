//! How many properties the engine may have to put into one object. It recurses over them, and where
//! their number is bounded it writes one alternative per property.

use crate::error::SpecError;
use crate::grammar::check_limit;

/// 2 MiB of stack hold more than twice as many.
const MAX_PROPERTIES: usize = 2_000;
/// The alternatives are quadratic in size, and cubic in time.
const MAX_BOUNDED_PROPERTIES: usize = 60;

/// What each schema, and those that apply to the same value, say about an object's properties.
#[derive(Debug, Default)]
pub(super) struct Widths(Vec<Width>);

#[derive(Debug, Default)]
pub(super) struct Width {
    /// Property names of the schema itself.
    pub(super) num_names: usize,
    /// Whether the schema bounds the number of properties.
    pub(super) is_bounded: bool,
    /// `allOf` and `$ref`: all apply.
    pub(super) all: Vec<usize>,
    /// `anyOf`: one applies at a time.
    pub(super) any: Vec<usize>,
    /// `oneOf`: one applies at a time.
    pub(super) one: Vec<usize>,
}

impl Widths {
    /// Adds the next schema.
    pub(super) fn push(&mut self) {
        self.0.push(Width::default());
    }

    pub(super) fn at(&mut self, node: usize) -> &mut Width {
        &mut self.0[node]
    }

    /// Refuses too many properties for one value. Recurses: levels must have been checked before.
    pub(super) fn check(&self) -> Result<(), SpecError> {
        let mut known = vec![None; self.0.len()];
        for node in 0..self.0.len() {
            let (num_names, is_bounded) = self.merged(node, &mut known);
            check_limit("properties of one object", num_names, MAX_PROPERTIES)?;
            if is_bounded {
                let limit = "properties beside `minProperties` or `maxProperties`";
                check_limit(limit, num_names, MAX_BOUNDED_PROPERTIES)?;
            }
        }
        Ok(())
    }

    /// Returns the most names that meet in one value, and whether their number is bounded.
    fn merged(&self, node: usize, known: &mut Vec<Option<(usize, bool)>>) -> (usize, bool) {
        if let Some(found) = known[node] {
            return found;
        }
        // A schema that applies to itself adds no new names.
        known[node] = Some((0, false));
        let width = &self.0[node];
        let (mut num_names, mut is_bounded) = (width.num_names, width.is_bounded);
        for &part in &width.all {
            let (names, bounded) = self.merged(part, known);
            num_names += names;
            is_bounded |= bounded;
        }
        for options in [&width.any, &width.one] {
            let mut most = 0;
            for &option in options {
                let (names, bounded) = self.merged(option, known);
                most = most.max(names);
                is_bounded |= bounded;
            }
            num_names += most;
        }
        known[node] = Some((num_names, is_bounded));
        (num_names, is_bounded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(widths: Vec<Width>, accepted: bool) {
        assert_eq!(Widths(widths).check().is_ok(), accepted);
    }

    #[test]
    fn names_add_up_where_schemas_merge() {
        let names = |num_names| Width { num_names, ..Width::default() };
        let all = |all| Width { num_names: 1_000, all, ..Width::default() };
        let any = |any| Width { num_names: 1_000, any, ..Width::default() };
        check(vec![names(2_000)], true);
        check(vec![names(2_001)], false);
        check(vec![all(vec![1, 2]), names(500), names(500)], true);
        check(vec![all(vec![1, 2]), names(500), names(501)], false);
        check(vec![any(vec![1, 2]), names(1_000), names(1_000)], true);
        check(vec![any(vec![1, 2]), names(1_000), names(1_001)], false);
        check(vec![all(vec![1]), any(vec![2]), names(1)], false);
        check(vec![all(vec![0])], true);
        let bounded = |is_bounded| Width { num_names: 1, is_bounded, ..Width::default() };
        let holder = |num_names| Width { num_names, all: vec![1], ..Width::default() };
        check(vec![holder(59), bounded(true)], true);
        check(vec![holder(60), bounded(true)], false);
        check(vec![holder(60), bounded(false)], true);
    }
}
