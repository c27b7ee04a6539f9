//! Writes the rest of a known value after its partial text.

use serde_json::{Map, Value};

use super::partial::{ArrayTail, ObjectTail, Partial, PartialText};
use crate::json_schema::{escape, is_same, quoted, spelled};

/// Returns the bytes that complete `partial` to `value`; none if it is not a beginning of `value`.
pub(super) fn as_value(partial: &Partial, value: &Value) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    write_rest(partial, value, &mut out).then_some(out)
}

fn write_rest(partial: &Partial, value: &Value, out: &mut Vec<u8>) -> bool {
    match (partial, value) {
        (Partial::Nothing, value) => {
            write(value, out);
            true
        }
        (Partial::Whole(whole), value) => is_same(whole, value),
        (Partial::Word { word, num_bytes }, value) => {
            out.extend_from_slice(&word.as_bytes()[*num_bytes..]);
            matches!(
                (*word, value),
                ("null", Value::Null) | ("true", Value::Bool(true)) | ("false", Value::Bool(false))
            )
        }
        (Partial::Number(text), Value::Number(number)) => {
            let whole = spelled(number);
            let known = serde_json::from_str(text).is_ok_and(|it: Value| is_same(&it, value));
            let rest = whole.strip_prefix(text.as_str());
            out.extend_from_slice(rest.unwrap_or_default().as_bytes());
            rest.is_some() || known
        }
        (Partial::Text(open), Value::String(text)) => {
            let Some(rest) = rest_of_text(open, text) else { return false };
            out.extend(rest);
            out.push(b'"');
            true
        }
        (Partial::Array { items, tail }, Value::Array(wanted)) => {
            write_array(items, tail, wanted, out)
        }
        (Partial::Object { members, tail }, Value::Object(wanted)) => {
            write_object(members, tail, wanted, out)
        }
        _ => false,
    }
}

fn write_array(items: &[Value], tail: &ArrayTail, wanted: &[Value], out: &mut Vec<u8>) -> bool {
    let begun = items.len().min(wanted.len());
    if items.len() > wanted.len() || !items.iter().zip(wanted).all(|(a, b)| is_same(a, b)) {
        return false;
    }
    let mut rest = wanted[begun..].iter();
    let mut needs_comma = matches!(tail, ArrayTail::Item);
    match tail {
        ArrayTail::In(open) => {
            let Some(next) = rest.next() else { return false };
            if !write_rest(open, next, out) {
                return false;
            }
            needs_comma = true;
        }
        ArrayTail::Comma => {
            let Some(next) = rest.next() else { return false };
            write(next, out);
            needs_comma = true;
        }
        ArrayTail::Bracket | ArrayTail::Item => {}
    }
    for item in rest {
        if needs_comma {
            out.push(b',');
        }
        needs_comma = true;
        write(item, out);
    }
    out.push(b']');
    true
}

fn write_object(
    members: &Map<String, Value>,
    tail: &ObjectTail,
    wanted: &Map<String, Value>,
    out: &mut Vec<u8>,
) -> bool {
    let is_wanted = |(name, value): (&String, &Value)| {
        wanted.get(name).is_some_and(|wanted| is_same(value, wanted))
    };
    if !members.iter().all(is_wanted) {
        return false;
    }
    let mut rest: Vec<(&String, &Value)> =
        wanted.iter().filter(|(name, _)| !members.contains_key(*name)).collect();
    let mut needs_comma = matches!(tail, ObjectTail::Value);
    let take = |rest: &mut Vec<(&String, &Value)>, name: &str| -> Option<Value> {
        let at = rest.iter().position(|(known, _)| *known == name)?;
        Some(rest.remove(at).1.clone())
    };
    match tail {
        ObjectTail::Comma if rest.is_empty() => return false,
        ObjectTail::Brace | ObjectTail::Value | ObjectTail::Comma => {}
        ObjectTail::InName(open) => {
            let found = rest.iter().find_map(|(name, _)| Some((*name, rest_of_text(open, name)?)));
            let Some((name, text)) = found else { return false };
            out.extend(text);
            out.extend_from_slice(b"\":");
            let Some(value) = take(&mut rest, name) else { return false };
            write(&value, out);
            needs_comma = true;
        }
        ObjectTail::Name(name) | ObjectTail::Colon(name) => {
            if matches!(tail, ObjectTail::Name(_)) {
                out.push(b':');
            }
            let Some(value) = take(&mut rest, name) else { return false };
            write(&value, out);
            needs_comma = true;
        }
        ObjectTail::In(name, open) => {
            let Some(value) = take(&mut rest, name) else { return false };
            if !write_rest(open, &value, out) {
                return false;
            }
            needs_comma = true;
        }
    }
    for (name, value) in rest {
        if needs_comma {
            out.push(b',');
        }
        needs_comma = true;
        write_text(name, out);
        out.push(b':');
        write(value, out);
    }
    out.push(b'}');
    true
}

