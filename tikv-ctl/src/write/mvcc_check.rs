//! `recover-mvcc`: finds records of one column family that the others contradict (TiKV `MvccChecker`). A
//! value is matched by its timestamp and not, as in TiKV, by its place: an orphan of a later transaction does
//! not hide the value of a lock.
use std::collections::BTreeSet;

use txn_types::{Key, Lock, LockOrSharedLocks, LockType, WriteRef, WriteType, parse_lock};

use super::{
    Change,
    fate::{Fate, Fates},
    plan::Plan,
};
use crate::{
    Error, Offline, Result,
    lsm::{Db, DbIter},
};

/// An iterator on an entry or at the end.
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
        // Raw keys do not have the form of a version.
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

    /// Returns all entries of `key`: RocksDB key, timestamp, value.
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

/// Adds the removals to `plan` that make the column families agree in `[from, to)`, data keys.
pub fn check(
    db: &Db,
    (from, to): (&[u8], &[u8]),
    fates: &mut Fates<'_>,
    seen: &mut dyn FnMut(),
    plan: &mut Plan,
) -> Result<()> {
    let mut rows = [
        Rows::new(db, "lock", from, to)?,
        Rows::new(db, "write", from, to)?,
        Rows::new(db, "default", from, to)?,
    ];
    loop {
        let Some(key) = rows.iter().filter_map(Rows::user_key).min().map(<[u8]>::to_vec) else {
            return Ok(());
        };
        seen();
        let [locks, writes, values] = [rows[0].take(&key)?, rows[1].take(&key)?, rows[2].take(&key)?];
        match Records::parse(&locks, &writes) {
            Ok(records) => records.check(&values, fates, plan)?,
            // TiKV's checker fails, too: the validity of the key's other records is unknown.
            Err(what) => plan.fail(format!("key {}: {what}: the key stays unchanged", keys::hex_upper(&key))),
        }
    }
}

/// Does the same as [`check`] for all data of `store`, with up to `threads` threads.
pub fn check_all(store: &Offline, threads: usize, plan: &mut Plan) -> Result<()> {
    let mut borders = vec![keys::DATA_MIN_KEY.to_vec()];
    borders.extend(split_keys(store.kv(), threads));
    borders.push(keys::DATA_MAX_KEY.to_vec());
    let check_part = |range: &[Vec<u8>]| -> Result<Plan> {
        let (mut part, mut fates) = (Plan::default(), Fates::new(store)?);
        check(store.kv(), (&range[0], &range[1]), &mut fates, &mut || (), &mut part)?;
        Ok(part)
    };
    let check_part = &check_part;
    let parts: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            borders.windows(2).map(|range| scope.spawn(move || check_part(range))).collect();
        threads.into_iter().map(|thread| thread.join()).collect()
    });
    for part in parts {
        let part = part.map_err(|_| Error::other("a thread that checks records panicked"))??;
        plan.changes.extend(part.changes);
        plan.failures.extend(part.failures);
        plan.notes.extend(part.notes);
    }
    Ok(())
}

/// Returns user keys (encoded, with `z`) that divide the data into up to `parts` parts with similar numbers
/// of SSTs.
fn split_keys(db: &Db, parts: usize) -> Vec<Vec<u8>> {
    let mut starts = BTreeSet::new();
    for family in db.families().filter(|family| ["default", "write"].contains(&family.name())) {
        for file in family.files() {
            let Ok((user, _)) = Key::split_on_ts_for(file.smallest()) else { continue };
            // All versions of a key stay together: a key of unknown form is no border.
            let encoded = user.strip_prefix(&[keys::DATA_PREFIX]);
            let whole = encoded
                .is_some_and(|key| keys::codec::encoded_prefix_len(key).is_ok_and(|len| len == key.len()));
            if whole {
                starts.insert(user.to_vec());
            }
        }
    }
    let step = starts.len().div_ceil(parts.max(1)).max(1);
    starts.into_iter().step_by(step).skip(1).take(parts.saturating_sub(1)).collect()
}

/// A record of CF write: RocksDB key, bytes, commit timestamp, parsed record.
struct Committed<'a> {
    key: &'a [u8],
    value: &'a [u8],
    ts: u64,
    write: WriteRef<'a>,
}

impl Committed<'_> {
    fn start(&self) -> u64 {
        self.write.start_ts.into_inner()
    }

    fn is_rollback(&self) -> bool {
        self.write.write_type == WriteType::Rollback
    }
}

/// The lock and the write records of one key, newest write first.
struct Records<'a> {
    lock: Option<(&'a Entry, Lock)>,
    writes: Vec<Committed<'a>>,
}

