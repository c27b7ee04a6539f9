//! The body of a kernel made into instructions.

mod arithmetic;
mod calls;
mod known;
mod matrix;
mod memory;
mod modifiers;
mod operands;
mod packed;
mod shared;

use std::{collections::HashMap, ops::Range};

use modifiers::Name;
use operands::Names;
use shared::layout;

use crate::{
    assigned::doubtful,
    error::ParseError,
    inst::{Guard, Inst, Op},
    kernel::{Kernel, Param},
    lexer::Token,
    parser::{Parser, Variable},
    registers::Frame,
    step::steps,
    types::Type,
};

/// What a module has besides its kernels.
pub(crate) struct Scope<'t, 'a> {
    pub(crate) tokens: &'t [Token<'a>],
    /// Functions with code, by their tokens behind `.func`.
    pub(crate) functions: &'t HashMap<&'a str, Range<usize>>,
    pub(crate) globals: &'t HashMap<&'a str, u64>,
    pub(crate) shared: &'t HashMap<&'a str, Variable<'a>>,
}

/// What is known while a body is read.
struct Body<'p, 't, 'a> {
    scope: &'p Scope<'t, 'a>,
    parser: &'p mut Parser<'t, 'a>,
    names: Names,
    code: Vec<Inst>,
    labels: HashMap<&'a str, usize>,
    /// Branches, and the labels to which they lead.
    branches: Vec<(usize, &'a str, u32)>,
    /// Functions that are read in place of their calls, and where the innermost returns.
    calls: Vec<&'a str>,
    returns: Vec<usize>,
}

/// Reads a kernel behind its parameters.
pub(crate) fn kernel<'t, 'a>(
    name: &str,
    params: Vec<Param>,
    scope: &Scope<'t, 'a>,
    parser: &mut Parser<'t, 'a>,
) -> Result<Kernel, ParseError> {
    parser.skip_until("{")?;
    parser.expect("{")?;
    let shared = layout(scope, parser.rest())?;
    let mut body = Body {
        scope,
        parser,
        names: Names::new(&params, scope.globals, shared),
        code: Vec::new(),
        labels: HashMap::new(),
        branches: Vec::new(),
        calls: Vec::new(),
        returns: Vec::new(),
    };
    body.read()?;
    body.resolve()?;
    let Body { names, code, .. } = body;
    let mut frame = Frame::new(&names.registers, &doubtful(&code, names.registers.len()));
    let steps = steps(&code, &mut frame);
    Ok(Kernel {
        name: name.to_owned(),
        params,
        shared_bytes: names.shared_bytes,
        local_bytes: names.local_bytes,
        frame,
        code,
        steps,
        globals: [].into(),
    })
}

impl<'a> Body<'_, '_, 'a> {
    fn read(&mut self) -> Result<(), ParseError> {
        let mut depth = 1;
        while depth > 0 {
            if self.parser.take("{") {
                self.names.enter();
                depth += 1;
                continue;
            }
            if self.parser.take("}") {
                self.names.leave();
                depth -= 1;
                continue;
            }
            self.statement()?;
        }
        Ok(())
    }

    fn statement(&mut self) -> Result<(), ParseError> {
        let guard = self.guard()?;
        let word = self.parser.word("an instruction, a declaration or a label")?;
        // What is said to a debugger ends with its line.
        if matches!(word.text, ".loc" | ".file") {
            self.parser.skip_line(word.line);
            return Ok(());
        }
        if word.text.starts_with('.') {
            self.declaration(word)?;
        } else if guard.is_none() && self.parser.take(":") {
            if self.labels.insert(word.text, self.code.len()).is_some() {
                return Err(ParseError::Twice { line: word.line, name: word.text.to_owned() });
            }
            return Ok(());
        } else {
            let name = Name::new(word);
            let first = name.first();
            if first == "bra" {
                let label = self.parser.word("a label")?;
                self.branches.push((self.code.len(), label.text, label.line));
            }
            let op = match first {
                "call" => self.call(&name, guard)?,
                _ => self.instruction(&name)?,
            };
            if let Some(op) = op {
                self.code.push(Inst { guard, op, line: word.line });
            }
        }
        self.parser.expect(";")
    }

    fn guard(&mut self) -> Result<Option<Guard>, ParseError> {
        if !self.parser.take("@") {
            return Ok(None);
        }
        let is_negated = self.parser.take("!");
        let predicate = self.register()?;
        Ok(Some(Guard { predicate, is_negated }))
    }

