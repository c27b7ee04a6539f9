//! Calls: the code of a function in place of the call, and what it is given in local memory.
//!
//! A call's parameters are variables of the thread, and those of the function are the same ones
//! under other names.

use super::{Body, modifiers::Name};
use crate::{
    error::ParseError,
    inst::{Address, Guard, Inst, Op, Operand, Space},
    parser::Parser,
    types::Type,
};

/// The function that prints; what it prints is not collected, and it says that this was nothing.
const PRINT: &str = "vprintf";

/// A function that is called.
struct Callee<'a> {
    name: &'a str,
    line: u32,
    /// Where what it gives and what it is given lies in local memory.
    returned: Vec<u64>,
    passed: Vec<u64>,
}

impl<'a> Body<'_, '_, 'a> {
    /// Reads a call. Functions that the module does not have are executed by their name.
    ///
    /// Source: PTX ISA 9.0, section 9.7.13.5, `call`.
    pub(super) fn call(
        &mut self,
        name: &Name<'a>,
        guard: Option<Guard>,
    ) -> Result<Option<Op>, ParseError> {
        super::known::check(name)?;
        let mut returned = Vec::new();
        if self.parser.take("(") {
            returned = self.arguments()?;
            self.parser.expect(",")?;
        }
        let function = self.parser.word("a function's name")?;
        let mut passed = Vec::new();
        if self.parser.take(",") && self.parser.take("(") {
            passed = self.arguments()?;
        }
        self.parser.skip_until(";")?;
        let (line, scope) = (function.line, self.scope);
        if scope.functions.contains_key(function.text) {
            let all = |list: Vec<Option<u64>>| list.into_iter().collect::<Option<Vec<u64>>>();
            let both = all(returned).zip(all(passed));
            let (returned, passed) = both.ok_or_else(|| name.unknown())?;
            self.inline(&Callee { name: function.text, line, returned, passed }, guard)?;
            return Ok(None);
        }
        if function.text == PRINT {
            return Ok(returned.first().copied().flatten().map(zero));
        }
        let arguments = passed.into_iter().flatten().collect();
        Ok(Some(Op::Call { name: function.text.to_owned(), arguments }))
    }

    /// Reads where what is listed lies, up to the end of the list; none for what is no parameter.
    fn arguments(&mut self) -> Result<Vec<Option<u64>>, ParseError> {
        let mut list = Vec::new();
        while !self.parser.take(")") {
            let argument = self.parser.next()?;
            list.push(self.names.argument(argument.text));
            self.parser.take(",");
        }
        Ok(list)
    }

    /// Reads the code of a function.
    fn inline(&mut self, callee: &Callee<'a>, guard: Option<Guard>) -> Result<(), ParseError> {
        let Callee { name, line, .. } = *callee;
        if self.calls.contains(&name) {
            // It would have no end.
            return Err(ParseError::Instruction { line, name: format!("call {name}") });
        }
        let around = guard.map(|Guard { predicate, is_negated }| {
            let guard = Some(Guard { predicate, is_negated: !is_negated });
            self.code.push(Inst { guard, op: Op::Branch { target: 0 }, line });
            self.code.len() - 1
        });
        let tokens = &self.scope.tokens[self.scope.functions[name].clone()];
        let parser = std::mem::replace(self.parser, Parser::new(tokens));
        // Its labels are its own.
        let labels = std::mem::take(&mut self.labels);
        let branches = std::mem::take(&mut self.branches);
        let returns = std::mem::take(&mut self.returns);
        self.calls.push(name);
        self.names.enter();
        self.formals(&callee.returned)?;
        self.parser.word("a function's name")?;
        self.formals(&callee.passed)?;
        self.parser.skip_until("{")?;
        self.parser.expect("{")?;
        self.read()?;
        self.resolve()?;
        let target = self.code.len();
        for at in self.returns.drain(..).chain(around) {
            self.code[at].op = Op::Branch { target };
        }
        self.calls.pop();
        *self.parser = parser;
        (self.labels, self.branches, self.returns) = (labels, branches, returns);
        Ok(())
    }

    /// Reads the names that a function has for what lies there.
    fn formals(&mut self, places: &[u64]) -> Result<(), ParseError> {
        let wanted = "as many parameters as the call has";
        let mut places = places.iter();
        if self.parser.take("(") {
            while !self.parser.take(")") {
                self.parser.expect(".param")?;
                let variable = self.parser.variable()?;
                let place = places.next().ok_or_else(|| self.parser.unexpected(wanted))?;
                self.names.add_argument(variable.name, *place);
                self.parser.take(",");
            }
        }
        if places.next().is_some() { Err(self.parser.unexpected(wanted)) } else { Ok(()) }
    }
}

/// Writes a zero to a parameter of 32 bits.
fn zero(place: u64) -> Op {
    let address = Address { base: Operand::Immediate(place), offset: 0 };
    Op::Store { space: Space::Local, ty: Type::B32, values: vec![Operand::Immediate(0)], address }
}
