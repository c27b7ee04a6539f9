//! What a specification is known by: everything that was written, in its order.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::io::Write;
use std::sync::Arc;

use crate::spec::Spec;

/// Two keys are equal exactly if the specifications are written the same, options included.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// Of the text, worked out once: a map asks for it at each step.
    hash: u64,
    text: Arc<Vec<u8>>,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Key {
    /// Makes the key for a cache, which has a secret of its own, so that nobody can choose
    /// specifications that fall together.
    pub(super) fn of(spec: &Spec, secret: &RandomState) -> Self {
        const WRITES: &str = "a vector takes all writes";
        let mut text = Vec::with_capacity(1 << 10);
        match spec {
            // Equality of maps would not see their order; schemas are written out by the writer that
            // is fastest at it. It ends where its JSON ends, so nothing runs into the options.
            Spec::Json { schema, options } => {
                serde_json::to_writer(&mut text, schema).expect(WRITES);
                write!(text, "\nJson {options:?}").expect(WRITES);
            }
            // Quotes and escapes every text in it, and starts with a name, which no JSON does.
            other => write!(text, "{other:?}").expect(WRITES),
        }
        Self { hash: secret.hash_one(&text), text: Arc::new(text) }
    }

    /// What it takes; it is held twice, but shared.
    pub(super) fn num_bytes(&self) -> usize {
        self.text.capacity() + 128
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::spec::{JsonOptions, PropertyOrder, Whitespace};

    #[test]
    fn keys_differ_where_the_output_may() {
        let with = |options| Spec::Json { schema: json!({"type": "object"}), options };
        let compact = JsonOptions { whitespace: Whitespace::Compact, ..JsonOptions::default() };
        let any = JsonOptions { order: PropertyOrder::Any, ..JsonOptions::default() };
        let specs = [
            Spec::json(json!({"a": 1, "b": 2})),
            Spec::json(json!({"b": 2, "a": 1})),
            Spec::json(json!({"a": 1, "b": 2.0})),
            Spec::json(json!({"a": 1, "b": "2"})),
            Spec::json(json!("Regex(\"a\")")),
            Spec::json(json!({"type": "object"})),
            with(compact),
            with(any),
            Spec::Regex("a".into()),
            Spec::Regex("a\")".into()),
            Spec::Choice(vec!["a".into(), "b".into()]),
            Spec::Choice(vec!["a, b".into()]),
            Spec::Choice(vec!["a\", \"b".into()]),
            Spec::Choice(vec!["b".into(), "a".into()]),
        ];
        let secret = RandomState::new();
        for (first, a) in specs.iter().enumerate() {
            for (second, b) in specs.iter().enumerate() {
                let is_same = Key::of(a, &secret) == Key::of(b, &secret);
                assert_eq!(is_same, first == second, "{a:?} and {b:?}");
            }
        }
    }
}
