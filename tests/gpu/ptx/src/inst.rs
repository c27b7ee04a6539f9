//! Instructions as they are executed.

use crate::{carry::Carried, types::Type};

/// A register of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reg(pub(crate) u32);

/// What an instruction reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operand {
    Reg(Reg),
    Immediate(u64),
    Special(Special),
}

/// Registers that say where a thread is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Special {
    /// By axis.
    Thread(usize),
    BlockSize(usize),
    Block(usize),
    GridSize(usize),
    Lane,
    WarpSize,
}

/// A place in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) base: Operand,
    pub(crate) offset: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Space {
    Global,
    Shared,
    Local,
    /// The kernel's own parameters.
    Param,
    /// Any of the first three, by the window in which an address lies.
    Generic,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// To the nearest, of two to the even one.
    Nearest,
    Zero,
    Down,
    Up,
}

/// Which part of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Low,
    High,
    /// All of it, in twice the bits.
    Wide,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binary {
    Add,
    Sub,
    Mul(Part),
    Div,
    /// Of large divisors there is no quotient.
    DivApproximately,
    Rem,
    Min,
    Max,
    /// Where one operand is no number, neither is the result.
    MinOrNan,
    MaxOrNan,
    And,
    Or,
    Xor,
    ShiftLeft,
    ShiftRight,
    CopySign,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unary {
    Neg,
    Abs,
    Not,
    Reciprocal,
    SquareRoot,
    /// One by the square root.
    ReciprocalRoot,
    /// Two to the power.
    Exp2,
    /// Logarithm to the base of two.
    Log2,
    LeadingZeros,
    CountOnes,
    ReverseBits,
}

/// What is computed in both halves of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pairwise {
    Unary(Unary),
    Binary(Binary),
    Fma,
}

impl Pairwise {
    pub(crate) fn num_operands(self) -> usize {
        match self {
            Self::Unary(_) => 1,
            Self::Binary(_) => 2,
            Self::Fma => 3,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

/// A comparison of two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Test {
    pub(crate) is: Comparison,
    /// What it is where one of them is no number.
    pub(crate) if_unordered: bool,
    pub(crate) ty: Type,
}

/// How lanes choose whom they read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shuffle {
    /// A lane above, so many less.
    Up,
    Down,
    /// The lane whose number differs in these bits.
    Butterfly,
    Index,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Atomic {
    Combine(Binary),
    Exchange,
    CompareAndSwap,
}

/// A conversion from one type to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Conversion {
    pub(crate) to: Type,
    pub(crate) from: Type,
    pub(crate) rounding: Rounding,
    /// Whether the result is a whole number, also as a float.
    pub(crate) is_whole: bool,
    /// Floats to 0 to 1.
    pub(crate) saturates: bool,
}

/// Reads a value, and writes another in its place that depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AtomicOp {
    pub(crate) op: Atomic,
    pub(crate) space: Space,
    pub(crate) ty: Type,
    pub(crate) dst: Option<Reg>,
    pub(crate) address: Address,
    pub(crate) operands: (Operand, Option<Operand>),
}

/// Lets lanes read each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ShuffleOp {
    pub(crate) mode: Shuffle,
    pub(crate) dst: Reg,
    pub(crate) is_in_range: Option<Reg>,
    pub(crate) a: Operand,
    pub(crate) by: Operand,
    pub(crate) clamp: Operand,
    pub(crate) members: Operand,
}

/// Computes with what was carried on before, and carries on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CarryOp {
    pub(crate) op: Carried,
    pub(crate) ty: Type,
    pub(crate) dst: Reg,
    pub(crate) operands: Vec<Operand>,
    /// The register of what is carried on.
    pub(crate) carry: Reg,
    pub(crate) reads_carry: bool,
    pub(crate) writes_carry: bool,
}

/// Reads matrices of 8 rows and columns, of 16 bits, as many as there are registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MatrixLoad {
    pub(crate) space: Space,
    pub(crate) is_transposed: bool,
    pub(crate) dsts: Vec<Reg>,
    pub(crate) address: Address,
}

