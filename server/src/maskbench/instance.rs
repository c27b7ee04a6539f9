//! Formats instances as Python's `json.dumps(data, ensure_ascii=False)` does, which is what the
//! benchmark tokenizes.

use std::fmt::Write;

/// The separators between the items of a list, and between a name and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spacing {
    /// `", "` and `": "`.
    Spaced,
    /// `","` and `":"`.
    Compact,
}

/// Formats a JSON text; `json` must be valid.
pub(super) fn write(json: &str, spacing: Spacing) -> String {
    let gap = if spacing == Spacing::Spaced { " " } else { "" };
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(first) = rest.chars().next() {
        let len = match first {
            '"' => string_len(rest),
            '-' | '0'..='9' => rest
                .find(|c| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E'))
                .unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let (part, tail) = rest.split_at(len);
        rest = tail;
        match first {
            '"' => push_string(part, &mut out),
            '-' | '0'..='9' => push_number(part, &mut out),
            ',' | ':' => out.extend([part, gap]),
            ' ' | '\t' | '\n' | '\r' => {}
            _ => out.push_str(part),
        }
    }
    out
}

/// Returns the length of the string at the start, its quotes included.
fn string_len(json: &str) -> usize {
    let mut is_escaped = false;
    let end = json.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    });
    end.map_or(json.len(), |end| end + 2)
}

/// A lone half of a surrogate pair is not text and stays as written.
fn push_string(part: &str, out: &mut String) {
    let text = serde_json::from_str::<String>(part).and_then(|text| serde_json::to_string(&text));
    out.push_str(text.as_deref().unwrap_or(part));
}

/// Integers keep all their digits; other numbers are written as the shortest text with the same
/// value.
fn push_number(part: &str, out: &mut String) {
    let is_integer = part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    match part.parse::<f64>() {
        Ok(_) if is_integer => out.push_str(if part == "-0" { "0" } else { part }),
        Ok(number) if number.is_finite() => push_float(number, out),
        // Too large for an f64: Python would write `Infinity`, which is not JSON.
        _ => out.push_str(part),
    }
}

/// Source: `float_repr_style` "short" of `CPython`: an exponent below -4 and from 16 on, with at
/// least two digits.
fn push_float(number: f64, out: &mut String) {
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    // Writing to a string cannot fail.
    let _ = if (-4..16).contains(&exponent) {
        write!(out, "{number:?}")
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(out, "{digits}e{sign}{:02}", exponent.unsigned_abs())
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, want: &str) {
        assert_eq!(write(json, Spacing::Spaced), want, "{json}");
    }

    #[test]
    fn separators_are_those_of_python() {
        check("{ \"b\":[1 ,2],\n\"a\" :{}}", r#"{"b": [1, 2], "a": {}}"#);
        check("[ ]", "[]");
        assert_eq!(write("{\"a\": [1, true]}", Spacing::Compact), r#"{"a":[1,true]}"#);
    }

    #[test]
    fn strings_are_written_with_the_fewest_escapes() {
        check(r#""\u00e9\/\u0041 , : \"""#, r#""é/A , : \"""#);
        check(r#""\u0001\n\t\b\f\r\\""#, r#""\u0001\n\t\b\f\r\\""#);
        check(r#""\ud83d\ude00""#, "\"😀\"");
        check(r#""\ud800""#, r#""\ud800""#);
        check(r#"["\\","a"]"#, r#"["\\", "a"]"#);
    }

    #[test]
    fn numbers_are_written_as_python_reads_them() {
        check("12345678910111213141516", "12345678910111213141516");
        check("[1.0,-0,-0.0,1e2,1E400]", "[1.0, 0, -0.0, 100.0, 1E400]");
        check(
            "[1e15,1e16,1.5e-4,1.5e-5,-2.5e300]",
            "[1000000000000000.0, 1e+16, 0.00015, 1.5e-05, -2.5e+300]",
        );
        check("0.10", "0.1");
    }
}
