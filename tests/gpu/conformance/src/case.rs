//! A case: what the documentation says, and a function that tries it.

use serde_json::{Map, Value};

use crate::{
    code::Code,
    driver::Driver,
    error::{Outcome, Stop},
};

/// One thing that the driver does, tried in a process of its own.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The section or sentence of NVIDIA's documentation that it rests on.
    pub(crate) source: &'static str,
    pub(crate) run: fn(&Driver, &mut Seen) -> Outcome,
}

/// What a case has observed, to be recorded.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// What any driver that conforms answers alike, or what is to be known of one.
    pub(crate) answers: Map<String, Value>,
    /// What may be another at another time or on another machine: it is never compared.
    pub(crate) varying: Map<String, Value>,
}

impl Seen {
    /// Notes what the documentation leaves open.
    pub(crate) fn note(&mut self, what: &str, value: impl Into<Value>) {
        self.answers.insert(what.to_owned(), value.into());
    }

    pub(crate) fn note_varying(&mut self, what: &str, value: impl Into<Value>) {
        self.varying.insert(what.to_owned(), value.into());
    }

    pub(crate) fn note_code(&mut self, what: &str, code: Code) {
        self.note(what, code.to_string());
    }

    /// As [`code`](Self::code), where it depends on the moment which of those wanted it is.
    pub(crate) fn varying_code(&mut self, what: &str, found: Code, wanted: &[Code]) -> Outcome {
        self.note_varying(what, found.to_string());
        one_of(what, found, wanted)
    }

    /// Notes a result, and fails unless it is one of those wanted.
    pub(crate) fn code(&mut self, what: &str, found: Code, wanted: &[Code]) -> Outcome {
        self.note_code(what, found);
        one_of(what, found, wanted)
    }

    /// Notes a result, and fails if it is success.
    pub(crate) fn refused(&mut self, what: &str, found: Code) -> Outcome {
        self.note_code(what, found);
        if found == Code::SUCCESS {
            Err(Stop::failed(format!("{what}: an error"), found))
        } else {
            Ok(())
        }
    }
}

fn one_of(what: &str, found: Code, wanted: &[Code]) -> Outcome {
    if wanted.contains(&found) {
        return Ok(());
    }
    let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
    Err(Stop::failed(format!("{what}: {}", wanted.join(" or ")), found))
}

/// Fails unless a value is as wanted.
#[expect(clippy::needless_pass_by_value, reason = "callers make values for it alone")]
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: T, wanted: T) -> Outcome {
    if found == wanted {
        return Ok(());
    }
    Err(Stop::failed(format!("{what}: {wanted:?}"), format!("{found:?}")))
}

/// Fails unless a condition holds, with what was found instead.
pub(crate) fn holds(wanted: &str, is_so: bool, found: impl ToString) -> Outcome {
    if is_so { Ok(()) } else { Err(Stop::failed(wanted, found)) }
}
