//! A JSON Schema as data: every subschema is a node, and every reference points to one.
//!
//! Owns the meaning of the keywords of all drafts. Knows no grammar and validates no value.

mod keywords;
mod number;
mod opposite;
mod read;
mod resolve;
mod syntax;
mod write;

use std::collections::HashMap;

use serde_json::{Number, Value};

pub(crate) use number::{Bound, NumberRules};
pub(crate) use read::read;
pub(crate) use resolve::Source;
pub(crate) use write::Reader;

/// The index of a node in its document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NodeId(u32);

/// A schema with every schema it refers to.
#[derive(Debug)]
pub(crate) struct Document {
    nodes: Vec<Node>,
    pub(crate) warnings: Vec<String>,
    /// Whether it uses a dynamic scope: `$dynamicRef` or `$recursiveRef`.
    pub(crate) is_dynamic: bool,
    /// For some schemas, schemas of values that fail them.
    opposites: HashMap<NodeId, Vec<NodeId>>,
}

/// One subschema.
#[derive(Debug)]
pub(crate) struct Node {
    /// Its JSON pointer, preceded by the document's URI if that is not the root's.
    pub(crate) at: String,
    pub(crate) body: Body,
}

#[derive(Debug)]
pub(crate) enum Body {
    /// `true`, `{}`, or annotations only.
    Always,
    Never,
    Keywords(Box<Keywords>),
}

/// The keywords of a subschema; absent ones restrict nothing. Keywords of older drafts are
/// translated to draft 2020-12.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Keywords {
    /// Groups of keywords, in the order in which the schema has them.
    pub(crate) order: Vec<KeywordGroup>,
    pub(crate) types: Option<Types>,
    /// `enum`, or `const` as a list of one.
    pub(crate) literals: Option<Vec<Value>>,
    pub(crate) number: NumberRules,
    pub(crate) string: StringRules,
    pub(crate) array: ArrayRules,
    pub(crate) object: ObjectRules,
    pub(crate) all: Vec<NodeId>,
    pub(crate) any: Vec<NodeId>,
    pub(crate) one: Vec<NodeId>,
    pub(crate) not: Option<NodeId>,
    pub(crate) condition: Option<Condition>,
    pub(crate) reference: Option<NodeId>,
    /// As `reference`, but dynamic: its target depends on the path through the schema.
    pub(crate) dynamic: Option<NodeId>,
}

/// Keyword groups whose order in the schema matters, because the engine orders properties by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum KeywordGroup {
    /// All keywords that refer to no other group.
    Own,
    Literals,
    All,
    Any,
    One,
    Reference,
    Condition,
}

#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct StringRules {
    pub(crate) min_length: usize,
    pub(crate) max_length: Option<usize>,
    pub(crate) pattern: Option<String>,
    pub(crate) format: Option<String>,
}

#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ArrayRules {
    pub(crate) first: Vec<NodeId>,
    /// The schema of the items after `first`.
    pub(crate) rest: Option<NodeId>,
    pub(crate) min_items: usize,
    pub(crate) max_items: Option<usize>,
    pub(crate) is_unique: bool,
    pub(crate) contains: Option<Contains>,
    pub(crate) unevaluated: Option<NodeId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Contains {
    pub(crate) schema: NodeId,
    pub(crate) min: usize,
    pub(crate) max: Option<usize>,
}

#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ObjectRules {
    pub(crate) properties: Vec<(String, NodeId)>,
    pub(crate) patterns: Vec<(String, NodeId)>,
    pub(crate) additional: Option<NodeId>,
    pub(crate) required: Vec<String>,
    pub(crate) min_properties: usize,
    pub(crate) max_properties: Option<usize>,
    pub(crate) names: Option<NodeId>,
    /// Properties that are required where another one is present.
    pub(crate) needs: Vec<(String, Vec<String>)>,
    /// Schemas that the object must satisfy where a property is present.
    pub(crate) dependent: Vec<(String, NodeId)>,
    pub(crate) unevaluated: Option<NodeId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Condition {
    pub(crate) test: NodeId,
    pub(crate) then: Option<NodeId>,
    pub(crate) otherwise: Option<NodeId>,
}

/// A set of JSON types. Integers and other numbers are separate members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Types(u8);

