//! Consistency state: whether this peer's data matched the leader's at the last check.
//! Mirrors `ConsistencyState`.

/// Result of a consistency check for one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsistencyVerdict {
    /// Index of the entry after which the data was hashed.
    pub index: u64,
    /// Whether the hashes are equal.
    pub matches: bool,
}

/// Hashes of this peer and of its leader; either may arrive first.
#[derive(Debug, Default)]
pub struct ConsistencyState {
    own: Option<(u64, Vec<u8>)>,
    expected: Option<(u64, Vec<u8>)>,
    verdict: Option<ConsistencyVerdict>,
}

impl ConsistencyState {
    /// Records this peer's hash at `index`; returns the result if the leader's hash is already known.
    pub fn computed(&mut self, index: u64, hash: Vec<u8>) -> Option<ConsistencyVerdict> {
        self.own = Some((index, hash));
        self.compare()
    }

    /// Records the leader's hash at `index`; returns the result if this peer's hash is already known.
    pub fn expect(&mut self, index: u64, hash: Vec<u8>) -> Option<ConsistencyVerdict> {
        self.expected = Some((index, hash));
        self.compare()
    }

    /// Returns the result of the last check.
    pub fn verdict(&self) -> Option<ConsistencyVerdict> {
        self.verdict
    }

    fn compare(&mut self) -> Option<ConsistencyVerdict> {
        let ((index, own), (of, expected)) = (self.own.as_ref()?, self.expected.as_ref()?);
        if index != of {
            return None;
        }
        self.verdict = Some(ConsistencyVerdict { index: *index, matches: own == expected });
        (self.own, self.expected) = (None, None);
        self.verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_one_index_are_compared_in_either_order() {
        let mut state = ConsistencyState::default();
        assert_eq!(state.computed(7, vec![1]), None);
        assert_eq!(state.expect(6, vec![2]), None);
        assert_eq!(state.expect(7, vec![1]), Some(ConsistencyVerdict { index: 7, matches: true }));
        assert_eq!(state.expect(9, vec![1]), None);
        let differs = ConsistencyVerdict { index: 9, matches: false };
        assert_eq!(state.computed(9, vec![2]), Some(differs));
        assert_eq!(state.verdict(), Some(differs));
    }
}