/// `a * b + c` of matrices of bytes, whose depth follows from how many registers they have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MatrixProduct {
    pub(crate) dsts: [Reg; 4],
    pub(crate) a: Vec<Operand>,
    pub(crate) b: Vec<Operand>,
    pub(crate) c: [Operand; 4],
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Op {
    Binary {
        op: Binary,
        ty: Type,
        rounding: Rounding,
        dst: Reg,
        a: Operand,
        b: Operand,
    },
    /// `flushes`: whether numbers too small to be normal are zero.
    Unary {
        op: Unary,
        ty: Type,
        flushes: bool,
        dst: Reg,
        a: Operand,
    },
    /// `a * b + c`, rounded once.
    Fma {
        ty: Type,
        rounding: Rounding,
        dst: Reg,
        factors: [Operand; 2],
        c: Operand,
    },
    /// `a * b + c` of whole numbers.
    Mad {
        part: Part,
        ty: Type,
        dst: Reg,
        factors: [Operand; 2],
        c: Operand,
    },
    /// The lowest `length` bits of `a` in place of those of `b` from `start` on.
    Insert {
        ty: Type,
        dst: Reg,
        a: Operand,
        b: Operand,
        start: Operand,
        length: Operand,
    },
    Carry(CarryOp),
    /// The bytes of two words multiplied, and the products added to a third.
    DotBytes {
        are_signed: [bool; 2],
        dst: Reg,
        factors: [Operand; 2],
        c: Operand,
    },
    /// Bytes of two words in another order.
    Permute {
        dst: Reg,
        a: Operand,
        b: Operand,
        selector: Operand,
    },
    /// In each half of a word, of this type.
    Pairwise {
        op: Pairwise,
        ty: Type,
        dst: Reg,
        operands: Vec<Operand>,
    },
    Compare {
        test: Test,
        dst: Reg,
        a: Operand,
        b: Operand,
    },
    /// As `Compare`, with all bits or one where it is so.
    Set {
        test: Test,
        ty: Type,
        dst: Reg,
        a: Operand,
        b: Operand,
    },
    Select {
        dst: Reg,
        a: Operand,
        b: Operand,
        condition: Operand,
    },
    Convert {
        conversion: Conversion,
        dst: Reg,
        a: Operand,
    },
    Move {
        dst: Reg,
        a: Operand,
    },
    /// Parts of so many bits each, the lowest first.
    Pack {
        bits: u32,
        dst: Reg,
        parts: Vec<Operand>,
    },
    Unpack {
        bits: u32,
        dsts: Vec<Option<Reg>>,
        a: Operand,
    },
    Load {
        space: Space,
        ty: Type,
        dsts: Vec<Reg>,
        address: Address,
    },
    Store {
        space: Space,
        ty: Type,
        values: Vec<Operand>,
        address: Address,
    },
    Atomic(AtomicOp),
    Shuffle(ShuffleOp),
    LoadMatrix(MatrixLoad),
    MultiplyMatrices(MatrixProduct),
    /// From an address of a space to one of all, or back.
    ToGeneric {
        space: Space,
        dst: Reg,
        a: Operand,
    },
    FromGeneric {
        space: Space,
        dst: Reg,
        a: Operand,
    },
    Branch {
        target: usize,
    },
    Barrier,
    /// A function that the module does not have, and where in local memory lies what it is given.
    Call {
        name: String,
        arguments: Vec<u64>,
    },
    Trap,
    Return,
}

impl Op {
    /// The one register that it writes, if it writes one.
    pub(crate) fn dst(&self) -> Option<Reg> {
        match self {
            Self::Binary { dst, .. }
            | Self::Unary { dst, .. }
            | Self::Fma { dst, .. }
            | Self::Mad { dst, .. }
            | Self::Insert { dst, .. }
            | Self::DotBytes { dst, .. }
            | Self::Permute { dst, .. }
            | Self::Pairwise { dst, .. }
            | Self::Compare { dst, .. }
            | Self::Set { dst, .. }
            | Self::Select { dst, .. }
            | Self::Convert { dst, .. }
            | Self::Move { dst, .. }
            | Self::Pack { dst, .. }
            | Self::ToGeneric { dst, .. }
            | Self::FromGeneric { dst, .. } => Some(*dst),
            _ => None,
        }
    }
}

/// Only lanes whose predicate is so execute it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Guard {
    pub(crate) predicate: Reg,
    pub(crate) is_negated: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Inst {
    pub(crate) guard: Option<Guard>,
    pub(crate) op: Op,
    pub(crate) line: u32,
}
