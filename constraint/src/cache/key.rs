//! Cache keys: the text of a specification and its options, in the order in which they were
//! written.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::io::Write;
use std::sync::Arc;

use crate::spec::Spec;

/// Equal exactly if two specifications are written the same way, with the same options.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// The hash of `text`, computed once; the map asks for it repeatedly.
    hash: u64,
    text: Arc<Vec<u8>>,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Key {
    /// Makes the key of `spec`. `secret` differs per cache, so that nobody can craft specifications
    /// whose hashes collide.
    pub(super) fn of(spec: &Spec, secret: &RandomState) -> Self {
        const WRITES: &str = "a vector takes all writes";
        let mut text = Vec::with_capacity(1 << 10);
        match spec {
            // Comparing maps would ignore key order, so the schema is compared as text, written by
            // the fastest writer there is. JSON delimits itself, so the options cannot be mistaken
            // for part of it.
            Spec::Json { schema, options } => {
                serde_json::to_writer(&mut text, schema).expect(WRITES);
                write!(text, "\nJson {options:?}").expect(WRITES);
            }
            // The debug form quotes and escapes every string. It starts with a variant's name, as
            // no JSON does.
            other => write!(text, "{other:?}").expect(WRITES),
        }
        Self { hash: secret.hash_one(&text), text: Arc::new(text) }
    }

    /// Estimates the key's memory. The map holds it twice, but the text is shared.
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
