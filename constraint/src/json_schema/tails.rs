//! Bounds the text that the shortest finish of an open value may need.

use std::collections::HashSet;

use super::document::{
    ArrayRules, Body, Document, KeywordGroup, Keywords, NodeId, ObjectRules, Types,
};
use super::numbers::Decimal;
use crate::formats::FINISH_BYTES;

/// Bytes of a number's finish, whatever its bounds, as far as they are written out.
const NUMBER: usize = 72;
/// Bytes for quotes, brackets, separators and an unfinished character.
const FRAME: usize = 8;
/// A larger bound would be useless.
const MAX: usize = 4_096;

/// Returns the most bytes that any open array, object or scalar may need for the whole value to
/// end. None if the document has keywords that cannot simply be added up, such as patterns or
/// conjunctions.
///
/// The grammar must express the whole document. Among alternatives any may be the one that is open,
/// so the longest counts.
pub(crate) fn level_bytes(document: &Document) -> Option<usize> {
    let mut fresh = vec![None; document.len()];
    let mut has_changed = true;
    while has_changed {
        has_changed = false;
        for id in document.ids().rev() {
            let bytes = bytes(document, id, &fresh, Part::Fresh);
            // A known bound is never lowered; the first one may only be too high.
            if fresh[id.index()].is_none() && bytes.is_some() {
                fresh[id.index()] = bytes;
                has_changed = true;
            }
        }
    }
    let levels = document.ids().map(|id| bytes(document, id, &fresh, Part::Begun));
    let longest = levels.into_iter().try_fold(FRAME, |most, bytes| Some(most.max(bytes?)))?;
    (longest <= MAX).then_some(longest)
}

/// The text to bound.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// A whole value, as short as possible.
    Fresh,
    /// The rest of one level of a value, whatever is already written.
    Begun,
}

fn bytes(document: &Document, id: NodeId, fresh: &[Option<usize>], part: Part) -> Option<usize> {
    let keywords = match &document.node(id).body {
        Body::Always | Body::Never => return Some(FRAME),
        Body::Keywords(keywords) => &**keywords,
    };
    let options = |ids: &[NodeId]| match part {
        Part::Fresh => ids.iter().filter_map(|id| fresh[id.index()]).min(),
        // The open part of an option is bounded where the option itself is.
        Part::Begun => Some(FRAME),
    };
    match keywords.order.as_slice() {
        [] => Some(FRAME),
        [KeywordGroup::Own] if keywords.not.is_none() => own(keywords, fresh, part),
        [KeywordGroup::Literals]
        | [KeywordGroup::Own, KeywordGroup::Literals]
        | [KeywordGroup::Literals, KeywordGroup::Own] => {
            let literals = keywords.literals.iter().flatten();
            Some(literals.map(|it| it.to_string().len()).max().unwrap_or(0) + FRAME)
        }
        [KeywordGroup::Any] => options(&keywords.any),
        [KeywordGroup::One] => options(&keywords.one),
        [KeywordGroup::Reference] => options(keywords.reference.as_slice()),
        _ => None,
    }
}

/// Bounds the longest value among the allowed types, since any of them may be open.
fn own(keywords: &Keywords, fresh: &[Option<usize>], part: Part) -> Option<usize> {
    let types = keywords.types.unwrap_or(Types::ALL);
    let string = &keywords.string;
    let mut most = FRAME;
    if types.has(Types::NUMBER) {
        let bounds = [&keywords.number.minimum, &keywords.number.maximum];
        if !bounds.into_iter().flatten().all(|bound| Decimal::new(&bound.value).is_writable()) {
            return None;
        }
        most = most.max(NUMBER);
    }
    if types.has(Types::STRING) {
        if string.pattern.is_some() {
            return None;
        }
        let format = if string.format.is_some() { FINISH_BYTES } else { 0 };
        most = most.max(string.min_length + format + FRAME);
    }
    if types.has(Types::ARRAY) {
        most = most.max(array(&keywords.array, fresh, part)?);
    }
    if types.has(Types::OBJECT) {
        most = most.max(object(&keywords.object, fresh, part)?);
    }
    Some(most)
}