impl Types {
    pub(crate) const NULL: Self = Self(1);
    pub(crate) const BOOLEAN: Self = Self(2);
    /// A number without a fraction.
    pub(crate) const INTEGER: Self = Self(4);
    /// A number with a fraction.
    pub(crate) const FRACTION: Self = Self(8);
    pub(crate) const NUMBER: Self = Self(4 | 8);
    pub(crate) const STRING: Self = Self(16);
    pub(crate) const ARRAY: Self = Self(32);
    pub(crate) const OBJECT: Self = Self(64);
    pub(crate) const CONTAINERS: Self = Self(32 | 64);
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const ALL: Self = Self(127);

    /// The type names of draft 2020-12.
    pub(crate) const NAMED: [(&'static str, Self); 7] = [
        ("null", Self::NULL),
        ("boolean", Self::BOOLEAN),
        ("number", Self::NUMBER),
        ("integer", Self::INTEGER),
        ("string", Self::STRING),
        ("array", Self::ARRAY),
        ("object", Self::OBJECT),
    ];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::NAMED.iter().find(|(known, _)| *known == name).map(|(_, types)| *types)
    }

    pub(crate) fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::NULL,
            Value::Bool(_) => Self::BOOLEAN,
            Value::Number(number) if is_whole(number) => Self::INTEGER,
            Value::Number(_) => Self::FRACTION,
            Value::String(_) => Self::STRING,
            Value::Array(_) => Self::ARRAY,
            Value::Object(_) => Self::OBJECT,
        }
    }

    pub(crate) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) fn complement(self) -> Self {
        Self(Self::ALL.0 & !self.0)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn has_all(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Returns whether a number has no fraction; `1.0` has none.
pub(crate) fn is_whole(number: &Number) -> bool {
    number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|float| float.fract() == 0.0)
}

impl Document {
    /// The node of the whole schema.
    pub(crate) const ROOT: NodeId = NodeId(0);

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// Returns a node's keywords, if it has any.
    pub(crate) fn keywords(&self, id: NodeId) -> Option<&Keywords> {
        match &self.node(id).body {
            Body::Keywords(keywords) => Some(keywords),
            Body::Always | Body::Never => None,
        }
    }

    pub(crate) fn is_never(&self, id: NodeId) -> bool {
        matches!(self.node(id).body, Body::Never)
    }

    pub(crate) fn is_always(&self, id: NodeId) -> bool {
        matches!(self.node(id).body, Body::Always)
    }

    /// Estimates the document's memory.
    pub(crate) fn num_bytes(&self) -> usize {
        self.nodes.len() * (size_of::<Node>() + size_of::<Keywords>() + 256)
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn ids(&self) -> impl DoubleEndedIterator<Item = NodeId> + use<> {
        (0..u32::try_from(self.nodes.len()).expect("nodes are counted in 32 bits")).map(NodeId)
    }
}

impl NodeId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

impl Keywords {
    /// Returns whether it refers to no other schema.
    pub(crate) fn is_leaf(&self) -> bool {
        self.in_place().chain(self.parts()).next().is_none()
    }

    /// Returns the schemas that apply to the same value, whether they must hold or not.
    pub(crate) fn in_place(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.own_in_place().chain(self.reference).chain(self.dynamic)
    }

    /// As [`Keywords::in_place`], without the targets of references.
    pub(crate) fn own_in_place(&self) -> impl Iterator<Item = NodeId> + '_ {
        let condition = self.condition.iter();
        let conditional =
            condition.flat_map(|it| [Some(it.test), it.then, it.otherwise].into_iter().flatten());
        let dependent = self.object.dependent.iter().map(|(_, schema)| *schema);
        let lists = self.all.iter().chain(&self.any).chain(&self.one).copied();
        lists.chain(self.not).chain(conditional).chain(dependent)
    }

    /// Returns the schemas that apply to parts of the value.
    pub(crate) fn parts(&self) -> impl Iterator<Item = NodeId> + '_ {
        let ArrayRules { first, rest, contains, unevaluated, .. } = &self.array;
        let object = &self.object;
        let named = object.properties.iter().chain(&object.patterns).map(|(_, schema)| *schema);
        let array = first.iter().copied().chain(*rest).chain(contains.map(|it| it.schema));
        named
            .chain(object.additional)
            .chain(object.names)
            .chain(object.unevaluated)
            .chain(array)
            .chain(*unevaluated)
    }
}
