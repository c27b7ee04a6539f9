//! Answers held against recorded ones, such as those of hardware. It judges none of them.

use std::fs;

use serde_json::{Map, Value};

use crate::error::ProgramError;

/// What the cases of another run have observed, by their names.
pub(crate) struct Recorded {
    cases: Map<String, Value>,
}

impl Recorded {
    /// Reads what `--record` has written.
    pub(crate) fn read(path: &str) -> Result<Self, ProgramError> {
        let read = fs::read_to_string(path);
        let text =
            read.map_err(|source| ProgramError::Recorded { path: path.to_owned(), source })?;
        let none = |source| ProgramError::NoRecord { path: path.to_owned(), source };
        let mut record: Value = serde_json::from_str(&text).map_err(|error| none(Some(error)))?;
        match record.get_mut("cases").map(Value::take) {
            Some(Value::Object(cases)) => Ok(Self { cases }),
            _ => Err(none(None)),
        }
    }

    /// Says what a case has observed otherwise than before; none if nothing, and of a case that was
    /// not tried.
    pub(crate) fn difference(&self, name: &str, answers: &Map<String, Value>) -> Option<String> {
        let before = self.cases.get(name).filter(|it| it["verdict"] != "skipped")?;
        let before = before["observed"].as_object()?;
        let added = answers.keys().filter(|what| !before.contains_key(*what));
        let all = before.keys().chain(added);
        let found = all.filter_map(|what| {
            let words = between(before.get(what), answers.get(what))?;
            Some(format!("{what}: {words}"))
        });
        let found: Vec<String> = found.collect();
        (!found.is_empty()).then(|| found.join("; "))
    }
}

/// What was recorded and what was found, if they differ: of lists how much of them, and where.
fn between(before: Option<&Value>, now: Option<&Value>) -> Option<String> {
    if before == now {
        return None;
    }
    if let (Some(Value::Array(before)), Some(Value::Array(now))) = (before, now)
        && before.len() == now.len()
    {
        let mut others = before.iter().zip(now).enumerate().filter(|(_, (a, b))| a != b);
        let (first, (before, now)) = others.next()?;
        let count = others.count() + 1;
        return Some(format!(
            "{count} differ, the first at {first}: recorded {before}, found {now}"
        ));
    }
    let words = |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
    Some(format!("recorded {}, found {}", words(before), words(now)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(recorded: Value, answers: &Value, want: Option<&str>) {
        let Value::Object(cases) = recorded else { panic!("cases are an object") };
        let found = Recorded { cases }.difference("case", answers.as_object().unwrap());
        assert_eq!(found.as_deref(), want);
    }

    #[test]
    fn differences_are_told() {
        let recorded = json!({ "case": { "verdict": "ok", "observed": {
            "cuMemAlloc": "SUCCESS", "bits": ["00", "01", "02"], "gone": 1
        } } });
        check(
            recorded.clone(),
            &json!({ "cuMemAlloc": "SUCCESS", "bits": ["00", "01", "02"], "gone": 1 }),
            None,
        );
        check(
            recorded,
            &json!({ "cuMemAlloc": "INVALID_VALUE", "bits": ["00", "11", "12"], "new": 2 }),
            Some(
                "cuMemAlloc: recorded \"SUCCESS\", found \"INVALID_VALUE\"; \
                 bits: 2 differ, the first at 1: recorded \"01\", found \"11\"; \
                 gone: recorded 1, found nothing; new: recorded nothing, found 2",
            ),
        );
    }

    #[test]
    fn what_was_not_tried_is_not_compared() {
        check(json!({}), &json!({ "a": 1 }), None);
        let skipped = json!({ "case": { "verdict": "skipped", "observed": {} } });
        check(skipped, &json!({ "a": 1 }), None);
    }
}
