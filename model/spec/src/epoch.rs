//! The order of reorders, which every stage keeps for itself.

/// Number of the last reorder; zero before the first.
///
/// Reorders count up by one over all sequences, so that one that was lost, sent twice or overtaken
/// is found before it is executed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Epoch(u64);

/// A reorder that is not the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a reorder has epoch {found}, wanted {wanted}")]
pub struct WrongEpoch {
    pub wanted: u64,
    pub found: u64,
}

impl Epoch {
    /// The epoch after a reorder of epoch `found`.
    ///
    /// # Errors
    /// [`WrongEpoch`] unless that is the next one.
    pub fn after(self, found: u64) -> Result<Self, WrongEpoch> {
        let wanted = self.0 + 1;
        if found == wanted { Ok(Self(found)) } else { Err(WrongEpoch { wanted, found }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_count_up_by_one() {
        let first = Epoch::default().after(1).unwrap();
        assert_eq!(first.after(2), Ok(Epoch(2)));
        for found in [0, 1, 3] {
            assert_eq!(first.after(found), Err(WrongEpoch { wanted: 2, found }));
        }
    }
}
