//! Converts the regular expressions of schemas, which are ECMA-262, into a form that Rust's regex
//! crates accept.

use std::fmt::Write;

use jsonschema_regex::to_rust_regex;

/// A class that matches every character, and one that matches none.
const ANY: &str = r"[\s\S]";
const NONE: &str = r"[^\s\S]";

/// Rewrites the syntax that Rust's regex crates lack: escapes of UTF-16 units, `\0`, `\cX`, `[\b]`,
/// `[^]` and `[]`.
///
/// # Errors
/// A message why the pattern is not a valid regular expression.
pub(super) fn normalised(pattern: &str) -> Result<String, String> {
    let mut reader =
        Reader { rest: pattern, out: String::with_capacity(pattern.len()), in_count: false };
    let mut in_class = false;
    while let Some(c) = reader.next() {
        match c {
            '\\' => reader.escape(in_class)?,
            '[' if !in_class && reader.skip("^]") => reader.out.push_str(ANY),
            '[' if !in_class && reader.skip("]") => reader.out.push_str(NONE),
            '[' if in_class => reader.out.push_str("\\["),
            // Next to a class escape, a hyphen is literal.
            '-' if in_class && reader.is_beside_class() => reader.out.push_str("\\-"),
            '{' if !in_class && !is_counted(reader.rest) => reader.out.push_str("\\{"),
            '}' if !in_class && !reader.in_count => reader.out.push_str("\\}"),
            '[' => {
                in_class = true;
                reader.out.push('[');
            }
            ']' => {
                in_class = false;
                reader.out.push(']');
            }
            c => {
                reader.in_count = !in_class && (c == '{' || reader.in_count && c != '}');
                reader.out.push(c);
            }
        }
    }
    // Patterns with look-around are matched by an engine whose classes cover all scripts, so the
    // classes are spelled out.
    let out = if relaxed(&reader.out).is_some() { in_ascii(&reader.out) } else { reader.out };
    check(&out)?;
    Ok(out)
}

/// Spells out character classes and word boundaries, which are ASCII in ECMA-262.
fn in_ascii(pattern: &str) -> String {
    const WORD: &str = "A-Za-z0-9_";
    const SPACE: &str = r"\t-\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff";
    let mut out = String::with_capacity(pattern.len());
    let mut in_class = false;
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        in_class = (in_class || c == '[') && c != ']';
        if c != '\\' {
            out.push(c);
            continue;
        }
        let letter = chars.next().unwrap_or_default();
        let class = match letter {
            'w' | 'W' => WORD,
            'd' | 'D' => "0-9",
            's' | 'S' => SPACE,
            'b' if !in_class => {
                let (is, not) = (format!("[{WORD}]"), format!("(?<![{WORD}])"));
                write!(out, "(?:(?<={is})(?!{is})|{not}(?={is}))")
                    .expect("a string takes all writes");
                continue;
            }
            'B' if !in_class => {
                let (is, not) = (format!("[{WORD}]"), format!("(?<![{WORD}])"));
                write!(out, "(?:(?<={is})(?={is})|{not}(?!{is}))")
                    .expect("a string takes all writes");
                continue;
            }
            _ => {
                out.push('\\');
                out.push(letter);
                continue;
            }
        };
        match (letter.is_ascii_lowercase(), in_class) {
            (true, true) => out.push_str(class),
            (true, false) => write!(out, "[{class}]").expect("a string takes all writes"),
            (false, false) => write!(out, "[^{class}]").expect("a string takes all writes"),
            (false, true) => {
                out.push('\\');
                out.push(letter);
            }
        }
    }
    out
}

/// Checks that some regex crate accepts the pattern.
fn check(pattern: &str) -> Result<(), String> {
    let Ok(rust) = to_rust_regex(pattern) else {
        // The other crate explains what is wrong.
        let known = fancy_regex::Regex::new(pattern).err();
        return Err(known.map_or_else(
            || "a kind of regular expression that the validator does not know".to_owned(),
            |error| format!("it is no regular expression: {error}"),
        ));
    };
    if regex_syntax::Parser::new().parse(&rust).is_ok() {
        return Ok(());
    }
    match fancy_regex::Regex::new(&rust) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("it is no regular expression: {error}")),
    }
}

