//! Registers, variables and numbers, by name.

use std::collections::HashMap;

use super::{Body, shared::Layout};
use crate::{
    error::ParseError,
    inst::{Address, Operand, Reg, Special},
    kernel::Param,
    lexer::Token,
    parser::Variable,
    types::{Type, truncate},
};

/// Registers that a kernel may have.
const MAX_REGISTERS: u32 = 1 << 20;

/// What names stand for.
pub(super) struct Names {
    /// From the outermost block to the innermost.
    blocks: Vec<Block>,
    /// Bits of each register.
    pub(super) registers: Vec<u32>,
    /// Parameters by their offset, variables by their address within their space.
    addresses: HashMap<String, u64>,
    /// The register of what is carried on, if anything is.
    carry: Option<Reg>,
    pub(super) shared_bytes: usize,
    pub(super) local_bytes: usize,
    /// Bytes of local memory that the blocks have which are not left yet.
    local_used: usize,
}

/// What is declared between two braces.
#[derive(Default)]
struct Block {
    registers: HashMap<String, Reg>,
    /// Parameters of calls, by their address in local memory.
    arguments: HashMap<String, u64>,
    /// Bytes of local memory that were used before it.
    local_used: usize,
}

impl Names {
    pub(super) fn new(params: &[Param], globals: &HashMap<&str, u64>, shared: Layout) -> Self {
        let params = params.iter().map(|param| (param.name.clone(), param.offset as u64));
        let globals = globals.iter().map(|(name, address)| ((*name).to_owned(), *address));
        Self {
            blocks: vec![Block::default()],
            registers: Vec::new(),
            addresses: params.chain(globals).chain(shared.addresses).collect(),
            carry: None,
            shared_bytes: shared.bytes,
            local_bytes: 0,
            local_used: 0,
        }
    }

    pub(super) fn enter(&mut self) {
        self.blocks.push(Block { local_used: self.local_used, ..Block::default() });
    }

    pub(super) fn leave(&mut self) {
        if let Some(block) = self.blocks.pop() {
            self.local_used = block.local_used;
        }
    }

    pub(super) fn add_register(
        &mut self,
        (name, line): (&str, u32),
        ty: Type,
    ) -> Result<(), ParseError> {
        let number = u32::try_from(self.registers.len()).ok().filter(|it| *it < MAX_REGISTERS);
        let number = number.ok_or_else(|| ParseError::TooLarge { line, name: name.to_owned() })?;
        self.registers.push(ty.bits());
        if let Some(block) = self.blocks.last_mut() {
            block.registers.insert(name.to_owned(), Reg(number));
        }
        Ok(())
    }

    /// Adds registers that are numbered from 0 on.
    pub(super) fn add_registers(
        &mut self,
        (name, line): (&str, u32),
        count: usize,
        ty: Type,
    ) -> Result<(), ParseError> {
        // Before any is added, for each takes memory.
        if count > MAX_REGISTERS as usize {
            return Err(ParseError::TooLarge { line, name: name.to_owned() });
        }
        (0..count).try_for_each(|number| self.add_register((&format!("{name}{number}"), line), ty))
    }

    /// The register of what sums carry on, which has no name.
    pub(super) fn carry(&mut self) -> Reg {
        let Self { carry, registers, .. } = self;
        *carry.get_or_insert_with(|| {
            registers.push(Type::Pred.bits());
            Reg(registers.len() as u32 - 1)
        })
    }

    /// Takes local memory for a variable.
    fn take(&mut self, variable: Variable<'_>) -> Result<u64, ParseError> {
        let place = variable.place(self.local_used)?;
        self.local_used = place.end;
        self.local_bytes = self.local_bytes.max(place.end);
        Ok(place.start as u64)
    }

    /// Adds a variable of local memory.
    pub(super) fn add_variable(&mut self, variable: Variable<'_>) -> Result<(), ParseError> {
        let at = self.take(variable)?;
        self.addresses.insert(variable.name.to_owned(), at);
        Ok(())
    }

    /// Adds a parameter that a call passes or gets back.
    pub(super) fn add_passed(&mut self, variable: Variable<'_>) -> Result<(), ParseError> {
        let at = self.take(variable)?;
        self.add_argument(variable.name, at);
        Ok(())
    }

    /// Adds a name for what lies there in local memory.
    pub(super) fn add_argument(&mut self, name: &str, at: u64) {
        if let Some(block) = self.blocks.last_mut() {
            block.arguments.insert(name.to_owned(), at);
        }
    }

