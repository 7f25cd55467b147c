//! The pairs that clients keep in PD's etcd, such as TiDB's safe point. Only the newest revision is kept.
use kvproto::mvccpb::KeyValue;

/// etcd's `--max-request-bytes`, 1.5 MiB.
const MAX_PAIR_BYTES: usize = 1536 * 1024;
/// Bound of all keys and values. Each change writes all pairs to the disk.
const MAX_BYTES: usize = 8 * 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    #[error("etcdserver: key is not provided")]
    EmptyKey,
    #[error("etcdserver: request is too large")]
    TooLarge,
    #[error("etcdserver: mvcc: database space exceeded")]
    NoSpace,
    #[error("etcdserver: mvcc: required revision has been compacted")]
    Compacted,
    #[error("etcdserver: mvcc: required revision is a future revision")]
    FutureRevision,
}

/// All pairs, in the order of their keys.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Pairs {
    /// Number of changes.
    #[prost(int64, tag = "1")]
    changes: i64,
    #[prost(message, repeated, tag = "2")]
    pairs: Vec<KeyValue>,
}

impl Pairs {
    /// The revision of the last change. An empty etcd has revision 1.
    pub fn revision(&self) -> i64 {
        self.changes + 1
    }

    /// Returns the pairs of a range at a revision, 0: the newest. An empty `end` is one key, and `"\0"` no bound.
    ///
    /// # Errors
    /// The key is empty, or the revision is not the newest.
    pub fn range(&self, key: &[u8], end: &[u8], revision: i64) -> Result<Vec<KeyValue>, PairError> {
        if key.is_empty() {
            return Err(PairError::EmptyKey);
        }
        if revision > self.revision() {
            return Err(PairError::FutureRevision);
        }
        if revision > 0 && revision < self.revision() {
            return Err(PairError::Compacted);
        }
        let within = |pair: &&KeyValue| match end {
            [] => pair.key == key,
            [0] => pair.key.as_slice() >= key,
            end => pair.key.as_slice() >= key && pair.key.as_slice() < end,
        };
        Ok(self.pairs.iter().filter(within).cloned().collect())
    }

    /// Sets a pair and returns the previous one.
    ///
    /// # Errors
    /// The key is empty, or the pair or all pairs together are too large.
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<Option<KeyValue>, PairError> {
        if key.is_empty() {
            return Err(PairError::EmptyKey);
        }
        if key.len() + value.len() > MAX_PAIR_BYTES {
            return Err(PairError::TooLarge);
        }
        let others = self.pairs.iter().filter(|pair| pair.key != key);
        let bytes: usize = others.map(|pair| pair.key.len() + pair.value.len()).sum();
        if bytes + key.len() + value.len() > MAX_BYTES {
            return Err(PairError::NoSpace);
        }
        self.changes += 1;
        let mod_revision = self.revision();
        match self.pairs.binary_search_by(|pair| pair.key.cmp(&key)) {
            Ok(at) => {
                let old = self.pairs[at].clone();
                self.pairs[at] = KeyValue { value, mod_revision, version: old.version + 1, ..old.clone() };
                Ok(Some(old))
            }
            Err(at) => {
                let new = KeyValue {
                    key,
                    value,
                    create_revision: mod_revision,
                    mod_revision,
                    version: 1,
                    lease: 0,
                };
                self.pairs.insert(at, new);
                Ok(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs() -> Pairs {
        let mut pairs = Pairs::default();
        for (key, value) in [("b", "1"), ("a", "2"), ("c", "3"), ("b", "4")] {
            pairs.put(key.into(), value.into()).unwrap();
        }
        pairs
    }

    fn keys(range: Result<Vec<KeyValue>, PairError>) -> String {
        range.unwrap().iter().map(|pair| String::from_utf8_lossy(&pair.key).into_owned()).collect()
    }

    #[test]
    fn a_range_has_the_bounds_of_etcd() {
        let pairs = pairs();
        assert_eq!(keys(pairs.range(b"b", b"", 0)), "b");
        assert_eq!(keys(pairs.range(b"a", b"c", 0)), "ab");
        assert_eq!(keys(pairs.range(b"b", b"\0", 0)), "bc");
        assert_eq!(keys(pairs.range(b"\0", b"\0", 0)), "abc");
        assert_eq!(pairs.range(b"", b"", 0), Err(PairError::EmptyKey));
    }

    #[test]
    fn a_change_counts_revisions_and_versions() {
        let mut pairs = pairs();
        assert_eq!(pairs.revision(), 5);
        let b = &pairs.range(b"b", b"", 5).unwrap()[0];
        assert_eq!((b.create_revision, b.mod_revision, b.version), (2, 5, 2));
        assert_eq!(b.value, b"4");
        assert_eq!(pairs.range(b"b", b"", 4), Err(PairError::Compacted));
        assert_eq!(pairs.range(b"b", b"", 6), Err(PairError::FutureRevision));
        assert_eq!(pairs.put("b".into(), "5".into()).unwrap().unwrap().value, b"4");
    }

    #[test]
    fn too_large_pairs_change_nothing() {
        let mut pairs = Pairs::default();
        assert_eq!(pairs.put(Vec::new(), Vec::new()), Err(PairError::EmptyKey));
        assert_eq!(pairs.put(b"a".into(), vec![0; MAX_PAIR_BYTES]), Err(PairError::TooLarge));
        for key in 0..5 {
            pairs.put(vec![key], vec![0; MAX_PAIR_BYTES - 1]).unwrap();
        }
        assert_eq!(pairs.put(b"a".into(), vec![0; MAX_PAIR_BYTES - 1]), Err(PairError::NoSpace));
        assert_eq!(pairs.revision(), 6);
    }
}