/// Returns the rest of a string's content; none if `open` is not a beginning of `text`.
pub(super) fn rest_of_text(open: &PartialText, text: &str) -> Option<Vec<u8>> {
    let rest = text.strip_prefix(open.text.as_str())?;
    let mut out = Vec::with_capacity(rest.len());
    let mut unwritten = rest;
    if !open.pending.is_empty() {
        // The pending bytes begin a single character, escaped or not.
        let first = rest.chars().next()?;
        out.extend(rest_of_spelling(&open.pending, first)?);
        unwritten = &rest[first.len_utf8()..];
    }
    escape(unwritten, &mut out);
    Some(out)
}

/// Returns the missing bytes of a partially written character; none if `begun` begins another one.
pub(super) fn rest_of_spelling(begun: &[u8], c: char) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    escape(c.encode_utf8(&mut [0; 4]), &mut plain);
    let mut units = [0; 2];
    let units = c.encode_utf16(&mut units).iter();
    let numbered = units.flat_map(|unit| format!("\\u{unit:04x}").into_bytes()).collect();
    let slash = if c == '/' { b"\\/".to_vec() } else { Vec::new() };
    // Hexadecimal digits may be upper case.
    let begins = |spelled: &Vec<u8>| {
        spelled.len() >= begun.len() && spelled[..begun.len()].eq_ignore_ascii_case(begun)
    };
    let spelled = [plain, slash, numbered].into_iter().find(begins)?;
    Some(spelled[begun.len()..].to_vec())
}

/// Writes a value as compact JSON.
pub(super) fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::String(text) => write_text(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (idx, item) in items.iter().enumerate() {
                if idx > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        Value::Object(members) => {
            out.push(b'{');
            for (idx, (name, value)) in members.iter().enumerate() {
                if idx > 0 {
                    out.push(b',');
                }
                write_text(name, out);
                out.push(b':');
                write(value, out);
            }
            out.push(b'}');
        }
        Value::Number(number) => out.extend_from_slice(spelled(number).as_bytes()),
        scalar => out.extend_from_slice(scalar.to_string().as_bytes()),
    }
}

pub(super) fn write_text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(quoted(text).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::partial;
    use super::*;

    #[test]
    fn every_beginning_of_a_value_can_be_finished_as_it() {
        let text = r#"{"a":[1,-2.5,"x\né",[],{}],"b":{"c":null,"d":[true,false]},"e":12}"#;
        let value: Value = serde_json::from_str(text).unwrap();
        for end in 0..text.len() {
            let partial = partial::read(&text.as_bytes()[..end]).unwrap();
            let rest = as_value(&partial, &value).unwrap();
            assert_eq!(
                rest.escape_ascii().to_string(),
                text.as_bytes()[end..].escape_ascii().to_string()
            );
        }
    }

    #[test]
    fn another_value_is_not_finished() {
        for (text, value) in [("{\"b", r#"{"a":1}"#), ("[1,2", "[1]"), ("tr", "false"), ("13", "1")]
        {
            let partial = partial::read(text.as_bytes()).unwrap();
            assert_eq!(as_value(&partial, &serde_json::from_str(value).unwrap()), None, "{text}");
        }
    }
}
