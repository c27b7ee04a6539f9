//! Partial JSON values: reads the beginning of a JSON text.

use serde_json::{Map, Value};

/// A value that is partly written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Partial {
    /// Nothing is written yet.
    Nothing,
    /// The value is complete; nothing can follow.
    Whole(Value),
    /// The first bytes of `null`, `true` or `false`.
    Word {
        word: &'static str,
        num_bytes: usize,
    },
    /// A number's text so far. It may be complete, but more may follow.
    Number(String),
    Text(PartialText),
    Array {
        items: Vec<Value>,
        tail: ArrayTail,
    },
    Object {
        members: Map<String, Value>,
        tail: ObjectTail,
    },
}

/// A string without its closing quote.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PartialText {
    /// The decoded text.
    pub(crate) text: String,
    /// Bytes of an incomplete escape or character.
    pub(crate) pending: Vec<u8>,
}

/// The last thing written in an array.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ArrayTail {
    Bracket,
    Item,
    Comma,
    In(Box<Partial>),
}

/// The last thing written in an object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ObjectTail {
    Brace,
    Value,
    Comma,
    InName(PartialText),
    Name(String),
    Colon(String),
    In(String, Box<Partial>),
}

/// An open container.
enum Frame {
    Array { items: Vec<Value>, is_after_comma: bool },
    Object { members: Map<String, Value>, state: ObjectState },
}

enum ObjectState {
    Brace,
    Value,
    Comma,
    Name(String),
    Colon(String),
}

/// The deepest nesting followed. The validator recurses over it, and JSON readers commonly stop at
/// 128.
const MAX_DEPTH: usize = 128;

/// Why a text is not the beginning of a JSON value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotJson {
    /// A syntax error.
    Syntax,
    /// An object repeats a name.
    Duplicate,
    /// The nesting is too deep.
    Depth,
}

/// Reads the beginning of a value.
///
/// # Errors
/// The text is not the beginning of a JSON value, is nested too deeply, or has an object with a
/// repeated name.
pub(crate) fn read(text: &[u8]) -> Result<Partial, NotJson> {
    let mut reader = Reader { text, at: 0, stack: Vec::new() };
    let mut current = reader.value()?;
    loop {
        // A complete value goes into its container; an incomplete one is the last thing written.
        let is_open = match &current {
            Partial::Whole(_) => false,
            Partial::Number(_) => reader.at == text.len(),
            _ => true,
        };
        if is_open {
            return reader.close(current);
        }
        let value = match current {
            Partial::Whole(value) => value,
            Partial::Number(text) => number(&text)?,
            _ => return Err(NotJson::Syntax),
        };
        match reader.put(value)? {
            Some(next) => current = next,
            None => return reader.end(),
        }
    }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    stack: Vec<Frame>,
}

