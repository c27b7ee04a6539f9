//! Instructions on matrices.

use super::{Body, modifiers::Name};
use crate::{
    error::ParseError,
    inst::{MatrixLoad, MatrixProduct, Op},
    types::Type,
};

impl<'a> Body<'_, '_, 'a> {
    pub(super) fn load_matrix(&mut self, name: &Name<'a>) -> Result<Op, ParseError> {
        let unknown = || name.unknown();
        let form = name.modifiers().strip_prefix(&["sync", "aligned", "m8n8"]);
        let form = form.and_then(|form| form.strip_suffix(&["b16"])).ok_or_else(unknown)?;
        let form = form.strip_suffix(&["shared"]).unwrap_or(form);
        let (num, is_transposed) = match form {
            ["x1"] => (1, false),
            ["x2"] => (2, false),
            ["x4"] => (4, false),
            ["x1", "trans"] => (1, true),
            ["x2", "trans"] => (2, true),
            ["x4", "trans"] => (4, true),
            _ => return Err(name.unknown()),
        };
        let dsts = self.listed(Self::register)?;
        if dsts.len() != num {
            return Err(name.unknown());
        }
        self.comma()?;
        let (space, address) = (name.space(), self.address()?);
        Ok(Op::LoadMatrix(MatrixLoad { space, is_transposed, dsts, address }))
    }

    pub(super) fn multiply(&mut self, name: &Name<'a>) -> Result<Op, ParseError> {
        let unknown = || name.unknown();
        let &["sync", "aligned", shape, "row", "col", "s32", "s8", "s8", "s32"] = name.modifiers()
        else {
            return Err(name.unknown());
        };
        let num = match shape {
            "m16n8k16" => 1,
            "m16n8k32" => 2,
            _ => return Err(name.unknown()),
        };
        let dsts = self.listed(Self::register)?;
        let mut lists = [const { Vec::new() }; 3];
        for list in &mut lists {
            self.comma()?;
            *list = self.listed(|body| body.operand(Type::B32))?;
        }
        let [a, b, c] = lists;
        if a.len() != 2 * num || b.len() != num {
            return Err(name.unknown());
        }
        let dsts = dsts.try_into().map_err(|_| unknown())?;
        let c = c.try_into().map_err(|_| unknown())?;
        Ok(Op::MultiplyMatrices(MatrixProduct { dsts, a, b, c }))
    }
}