impl<'a> Records<'a> {
    fn parse(locks: &'a [Entry], writes: &'a [Entry]) -> std::result::Result<Records<'a>, String> {
        let lock = match locks.first() {
            None => None,
            Some(entry) => match parse_lock(&entry.2) {
                Ok(LockOrSharedLocks::Lock(lock)) => Some((entry, lock)),
                Ok(LockOrSharedLocks::Shared(_)) => None,
                Err(e) => return Err(format!("cannot decode the lock: {e}")),
            },
        };
        let parse = |(key, ts, value): &'a Entry| match WriteRef::parse(value) {
            Ok(write) => Ok(Committed { key, value, ts: *ts, write }),
            Err(e) => Err(format!("cannot decode the write record of {ts}: {e}")),
        };
        Ok(Records { lock, writes: writes.iter().map(parse).collect::<std::result::Result<_, _>>()? })
    }

    fn check(&self, values: &[Entry], fates: &mut Fates<'_>, plan: &mut Plan) -> Result<()> {
        let values_at: BTreeSet<u64> = values.iter().map(|(_, ts, _)| *ts).collect();
        // Start timestamps whose value a lock or a write record points to.
        let mut wanted = BTreeSet::new();
        for found in &self.writes {
            if found.write.write_type != WriteType::Put || found.write.short_value.is_some() {
                continue;
            }
            let start = found.start();
            if values_at.contains(&start) {
                wanted.insert(start);
            } else {
                let why = format!("committed at {}, but CF default has no value of {start}", found.ts);
                plan.changes.push(Change::kv("write", found.key, Some(found.value), None, why));
            }
        }
        if let Some((entry, lock)) = &self.lock {
            match self.contradicted(&entry.0, lock, &values_at, fates, plan)? {
                Some(why) => plan.changes.push(Change::kv("lock", &entry.0, Some(&entry.2), None, why)),
                None => drop(wanted.insert(lock.ts.into_inner())),
            }
        }
        for (key, ts, value) in values.iter().filter(|(_, ts, _)| !wanted.contains(ts)) {
            let why = format!("neither a lock nor a write record points to the value of {ts}");
            plan.changes.push(Change::kv("default", key, Some(value), None, why));
        }
        Ok(())
    }

    /// Returns the reason for removing the lock, if there is one.
    fn contradicted(
        &self,
        key: &[u8],
        lock: &Lock,
        values_at: &BTreeSet<u64>,
        fates: &mut Fates<'_>,
        plan: &mut Plan,
    ) -> Result<Option<String>> {
        let start = lock.ts.into_inner();
        if self.writes.iter().any(|found| found.start() == start) {
            return Ok(Some(format!("transaction {start} is committed or rolled back on this key already")));
        }
        if let Some(why) = self.is_older(key, lock, fates, plan)? {
            return Ok(Some(why));
        }
        let long = lock.lock_type == LockType::Put && lock.short_value.is_none();
        Ok((long && !values_at.contains(&start)).then(|| format!("CF default has no value of {start}")))
    }

    /// Checks that all commits are older than the lock (its for_update_ts in a pessimistic transaction);
    /// returns the contradiction.
    fn is_older(
        &self,
        key: &[u8],
        lock: &Lock,
        fates: &mut Fates<'_>,
        plan: &mut Plan,
    ) -> Result<Option<String>> {
        let (kind, ts) = if lock.for_update_ts >= lock.ts {
            ("for_update_ts", lock.for_update_ts.into_inner())
        } else {
            ("ts", lock.ts.into_inner())
        };
        let shown = || keys::hex_upper(key);
        // TiKV takes the timestamp of a rollback for a commit, and so removes valid locks: a transaction that
        // finds the lock leaves such a record when it gives up.
        let Some(newest) =
            self.writes.iter().find(|found| !found.is_rollback()).filter(|found| ts <= found.ts)
        else {
            if self.writes.first().is_some_and(|found| ts <= found.ts) {
                plan.notes.push(format!(
                    "note: key {}: the lock of transaction {} is kept, although a rollback of another transaction is \
                     newer than it: both are valid (TiKV's recover-mvcc removes the lock)",
                    shown(),
                    lock.ts
                ));
            }
            return Ok(None);
        };
        let why = format!("its {kind} {ts} is not after the key's last commit at {}", newest.ts);
        let of_another = super::fate::data_key(&lock.primary) != key;
        if let (true, Fate::Committed(at)) = (of_another, fates.find(lock)?) {
            plan.fail(format!(
                "key {}: the lock of transaction {} is kept: {why}, but its primary is committed at {at}, and without the \
                 lock this key would be lost to the transaction",
                shown(),
                lock.ts
            ));
            return Ok(None);
        }
        Ok(Some(why))
    }
}
