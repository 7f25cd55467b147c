//! `flashback`: writes new versions that show the data of an older time (TiKV
//! `storage::txn::actions::flashback_to_version`). Committed versions stay.
//!
//! TiKV rolls back every lock it finds, and so splits a transaction whose primary is committed (tikv#14531,
//! tikv#17415). Here the primary decides: the other keys of a committed transaction are committed first.
use std::collections::BTreeMap;

use txn_types::{Key, Lock, LockOrSharedLocks, LockType, Write, WriteRef, WriteType, parse_lock};

use super::{
    Change,
    fate::{Fate, Fates, at, data_key},
    plan::Plan,
};
use crate::{Error, Offline, Result, lsm::Db};

/// Timestamps of the new versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamps {
    pub start: u64,
    pub commit: u64,
}

impl Stamps {
    /// Returns timestamps after all others of the store, or `start` and the next one. `version` is the target
    /// of the flashback.
    ///
    /// # Errors
    /// Fails if `start` is not after all timestamps of the store, or not after `version`.
    pub fn new(store: &Offline, version: u64, start: Option<u64>) -> Result<Stamps> {
        let newest = newest_ts(store.kv())?;
        let start = start.unwrap_or(newest.saturating_add(1));
        if start <= newest {
            return Err(Error::other(format!(
                "expected a --start-ts after {newest}, the newest timestamp of the store, found {start}: a read would not \
                 see the new versions; nothing was changed"
            )));
        }
        if version >= start || start == u64::MAX {
            return Err(Error::other(format!(
                "expected a version before {start}, the start_ts of the new versions, found {version}; nothing was changed"
            )));
        }
        Ok(Stamps { start, commit: start + 1 })
    }
}

/// Returns the greatest timestamp of a lock or a write record.
fn newest_ts(db: &Db) -> Result<u64> {
    let mut newest = 0;
    let mut writes = db.scan("write", keys::DATA_MIN_KEY, keys::DATA_MAX_KEY)?;
    while writes.advance()? {
        newest = newest.max(Key::decode_ts_from(writes.key()).map_or(0, |ts| ts.into_inner()));
    }
    let mut locks = db.scan("lock", keys::DATA_MIN_KEY, keys::DATA_MAX_KEY)?;
    while locks.advance()? {
        if let Ok(LockOrSharedLocks::Lock(lock)) = parse_lock(locks.value()) {
            let newest_of = lock.ts.max(lock.for_update_ts).max(lock.min_commit_ts);
            newest = newest.max(newest_of.into_inner());
        }
    }
    Ok(newest)
}

/// A range of data keys: start, and end (exclusive).
pub type Range = (Vec<u8>, Vec<u8>);

/// Commits made from locks, by user key (encoded, with `z`): commit timestamp and record.
type Committed = BTreeMap<Vec<u8>, Version>;

/// A committed version: its commit_ts and its commit record.
type Version = (u64, Vec<u8>);

/// Plans the changes that set the keys of `ranges` back to `version`.
pub fn plan(store: &Offline, version: u64, ranges: &[Range], stamps: Stamps, plan: &mut Plan) -> Result<()> {
    let (db, mut fates) = (store.kv(), Fates::new(store)?);
    for (from, to) in ranges {
        let mut committed = end_locks(db, (from, to), &mut fates, ranges, plan)?;
        let mut writes = db.scan("write", from, to)?;
        let mut row = Row::default();
        while writes.advance()? {
            let Ok((user, commit_ts)) = Key::split_on_ts_for(writes.key()) else { continue };
            if user != row.user {
                row.finish(db, version, stamps, plan)?;
                row = Row::new(user, version, committed.remove(user));
            }
            row.see(commit_ts.into_inner(), writes.value(), version);
        }
        row.finish(db, version, stamps, plan)?;
        // Keys that had only a lock.
        for (user, commit) in committed {
            Row::new(&user, version, Some(commit)).finish(db, version, stamps, plan)?;
        }
    }
    Ok(())
}

