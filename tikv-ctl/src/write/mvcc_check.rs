//! `recover-mvcc`: records of one column family that the others contradict (TiKV `MvccChecker`).

use std::collections::BTreeSet;

use txn_types::{Key, LockOrSharedLocks, LockType, WriteRef, WriteType, parse_lock};

use super::Change;
use crate::{
    Result,
    lsm::{Db, DbIter},
};

/// A walk that stands on an entry, or at the end.
struct Rows<'a> {
    iter: DbIter<'a>,
    valid: bool,
    versioned: bool,
}

impl<'a> Rows<'a> {
    fn new(db: &'a Db, cf: &str, from: &[u8], to: &[u8]) -> Result<Rows<'a>> {
        let mut rows = Rows { iter: db.scan(cf, from, to)?, valid: true, versioned: cf != "lock" };
        rows.advance()?;
        Ok(rows)
    }

    fn advance(&mut self) -> Result<()> {
        self.valid = self.iter.advance()?;
        // Raw keys have no form of a version.
        while self.valid && self.versioned && self.version().is_none() {
            self.valid = self.iter.advance()?;
        }
        Ok(())
    }

    fn version(&self) -> Option<(&[u8], u64)> {
        let (user, ts) = Key::split_on_ts_for(self.iter.key()).ok()?;
        let encoded = user.strip_prefix(&[keys::DATA_PREFIX])?;
        let whole = keys::codec::encoded_prefix_len(encoded).is_ok_and(|len| len == encoded.len());
        whole.then_some((user, ts.into_inner()))
    }

    fn user_key(&self) -> Option<&[u8]> {
        let key = self.valid.then(|| self.iter.key())?;
        if self.versioned { self.version().map(|(user, _)| user) } else { Some(key) }
    }

    /// All entries of `key`: its RocksDB key, its timestamp, its value.
    fn take(&mut self, key: &[u8]) -> Result<Vec<Entry>> {
        let mut all = Vec::new();
        while self.user_key() == Some(key) {
            let ts = if self.versioned { self.version().map_or(0, |(_, ts)| ts) } else { 0 };
            all.push((self.iter.key().to_vec(), ts, self.iter.value().to_vec()));
            self.advance()?;
        }
        Ok(all)
    }
}

/// RocksDB key, timestamp and value.
type Entry = (Vec<u8>, u64, Vec<u8>);

/// What to remove in `[from, to)`, data keys, so that the column families agree.
pub fn check(db: &Db, from: &[u8], to: &[u8], seen: &mut dyn FnMut()) -> Result<Vec<Change>> {
    let mut rows = [
        Rows::new(db, "lock", from, to)?,
        Rows::new(db, "write", from, to)?,
        Rows::new(db, "default", from, to)?,
    ];
    let mut changes = Vec::new();
    loop {
        let Some(key) = rows.iter().filter_map(Rows::user_key).min().map(<[u8]>::to_vec) else {
            return Ok(changes);
        };
        seen();
        let [lock, writes, values] = [rows[0].take(&key)?, rows[1].take(&key)?, rows[2].take(&key)?];
        check_key(&lock, &writes, &values, &mut changes);
    }
}

fn check_key(locks: &[Entry], writes: &[Entry], values: &[Entry], changes: &mut Vec<Change>) {
    let values_at: BTreeSet<u64> = values.iter().map(|(_, ts, _)| *ts).collect();
    // Start timestamps whose value something points to, and those that are decided.
    let (mut wanted, mut decided) = (BTreeSet::new(), BTreeSet::new());
    for (key, commit_ts, value) in writes {
        let Ok(write) = WriteRef::parse(value) else {
            changes.push(Change::kv("write", key, Some(value), None, "a write record that does not decode"));
            continue;
        };
        let start = write.start_ts.into_inner();
        decided.insert(start);
        if write.write_type == WriteType::Put && write.short_value.is_none() {
            if values_at.contains(&start) {
                wanted.insert(start);
            } else {
                let why = format!("committed at {commit_ts}, but CF default has no value of {start}");
                changes.push(Change::kv("write", key, Some(value), None, why));
            }
        }
    }
    for (key, _, value) in locks {
        let why = match parse_lock(value) {
            Err(e) => Some(format!("a lock that does not decode: {e}")),
            Ok(LockOrSharedLocks::Shared(_)) => None,
            Ok(LockOrSharedLocks::Lock(lock)) => {
                let start = lock.ts.into_inner();
                let long = lock.lock_type == LockType::Put && lock.short_value.is_none();
                if decided.contains(&start) {
                    Some(format!("transaction {start} is committed or rolled back on this key already"))
                } else if long && !values_at.contains(&start) {
                    Some(format!("CF default has no value of {start}"))
                } else {
                    wanted.insert(start);
                    None
                }
            }
        };
        changes.extend(why.map(|why| Change::kv("lock", key, Some(value), None, why)));
    }
    for (key, ts, value) in values.iter().filter(|(_, ts, _)| !wanted.contains(ts)) {
        let why = format!("neither a lock nor a write record leads to the value of {ts}");
        changes.push(Change::kv("default", key, Some(value), None, why));
    }
}
