//! A module: kernels by name, each read when it is first wanted.

use std::{collections::HashMap, ops::Range, sync::Arc};

use crate::{
    decode::{self, Scope},
    error::ParseError,
    kernel::{GLOBALS, Kernel, Param},
    lexer::{Token, tokens},
    parser::{Parser, Variable},
};

/// A module's text, and where its kernels are.
pub struct Module<'a> {
    tokens: Vec<Token<'a>>,
    kernels: HashMap<&'a str, Range<usize>>,
    functions: HashMap<&'a str, Range<usize>>,
    globals: Globals<'a>,
    /// Variables of shared memory, which each kernel has that mentions them.
    shared: HashMap<&'a str, Variable<'a>>,
}

/// Variables that the module itself brings.
#[derive(Default)]
struct Globals<'a> {
    addresses: HashMap<&'a str, u64>,
    bytes: Vec<u8>,
}

impl<'a> Module<'a> {
    /// Finds the kernels of a module; what they do is read later.
    ///
    /// # Errors
    /// [`ParseError`] if the text does not even have the form of a module.
    pub fn parse(text: &'a str) -> Result<Self, ParseError> {
        let tokens = tokens(text);
        let mut parser = Parser::new(&tokens);
        let (mut kernels, mut globals) = (HashMap::new(), Globals::default());
        let (mut functions, mut shared) = (HashMap::new(), HashMap::new());
        while let Some(word) = parser.peek() {
            match word.text {
                ".entry" => {
                    let start = parser.position() + 1;
                    parser.next()?;
                    let name = parser.word("a kernel's name")?;
                    parser.skip_until("{")?;
                    parser.skip_block()?;
                    kernels.insert(name.text, start..parser.position());
                }
                ".global" | ".const" => {
                    parser.next()?;
                    globals.read(&mut parser)?;
                }
                ".func" => {
                    parser.next()?;
                    let start = parser.position();
                    if let Some(name) = function(&mut parser)? {
                        functions.insert(name, start..parser.position());
                    }
                }
                ".shared" => {
                    parser.next()?;
                    let variable = parser.variable()?;
                    shared.insert(variable.name, variable);
                }
                "{" => parser.skip_block()?,
                _ => drop(parser.next()?),
            }
        }
        globals.bytes.shrink_to_fit();
        Ok(Self { tokens, kernels, functions, globals, shared })
    }

    /// The names of all kernels.
    pub fn kernels(&self) -> impl Iterator<Item = &'a str> {
        self.kernels.keys().copied()
    }

    /// Reads a kernel.
    ///
    /// # Errors
    /// [`ParseError`] if there is none of this name, or it has what is not known here.
    pub fn kernel(&self, name: &str) -> Result<Kernel, ParseError> {
        let range = self.kernels.get(name);
        let range = range.ok_or_else(|| ParseError::NoKernel { name: name.to_owned() })?;
        let mut parser = Parser::new(&self.tokens[range.clone()]);
        parser.next()?;
        let params = params(&mut parser)?;
        let scope = Scope {
            tokens: &self.tokens,
            functions: &self.functions,
            globals: &self.globals.addresses,
            shared: &self.shared,
        };
        let mut kernel = decode::kernel(name, params, &scope, &mut parser)?;
        kernel.globals = Arc::from(&self.globals.bytes[..]);
        Ok(kernel)
    }
}

impl<'a> Globals<'a> {
    /// Reads a variable behind its space, with the values that it begins with.
    fn read(&mut self, parser: &mut Parser<'_, 'a>) -> Result<(), ParseError> {
        let variable = parser.variable()?;
        let Variable { name, ty, count, .. } = variable;
        let Range { start, end } = variable.place(self.bytes.len())?;
        self.bytes.resize(end, 0);
        self.addresses.insert(name, GLOBALS + start as u64);
        let mut index = 0;
        while let Some(token) = parser.peek().filter(|token| token.text != ";") {
            if let Ok(value) = token.text.parse::<u64>()
                && index < count
            {
                let at = start + index * ty.bytes();
                self.bytes[at..at + ty.bytes()].copy_from_slice(&value.to_le_bytes()[..ty.bytes()]);
                index += 1;
            } else if !["=", "{", "}", ","].contains(&token.text) {
                return Err(parser.unexpected("a whole number"));
            }
            parser.next()?;
        }
        parser.expect(";")
    }
}

/// Goes on behind a function, and returns its name if its code is there.
fn function<'a>(parser: &mut Parser<'_, 'a>) -> Result<Option<&'a str>, ParseError> {
    if parser.take("(") {
        parser.skip_until(")")?;
        parser.expect(")")?;
    }
    let name = parser.word("a function's name")?.text;
    while parser.peek().is_some_and(|token| token.text != "{" && token.text != ";") {
        parser.next()?;
    }
    if parser.take(";") {
        return Ok(None);
    }
    parser.skip_block()?;
    Ok(Some(name))
}

/// Reads the list of a kernel's parameters, if it has one.
fn params(parser: &mut Parser<'_, '_>) -> Result<Vec<Param>, ParseError> {
    let mut params: Vec<Param> = Vec::new();
    while parser.peek().is_some_and(|token| token.text != "{") {
        if parser.next()?.text != ".param" {
            continue;
        }
        let variable = parser.variable()?;
        let end = params.last().map_or(0, |last| last.offset + last.bytes);
        let place = variable.place(end)?;
        let name = variable.name.to_owned();
        params.push(Param { name, offset: place.start, bytes: place.len() });
    }
    Ok(params)
}