impl Reader<'_> {
    fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.text.get(self.at) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    /// Reads a scalar, entering the containers around it.
    fn value(&mut self) -> Result<Partial, NotJson> {
        let Some(byte) = self.peek() else { return Ok(Partial::Nothing) };
        match byte {
            b'"' => {
                self.at += 1;
                Ok(self
                    .string()?
                    .map_or_else(Partial::Text, |text| Partial::Whole(Value::String(text))))
            }
            b'{' => {
                self.at += 1;
                self.enter(Frame::Object { members: Map::new(), state: ObjectState::Brace })?;
                self.member()
            }
            b'[' => {
                self.at += 1;
                self.enter(Frame::Array { items: Vec::new(), is_after_comma: false })?;
                match self.peek() {
                    None => Ok(Partial::Nothing),
                    Some(b']') => self.pop(),
                    Some(_) => self.value(),
                }
            }
            b'-' | b'0'..=b'9' => {
                let rest = &self.text[self.at..];
                let is_number =
                    |byte: &&u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
                let len = rest.iter().take_while(is_number).count();
                self.at += len;
                let text = std::str::from_utf8(&rest[..len]).expect("these bytes are ASCII");
                Ok(Partial::Number(text.to_owned()))
            }
            _ => self.word(byte),
        }
    }

    fn enter(&mut self, frame: Frame) -> Result<(), NotJson> {
        if self.stack.len() == MAX_DEPTH {
            return Err(NotJson::Depth);
        }
        self.stack.push(frame);
        Ok(())
    }

    fn word(&mut self, first: u8) -> Result<Partial, NotJson> {
        let words = [("null", Value::Null), ("true", true.into()), ("false", false.into())];
        let known = words.into_iter().find(|(word, _)| word.as_bytes()[0] == first);
        let (word, value) = known.ok_or(NotJson::Syntax)?;
        let rest = &self.text[self.at..];
        let num_bytes = word.len().min(rest.len());
        if rest[..num_bytes] != word.as_bytes()[..num_bytes] {
            return Err(NotJson::Syntax);
        }
        self.at += num_bytes;
        let is_whole = num_bytes == word.len();
        Ok(if is_whole { Partial::Whole(value) } else { Partial::Word { word, num_bytes } })
    }

    /// Reads a string after its opening quote.
    fn string(&mut self) -> Result<Result<String, PartialText>, NotJson> {
        let start = self.at;
        while let Some(&byte) = self.text.get(self.at) {
            match byte {
                b'"' => {
                    let text = decode(&self.text[start..self.at])?;
                    self.at += 1;
                    let is_whole = text.pending.is_empty();
                    return if is_whole { Ok(Ok(text.text)) } else { Err(NotJson::Syntax) };
                }
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at = self.text.len();
        Ok(Err(decode(&self.text[start..])?))
    }

    /// Reads an object on from its brace or a comma.
    fn member(&mut self) -> Result<Partial, NotJson> {
        match self.peek() {
            None => return Ok(Partial::Nothing),
            Some(b'}') => return self.pop(),
            Some(b'"') => self.at += 1,
            Some(_) => return Err(NotJson::Syntax),
        }
        let name = match self.string()? {
            Ok(name) => name,
            Err(open) => return Ok(Partial::Text(open)),
        };
        let Some(Frame::Object { members, state }) = self.stack.last_mut() else {
            return Err(NotJson::Syntax);
        };
        if members.contains_key(&name) {
            return Err(NotJson::Duplicate);
        }
        *state = ObjectState::Name(name.clone());
        match self.peek() {
            None => return Ok(Partial::Nothing),
            Some(b':') => self.at += 1,
            Some(_) => return Err(NotJson::Syntax),
        }
        if let Some(Frame::Object { state, .. }) = self.stack.last_mut() {
            *state = ObjectState::Colon(name);
        }
        self.value()
    }

    /// Closes the innermost container.
    fn pop(&mut self) -> Result<Partial, NotJson> {
        self.at += 1;
        match self.stack.pop() {
            Some(Frame::Array { items, is_after_comma: false }) => {
                Ok(Partial::Whole(Value::Array(items)))
            }
            Some(Frame::Object { members, state: ObjectState::Brace | ObjectState::Value }) => {
                Ok(Partial::Whole(Value::Object(members)))
            }
            _ => Err(NotJson::Syntax),
        }
    }

    /// Adds a complete value to its container and reads on; none if the value was the outermost.
    fn put(&mut self, value: Value) -> Result<Option<Partial>, NotJson> {
        match self.stack.last_mut() {
            None => {
                self.stack.push(Frame::Array { items: vec![value], is_after_comma: false });
                return Ok(None);
            }
            Some(Frame::Array { items, is_after_comma }) => {
                items.push(value);
                *is_after_comma = false;
            }
            Some(Frame::Object { members, state }) => {
                let before = std::mem::replace(state, ObjectState::Value);
                let ObjectState::Colon(name) = before else { return Err(NotJson::Syntax) };
                members.insert(name, value);
            }
        }
        let is_array = matches!(self.stack.last(), Some(Frame::Array { .. }));
        match (self.peek(), is_array) {
            (None, _) => Ok(Some(Partial::Nothing)),
            (Some(b']'), true) | (Some(b'}'), false) => self.pop().map(Some),
            (Some(b','), _) => {
                self.at += 1;
                match self.stack.last_mut() {
                    Some(Frame::Array { is_after_comma, .. }) => *is_after_comma = true,
                    Some(Frame::Object { state, .. }) => *state = ObjectState::Comma,
                    None => {}
                }
                if is_array { self.value().map(Some) } else { self.member().map(Some) }
            }
            _ => Err(NotJson::Syntax),
        }
    }

    /// Checks that nothing follows the outermost value, and returns that value.
    fn end(&mut self) -> Result<Partial, NotJson> {
        if self.peek().is_some() {
            return Err(NotJson::Syntax);
        }
        match self.stack.pop() {
            Some(Frame::Array { mut items, .. }) => {
                Ok(items.pop().map_or(Partial::Nothing, Partial::Whole))
            }
            _ => Err(NotJson::Syntax),
        }
    }

    /// Wraps the incomplete value into its containers.
    fn close(mut self, mut current: Partial) -> Result<Partial, NotJson> {
        while let Some(frame) = self.stack.pop() {
            current = match frame {
                Frame::Array { items, is_after_comma } => {
                    let tail = match current {
                        Partial::Nothing if is_after_comma => ArrayTail::Comma,
                        Partial::Nothing if items.is_empty() => ArrayTail::Bracket,
                        Partial::Nothing => ArrayTail::Item,
                        open => ArrayTail::In(Box::new(open)),
                    };
                    Partial::Array { items, tail }
                }
                Frame::Object { members, state } => {
                    let tail = match (state, current) {
                        (ObjectState::Brace, Partial::Nothing) => ObjectTail::Brace,
                        (ObjectState::Value, Partial::Nothing) => ObjectTail::Value,
                        (ObjectState::Comma, Partial::Nothing) => ObjectTail::Comma,
                        (ObjectState::Name(name), Partial::Nothing) => ObjectTail::Name(name),
                        (ObjectState::Colon(name), Partial::Nothing) => ObjectTail::Colon(name),
                        (ObjectState::Colon(name), open) => ObjectTail::In(name, Box::new(open)),
                        (_, Partial::Text(name)) => ObjectTail::InName(name),
                        _ => return Err(NotJson::Syntax),
                    };
                    Partial::Object { members, tail }
                }
            };
        }
        Ok(current)
    }
}

/// Parses a complete number.
pub(super) fn number(text: &str) -> Result<Value, NotJson> {
    serde_json::from_str(text).map_err(|_| NotJson::Syntax)
}

/// Decodes a string's content as far as it goes.
fn decode(raw: &[u8]) -> Result<PartialText, NotJson> {
    let mut text = String::with_capacity(raw.len());
    let mut at = 0;
    while at < raw.len() {
        if raw[at] == b'\\' {
            match escape(&raw[at..])? {
                Some((c, len)) => {
                    text.push(c);
                    at += len;
                }
                None => return Ok(PartialText { text, pending: raw[at..].to_vec() }),
            }
            continue;
        }
        let end = raw[at..].iter().position(|byte| *byte == b'\\').map_or(raw.len(), |it| at + it);
        match std::str::from_utf8(&raw[at..end]) {
            Ok(plain) => text.push_str(plain),
            Err(error) if error.error_len().is_none() && end == raw.len() => {
                let valid = at + error.valid_up_to();
                text.push_str(std::str::from_utf8(&raw[at..valid]).map_err(|_| NotJson::Syntax)?);
                return Ok(PartialText { text, pending: raw[valid..].to_vec() });
            }
            Err(_) => return Err(NotJson::Syntax),
        }
        at = end;
    }
    Ok(PartialText { text, pending: Vec::new() })
}

/// Decodes one escape; none if it is incomplete.
fn escape(raw: &[u8]) -> Result<Option<(char, usize)>, NotJson> {
    let Some(letter) = raw.get(1) else { return Ok(None) };
    let c = match letter {
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'u' => return unicode(raw),
        b'"' | b'\\' | b'/' => char::from(*letter),
        _ => return Err(NotJson::Syntax),
    };
    Ok(Some((c, 2)))
}

fn unicode(raw: &[u8]) -> Result<Option<(char, usize)>, NotJson> {
    let Some(high) = unit(raw)? else { return Ok(None) };
    match high {
        0xD800..=0xDBFF => {}
        _ => return char::from_u32(high).map(|c| Some((c, 6))).ok_or(NotJson::Syntax),
    }
    let Some(low) = unit(&raw[6..])? else { return Ok(None) };
    if !(0xDC00..=0xDFFF).contains(&low) {
        return Err(NotJson::Syntax);
    }
    let scalar = 0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00);
    char::from_u32(scalar).map(|c| Some((c, 12))).ok_or(NotJson::Syntax)
}

