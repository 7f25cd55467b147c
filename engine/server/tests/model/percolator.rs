//! The expected content of a cluster: committed versions, locks, and the newest record of each key.
use std::collections::BTreeMap;

pub type Key = &'static [u8];
/// `None`: the key is deleted.
pub type Value = Option<Vec<u8>>;

/// A write of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    Set(Value),
    /// Locks the key and keeps its value.
    Lock,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockKind {
    Pessimistic,
    Prewritten(Write),
}

#[derive(Clone, Debug)]
pub struct Lock {
    pub start: u64,
    pub kind: LockKind,
    /// The transaction commits at this timestamp or above; 0 if it is not an async commit.
    pub min_commit: u64,
}

/// Expected result of a command that can be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Done,
    /// The start of the transaction that has locked a key.
    Locked(u64),
    Conflict,
}

#[derive(Default)]
pub struct Model {
    versions: BTreeMap<Key, BTreeMap<u64, Value>>,
    /// Timestamp of each key's newest record, rollbacks included.
    newest: BTreeMap<Key, u64>,
    locks: BTreeMap<Key, Lock>,
}

impl Model {
    /// Returns the value at `ts`, or the start of the transaction whose lock the reader must resolve.
    pub fn read(&self, key: Key, ts: u64) -> Result<Value, u64> {
        if let Some(lock) = self.locks.get(key) {
            let changes_value = matches!(lock.kind, LockKind::Prewritten(Write::Set(_)));
            if changes_value && lock.start <= ts && lock.min_commit <= ts {
                return Err(lock.start);
            }
        }
        Ok(self.latest(key, ts))
    }

    /// Returns the committed value at `ts`, whether or not the key is locked.
    pub fn latest(&self, key: Key, ts: u64) -> Value {
        self.versions.get(key).and_then(|v| v.range(..=ts).next_back()).and_then(|(_, value)| value.clone())
    }

    /// Returns what the server reports of each key, in their order; empty if the transaction may lock them all.
    fn refused(&self, keys: &[Key], start: u64, conflict_above: Option<u64>) -> Vec<Verdict> {
        let refuse = |key: &Key| match self.locks.get(key) {
            Some(lock) if lock.start == start => None,
            Some(lock) => Some(Verdict::Locked(lock.start)),
            None => {
                let newest = self.newest.get(key).copied().unwrap_or(0);
                conflict_above.is_some_and(|ts| newest > ts).then_some(Verdict::Conflict)
            }
        };
        keys.iter().filter_map(refuse).collect()
    }

    /// Locks keys of a pessimistic transaction. The first key that is refused ends the command.
    pub fn lock(&mut self, keys: &[Key], start: u64, for_update: u64) -> Verdict {
        let verdict = self.refused(keys, start, Some(for_update)).first().copied().unwrap_or(Verdict::Done);
        if verdict == Verdict::Done {
            let lock = Lock { start, kind: LockKind::Pessimistic, min_commit: 0 };
            self.locks.extend(keys.iter().map(|key| (*key, lock.clone())));
        }
        verdict
    }

    /// Prewrites keys, which the transaction has locked if it is `pessimistic`. A conflict ends the command; the locks
    /// of others are reported together.
    pub fn prewrite(&mut self, writes: &[(Key, Write)], start: u64, pessimistic: bool) -> Verdict {
        let keys: Vec<Key> = writes.iter().map(|(key, _)| *key).collect();
        let refused = self.refused(&keys, start, (!pessimistic).then_some(start));
        let verdict = if refused.contains(&Verdict::Conflict) {
            Verdict::Conflict
        } else {
            refused.first().copied().unwrap_or(Verdict::Done)
        };
        if verdict == Verdict::Done {
            for (key, write) in writes {
                let kind = LockKind::Prewritten(write.clone());
                self.locks.insert(key, Lock { start, kind, min_commit: 0 });
            }
        }
        verdict
    }

    /// The server promises that the transaction commits at `min_commit` or above.
    pub fn promise(&mut self, keys: &[Key], start: u64, min_commit: u64) {
        for key in keys {
            if let Some(lock) = self.locks.get_mut(key).filter(|lock| lock.start == start) {
                lock.min_commit = min_commit;
            }
        }
    }

    pub fn commit(&mut self, keys: &[Key], start: u64, commit: u64) {
        for key in keys {
            let Some(lock) = self.locks.remove(key) else { continue };
            assert_eq!(lock.start, start, "the model commits a lock of another transaction");
            if let LockKind::Prewritten(Write::Set(value)) = lock.kind {
                self.versions.entry(key).or_default().insert(commit, value);
            }
            self.record(key, commit);
        }
    }

    /// Rolls back keys, also those that the transaction has not locked.
    pub fn rollback(&mut self, keys: &[Key], start: u64) {
        for key in keys {
            if self.locks.get(key).is_some_and(|lock| lock.start == start) {
                self.locks.remove(key);
            }
            self.record(key, start);
        }
    }

    /// Removes pessimistic locks, which leave no record.
    pub fn unlock(&mut self, keys: &[Key], start: u64) {
        for key in keys {
            if self.locks.get(key).is_some_and(|l| l.start == start && l.kind == LockKind::Pessimistic) {
                self.locks.remove(key);
            }
        }
    }

    fn record(&mut self, key: Key, ts: u64) {
        let newest = self.newest.entry(key).or_default();
        *newest = ts.max(*newest);
    }

    /// Returns the locked keys with their transactions, in the order of the keys.
    pub fn locked(&self) -> Vec<(Vec<u8>, u64)> {
        self.locks.iter().map(|(key, lock)| (key.to_vec(), lock.start)).collect()
    }
}
