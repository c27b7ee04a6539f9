//! JSON as Python's `json.dumps` writes it, which templates expect of `tojson`.

use minijinja::{Error, Value, filters, value::Kwargs};

/// Characters that the template engine escapes for HTML, and Python does not.
const ESCAPED: [(&str, char); 4] = [("003c", '<'), ("003e", '>'), ("0026", '&'), ("0027", '\'')];

/// Writes a value as JSON, without the engine's HTML escapes.
#[expect(clippy::needless_pass_by_value, reason = "the engine hands options over by value")]
pub(super) fn tojson(value: &Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<Value> = options.get("indent")?;
    // Accepted because templates use it; text is never converted to ASCII here.
    let _: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    let json = filters::tojson(value, indent, Kwargs::from_iter([] as [(&str, Value); 0]))?;
    Ok(Value::from(unescape(json.as_str().unwrap_or_default())))
}

fn unescape(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    let mut rest = json;
    while let Some((plain, escape)) = rest.split_once('\\') {
        text.push_str(plain);
        let known = ESCAPED.iter().find(|(digits, _)| {
            escape.strip_prefix('u').is_some_and(|escape| escape.starts_with(digits))
        });
        // Copies at least two characters of an escape, so that a backslash cannot begin the next
        // one.
        let num_bytes = if let Some((digits, character)) = known {
            text.push(*character);
            1 + digits.len()
        } else {
            let len = escape.chars().next().map_or(0, char::len_utf8);
            text.push('\\');
            text.push_str(&escape[..len]);
            len
        };
        rest = &escape[num_bytes..];
    }
    text.push_str(rest);
    text
}