fn array(rules: &ArrayRules, fresh: &[Option<usize>], part: Part) -> Option<usize> {
    let item = |idx: usize| {
        let schema = rules.first.get(idx).copied().or(rules.rest);
        schema.map_or(Some(FRAME), |id| fresh[id.index()]).map(|bytes| bytes + 1)
    };
    if rules.min_items > MAX {
        return None;
    }
    let needed = (0..rules.min_items).map(item);
    let sum = needed.into_iter().try_fold(FRAME, |sum: usize, bytes| Some(sum + bytes?))?;
    if part == Part::Fresh {
        return Some(sum);
    }
    // After a comma an item must come even if it is not required.
    let more = (rules.min_items..=rules.first.len().max(rules.min_items)).map(item);
    let longest = more.into_iter().try_fold(0, |most: usize, bytes| Some(most.max(bytes?)))?;
    Some(sum + longest)
}

fn object(rules: &ObjectRules, fresh: &[Option<usize>], part: Part) -> Option<usize> {
    let is_counted = rules.min_properties > 0 || rules.max_properties.is_some();
    if !rules.patterns.is_empty() || rules.names.is_some() || is_counted {
        return None;
    }
    let member = |name: &str, value: usize| 2 * name.len() + value + FRAME;
    let mut sum = FRAME;
    // After a comma or in a name, a property must come even if it is not required.
    let mut begun = FRAME;
    let required: HashSet<&String> = rules.required.iter().collect();
    for (name, id) in &rules.properties {
        let is_required = required.contains(name);
        if part == Part::Fresh && !is_required {
            continue;
        }
        let bytes = member(name, fresh[id.index()]?);
        begun = begun.max(bytes);
        sum += if is_required { bytes } else { 0 };
    }
    let listed: HashSet<&String> = rules.properties.iter().map(|(name, _)| name).collect();
    let others: Vec<&&String> = required.difference(&listed).collect();
    let is_open = part == Part::Begun || !others.is_empty();
    if is_open {
        let value = rules.additional.map_or(Some(FRAME), |id| fresh[id.index()])?;
        begun = begun.max(value + FRAME);
        sum += others.iter().map(|name| member(name, value)).sum::<usize>();
    }
    Some(if part == Part::Fresh { sum } else { sum + begun })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::document;
    use super::*;
    use crate::limits::Limits;
    use crate::spec::JsonOptions;

    fn bound(schema: &Value) -> Option<usize> {
        let read = document::read(schema, &JsonOptions::default(), &Limits::default()).unwrap();
        level_bytes(&read.1)
    }

    #[test]
    fn levels_are_bounded_where_schemas_do_not_hold_together() {
        let point = json!({"type": "object", "properties": {"x": {"type": "integer"}, "y": {}},
                           "required": ["x"]});
        assert_eq!(bound(&json!({"type": "integer"})), Some(NUMBER));
        // Brace, one required property and one that is begun.
        assert_eq!(bound(&point), Some(FRAME + 2 * (2 + NUMBER + FRAME)));
        let next = |required: Value| json!({"type": "object", "properties": {"next": {"$ref": "#"}}, "required": required});
        assert_eq!(bound(&next(json!([]))), Some(FRAME + 8 + FRAME + FRAME));
        let list = json!({"anyOf": [{"type": "null"}, {"type": "array", "items": {"$ref": "#"},
                          "minItems": 2}]});
        assert!(bound(&list).is_some());
        assert_eq!(bound(&json!({"type": "string", "pattern": "a{9}"})), None);
        assert_eq!(bound(&json!({"allOf": [{"minLength": 1}], "maxLength": 2})), None);
    }
}
