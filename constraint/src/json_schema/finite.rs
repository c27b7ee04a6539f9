//! Which schemas a finite value can satisfy. The engine would follow a schema that requires itself
//! for ever; such schemas are made `false`.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// The schemas of a walk, as far as this question needs them.
pub(super) struct Schemas<'a> {
    pub(super) values: Vec<&'a Value>,
    pub(super) by_address: &'a HashMap<*const Value, usize>,
    /// The target of each schema's `$ref`.
    pub(super) targets: &'a HashMap<usize, usize>,
}

impl Schemas<'_> {
    /// Says for each schema whether some finite value may satisfy it, judged by required parts
    /// only: false means that there surely is none.
    pub(super) fn finite(&self) -> Vec<bool> {
        // The least fixed point: nothing is finite until shown to be. Parts come after what they
        // are part of, so backwards few rounds are enough.
        let mut finite = vec![false; self.values.len()];
        let mut changed = true;
        while changed {
            changed = false;
            for node in (0..finite.len()).rev().filter(|&node| !finite[node]).collect::<Vec<_>>() {
                if self.shows_finite(node, &finite) {
                    finite[node] = true;
                    changed = true;
                }
            }
        }
        finite
    }

    fn shows_finite(&self, node: usize, finite: &[bool]) -> bool {
        let Value::Object(schema) = self.values[node] else {
            return *self.values[node] == Value::Bool(true);
        };
        let part = |value: &Value| {
            self.by_address.get(&std::ptr::from_ref(value)).is_none_or(|&part| finite[part])
        };
        let list = |keyword: &str| schema.get(keyword).and_then(Value::as_array);
        self.targets.get(&node).is_none_or(|&target| finite[target])
            && list("allOf").is_none_or(|all| all.iter().all(part))
            && ["anyOf", "oneOf"].iter().all(|any| list(any).is_none_or(|l| l.iter().any(part)))
            && own_keywords(schema, &part)
    }
}

/// Judges `type` with the keywords of objects and arrays.
fn own_keywords(schema: &Map<String, Value>, part: &impl Fn(&Value) -> bool) -> bool {
    let accepts = |name: &str| match name {
        "object" => object(schema, part),
        "array" => array(schema, part),
        _ => true,
    };
    match schema.get("type") {
        Some(Value::String(name)) => accepts(name),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).any(accepts),
        _ => true,
    }
}

fn object(schema: &Map<String, Value>, part: &impl Fn(&Value) -> bool) -> bool {
    let properties = schema.get("properties").and_then(Value::as_object);
    let required = schema.get("required").and_then(Value::as_array);
    required
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .all(|name| properties.and_then(|properties| properties.get(name)).is_none_or(part))
}

fn array(schema: &Map<String, Value>, part: &impl Fn(&Value) -> bool) -> bool {
    let min = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0);
    let min = usize::try_from(min).unwrap_or(usize::MAX);
    let first = schema.get("prefixItems").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let items = schema.get("items").filter(|items| !items.is_array());
    first.iter().take(min).all(part)
        && (min <= first.len() || items.is_none_or(|items| items.is_boolean() || part(items)))
}
