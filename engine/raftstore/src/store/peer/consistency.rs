//! Whether this peer's data is that of the leader, as the last consistency check found it. Mirrors `ConsistencyState`.

/// What a check said of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsistencyVerdict {
    /// The entry whose state was hashed.
    pub index: u64,
    pub matches: bool,
}

/// The hash of this peer and that of the leader: either may come first.
#[derive(Debug, Default)]
pub struct ConsistencyState {
    own: Option<(u64, Vec<u8>)>,
    expected: Option<(u64, Vec<u8>)>,
    verdict: Option<ConsistencyVerdict>,
}

impl ConsistencyState {
    /// This peer's hash at `index` is computed; the verdict, if the leader's is here already.
    pub fn computed(&mut self, index: u64, hash: Vec<u8>) -> Option<ConsistencyVerdict> {
        self.own = Some((index, hash));
        self.compare()
    }

    /// The leader's hash at `index` came through the log; the verdict, if this peer's is computed already.
    pub fn expect(&mut self, index: u64, hash: Vec<u8>) -> Option<ConsistencyVerdict> {
        self.expected = Some((index, hash));
        self.compare()
    }

    /// What the last check said.
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
    fn hashes_of_the_same_index_are_compared_whichever_comes_first() {
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
