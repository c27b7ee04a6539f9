//! What must hold for one value, once each option is chosen.

use crate::json_schema::document::{Keywords, NodeId, Types};

/// What must and must not hold for a value.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts<'a> {
    /// Keywords that apply, in the order in which the engine visits them.
    pub(super) own: Vec<&'a Keywords>,
    pub(super) excluded: Vec<NodeId>,
    /// The schemas that have been gathered.
    pub(super) seen: Vec<NodeId>,
}

impl Facts<'_> {
    pub(super) fn types(&self) -> Types {
        let types = self.own.iter().filter_map(|keywords| keywords.types);
        types.fold(Types::ALL, Types::intersection)
    }

    /// Returns the types that the keywords describe further.
    pub(super) fn prefers(&self) -> Types {
        let says = |keywords: &&&Keywords| {
            let Keywords { object, array, string, .. } = keywords;
            (
                !object.properties.is_empty() || !object.required.is_empty(),
                !array.first.is_empty() || array.rest.is_some() || array.min_items > 0,
                string.pattern.is_some() || string.min_length > 0,
            )
        };
        let mut preferred = Types::NONE;
        for (object, array, string) in self.own.iter().map(|it| says(&it)) {
            for (says, types) in
                [(object, Types::OBJECT), (array, Types::ARRAY), (string, Types::STRING)]
            {
                if says {
                    preferred = preferred.union(types);
                }
            }
        }
        preferred
    }
}