/// Returns the code unit of the `\u` escape that `raw` begins with; none if it is incomplete.
fn unit(raw: &[u8]) -> Result<Option<u32>, NotJson> {
    let start = &raw[..raw.len().min(2)];
    if !b"\\u".starts_with(start) {
        return Err(NotJson::Syntax);
    }
    let digits = raw.get(2..).unwrap_or_default();
    let digits = &digits[..digits.len().min(4)];
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(NotJson::Syntax);
    }
    let number = std::str::from_utf8(digits).map_err(|_| NotJson::Syntax)?;
    if digits.len() < 4 {
        Ok(None)
    } else {
        u32::from_str_radix(number, 16).map(Some).map_err(|_| NotJson::Syntax)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_beginning_of_a_value_is_read_and_the_whole_is_the_value() {
        let text =
            r#"{"a":[1,-2.5e3,"x\n\u00e9é",[],{}],"b":{"c":null,"d":[true,false]}, "e" : 12}"#;
        let want: Value = serde_json::from_str(text).unwrap();
        for end in 0..text.len() {
            let partial = read(&text.as_bytes()[..end]);
            assert!(partial.is_ok(), "{}: {partial:?}", &text.as_bytes()[..end].escape_ascii());
        }
        assert_eq!(read(text.as_bytes()), Ok(Partial::Whole(want)));
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in ["}", "[1,]", "{,", r#"{"a" 1"#, "nul!", "[1 2", "{1", "1 2", r#""\x"#, "[}"] {
            assert_eq!(read(text.as_bytes()), Err(NotJson::Syntax), "{text}");
        }
        // Half a pair of surrogates is no character.
        for text in [r#""\ud800\u0041"#, r#""\ud800a"#, r#""\udc00"#, r#""\u00g"#, r#""\ud800\n"#] {
            assert_eq!(read(text.as_bytes()), Err(NotJson::Syntax), "{text}");
        }
        assert_eq!(read(br#"{"a":1,"a":"#), Err(NotJson::Duplicate));
        assert_eq!(read("[".repeat(100_000).as_bytes()), Err(NotJson::Depth));
    }

    #[test]
    fn escapes_are_read_as_far_as_they_go() {
        let open = |text: &str| match read(text.as_bytes()) {
            Ok(Partial::Text(open)) => (open.text, String::from_utf8(open.pending).unwrap()),
            other => panic!("{text}: {other:?}"),
        };
        for (text, want) in [
            (r#""\ud83d\ude00\/"#, ("😀/", "")),
            (r#""é\u00E9\u"#, ("éé", r"\u")),
            (r#""\ud83d"#, ("", r"\ud83d")),
            (r#""\ud83d\ud"#, ("", r"\ud83d\ud")),
        ] {
            let (text_want, pending) = want;
            assert_eq!(open(text), (text_want.to_owned(), pending.to_owned()), "{text}");
        }
    }

    #[test]
    fn tails_say_where_the_text_ends() {
        let tail = |text: &str| match read(text.as_bytes()) {
            Ok(Partial::Object { tail, .. }) => tail,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(tail("{"), ObjectTail::Brace);
        assert_eq!(
            tail(r#"{"a"#),
            ObjectTail::InName(PartialText { text: "a".into(), pending: vec![] })
        );
        assert_eq!(tail(r#"{"a""#), ObjectTail::Name("a".into()));
        assert_eq!(tail(r#"{"a": "#), ObjectTail::Colon("a".into()));
        assert_eq!(
            tail(r#"{"a":1"#),
            ObjectTail::In("a".into(), Box::new(Partial::Number("1".into())))
        );
        assert_eq!(tail(r#"{"a":1 "#), ObjectTail::Value);
        assert_eq!(tail(r#"{"a":1,"#), ObjectTail::Comma);
    }
}
