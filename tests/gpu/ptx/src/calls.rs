//! Functions that a driver brings and that end a kernel.

use crate::{
    error::Fault,
    inst::Space,
    lanes::{Mask, WARP},
    memory::{LaneFault, Memory, Reach},
    warp::Warp,
};

/// The most bytes of a text that are read.
const MAX_TEXT: usize = 1024;

impl Warp<'_> {
    /// Says that a function was called, and what an assertion says of itself.
    pub(crate) fn called<M: Memory>(
        name: &str,
        arguments: &[u64],
        active: Mask,
        reach: &mut Reach<'_, M>,
    ) -> LaneFault {
        let lane = active.trailing_zeros() as usize % WARP;
        let said = match name {
            "__assertfail" => assertion(arguments, lane, reach).unwrap_or_default(),
            _ => String::new(),
        };
        (active, Fault::Called { name: name.to_owned(), said })
    }
}

/// Reads what an assertion is given: what was to be so, in which file and line, and more.
///
/// Source: CUDA C++ Programming Guide, section 10.30, assertion.
fn assertion<M: Memory>(
    arguments: &[u64],
    lane: usize,
    reach: &mut Reach<'_, M>,
) -> Option<String> {
    let mut number = |index: usize, num_bytes: usize| {
        let mut bytes = [0; 8];
        let at = *arguments.get(index)?;
        reach.read(Space::Local, lane, at, &mut bytes[..num_bytes]).ok()?;
        Some(u64::from_le_bytes(bytes))
    };
    let (expression, file, line) = (number(0, 8)?, number(1, 8)?, number(2, 4)?);
    let (expression, file) = (text(expression, lane, reach)?, text(file, lane, reach)?);
    Some(format!(": `{expression}` is not so, {file}:{line}"))
}

/// Reads a text that ends with a zero.
fn text<M: Memory>(at: u64, lane: usize, reach: &mut Reach<'_, M>) -> Option<String> {
    let mut bytes = Vec::new();
    while bytes.len() < MAX_TEXT {
        let mut byte = [0];
        reach.read(Space::Generic, lane, at + bytes.len() as u64, &mut byte).ok()?;
        if byte == [0] {
            return String::from_utf8(bytes).ok();
        }
        bytes.extend(byte);
    }
    None
}
