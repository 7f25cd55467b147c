//! `flashback`: new versions on top of all others that show what was at an older time (TiKV
//! `storage::txn::actions::flashback_to_version`). Nothing that was committed is removed.

use txn_types::{Key, Lock, LockOrSharedLocks, LockType, Write, WriteRef, WriteType, parse_lock};

use super::{Change, plans::Plan};
use crate::{Offline, Result, lsm::Db};

/// The timestamps that the new versions have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamps {
    pub start: u64,
    pub commit: u64,
}

impl Stamps {
    /// Those behind every timestamp of the store, or behind `start`.
    pub fn new(store: &Offline, start: Option<u64>) -> Result<Stamps> {
        let start = match start {
            Some(start) => start,
            None => newest_ts(store.kv())? + 1,
        };
        Ok(Stamps { start, commit: start + 1 })
    }
}

/// The greatest timestamp of a lock or a write record.
fn newest_ts(db: &Db) -> Result<u64> {
    let mut newest = 0;
    let mut writes = db.scan("write", keys::DATA_MIN_KEY, keys::DATA_MAX_KEY)?;
    while writes.advance()? {
        newest = newest.max(Key::decode_ts_from(writes.key()).map_or(0, |ts| ts.into_inner()));
    }
    let mut locks = db.scan("lock", keys::DATA_MIN_KEY, keys::DATA_MAX_KEY)?;
    while locks.advance()? {
        if let Ok(LockOrSharedLocks::Lock(lock)) = parse_lock(locks.value()) {
            newest = newest.max(lock.ts.into_inner()).max(lock.for_update_ts.into_inner());
        }
    }
    Ok(newest)
}

/// The key `user` (encoded, with `z`) at `ts`.
fn at(user: &[u8], ts: u64) -> Vec<u8> {
    let mut key = user.to_vec();
    keys::codec::encode_u64_desc(&mut key, ts);
    key
}

/// What sets the keys of `[from, to)`, data keys, back to `version`.
pub fn plan(
    db: &Db,
    version: u64,
    (from, to): (&[u8], &[u8]),
    stamps: Stamps,
    plan: &mut Plan,
) -> Result<()> {
    let mut locks = db.scan("lock", from, to)?;
    while locks.advance()? {
        if let Ok(LockOrSharedLocks::Lock(lock)) = parse_lock(locks.value()) {
            roll_back(db, locks.key(), locks.value(), &lock, plan)?;
        } else {
            let why =
                format!("key {}: a lock that is shared or does not decode", keys::hex_upper(locks.key()));
            plan.errors.push((0, why));
        }
    }
    let mut writes = db.scan("write", from, to)?;
    let mut row = Row::default();
    while writes.advance()? {
        let Ok((user, commit_ts)) = Key::split_on_ts_for(writes.key()) else { continue };
        if user != row.user {
            row.finish(db, version, stamps, plan)?;
            row = Row { user: user.to_vec(), ..Row::default() };
        }
        let Ok(write) = WriteRef::parse(writes.value()) else { continue };
        if matches!(write.write_type, WriteType::Lock | WriteType::Rollback) {
            continue;
        }
        if commit_ts.into_inner() > version {
            row.changed = true;
        } else if row.then.is_none() {
            row.then = Some((commit_ts.into_inner(), writes.value().to_vec()));
        }
    }
    row.finish(db, version, stamps, plan)
}

/// The transaction that holds the lock did not happen.
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
    let key = at(key, start);
    // A record of that time, such as a commit of another transaction, already ends the transaction.
    if db.get("write", &key)?.is_none() {
        let rollback = Write::new_rollback(lock.ts, true).to_bytes();
        plan.changes.push(Change::kv("write", &key, None, Some(&rollback), why));
    }
    Ok(())
}

/// The versions of one key.
#[derive(Debug, Default)]
struct Row {
    user: Vec<u8>,
    /// Something was committed after the version.
    changed: bool,
    /// Commit timestamp and record of what was there at the version.
    then: Option<(u64, Vec<u8>)>,
}

impl Row {
    fn finish(&self, db: &Db, version: u64, stamps: Stamps, plan: &mut Plan) -> Result<()> {
        if !self.changed {
            return Ok(());
        }
        let then = self.then.as_ref().and_then(|(ts, value)| Some((*ts, WriteRef::parse(value).ok()?)));
        let (write, why) = match then {
            Some((ts, old)) if old.write_type == WriteType::Put => {
                let short = old.short_value.map(<[u8]>::to_vec);
                if short.is_none() {
                    let from = at(&self.user, old.start_ts.into_inner());
                    let Some(value) = db.get("default", &from)? else {
                        let what = format!(
                            "key {}: CF default has no value for the version of {ts}",
                            keys::hex_upper(&self.user)
                        );
                        plan.errors.push((0, what));
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
            _ => {
                (Write::new(WriteType::Delete, stamps.start.into(), None), format!("not there at {version}"))
            }
        };
        let key = at(&self.user, stamps.commit);
        plan.changes.push(Change::kv("write", &key, None, Some(&write.to_bytes()), why));
        Ok(())
    }
}
