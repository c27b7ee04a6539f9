//! Where the variables of shared memory lie that a kernel has or mentions.

use std::collections::HashMap;

use super::Scope;
use crate::{
    error::ParseError,
    lexer::Token,
    parser::{Parser, Variable},
};

/// The shared memory that a kernel declares.
#[derive(Default)]
pub(super) struct Layout {
    pub(super) addresses: HashMap<String, u64>,
    pub(super) bytes: usize,
}

/// What is found on the way.
struct Found<'s, 't, 'a> {
    scope: &'s Scope<'t, 'a>,
    variables: Vec<Variable<'a>>,
    functions: Vec<&'a str>,
}

/// Places the variables that a kernel and the functions it mentions declare, and those of the
/// module that they mention. Behind them are those of which the launch says how large they are, all
/// at the same place.
///
/// Source: PTX ISA 9.0, section 5.1.7, shared state space, and section 5.4.4, `.extern .shared`.
pub(super) fn layout<'a>(
    scope: &Scope<'_, 'a>,
    tokens: &[Token<'a>],
) -> Result<Layout, ParseError> {
    let mut found = Found { scope, variables: Vec::new(), functions: Vec::new() };
    found.find(tokens)?;
    let mut layout = Layout::default();
    let is_sized = |it: &&Variable<'_>| it.count > 0;
    for variable in found.variables.iter().filter(is_sized) {
        let place = variable.place(layout.bytes)?;
        layout.bytes = place.end;
        layout.add(*variable, place.start)?;
    }
    let of_launch = found.variables.iter().filter(|it| it.count == 0);
    for variable in of_launch.clone() {
        layout.bytes = variable.place(layout.bytes)?.start;
    }
    for variable in of_launch {
        layout.add(*variable, layout.bytes)?;
    }
    Ok(layout)
}

impl Layout {
    fn add(
        &mut self,
        Variable { name, line, .. }: Variable<'_>,
        at: usize,
    ) -> Result<(), ParseError> {
        match self.addresses.insert(name.to_owned(), at as u64) {
            None => Ok(()),
            Some(_) => Err(ParseError::Twice { line, name: name.to_owned() }),
        }
    }
}

impl<'a> Found<'_, '_, 'a> {
    fn find(&mut self, tokens: &[Token<'a>]) -> Result<(), ParseError> {
        let Scope { shared, functions, tokens: all, .. } = *self.scope;
        for (at, Token { text, .. }) in tokens.iter().enumerate() {
            if *text == ".shared" {
                self.variables.push(Parser::new(&tokens[at + 1..]).variable()?);
            } else if let Some(variable) = shared.get(text)
                && !self.variables.iter().any(|known| known.name == *text)
            {
                self.variables.push(*variable);
            } else if let Some(range) = functions.get(text)
                && !self.functions.contains(text)
            {
                self.functions.push(text);
                self.find(&all[range.clone()])?;
            }
        }
        Ok(())
    }
}