    /// Where a parameter of a call lies in local memory.
    pub(super) fn argument(&self, name: &str) -> Option<u64> {
        self.blocks.iter().rev().find_map(|block| block.arguments.get(name).copied())
    }

    fn register(&self, name: &str) -> Option<Reg> {
        self.blocks.iter().rev().find_map(|block| block.registers.get(name).copied())
    }
}

fn special(name: &str) -> Option<Special> {
    let (name, axis) = name.split_once('.').unwrap_or((name, "x"));
    let axis = ["x", "y", "z"].iter().position(|known| *known == axis)?;
    match name {
        "%tid" => Some(Special::Thread(axis)),
        "%ntid" => Some(Special::BlockSize(axis)),
        "%ctaid" => Some(Special::Block(axis)),
        "%nctaid" => Some(Special::GridSize(axis)),
        "%laneid" => Some(Special::Lane),
        "WARP_SZ" => Some(Special::WarpSize),
        _ => None,
    }
}

/// Reads a number: decimal, hexadecimal, or the bits of a float.
fn immediate(text: &str) -> Option<u64> {
    let digits = |prefix: &str| text.strip_prefix(prefix);
    if let Some(bits) = digits("0f").or_else(|| digits("0F")).filter(|bits| bits.len() == 8) {
        return u64::from_str_radix(bits, 16).ok();
    }
    if let Some(bits) = digits("0d").or_else(|| digits("0D")).filter(|bits| bits.len() == 16) {
        return u64::from_str_radix(bits, 16).ok();
    }
    let text = text.strip_suffix('U').unwrap_or(text);
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

impl Body<'_, '_, '_> {
    fn undeclared(token: Token<'_>) -> ParseError {
        ParseError::Undeclared { line: token.line, name: token.text.to_owned() }
    }

    pub(super) fn register(&mut self) -> Result<Reg, ParseError> {
        let token = self.parser.word("a register")?;
        self.names.register(token.text).ok_or_else(|| Self::undeclared(token))
    }

    /// A register that is written, or none for `_`.
    pub(super) fn target(&mut self) -> Result<Option<Reg>, ParseError> {
        if self.parser.take("_") { Ok(None) } else { self.register().map(Some) }
    }

    pub(super) fn comma(&mut self) -> Result<(), ParseError> {
        self.parser.expect(",")
    }

    /// Reads an operand of this type.
    pub(super) fn operand(&mut self, ty: Type) -> Result<Operand, ParseError> {
        let is_negative = self.parser.take("-");
        let token = self.parser.word("an operand")?;
        if let Some(register) = self.names.register(token.text).filter(|_| !is_negative) {
            return Ok(Operand::Reg(register));
        }
        if let Some(special) = special(token.text) {
            return Ok(Operand::Special(special));
        }
        let passed = self.names.argument(token.text);
        let known = passed.or_else(|| self.names.addresses.get(token.text).copied());
        let value =
            known.or_else(|| immediate(token.text)).ok_or_else(|| Self::undeclared(token))?;
        let value = if is_negative { value.wrapping_neg() } else { value };
        Ok(Operand::Immediate(truncate(value, ty.bits())))
    }

    /// Reads a comma and an operand.
    pub(super) fn next_operand(&mut self, ty: Type) -> Result<Operand, ParseError> {
        self.comma()?;
        self.operand(ty)
    }

    /// Reads what is listed in braces, or the only one without.
    pub(super) fn listed<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, ParseError>,
    ) -> Result<Vec<T>, ParseError> {
        if !self.parser.take("{") {
            return Ok(vec![read(self)?]);
        }
        let mut list = vec![read(self)?];
        while self.parser.take(",") {
            list.push(read(self)?);
        }
        self.parser.expect("}")?;
        Ok(list)
    }

    /// Whether the address that is next is that of a parameter of a call.
    pub(super) fn is_at_argument(&self) -> bool {
        let base = self.parser.rest().get(1);
        base.is_some_and(|base| self.names.argument(base.text).is_some())
    }

    /// Reads `[base]` or `[base+offset]`.
    pub(super) fn address(&mut self) -> Result<Address, ParseError> {
        self.parser.expect("[")?;
        let base = self.operand(Type::U64)?;
        let mut offset = 0;
        if self.parser.take("+") {
            let is_negative = self.parser.take("-");
            let number = self.parser.number()? as u64;
            offset = if is_negative { number.wrapping_neg() } else { number };
        }
        self.parser.expect("]")?;
        Ok(Address { base, offset })
    }
}
