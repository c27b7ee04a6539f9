//! Which objects may have their properties in any order.
//!
//! A grammar has to fix an order, since it cannot tell which of many properties were there. Where a
//! guard judges objects anyway, it can see to that too.

use super::super::document::Document;
use super::Left;
use crate::spec::PropertyOrder;

/// Keywords that speak of an object as a whole.
const OF_OBJECTS: [&str; 13] = [
    "not",
    "if",
    "oneOf",
    "anyOf",
    "allOf",
    "$ref",
    "$dynamicRef",
    "dependentRequired",
    "dependentSchemas",
    "minProperties",
    "maxProperties",
    "unevaluatedProperties",
    "propertyNames",
];

/// Says for each schema whether its properties may come in any order.
pub(super) fn relaxed(document: &Document, left: &[Left], order: PropertyOrder) -> Vec<bool> {
    let is_relaxed = match order {
        PropertyOrder::Any => true,
        PropertyOrder::Schema => false,
        PropertyOrder::Auto => left.iter().any(|left| OF_OBJECTS.contains(&left.keyword)),
    };
    vec![is_relaxed; document.len()]
}
