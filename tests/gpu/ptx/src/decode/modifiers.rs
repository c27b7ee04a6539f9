//! The name of an instruction, with what it says of rounding, types and spaces.

use crate::{
    error::ParseError,
    inst::{Comparison, Part, Rounding, Space, Test},
    lexer::Token,
    types::Type,
};

/// A name such as `fma.rn.f32`.
pub(super) struct Name<'a> {
    token: Token<'a>,
    parts: Vec<&'a str>,
}

impl<'a> Name<'a> {
    pub(super) fn new(token: Token<'a>) -> Self {
        Self { token, parts: token.text.split('.').collect() }
    }

    pub(super) fn first(&self) -> &'a str {
        self.parts[0]
    }

    pub(super) fn has(&self, modifier: &str) -> bool {
        self.parts.contains(&modifier)
    }

    /// All that follows the first word.
    pub(super) fn modifiers(&self) -> &[&'a str] {
        &self.parts[1..]
    }

    /// The first modifier.
    pub(super) fn second(&self) -> &'a str {
        self.parts.get(1).copied().unwrap_or_default()
    }

    pub(super) fn unknown(&self) -> ParseError {
        ParseError::Instruction { line: self.token.line, name: self.token.text.to_owned() }
    }

    fn types(&self) -> impl DoubleEndedIterator<Item = Type> + '_ {
        self.parts[1..].iter().filter_map(|part| Type::named(part))
    }

    /// The only type, or the last one.
    pub(super) fn ty(&self) -> Result<Type, ParseError> {
        self.types().next_back().ok_or_else(|| self.unknown())
    }

    /// The types of the result and of what it is made from.
    pub(super) fn two_types(&self) -> Result<(Type, Type), ParseError> {
        let mut types = self.types();
        types.next().zip(types.next()).ok_or_else(|| self.unknown())
    }

    /// Whether results too small for a normal number are zero.
    pub(super) fn flushes(&self) -> bool {
        self.has("ftz")
    }

    pub(super) fn rounding(&self) -> Rounding {
        self.rounding_or_none().unwrap_or(Rounding::Nearest)
    }

    /// The rounding, if it says one.
    pub(super) fn rounding_or_none(&self) -> Option<Rounding> {
        let of = |part: &&str| match *part {
            "rn" | "rni" => Some(Rounding::Nearest),
            "rz" | "rzi" => Some(Rounding::Zero),
            "rm" | "rmi" => Some(Rounding::Down),
            "rp" | "rpi" => Some(Rounding::Up),
            _ => None,
        };
        self.parts.iter().find_map(of)
    }

    pub(super) fn rounds_to_whole(&self) -> bool {
        ["rni", "rzi", "rmi", "rpi"].iter().any(|part| self.has(part))
    }

    pub(super) fn part(&self) -> Part {
        match () {
            () if self.has("wide") => Part::Wide,
            () if self.has("hi") => Part::High,
            () => Part::Low,
        }
    }

    pub(super) fn space(&self) -> Space {
        match () {
            () if self.has("global") => Space::Global,
            () if self.has("shared") => Space::Shared,
            () if self.has("local") => Space::Local,
            () if self.has("param") => Space::Param,
            () => Space::Generic,
        }
    }

    /// Values at once.
    pub(super) fn vector(&self) -> usize {
        match () {
            () if self.has("v2") => 2,
            () if self.has("v4") => 4,
            () => 1,
        }
    }

    /// The comparison, for operands of this type.
    pub(super) fn test(&self, ty: Type) -> Result<Test, ParseError> {
        let (is, if_unordered) = match self.second() {
            "eq" => (Comparison::Eq, false),
            // Of floats, `ne` is false where one is no number.
            "ne" => (Comparison::Ne, false),
            "lt" | "lo" => (Comparison::Lt, false),
            "le" | "ls" => (Comparison::Le, false),
            "gt" | "hi" => (Comparison::Gt, false),
            "ge" | "hs" => (Comparison::Ge, false),
            "equ" => (Comparison::Eq, true),
            "neu" => (Comparison::Ne, true),
            "ltu" => (Comparison::Lt, true),
            "leu" => (Comparison::Le, true),
            "gtu" => (Comparison::Gt, true),
            "geu" => (Comparison::Ge, true),
            _ => return Err(self.unknown()),
        };
        Ok(Test { is, if_unordered, ty })
    }
}