    fn declaration(&mut self, directive: Token<'_>) -> Result<(), ParseError> {
        match directive.text {
            ".reg" => {
                let ty = self.parser.word("a type")?;
                self.registers(ty)
            }
            // Without a space between, as hand-written parts have it.
            text if text.starts_with(".reg.") => {
                self.registers(Token { text: &text[".reg".len()..], ..directive })
            }
            ".local" => self.names.add_variable(self.parser.variable()?),
            ".param" => self.names.add_passed(self.parser.variable()?),
            // Variables of shared memory have their places already.
            ".shared" | ".pragma" | ".extern" => self.parser.skip_until(";"),
            text => Err(ParseError::Unexpected {
                line: directive.line,
                wanted: "a directive that is known",
                found: text.to_owned(),
            }),
        }
    }

    /// Reads the names of registers of this type.
    fn registers(&mut self, ty: Token<'_>) -> Result<(), ParseError> {
        let known = ty.text.strip_prefix('.').and_then(Type::named);
        let known = known.ok_or_else(|| ParseError::Unexpected {
            line: ty.line,
            wanted: "a type",
            found: ty.text.to_owned(),
        })?;
        loop {
            let Token { text: name, line } = self.parser.word("a register's name")?;
            if self.parser.take("<") {
                let count = self.parser.number()?;
                self.parser.expect(">")?;
                self.names.add_registers((name, line), count, known)?;
            } else {
                self.names.add_register((name, line), known)?;
            }
            if !self.parser.take(",") {
                return Ok(());
            }
        }
    }

    /// Branches lead to instructions.
    fn resolve(&mut self) -> Result<(), ParseError> {
        for (index, label, line) in std::mem::take(&mut self.branches) {
            let target = self.labels.get(label).copied();
            let target =
                target.ok_or_else(|| ParseError::Undeclared { line, name: label.to_owned() })?;
            self.code[index].op = Op::Branch { target };
        }
        Ok(())
    }

    /// Reads what an instruction of this name works on; none where it has no effect.
    fn instruction(&mut self, name: &Name<'a>) -> Result<Option<Op>, ParseError> {
        known::check(name)?;
        let op = match name.first() {
            _ if known::PACKED.iter().any(|ty| name.has(ty)) => self.pairwise(name)?,
            _ if name.has("cc") => self.carrying(name)?,
            "addc" | "subc" | "madc" => self.carrying(name)?,
            // Its label was read, and its target is not known yet.
            "bra" => Op::Branch { target: 0 },
            "ret" if !self.calls.is_empty() => {
                self.returns.push(self.code.len());
                Op::Branch { target: 0 }
            }
            "ret" | "exit" => Op::Return,
            "trap" => Op::Trap,
            "bar" | "barrier" => return self.barrier(name),
            // Threads of a block see what others wrote at once.
            "membar" | "fence" => {
                self.parser.skip_until(";")?;
                return Ok(None);
            }
            "ld" | "ldu" => self.load(name)?,
            "st" => self.store(name)?,
            "atom" | "red" => self.atomic(name)?,
            "shfl" => self.shuffle(name)?,
            "ldmatrix" => self.load_matrix(name)?,
            "mma" => self.multiply(name)?,
            "cvta" => self.convert_address(name)?,
            "mov" => self.mov(name)?,
            "cvt" => self.convert(name)?,
            "setp" => self.compare(name)?,
            "set" => self.set(name)?,
            "selp" => self.select(name)?,
            "fma" => self.fma(name)?,
            "mad" => self.mad(name)?,
            "bfi" => self.insert(name)?,
            "dp4a" => self.dot_bytes(name)?,
            "prmt" => self.permute(name)?,
            _ => self.arithmetic(name)?,
        };
        Ok(Some(op))
    }

    /// Reads a barrier of the whole block, or one of a warp, which has no effect: lanes see at once
    /// what others wrote.
    fn barrier(&mut self, name: &Name<'a>) -> Result<Option<Op>, ParseError> {
        match (name.first(), name.modifiers()) {
            ("bar", ["warp", "sync"]) => {
                self.parser.skip_until(";")?;
                Ok(None)
            }
            ("bar", ["sync"]) | ("barrier", ["sync"] | ["sync", "aligned"]) => {
                // Other barriers, and those of a part of the threads, are not known.
                let is_of_all = self.parser.take("0")
                    && self.parser.peek().is_some_and(|token| token.text == ";");
                if is_of_all { Ok(Some(Op::Barrier)) } else { Err(name.unknown()) }
            }
            _ => Err(name.unknown()),
        }
    }
}
