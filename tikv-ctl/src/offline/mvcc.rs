//! Joins locks, writes and values by key (TiKV `MvccInfoScanner`, `MvccInfoCollector`).
use std::cmp::Ordering;

use keys::{CF_DEFAULT, CF_LOCK, CF_WRITE};
use kvproto::kvrpcpb::{MvccInfo, MvccLock, MvccValue, MvccWrite};
use txn_types::{Key, TimeStamp, WriteRef, parse_lock};

use crate::{
    error::DebugError,
    lsm::{Db, DbIter, same},
    source::{Answer, MvccTaker},
};

const TS_LEN: usize = 8;

/// An iterator over one column family, on an entry or at the end.
struct Rows<'a> {
    iter: DbIter<'a>,
    valid: bool,
    /// Length of the timestamp after each key, in bytes; shorter keys are skipped.
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
        // A key no longer than a timestamp is no version: it may be a raw key.
        while self.valid && self.ts_len > 0 && self.iter.key().len() <= self.ts_len {
            self.valid = self.iter.advance()?;
        }
        Ok(())
    }

    /// Returns the key without its timestamp.
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
    fn ts(&self) -> TimeStamp {
        Key::decode_ts_from(self.iter.key()).unwrap_or(TimeStamp::zero())
    }
}

/// Passes the records of each key in `[from, to)` that has a lock or a write to `take`.
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
        // Millions of rows follow each other: each one reuses the memory of the last.
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
                // Neither a lock nor a write points to this value.
                Ordering::Less => {}
                Ordering::Equal => {
                    info.values.push(MvccValue {
                        start_ts: values.ts().into_inner(),
                        value: values.iter.value().to_vec(),
                    });
                }
            }
            values.advance()?;
        }
        take(&key, &mut info)?;
        count += 1;
    }
    Ok(())
}

/// Writes the record at `rows` into `info`, which is new or was filled by this function.
#[inline]
fn write_info(rows: &Rows<'_>, info: &mut MvccWrite) -> Answer<()> {
    let write = WriteRef::parse(rows.iter.value())
        .map_err(|e| DebugError::Other(format!("key {}: {e}", keys::hex_upper(rows.iter.key()))))?;
    write.fill_mvcc_write(rows.ts(), info);
    Ok(())
}

fn lock_info(key: &[u8], value: &[u8]) -> Answer<MvccLock> {
    let lock =
        parse_lock(value).map_err(|e| DebugError::Other(format!("key {}: {e}", keys::hex_upper(key))))?;
    Ok(lock.into())
}
