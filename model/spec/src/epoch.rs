//! The order of cache reorders, which every stage tracks for itself.

/// The number of the last reorder; zero before the first.
///
/// Reorders are numbered consecutively over all sequences, so that a lost, duplicated or overtaken
/// one is detected before it is executed.
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
    /// Returns the epoch after a reorder with number `found`.
    ///
    /// # Errors
    /// [`WrongEpoch`] unless that is the next number.
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