struct Reader<'a> {
    rest: &'a str,
    out: String,
    /// Whether the reader is inside the braces of a quantifier.
    in_count: bool,
}

/// Returns whether `rest`, after an opening brace, is a quantifier.
fn is_counted(rest: &str) -> bool {
    let Some((count, _)) = rest.split_once('}') else { return false };
    let (least, most) = count.split_once(',').unwrap_or((count, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    !least.is_empty() && is_number(least) && is_number(most)
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    /// Returns whether a class escape stands directly before or after.
    fn is_beside_class(&self) -> bool {
        let is_class = |letter: Option<char>| letter.is_some_and(|it| "dDwWsS".contains(it));
        let mut before = self.out.chars().rev();
        let letter = before.next();
        let is_after =
            is_class(letter) && before.next() == Some('\\') && before.next() != Some('\\');
        let next = self.rest.strip_prefix('\\').and_then(|rest| rest.chars().next());
        is_after || is_class(next)
    }

    fn skip(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn escape(&mut self, in_class: bool) -> Result<(), String> {
        let Some(c) = self.next() else { return Err("it ends in a lone backslash".to_owned()) };
        let is_digit = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
        match c {
            'u' => match self.number() {
                // No text contains a lone surrogate.
                Some(number) => match char::from_u32(number) {
                    Some(c) => self.push(c),
                    None => self.out.push_str(NONE),
                },
                // Without the Unicode flag it is just the letter.
                None => self.out.push('u'),
            },
            '0' if !is_digit(self.rest) => self.push('\0'),
            'b' if in_class => self.push('\u{8}'),
            'c' => {
                let letter = self.rest.bytes().next().filter(u8::is_ascii_alphabetic);
                match letter {
                    Some(letter) => {
                        self.rest = &self.rest[1..];
                        self.push(char::from(letter % 32));
                    }
                    None => self.out.push_str(r"\\c"),
                }
            }
            'p' | 'P' if self.rest.starts_with('{') => {
                let end = self.rest.find('}').map_or(self.rest.len(), |end| end + 1);
                let (name, rest) = self.rest.split_at(end);
                self.rest = rest;
                self.out.push('\\');
                self.out.push(c);
                self.out.push_str(name);
            }
            // In Rust these escapes would be word boundaries.
            '<' | '>' => self.out.push(c),
            c => {
                self.out.push('\\');
                self.out.push(c);
            }
        }
        Ok(())
    }

    /// Reads the number of a `\u` escape after its `u`; for a surrogate pair, that of the
    /// character. None if it is no such escape.
    fn number(&mut self) -> Option<u32> {
        if let Some((digits, rest)) = self.rest.strip_prefix('{').and_then(|it| it.split_once('}'))
        {
            let number = u32::from_str_radix(digits, 16).ok()?;
            self.rest = rest;
            return Some(number);
        }
        let high = unit(self.rest)?;
        self.rest = &self.rest[4..];
        let low = self.rest.strip_prefix("\\u").and_then(unit);
        if let ((0xD800..=0xDBFF), Some(low @ 0xDC00..=0xDFFF)) = (high, low) {
            self.rest = &self.rest[6..];
            return Some(0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00));
        }
        Some(high)
    }

    fn push(&mut self, c: char) {
        if c.is_ascii_alphanumeric() || !c.is_ascii() {
            self.out.push(c);
        } else {
            write!(self.out, "\\x{:02x}", u32::from(c)).expect("a string takes all writes");
        }
    }
}

fn unit(text: &str) -> Option<u32> {
    let digits = text.get(..4).filter(|it| it.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u32::from_str_radix(digits, 16).ok()
}

/// Removes look-arounds and back-references from a pattern; the result matches at least what the
/// pattern matches. None if the pattern has neither.
pub(super) fn relaxed(pattern: &str) -> Option<String> {
    without_looks(pattern, false)
}

/// As [`relaxed`], but turns positive look-arounds into required text: some of its matches are
/// likely to match the pattern too.
pub(super) fn besides(pattern: &str) -> Option<String> {
    without_looks(pattern, true)
}

fn without_looks(pattern: &str, is_kept: bool) -> Option<String> {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    let (mut in_class, mut has_changed) = (false, false);
    while let Some(c) = rest.chars().next() {
        let positive = ["(?=", "(?<="].into_iter().filter(|_| is_kept && !in_class);
        if let Some(inside) = positive.into_iter().find_map(|look| rest.strip_prefix(look)) {
            out.push_str("(?:");
            rest = inside;
            has_changed = true;
            continue;
        }
        let looks = ["(?=", "(?!", "(?<=", "(?<!"];
        if !in_class && looks.iter().any(|look| rest.starts_with(look)) {
            rest = after_quantifier(after_group(rest)?);
            has_changed = true;
            continue;
        }
        if let Some(letter) = rest.strip_prefix('\\').and_then(|it| it.chars().next()) {
            let len = 1 + letter.len_utf8();
            match letter {
                'b' | 'B' if !in_class => has_changed = true,
                '1'..='9' if !in_class => {
                    let digits = rest[1..].bytes().take_while(u8::is_ascii_digit).count();
                    rest = &rest[1 + digits..];
                    has_changed = true;
                    out.push_str("(?:[\\s\\S]*)");
                    continue;
                }
                'k' if !in_class && rest[2..].starts_with('<') => {
                    rest = rest.split_once('>')?.1;
                    has_changed = true;
                    out.push_str("(?:[\\s\\S]*)");
                    continue;
                }
                _ => out.push_str(&rest[..len]),
            }
            rest = &rest[len..];
            continue;
        }
        in_class = (in_class || c == '[') && c != ']';
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    has_changed.then_some(out)
}

/// Returns the text after the group that `text` begins with.
fn after_group(text: &str) -> Option<&str> {
    let (mut depth, mut in_class) = (0_usize, false);
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '[' => in_class = true,
            ']' => in_class = false,
            _ if in_class => {}
            '(' => depth += 1,
            ')' => {
                depth -= 1;
                if depth == 0 {
                    return Some(&text[at + 1..]);
                }
            }
            _ => {}
        }
    }
    None
}

fn after_quantifier(text: &str) -> &str {
    let rest = match text.chars().next() {
        Some('*' | '+' | '?') => &text[1..],
        Some('{') => text.split_once('}').map_or(text, |(_, rest)| rest),
        _ => return text,
    };
    rest.strip_prefix('?').unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_of_ecma_script_are_restated() {
        for (pattern, want) in [
            (r"^\ud83d\ude00$", "^😀$"),
            (r"^[\ud83d\ude00-\ud83d\ude4f]{1,3}$", "^[😀-🙏]{1,3}$"),
            (r"^\u{1F600}\u00e9$", "^😀é$"),
            (r"^[^]$", r"^[\s\S]$"),
            (r"a|[]", r"a|[^\s\S]"),
            (r"\0\cA\u0001[\b]", r"\x00\x01\x01[\x08]"),
            (r"[[a]\.\[", r"[\[a]\.\["),
            (r"\ud83d", r"[^\s\S]"),
            (r"(?<=a)b", "(?<=a)b"),
            (r"^[\w-\.]+[a-\d]$", r"^[\w\-\.]+[a\-\d]$"),
            (r"^{.*}$", r"^\{.*\}$"),
            (r"a{2}b{1,}c{,3}", r"a{2}b{1,}c\{,3\}"),
            (r"\<b\>", "<b>"),
            (r"^\p{Lu}[\P{L}]$", r"^\p{Lu}[\P{L}]$"),
        ] {
            assert_eq!(normalised(pattern).as_deref(), Ok(want), "{pattern}");
        }
        for pattern in ["(", "a\\", "[z-a]", "(?<=a"] {
            assert!(normalised(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn what_looks_around_is_left_out() {
        for (pattern, want) in [
            (r"\bcat\b", Some("cat")),
            (r"(?<!x)y$", Some("y$")),
            (r"^a(?=b)b$", Some("^ab$")),
            (r"^(?:(?!foo).)*$", Some("^(?:.)*$")),
            (r"(a)\1(?:(?=(b))?c)", Some(r"(a)(?:[\s\S]*)(?:c)")),
            (r"(?<n>a)\k<n>[\b\1]", Some(r"(?<n>a)(?:[\s\S]*)[\b\1]")),
            ("abc", None),
        ] {
            assert_eq!(relaxed(pattern).as_deref(), want, "{pattern}");
        }
    }
}
