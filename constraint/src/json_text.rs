//! Follows a JSON text byte by byte: its containers, strings and numbers.
//!
//! Enforces two rules that grammars do not. A number must be finite as a 64-bit float, with an
//! exponent of at most three digits: JSON bounds no number, but many readers refuse larger ones or
//! read them as infinite. And an object must not repeat a property name.

use std::sync::Arc;

use crate::TokenId;
use crate::mask::Mask;
use crate::vocab::Vocab;

const MAX_EXPONENT_DIGITS: u8 = 3;
/// The number of significant digits compared with those of the largest float.
const MAX_LEAD_DIGITS: u8 = 17;
/// The largest float in that many digits, and the position of its decimal point.
const MAX_LEAD: u64 = 17_976_931_348_623_157;
const MAX_MAGNITUDE: i32 = 309;
/// Numbers up to this magnitude can become too large only through a long token.
const SAFE_MAGNITUDE: i32 = 200;
/// Names remembered per object. Later names may repeat.
const MAX_NAMES: usize = 1_000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Lexeme {
    #[default]
    Outside,
    Text,
    Escape,
    Whole,
    Fraction,
    Exponent,
}

/// The number being written.
#[derive(Clone, Copy, Debug, Default)]
struct Number {
    /// Number of digits in `lead` and in the exponent.
    num_lead: u8,
    num_exponent: u8,
    is_small: bool,
    exponent: i16,
    /// Digits from the first non-zero one to the decimal point; negative if zeros follow the point.
    magnitude: i32,
    /// The first significant digits.
    lead: u64,
}

/// An open array or object. Shared by all states inside it.
#[derive(Debug)]
struct Container {
    around: Option<Arc<Container>>,
    /// None for an array.
    names: Option<Names>,
}

impl Drop for Container {
    /// Drops iteratively: containers may be nested deeper than the stack allows.
    fn drop(&mut self) {
        let mut around = self.around.take();
        while let Some(container) = around {
            around = Arc::try_unwrap(container).ok().and_then(|mut it| it.around.take());
        }
    }
}

/// The names in an object so far.
#[derive(Clone, Debug, Default)]
struct Names {
    /// Whether the next string is a name.
    is_next: bool,
    count: usize,
    /// Whether a single token may hold one of these names with both its quotes.
    may_be_whole: bool,
    last: Option<Arc<Name>>,
}

#[derive(Debug)]
struct Name {
    text: Box<[u8]>,
    before: Option<Arc<Name>>,
}

impl Names {
    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::successors(self.last.as_deref(), |name| name.before.as_deref())
            .map(|name| &*name.text)
    }
}

/// The position in a text.
#[derive(Clone, Debug, Default)]
pub(crate) struct TextState {
    kind: Lexeme,
    number: Number,
    container: Option<Arc<Container>>,
    depth: usize,
    /// What is written of a name, if the text is inside one.
    name: Option<Vec<u8>>,
}

impl TextState {
    /// Returns how many containers are open.
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// Reads bytes. Returns false if a number becomes too large or a name repeats.
    fn read(&mut self, bytes: &[u8], vocab: &Vocab) -> bool {
        let mut is_allowed = true;
        for byte in bytes {
            is_allowed &= self.next(*byte, vocab) && self.is_within();
        }
        is_allowed
    }

    /// Reads a byte. Returns false if it ends a name that the object already has.
    fn next(&mut self, byte: u8, vocab: &Vocab) -> bool {
        let mut is_new = true;
        self.kind = match (self.kind, byte) {
            (Lexeme::Text, b'\\') => {
                self.name.iter_mut().for_each(|name| name.push(byte));
                Lexeme::Escape
            }
            (Lexeme::Text, b'"') => {
                is_new = self.end_name(vocab);
                Lexeme::Outside
            }
            (Lexeme::Text | Lexeme::Escape, _) => {
                self.name.iter_mut().for_each(|name| name.push(byte));
                Lexeme::Text
            }
            (_, b'"') => {
                let names = self.container.as_ref().and_then(|it| it.names.as_ref());
                self.name = names.is_some_and(|names| names.is_next).then(Vec::new);
                Lexeme::Text
            }
            (Lexeme::Whole, b'.') => Lexeme::Fraction,
            (Lexeme::Whole | Lexeme::Fraction, b'e' | b'E') | (Lexeme::Exponent, b'+') => {
                Lexeme::Exponent
            }
            (Lexeme::Exponent, b'-') => {
                self.number.is_small = true;
                Lexeme::Exponent
            }
            (Lexeme::Outside, b'-' | b'0'..=b'9') => {
                self.number = Number::default();
                self.number.digit(Lexeme::Whole, byte);
                Lexeme::Whole
            }
            (kind, b'0'..=b'9') => {
                self.number.digit(kind, byte);
                kind
            }
            (_, byte) => {
                self.structure(byte);
                Lexeme::Outside
            }
        };
        is_new
    }

