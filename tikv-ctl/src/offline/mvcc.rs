//! Locks, writes and values joined by key (TiKV `MvccInfoScanner`, `MvccInfoCollector`).

use std::cmp::Ordering;

use kvproto::kvrpcpb::{MvccInfo, MvccLock, MvccValue, MvccWrite, Op};
use txn_types::{Key, LockOrSharedLocks, TimeStamp, WriteRef, WriteType, parse_lock};

use super::{CF_DEFAULT, CF_LOCK, CF_WRITE};
use crate::{
    error::DebugError,
    lsm::{Db, DbIter, same},
    source::{Answer, MvccTaker},
};

const TS_LEN: usize = 8;

/// A walk over one column family, on an entry or at the end.
struct Rows<'a> {
    iter: DbIter<'a>,
    valid: bool,
    /// Bytes of the timestamp behind each key: keys have at least so many.
    ts_len: usize,
}

impl<'a> Rows<'a> {
    fn new(db: &'a Db, cf: &str, from: &[u8], to: &[u8]) -> Answer<Rows<'a>> {
        let mut rows = Rows {
            iter: db.scan(cf, from, to)?,
            valid: true,
            ts_len: if cf == CF_LOCK { 0 } else { TS_LEN },
        };
        rows.advance()?;
        Ok(rows)
    }

    #[inline]
    fn advance(&mut self) -> Answer<()> {
        self.valid = self.iter.advance()?;
        // What is shorter than a timestamp is no version: a raw key among them.
        while self.valid && self.ts_len > 0 && self.iter.key().len() <= self.ts_len {
            self.valid = self.iter.advance()?;
        }
        Ok(())
    }

    /// The key without its timestamp.
    #[inline]
    fn user_key(&self) -> Option<&[u8]> {
        let key = self.valid.then(|| self.iter.key())?;
        key.get(..key.len().saturating_sub(self.ts_len))
    }

    #[inline]
    fn is_on(&self, key: &[u8]) -> bool {
        self.user_key().is_some_and(|user_key| same(user_key, key))
    }

    #[inline]
    fn ts(&self) -> u64 {
        Key::decode_ts_from(self.iter.key()).unwrap_or(TimeStamp::zero()).into_inner()
    }
}

/// Gives `take` the records of each key in `[from, to)` that has a lock or a write.
pub fn scan(db: &Db, from: &[u8], to: &[u8], limit: u64, take: MvccTaker<'_>) -> Answer<()> {
    let from = if from.is_empty() { keys::DATA_MIN_KEY } else { from };
    let to = if to.is_empty() { keys::DATA_MAX_KEY } else { to };
    for key in [from, to] {
        if !keys::validate_data_key(key) && key != keys::DATA_MAX_KEY {
            return Err(DebugError::Other(format!("non-mvcc area {}", keys::hex_upper(key))));
        }
    }
    let mut locks = Rows::new(db, CF_LOCK, from, to)?;
    let mut writes = Rows::new(db, CF_WRITE, from, to)?;
    let mut values = Rows::new(db, CF_DEFAULT, from, to)?;
    let mut count = 0;
    let (mut key, mut info, mut spare) = (Vec::new(), MvccInfo::default(), Vec::new());
    while limit == 0 || count < limit {
        let (first, mut is_written) = match (locks.user_key(), writes.user_key()) {
            (None, None) => break,
            (Some(lock), None) => (lock, false),
            (Some(lock), Some(write)) if lock < write => (lock, false),
            (_, Some(write)) => (write, true),
        };
        key.clear();
        key.extend_from_slice(first);
        // Millions of rows are made one after another: the memory of the last one serves the next.
        spare.append(&mut info.writes);
        info.lock = None;
        info.values.clear();
        while is_written {
            let mut write = spare.pop().unwrap_or_default();
            write_info(&writes, &mut write)?;
            info.writes.push(write);
            writes.advance()?;
            is_written = writes.is_on(&key);
        }
        if locks.is_on(&key) {
            info.lock = Some(lock_info(&key, locks.iter.value())?);
            locks.advance()?;
        }
        while let Some(order) = values.user_key().map(|value_key| value_key.cmp(&key)) {
            match order {
                Ordering::Greater => break,
                // A value that neither a lock nor a write leads to.
                Ordering::Less => {}
                Ordering::Equal => {
                    info.values
                        .push(MvccValue { start_ts: values.ts(), value: values.iter.value().to_vec() });
                }
            }
            values.advance()?;
        }
        take(&key, &mut info)?;
        count += 1;
    }
    Ok(())
}

/// Puts the record that `rows` stands on in `info`, which is new or was filled by this.
#[inline]
fn write_info(rows: &Rows<'_>, info: &mut MvccWrite) -> Answer<()> {
    let write = WriteRef::parse(rows.iter.value())
        .map_err(|e| DebugError::Other(format!("key {}: {e}", keys::hex_upper(rows.iter.key()))))?;
    let op = match write.write_type {
        WriteType::Put => Op::Put,
        WriteType::Delete => Op::Del,
        WriteType::Lock => Op::Lock,
        WriteType::Rollback => Op::Rollback,
    };
    // The other fields are not told here, and so have never been set.
    info.r#type = op.into();
    info.start_ts = write.start_ts.into_inner();
    info.commit_ts = rows.ts();
    info.short_value.clear();
    info.short_value.extend_from_slice(write.short_value.unwrap_or_default());
    Ok(())
}

fn lock_info(key: &[u8], value: &[u8]) -> Answer<MvccLock> {
    let lock =
        parse_lock(value).map_err(|e| DebugError::Other(format!("key {}: {e}", keys::hex_upper(key))))?;
    Ok(match lock {
        LockOrSharedLocks::Lock(lock) => MvccLock {
            r#type: Op::from(lock.lock_type).into(),
            start_ts: lock.ts.into_inner(),
            primary: lock.primary,
            short_value: lock.short_value.unwrap_or_default(),
            ..Default::default()
        },
        // Held by many: there is no one start and no one primary.
        LockOrSharedLocks::Shared(_) => MvccLock { r#type: Op::SharedLock.into(), ..Default::default() },
    })
}