/// Plans the end of the transactions with locks in a range, as their primaries decide; returns the resulting
/// commits.
fn end_locks(
    db: &Db,
    (from, to): (&[u8], &[u8]),
    fates: &mut Fates<'_>,
    ranges: &[Range],
    plan: &mut Plan,
) -> Result<Committed> {
    let mut committed = Committed::new();
    let mut locks = db.scan("lock", from, to)?;
    while locks.advance()? {
        let (key, value) = (locks.key(), locks.value());
        let Ok(LockOrSharedLocks::Lock(lock)) = parse_lock(value) else {
            plan.fail(format!(
                "key {}: expected an exclusive lock, found a shared or undecodable one",
                keys::hex_upper(key)
            ));
            continue;
        };
        let primary = data_key(&lock.primary);
        let in_range = || ranges.iter().any(|(from, to)| *from <= primary && primary < *to);
        match fates.find(&lock)? {
            Fate::Committed(ts) => committed.extend(commit(db, key, value, &lock, ts, plan)?),
            Fate::RolledBack => roll_back(db, key, value, &lock, plan)?,
            Fate::Pending if in_range() => roll_back(db, key, value, &lock, plan)?,
            fate => plan.fail(undecided(key, &lock, fate)),
        }
    }
    Ok(committed)
}

/// Returns the reason that a lock can be neither committed nor rolled back.
pub fn undecided(key: &[u8], lock: &Lock, fate: Fate) -> String {
    let (key, start) = (keys::hex_upper(key), lock.ts);
    let primary = keys::hex_upper(&data_key(&lock.primary));
    let what = match fate {
        Fate::Elsewhere => {
            "the deciding key is in no region of this store: read the key on the running cluster, which ends the \
             transaction, or flash back the cluster with --pd"
        }
        _ => "it is outside of the flashback's range: include it, so that the transaction is not split",
    };
    format!("key {key}: transaction {start} has locked it, and its primary, key {primary}, decides; {what}")
}

/// Plans the commit of a lock as its primary decides; only removes a lock that was never prewritten.
pub fn commit(
    db: &Db,
    key: &[u8],
    value: &[u8],
    lock: &Lock,
    commit_ts: u64,
    plan: &mut Plan,
) -> Result<Option<(Vec<u8>, Version)>> {
    let why = format!("transaction {} is committed at {commit_ts}, as its primary is", lock.ts);
    plan.changes.push(Change::kv("lock", key, Some(value), None, why.clone()));
    let Some(kind) = WriteType::from_lock_type(lock.lock_type) else { return Ok(None) };
    let place = at(key, commit_ts);
    if let Some(there) = db.get("write", &place)? {
        let is_same = WriteRef::parse(&there).is_ok_and(|write| write.start_ts == lock.ts);
        if !is_same {
            plan.fail(format!(
                "key {}: expected no record at {commit_ts}, found one of another transaction",
                keys::hex_upper(key)
            ));
        }
        return Ok(None);
    }
    let overlapped = lock.rollback_ts.iter().any(|ts| ts.into_inner() == commit_ts);
    let write = Write::new(kind, lock.ts, lock.short_value.clone())
        .set_last_change(lock.last_change)
        .set_txn_source(lock.txn_source)
        .set_overlapped_rollback(overlapped, None)
        .to_bytes();
    plan.changes.push(Change::kv("write", &place, None, Some(&write), why));
    Ok(Some((key.to_vec(), (commit_ts, write))))
}

/// Plans the rollback of the lock's transaction on this key.
fn roll_back(db: &Db, key: &[u8], value: &[u8], lock: &Lock, plan: &mut Plan) -> Result<()> {
    let start = lock.ts.into_inner();
    let why = format!("transaction {start} is rolled back");
    plan.changes.push(Change::kv("lock", key, Some(value), None, why.clone()));
    if lock.lock_type == LockType::Put && lock.short_value.is_none() {
        let key = at(key, start);
        if let Some(value) = db.get("default", &key)? {
            plan.changes.push(Change::kv("default", &key, Some(&value), None, why.clone()));
        }
    }
    let place = at(key, start);
    let Some(there) = db.get("write", &place)? else {
        let rollback = Write::new_rollback(lock.ts, true).to_bytes();
        plan.changes.push(Change::kv("write", &place, None, Some(&rollback), why));
        return Ok(());
    };
    let Ok(write) = WriteRef::parse(&there) else {
        plan.fail(format!(
            "key {}: expected a write record at {start}, found one that cannot be decoded",
            keys::hex_upper(key)
        ));
        return Ok(());
    };
    // Another transaction was committed at that time: its record must also say that this one is rolled back.
    if write.start_ts != lock.ts && !write.has_overlapped_rollback {
        let fence = next_change(db, key, start)?;
        let marked = write.to_owned().set_overlapped_rollback(true, Some(fence.into())).to_bytes();
        plan.changes.push(Change::kv("write", &place, Some(&there), Some(&marked), why));
    }
    Ok(())
}