    fn structure(&mut self, byte: u8) {
        match byte {
            b'{' | b'[' => {
                let names = (byte == b'{').then(|| Names { is_next: true, ..Names::default() });
                let around = self.container.take();
                self.container = Some(Arc::new(Container { around, names }));
                self.depth += 1;
            }
            b'}' | b']' => {
                self.container = self.container.take().and_then(|it| it.around.clone());
                self.depth = self.depth.saturating_sub(1);
            }
            b',' => self.change_names(|names| names.is_next = true),
            _ => {}
        }
    }

    fn change_names(&mut self, change: impl FnOnce(&mut Names)) {
        let Some(Container { around, names: Some(names) }) = self.container.as_deref() else {
            return;
        };
        let mut names = names.clone();
        change(&mut names);
        let around = around.clone();
        self.container = Some(Arc::new(Container { around, names: Some(names) }));
    }

    /// Ends a string. Returns false if it is a name that the object already has.
    fn end_name(&mut self, vocab: &Vocab) -> bool {
        let Some(text) = self.name.take() else { return true };
        let names = self.container.as_ref().and_then(|it| it.names.as_ref());
        let is_new = names.is_none_or(|names| names.iter().all(|name| name != text));
        self.change_names(|names| {
            names.is_next = false;
            if names.count < MAX_NAMES {
                names.count += 1;
                names.may_be_whole |= vocab.may_quote(&text);
                let before = names.last.take();
                names.last = Some(Arc::new(Name { text: text.into(), before }));
            }
        });
        is_new
    }

    fn is_within(&self) -> bool {
        !self.is_in_number() || self.number.is_within()
    }

    fn is_in_number(&self) -> bool {
        matches!(self.kind, Lexeme::Whole | Lexeme::Fraction | Lexeme::Exponent)
    }

    /// Returns whether short tokens may make a number too large here.
    fn is_near(&self) -> bool {
        match self.kind {
            Lexeme::Whole | Lexeme::Fraction => self.number.magnitude > SAFE_MAGNITUDE,
            Lexeme::Exponent => true,
            Lexeme::Outside | Lexeme::Text | Lexeme::Escape => false,
        }
    }

    /// Returns the names of the innermost object, if it has any.
    fn names(&self) -> Option<&Names> {
        let names = self.container.as_ref()?.names.as_ref()?;
        (names.count > 0).then_some(names)
    }
}

impl Number {
    fn digit(&mut self, kind: Lexeme, byte: u8) {
        if byte == b'-' {
            return;
        }
        let digit = byte - b'0';
        if kind == Lexeme::Exponent {
            self.num_exponent = self.num_exponent.saturating_add(1);
            self.exponent = self.exponent.saturating_mul(10).saturating_add(digit.into());
            return;
        }
        let is_leading_zero = self.num_lead == 0 && digit == 0;
        match kind {
            Lexeme::Whole if !is_leading_zero => self.magnitude += 1,
            Lexeme::Fraction if is_leading_zero => self.magnitude -= 1,
            _ => {}
        }
        if !is_leading_zero && self.num_lead < MAX_LEAD_DIGITS {
            self.num_lead += 1;
            self.lead = self.lead * 10 + u64::from(digit);
        }
    }

    fn is_within(&self) -> bool {
        let exponent = if self.is_small { -self.exponent } else { self.exponent };
        let magnitude = self.magnitude + i32::from(exponent);
        let padding = u32::from(MAX_LEAD_DIGITS - self.num_lead);
        let is_finite = self.num_lead == 0
            || magnitude < MAX_MAGNITUDE
            || magnitude == MAX_MAGNITUDE && self.lead * 10u64.pow(padding) <= MAX_LEAD;
        is_finite && self.num_exponent <= MAX_EXPONENT_DIGITS
    }
}

/// The states of one text, token by token.
#[derive(Clone, Debug, Default)]
pub(crate) struct JsonText {
    /// The state after each token.
    states: Vec<TextState>,
}

impl JsonText {
    fn state(&self) -> TextState {
        self.states.last().cloned().unwrap_or_default()
    }

    /// Returns whether these bytes leave the state unchanged: they continue a string that is a
    /// value.
    fn goes_on(&self, bytes: &[u8]) -> bool {
        let is_value = |state: &TextState| state.kind == Lexeme::Text && state.name.is_none();
        self.states.last().is_some_and(is_value) && !bytes.iter().any(|it| b"\"\\".contains(it))
    }

