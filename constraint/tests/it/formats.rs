//! Typed formats and JSON objects, through the whole engine.

use sluicegate_constraint::{Format, Spec};

use crate::{
    bounds::{Work, within},
    support::{COMPILER, check_all},
};

/// Twice what the dearest format takes.
const MAX_WORK: Work = Work { allocations: 22_000, bytes: 3_500_000 };

#[test]
fn formats_compile_and_bind() {
    let rows: [(Format, &[&str], &[&str]); 11] = [
        (Format::Int, &["0", "-42"], &["01", "4.2", ""]),
        (Format::Float, &["0.5", "-1e9", "42"], &[".5", "1e", "e"]),
        (Format::Bool, &["true", "false"], &["True", "tru"]),
        (Format::Date, &["2024-02-29"], &["2023-02-29", "2024-02"]),
        (Format::Time, &["23:59:59"], &["24:00:00"]),
        (Format::DateTime, &["2024-02-29T00:00:00Z"], &["2024-02-29 00:00:00"]),
        (Format::Uuid, &["00000000-0000-4000-8000-00000000000f"], &["0-0-0-0-0"]),
        (Format::Email, &["joe@example.com"], &["joe", "joe@example"]),
        (Format::Ipv4, &["127.0.0.1"], &["256.0.0.1"]),
        (Format::Ipv6, &["::1", "fe80::1:2"], &["1::2::3"]),
        (Format::Uri, &["https://a.b/c?d#e", "urn:x"], &["a b", "//c"]),
    ];
    for (format, good, bad) in rows {
        let compiled = within(MAX_WORK, &format.to_string(), &Spec::Format(format)).unwrap();
        check_all(&compiled, good, bad);
    }
}

#[test]
fn any_json_object_and_nothing_else_is_one() {
    let compiled = COMPILER.compile(&Spec::JsonObject).unwrap();
    check_all(
        &compiled,
        &["{}", r#"{"a": [1, {"b": null}], "é": "終"}"#, "{\"a\":\n  1}"],
        &["[]", "1", "{", r#"{"a"}"#, "{a: 1}", ""],
    );
}