/// Returns the commit timestamp of the first PUT or DELETE of `user` after `ts`; 0: none. GC that removes it
/// removes the record at `ts`, too.
fn next_change(db: &Db, user: &[u8], ts: u64) -> Result<u64> {
    let mut next = 0;
    let mut newer = db.scan("write", &at(user, u64::MAX), &at(user, ts))?;
    while newer.advance()? {
        let Ok((_, commit_ts)) = Key::split_on_ts_for(newer.key()) else { continue };
        if matches!(Write::parse_type(newer.value()), Ok(WriteType::Put | WriteType::Delete)) {
            next = commit_ts.into_inner();
        }
    }
    Ok(next)
}

/// The versions of one key.
#[derive(Debug, Default)]
struct Row {
    user: Vec<u8>,
    /// Whether something was committed after the version.
    changed: bool,
    /// Commit timestamp and record that decide what a read at the version returns.
    then: Option<(u64, Vec<u8>)>,
}

impl Row {
    /// Starts with the key `user` and the commit that its lock became.
    fn new(user: &[u8], version: u64, commit: Option<(u64, Vec<u8>)>) -> Row {
        let mut row = Row { user: user.to_vec(), ..Row::default() };
        if let Some((ts, record)) = commit {
            row.see(ts, &record, version);
        }
        row
    }

    /// Adds a record.
    fn see(&mut self, commit_ts: u64, record: &[u8], version: u64) {
        let Ok(write) = WriteRef::parse(record) else { return };
        // GC has removed the data in the record's fence, and with it older data.
        let is_gone = commit_ts <= version && !write.check_gc_fence_as_latest_version(version.into());
        if matches!(write.write_type, WriteType::Lock | WriteType::Rollback) && !is_gone {
            return;
        }
        if commit_ts > version {
            self.changed = true;
        } else if self.then.as_ref().is_none_or(|(ts, _)| *ts < commit_ts) {
            self.then = Some((commit_ts, record.to_vec()));
        }
    }

    /// Returns the PUT that a read at `version` returns, and its commit timestamp.
    fn put_at(&self, version: u64) -> Option<(u64, WriteRef<'_>)> {
        let (ts, record) = self.then.as_ref()?;
        let write = WriteRef::parse(record).ok()?;
        let is_put = write.write_type == WriteType::Put;
        (is_put && write.check_gc_fence_as_latest_version(version.into())).then_some((*ts, write))
    }

    fn finish(&self, db: &Db, version: u64, stamps: Stamps, plan: &mut Plan) -> Result<()> {
        if !self.changed {
            return Ok(());
        }
        let (write, why) = match self.put_at(version) {
            Some((ts, old)) => {
                let short = old.short_value.map(<[u8]>::to_vec);
                if short.is_none() {
                    let from = at(&self.user, old.start_ts.into_inner());
                    let Some(value) = db.get("default", &from)? else {
                        let what = format!(
                            "key {}: CF default has no value for the version of {ts}",
                            keys::hex_upper(&self.user)
                        );
                        plan.fail(what);
                        return Ok(());
                    };
                    let why = format!("the value of {ts} again");
                    plan.changes.push(Change::kv(
                        "default",
                        &at(&self.user, stamps.start),
                        None,
                        Some(&value),
                        why,
                    ));
                }
                (Write::new(WriteType::Put, stamps.start.into(), short), format!("as committed at {ts}"))
            }
            None => {
                (Write::new(WriteType::Delete, stamps.start.into(), None), format!("not there at {version}"))
            }
        };
        let key = at(&self.user, stamps.commit);
        plan.changes.push(Change::kv("write", &key, None, Some(&write.to_bytes()), why));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use txn_types::TimeStamp;

    use super::*;

    fn record(kind: WriteType, start: u64, fence: u64) -> Vec<u8> {
        let fence: Option<TimeStamp> = (fence > 0).then(|| fence.into());
        Write::new(kind, start.into(), None).set_overlapped_rollback(fence.is_some(), fence).to_bytes()
    }

    #[test]
    fn a_version_that_gc_has_removed_does_not_come_back() {
        for (kind, fence, wanted) in [
            (WriteType::Put, 0, Some(24)),
            (WriteType::Put, 27, None),
            (WriteType::Put, 31, Some(24)),
            (WriteType::Lock, 0, Some(20)),
            (WriteType::Lock, 27, None),
            (WriteType::Delete, 0, None),
        ] {
            let mut row = Row::new(b"k", 30, None);
            row.see(31, &record(WriteType::Put, 29, 0), 30);
            row.see(24, &record(kind, 22, fence), 30);
            row.see(20, &record(WriteType::Put, 19, 0), 30);
            assert_eq!((row.changed, row.put_at(30).map(|(ts, _)| ts)), (true, wanted), "{kind:?} {fence}");
        }
    }
}