    /// Returns the state after `token`, and whether numbers stay small enough and names unique.
    pub(crate) fn after(&self, token: TokenId, vocab: &Vocab) -> (TextState, bool) {
        let bytes = vocab.token_bytes(token);
        let mut state = self.state();
        let is_allowed = self.goes_on(bytes) || state.read(bytes, vocab);
        (state, is_allowed)
    }

    /// Takes a token, given the state after it.
    pub(crate) fn take(&mut self, state: TextState) {
        self.states.push(state);
    }

    pub(crate) fn rollback(&mut self, num_tokens: usize) {
        self.states.truncate(self.states.len() - num_tokens);
    }

    /// Removes the tokens that would make a number too large or repeat a name. If no other token is
    /// left, the mask is unchanged: a number may have to go on to become a multiple, for example.
    pub(crate) fn trim(&self, mut mask: Mask, vocab: &Vocab) -> Mask {
        let first = TextState::default();
        let state = self.states.last().unwrap_or(&first);
        let is_beyond = |token: &TokenId| !self.after(*token, vocab).1;
        let is_inside = matches!(state.kind, Lexeme::Text | Lexeme::Escape);
        let mut denied: Vec<TokenId> = if state.is_near() {
            mask.iter().filter(is_beyond).collect()
        } else {
            // Inside a string, only a token that ends it can begin a number.
            let long = vocab.long_numbers(is_inside).iter().copied();
            long.filter(|token| mask.allows(*token)).filter(is_beyond).collect()
        };
        if let Some(names) = state.names() {
            if let Some(begun) = &state.name {
                denied.extend(ending_a_name(names, begun, &mask, vocab));
            } else if names.may_be_whole {
                let whole = vocab.whole_names(is_inside).iter().copied();
                denied.extend(whole.filter(|token| mask.allows(*token)).filter(is_beyond));
            }
        }
        if !denied.is_empty() && !mask.deny(&denied) {
            mask.allow(&denied);
        }
        mask
    }
}

/// Returns the tokens that would complete the name begun here to one that the object already has.
fn ending_a_name(names: &Names, begun: &[u8], mask: &Mask, vocab: &Vocab) -> Vec<TokenId> {
    let rests = names.iter().filter_map(|name| name.strip_prefix(begun));
    let rests = rests.filter(|rest| vocab.may_end_with(rest));
    let ends = |rest: &[u8]| vocab.quoting_from(&[rest, b"\""].concat()).iter().copied();
    rests.flat_map(ends).filter(|token| mask.allows(*token)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TokenBytes, VocabSource};

    #[track_caller]
    fn check(text: &str, want: bool) {
        let source = VocabSource {
            tokens: (0..=255).map(|byte| TokenBytes::Text(vec![byte])).collect(),
            num_logits: 256,
            ..VocabSource::default()
        };
        let vocab = Vocab::new(source, None).unwrap();
        assert_eq!(TextState::default().read(text.as_bytes(), &vocab), want, "{text}");
    }

    #[test]
    fn numbers_are_within_floats() {
        let ones = "1".repeat(309);
        for text in [
            "[-1.5e+300,\"1e9999\\\"1e9999\",1E-999]",
            "1.7976931348623157e308",
            "-179769313486231570e291",
            "0.00001e313",
            "[1e308, 1e308]",
            "0e999",
            "0.0e999",
            &ones[1..],
            &ones,
            "true",
            "1e",
            "1e+",
        ] {
            check(text, true);
            let value = serde_json::from_str::<serde_json::Value>(text);
            let is_broken = |error: &serde_json::Error| error.is_eof();
            assert!(value.as_ref().err().is_none_or(is_broken), "{text}: {value:?}");
        }
        let twos = "2".repeat(309);
        for text in [
            "1e309",
            "[1,2,1e309",
            "1.7976931348623158e308",
            "0.00001e314",
            "20e307",
            "1e0001",
            "1e-1000",
            &twos,
            &format!("{ones}1"),
            &format!("{}.5e1", &ones[1..].replace('1', "9")),
        ] {
            check(text, false);
        }
    }

    #[test]
    fn a_name_is_not_written_twice_in_one_object() {
        for (text, want) in [
            (r#"{"a":1,"b":{"a":[{"a":2},{"a":3}]},"c":"a""#, true),
            (r#"{"a":1,"a""#, false),
            (r#"{"a":1,"aa""#, true),
            (r#"{"a":{"b":1,"b""#, false),
            (r#"[{"a":1},{"a":1,"\"":2,"\"""#, false),
            (r#"{"x":"a","a":["x","x"]}"#, true),
        ] {
            check(text, want);
        }
        let many: Vec<String> = (0..=MAX_NAMES).map(|idx| format!("\"{idx}\":0,")).collect();
        let last = many.last().unwrap();
        check(&format!("{{{}{last}", many.concat()), true);
        check(&format!("{{{}{}", many.concat(), many[0]), false);
    }
}
