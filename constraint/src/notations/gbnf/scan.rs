//! The scanner of GBNF.

use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

use crate::error::SpecError;
use crate::notations::line_column::LineColumn;

#[derive(Debug)]
pub(super) enum Symbol {
    /// A name followed by `::=`.
    Head(String),
    Name(String),
    Literal(String),
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
    /// `<name>` with its brackets; negated if preceded by `!`.
    Token {
        name: String,
        negated: bool,
    },
    Times {
        min: u32,
        max: Option<u32>,
    },
    Bar,
    Open,
    Close,
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Close => f.write_str("`)`"),
            other => write!(f, "{other:?}"),
        }
    }
}

/// Reads symbols one by one.
pub(super) struct Scanner<'a> {
    rest: Peekable<Chars<'a>>,
    here: LineColumn,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(source: &'a str) -> Self {
        let source = source.strip_prefix('\u{feff}').unwrap_or(source);
        Self { rest: source.chars().peekable(), here: LineColumn::START }
    }

    /// Returns the position of the next character.
    pub(super) fn position(&self) -> LineColumn {
        self.here
    }

    /// Returns the next symbol and its position; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<(Symbol, LineColumn)>, SpecError> {
        self.skip();
        let position = self.here;
        let Some(c) = self.bump() else { return Ok(None) };
        let symbol = match c {
            '|' => Symbol::Bar,
            '(' => Symbol::Open,
            ')' => Symbol::Close,
            '*' => Symbol::Times { min: 0, max: None },
            '+' => Symbol::Times { min: 1, max: None },
            '?' => Symbol::Times { min: 0, max: Some(1) },
            '.' => Symbol::Class { negated: true, ranges: Vec::new() },
            '{' => self.times(position)?,
            '"' => self.literal(position)?,
            '[' => self.class(position)?,
            '<' => self.token(false, position)?,
            '!' if self.take('<') => self.token(true, position)?,
            c if is_word(c) => self.name(c),
            c => return Err(position.error(&format!("{c:?} is unexpected"))),
        };
        Ok(Some((symbol, position)))
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        self.here.pass(c);
        Some(c)
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.rest.peek() == Some(&wanted);
        if found {
            self.bump();
        }
        found
    }

    /// Skips white space and comments.
    fn skip(&mut self) {
        while let Some(&c) = self.rest.peek() {
            if c == '#' {
                while self.rest.peek().is_some_and(|&c| c != '\n') {
                    self.bump();
                }
            } else if c.is_whitespace() {
                self.bump();
            } else {
                break;
            }
        }
    }

    fn name(&mut self, first: char) -> Symbol {
        let mut name = first.to_string();
        while let Some(&c) = self.rest.peek().filter(|&&c| is_word(c)) {
            name.push(c);
            self.bump();
        }
        // Only the text after the name shows whether a rule begins here.
        let mut ahead = self.rest.clone();
        let is_head = loop {
            match ahead.next() {
                Some(c) if c.is_whitespace() => {}
                Some('#') => while ahead.next_if(|&c| c != '\n').is_some() {},
                Some(':') => break ahead.next() == Some(':') && ahead.next() == Some('='),
                _ => break false,
            }
        };
        if !is_head {
            return Symbol::Name(name);
        }
        self.skip();
        for _ in 0.."::=".len() {
            self.bump();
        }
        Symbol::Head(name)
    }

    fn times(&mut self, position: LineColumn) -> Result<Symbol, SpecError> {
        let wanted = || position.error("wanted `{m}`, `{m,}`, `{,n}` or `{m,n}`");
        let min = self.number(position)?;
        self.skip();
        let max =
            if self.take(',') { self.number(position)? } else { Some(min.ok_or_else(wanted)?) };
        self.skip();
        if self.take('}') {
            Ok(Symbol::Times { min: min.unwrap_or(0), max })
        } else {
            Err(wanted())
        }
    }

    fn number(&mut self, position: LineColumn) -> Result<Option<u32>, SpecError> {
        self.skip();
        let mut digits = String::new();
        while let Some(&c) = self.rest.peek().filter(|c| c.is_ascii_digit()) {
            digits.push(c);
            self.bump();
        }
        if digits.is_empty() {
            return Ok(None);
        }
        digits.parse().map(Some).map_err(|_| position.error(&format!("{digits} is too large")))
    }

    fn literal(&mut self, position: LineColumn) -> Result<Symbol, SpecError> {
        let mut text = String::new();
        loop {
            match self.bump() {
                Some('"') => return Ok(Symbol::Literal(text)),
                Some('\\') => text.push(self.escape()?),
                Some('\n') | None => return Err(position.error("the text is not closed")),
                Some(c) => text.push(c),
            }
        }
    }

    fn class(&mut self, position: LineColumn) -> Result<Symbol, SpecError> {
        let negated = self.take('^');
        let mut ranges = Vec::new();
        loop {
            let at = self.here;
            let low = match self.bump() {
                Some(']') if ranges.is_empty() => {
                    return Err(position.error("the class has no characters"));
                }
                Some(']') => return Ok(Symbol::Class { negated, ranges }),
                Some('\\') => self.escape()?,
                Some('\n') | None => return Err(position.error("the class is not closed")),
                Some(c) => c,
            };
            let mut ahead = self.rest.clone();
            let is_range = ahead.next() == Some('-') && ahead.next().is_some_and(|c| c != ']');
            let mut high = low;
            if is_range {
                self.bump();
                high = match self.bump() {
                    Some('\\') => self.escape()?,
                    Some('\n') | None => return Err(position.error("the class is not closed")),
                    Some(c) => c,
                };
            }
            if high < low {
                return Err(at.error(&format!("the range {low:?} to {high:?} is empty")));
            }
            ranges.push((low, high));
        }
    }

    fn escape(&mut self) -> Result<char, SpecError> {
        let position = self.here;
        let num_digits = match self.bump() {
            Some('n') => return Ok('\n'),
            Some('r') => return Ok('\r'),
            Some('t') => return Ok('\t'),
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            Some(c) if c.is_ascii_punctuation() => return Ok(c),
            Some(c) => return Err(position.error(&format!("`\\{c}` is not an escape"))),
            None => return Err(position.error("the source ends in an escape")),
        };
        let mut code = 0u32;
        for _ in 0..num_digits {
            let digit = self.rest.peek().and_then(|c| c.to_digit(16));
            let digit = digit.ok_or_else(|| {
                position.error(&format!("wanted {num_digits} hexadecimal digits"))
            })?;
            self.bump();
            code = code << 4 | digit;
        }
        char::from_u32(code)
            .ok_or_else(|| position.error(&format!("U+{code:04X} is not a character")))
    }

    fn token(&mut self, negated: bool, position: LineColumn) -> Result<Symbol, SpecError> {
        let mut name = "<".to_string();
        loop {
            match self.bump() {
                Some('>') => {
                    name.push('>');
                    return Ok(Symbol::Token { name, negated });
                }
                Some(c) if !c.is_whitespace() => name.push(c),
                _ => return Err(position.error("the token's name is not closed by `>`")),
            }
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}
