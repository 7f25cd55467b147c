//! The rules of GC for the versions of a key, in the order in which a compaction shows them: from new to old.
use txn_types::{Key, TimeStamp, WriteType};

/// Kind of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Has a value.
    Value,
    /// Deletes the key, or has expired.
    Delete,
    /// Has no effect on reads.
    Other,
}

impl From<WriteType> for Version {
    fn from(write_type: WriteType) -> Self {
        match write_type {
            WriteType::Put => Version::Value,
            WriteType::Delete => Version::Delete,
            WriteType::Lock | WriteType::Rollback => Version::Other,
        }
    }
}

/// The decision about a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Stays: newer than the safe point.
    Newer,
    /// Stays: a read at the safe point sees it.
    Newest,
    /// Stays for now: a delete that may hide versions in other files.
    NewestDelete,
    /// Goes: a newer version is below the safe point.
    Older,
    /// Goes: it has no effect on reads.
    NoEffect,
}

impl Decision {
    /// Whether to remove the version.
    pub fn removes(self) -> bool {
        matches!(self, Decision::Older | Decision::NoEffect)
    }

    /// Returns the decision in words.
    pub fn text(self) -> &'static str {
        match self {
            Decision::Newer => "kept: newer than the safe point",
            Decision::Newest => "kept: what a read at the safe point sees",
            Decision::NewestDelete => "kept: a delete, until nothing older is left",
            Decision::Older => "dropped: older than what a read at the safe point sees",
            Decision::NoEffect => "dropped: no effect on reads",
        }
    }
}

/// Walks over the versions of all keys of a compaction.
#[derive(Debug)]
pub struct Versions {
    safe_point: TimeStamp,
    /// Current key, without its timestamp.
    key: Vec<u8>,
    /// Whether the newest change at or below the safe point was seen.
    remove_older: bool,
    /// Number of older versions after the delete that is the newest change.
    after_delete: Option<usize>,
    /// Keys with a delete and no older version in this compaction.
    lone_deletes: Vec<Key>,
    /// Number of deletes that are the newest change of their key at or below the safe point.
    deletes: u64,
}

impl Versions {
    /// Begins a compaction.
    pub fn new(safe_point: TimeStamp) -> Self {
        Self {
            safe_point,
            key: Vec::new(),
            remove_older: false,
            after_delete: None,
            lone_deletes: Vec::new(),
            deletes: 0,
        }
    }

    /// Returns the decision about a version; `kind` is asked only if it matters. `key` is an encoded key without
    /// the prefix of data, with its timestamp.
    ///
    /// # Errors
    /// Of `kind`, and for a key without a timestamp.
    pub fn decide<E: From<txn_types::Error>>(
        &mut self,
        key: &[u8],
        kind: impl FnOnce() -> Result<Version, E>,
    ) -> Result<Decision, E> {
        let (user_key, ts) = Key::split_on_ts_for(key)?;
        if ts > self.safe_point {
            return Ok(Decision::Newer);
        }
        if user_key != self.key.as_slice() {
            self.end_of_key();
            self.key.clear();
            self.key.extend_from_slice(user_key);
            self.remove_older = false;
        } else if let Some(older) = &mut self.after_delete {
            *older += 1;
        }
        if self.remove_older {
            return Ok(Decision::Older);
        }
        match kind()? {
            Version::Other => Ok(Decision::NoEffect),
            Version::Value => {
                self.remove_older = true;
                Ok(Decision::Newest)
            }
            Version::Delete => {
                self.remove_older = true;
                self.after_delete = Some(0);
                self.deletes += 1;
                Ok(Decision::NewestDelete)
            }
        }
    }

    /// Ends the current key. A delete stays as long as older versions may be elsewhere.
    fn end_of_key(&mut self) {
        if self.after_delete.take() == Some(0) {
            self.lone_deletes.push(Key::from_encoded_slice(&self.key));
        }
    }

    /// Takes the keys whose delete is alone so far; at the end of a compaction also the last key.
    pub fn take_lone_deletes(&mut self, end: bool) -> Vec<Key> {
        if end {
            self.end_of_key();
        }
        std::mem::take(&mut self.lone_deletes)
    }

    /// Number of deletes so far that are the newest change of their key, alone or not.
    pub fn deletes(&self) -> u64 {
        self.deletes
    }

    /// Number of keys to take.
    pub fn lone_deletes(&self) -> usize {
        self.lone_deletes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(safe_point: u64, versions: &[(&[u8], u64, Version)]) -> (Vec<u64>, Vec<Key>) {
        let mut walk = Versions::new(safe_point.into());
        let removed = versions.iter().filter(|(key, ts, kind)| {
            let key = Key::from_raw(key).append_ts((*ts).into());
            walk.decide::<txn_types::Error>(key.as_encoded(), || Ok(*kind)).unwrap().removes()
        });
        let removed = removed.map(|(_, ts, _)| *ts).collect();
        (removed, walk.take_lone_deletes(true))
    }

    #[test]
    fn the_newest_value_below_the_safe_point_stays() {
        use Version::{Other, Value};
        let versions: [(&[u8], u64, Version); 5] =
            [(b"a", 50, Value), (b"a", 40, Other), (b"a", 30, Value), (b"a", 20, Value), (b"b", 10, Value)];
        assert_eq!(run(45, &versions), (vec![40, 20], vec![]));
        assert_eq!(run(60, &versions), (vec![40, 30, 20], vec![]));
        assert_eq!(run(5, &versions), (vec![], vec![]));
    }

    #[test]
    fn a_delete_is_handed_over_only_if_it_is_alone() {
        use Version::{Delete, Value};
        let both: [(&[u8], u64, Version); 3] = [(b"a", 30, Delete), (b"a", 20, Value), (b"b", 10, Delete)];
        assert_eq!(run(40, &both), (vec![20], vec![Key::from_raw(b"b")]));
        assert_eq!(run(25, &both), (vec![], vec![Key::from_raw(b"b")]), "the delete of a is above");
    }

    #[test]
    fn keys_without_a_timestamp_are_errors() {
        let mut walk = Versions::new(9.into());
        assert!(walk.decide::<txn_types::Error>(b"short", || Ok(Version::Value)).is_err());
    }
}
