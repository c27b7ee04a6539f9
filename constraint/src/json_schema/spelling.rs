//! Spells texts as JSON: characters as they are where possible, else short escapes, else `\u`
//! escapes for control characters.

/// Writes the content of a string, without quotes.
pub(crate) fn escape(text: &str, out: &mut Vec<u8>) {
    for c in text.chars() {
        let letter = match c {
            '"' => '"',
            '\\' => '\\',
            '\n' => 'n',
            '\r' => 'r',
            '\t' => 't',
            '\u{8}' => 'b',
            '\u{c}' => 'f',
            c if c < ' ' || c == '\u{7f}' => {
                out.extend_from_slice(format!("\\u{:04x}", u32::from(c)).as_bytes());
                continue;
            }
            c => {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', letter as u8]);
    }
}

/// Returns a string with its quotes.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = vec![b'"'];
    escape(text, &mut out);
    out.push(b'"');
    String::from_utf8(out).expect("whole characters are written")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_has_one_spelling() {
        assert_eq!(quoted("a\"\\\n\u{1}\u{7f}/é"), r#""a\"\\\n\u0001\u007f/é""#);
    }
}
