//! Reads words and signs one after the other.

use std::ops::Range;

use crate::{error::ParseError, lexer::Token, types::Type};

/// A variable as it is declared.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Variable<'a> {
    pub(crate) name: &'a str,
    pub(crate) ty: Type,
    /// None of them where the launch says how many.
    pub(crate) count: usize,
    /// Of what its address is a multiple.
    pub(crate) align: usize,
    pub(crate) line: u32,
}

/// Bytes that the variables of a space may have together.
const MAX_BYTES: usize = 1 << 30;

impl Variable<'_> {
    /// Where it lies behind so many bytes.
    pub(crate) fn place(&self, used: usize) -> Result<Range<usize>, ParseError> {
        let start = used.checked_next_multiple_of(self.align);
        let bytes = self.ty.bytes().checked_mul(self.count);
        let place =
            start.zip(bytes).and_then(|(start, bytes)| Some(start..start.checked_add(bytes)?));
        let too_large = || ParseError::TooLarge { line: self.line, name: self.name.to_owned() };
        place.filter(|place| place.end <= MAX_BYTES).ok_or_else(too_large)
    }
}

pub(crate) struct Parser<'t, 'a> {
    tokens: &'t [Token<'a>],
    at: usize,
}

impl<'t, 'a> Parser<'t, 'a> {
    pub(crate) fn new(tokens: &'t [Token<'a>]) -> Self {
        Self { tokens, at: 0 }
    }

    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// What is not read yet.
    pub(crate) fn rest(&self) -> &'t [Token<'a>] {
        &self.tokens[self.at..]
    }

    pub(crate) fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.at).copied()
    }

    pub(crate) fn next(&mut self) -> Result<Token<'a>, ParseError> {
        let token = self.peek().ok_or_else(|| self.unexpected("more text"))?;
        self.at += 1;
        Ok(token)
    }

    /// Takes this sign, if it is next.
    pub(crate) fn take(&mut self, sign: &str) -> bool {
        let is_next = self.peek().is_some_and(|token| token.text == sign);
        self.at += usize::from(is_next);
        is_next
    }

    pub(crate) fn expect(&mut self, sign: &'static str) -> Result<(), ParseError> {
        if self.take(sign) { Ok(()) } else { Err(self.unexpected(sign)) }
    }

    pub(crate) fn word(&mut self, wanted: &'static str) -> Result<Token<'a>, ParseError> {
        let is_word = |token: &Token<'_>| {
            token.text.starts_with(|first: char| first.is_alphanumeric() || "_$%.".contains(first))
        };
        let word = self.peek().filter(is_word).ok_or_else(|| self.unexpected(wanted))?;
        self.at += 1;
        Ok(word)
    }

    pub(crate) fn number(&mut self) -> Result<usize, ParseError> {
        let number = self.peek().and_then(|token| token.text.parse().ok());
        let number = number.ok_or_else(|| self.unexpected("a number"))?;
        self.at += 1;
        Ok(number)
    }

    /// Reads `[N]` or, where the launch says how many, `[]`, if it is next.
    pub(crate) fn array_length(&mut self) -> Result<Option<usize>, ParseError> {
        if !self.take("[") {
            return Ok(None);
        }
        let length = if self.take("]") { return Ok(Some(0)) } else { self.number()? };
        self.expect("]")?;
        Ok(Some(length))
    }

    /// Reads the declaration of a variable.
    pub(crate) fn variable(&mut self) -> Result<Variable<'a>, ParseError> {
        let (mut ty, mut align) = (Type::B8, 1);
        while self.peek().is_some_and(|token| token.text.starts_with('.')) {
            let modifier = self.next()?;
            match &modifier.text[1..] {
                "align" => align = self.number()?,
                name => ty = Type::named(name).unwrap_or(ty),
            }
        }
        let Token { text: name, line } = self.word("a variable's name")?;
        let count = self.array_length()?.unwrap_or(1);
        Ok(Variable { name, ty, count, align: align.max(ty.bytes()), line })
    }

    /// Goes on to this sign, which is next then.
    pub(crate) fn skip_until(&mut self, sign: &'static str) -> Result<(), ParseError> {
        while self.peek().is_some_and(|token| token.text != sign) {
            self.at += 1;
        }
        if self.peek().is_none() { Err(self.unexpected(sign)) } else { Ok(()) }
    }

    /// Goes on to the end of a line.
    pub(crate) fn skip_line(&mut self, line: u32) {
        while self.peek().is_some_and(|token| token.line == line) {
            self.at += 1;
        }
    }

    /// Skips a block in braces, with those inside.
    pub(crate) fn skip_block(&mut self) -> Result<(), ParseError> {
        let mut depth = 0;
        loop {
            match self.next()?.text {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    pub(crate) fn unexpected(&self, wanted: &'static str) -> ParseError {
        let token = self.peek();
        let last = self.tokens.last().map_or(1, |token| token.line);
        ParseError::Unexpected {
            line: token.map_or(last, |token| token.line),
            wanted,
            found: token.map_or("the end", |token| token.text).to_owned(),
        }
    }
}
