//! The MVCC rows of a key range, key by key, for `ScanMvcc` (TiKV `src/server/debug.rs`, `MvccInfoIterator`).
use engine_rocks::{CF_DEFAULT, CF_LOCK, CF_WRITE, IterOptions, RocksEngine, RocksEngineIterator};
use kvproto::kvrpcpb::{MvccInfo, MvccValue};
use txn_types::{Key, TimeStamp, WriteRef, parse_lock};

use super::error::DebugError;

/// Merges three column families. Keys are data keys, with their `z`.
pub struct MvccInfoScanner {
    lock: RocksEngineIterator,
    write: RocksEngineIterator,
    default: RocksEngineIterator,
}

impl MvccInfoScanner {
    /// Scans the rows of `from..to`; an empty `to` is unbounded.
    pub fn new(kv: &RocksEngine, from: &[u8], to: &[u8]) -> Result<Self, DebugError> {
        let end = if to.is_empty() { keys::DATA_MAX_KEY } else { to };
        let snapshot = kv.snapshot();
        let open = |cf| -> Result<RocksEngineIterator, DebugError> {
            let mut iter = snapshot.iterator_cf(cf, IterOptions::range(from, end))?;
            iter.seek(from)?;
            Ok(iter)
        };
        Ok(Self { lock: open(CF_LOCK)?, write: open(CF_WRITE)?, default: open(CF_DEFAULT)? })
    }

    /// Returns the next key with any row, as a data key without a timestamp, and its rows.
    pub fn next_key(&mut self) -> Result<Option<(Vec<u8>, MvccInfo)>, DebugError> {
        self.skip_raw()?;
        let lock = current(&self.lock)?.map(<[u8]>::to_vec);
        let write = user_key(&self.write)?;
        let default = user_key(&self.default)?;
        let Some(key) = [lock, write, default].into_iter().flatten().min() else { return Ok(None) };
        let mut info = MvccInfo::default();
        if current(&self.lock)? == Some(key.as_slice()) {
            info.lock = Some(parse_lock(self.lock.value())?.into());
            self.lock.next()?;
        }
        while let Some(ts) = ts_of(&self.write, &key)? {
            info.writes.push(WriteRef::parse(self.write.value())?.to_mvcc_write(ts));
            self.write.next()?;
        }
        while let Some(ts) = ts_of(&self.default, &key)? {
            info.values.push(MvccValue { start_ts: ts.into_inner(), value: self.default.value().to_vec() });
            self.default.next()?;
            self.skip_raw()?;
        }
        Ok(Some((key, info)))
    }

    /// CF default also has raw keys, which have no versions.
    fn skip_raw(&mut self) -> Result<(), DebugError> {
        while let Some(key) = current(&self.default)? {
            if is_versioned(key) {
                break;
            }
            self.default.next()?;
        }
        Ok(())
    }
}

/// Returns whether a data key consists of a user key in TiKV's encoding and a timestamp.
fn is_versioned(key: &[u8]) -> bool {
    let Ok((user, _)) = Key::split_on_ts_for(key) else { return false };
    user.split_first().is_some_and(|(_, user)| keys::decode_bytes(user).is_ok())
}

fn current(iter: &RocksEngineIterator) -> Result<Option<&[u8]>, DebugError> {
    Ok(if iter.valid()? { Some(iter.key()) } else { None })
}

fn user_key(iter: &RocksEngineIterator) -> Result<Option<Vec<u8>>, DebugError> {
    let Some(key) = current(iter)? else { return Ok(None) };
    Ok(Some(Key::truncate_ts_for(key)?.to_vec()))
}

/// Returns the timestamp of the iterator's row if the row belongs to `key`.
fn ts_of(iter: &RocksEngineIterator, key: &[u8]) -> Result<Option<TimeStamp>, DebugError> {
    let Some(row) = current(iter)? else { return Ok(None) };
    let (user, ts) = Key::split_on_ts_for(row)?;
    Ok((user == key).then_some(ts))
}

#[cfg(test)]
mod tests {
    use engine_rocks::DbConfig;
    use txn_types::{Lock, LockType, Write, WriteType};

    use super::*;

    #[test]
    fn rows_are_grouped_by_key_without_raw_keys() {
        let dir = tempfile::tempdir().unwrap();
        let kv = RocksEngine::open(dir.path(), &DbConfig::small()).unwrap();
        let data = |key: Key| keys::data_key(key.as_encoded());
        for (start, commit) in [(5, 8), (10, 12)] {
            let write = Write::new(WriteType::Put, TimeStamp::new(start), Some(b"v".to_vec()));
            kv.put_cf(CF_WRITE, &data(Key::from_raw(b"a").append_ts(commit.into())), &write.to_bytes())
                .unwrap();
        }
        kv.put_cf(CF_DEFAULT, &data(Key::from_raw(b"a").append_ts(5.into())), b"long").unwrap();
        // Also a key of eight bytes, which looks like a timestamp without a key.
        for raw in [&b"zraw"[..], b"z1234567", b"z12345678"] {
            kv.put_cf(CF_DEFAULT, raw, b"plain").unwrap();
        }
        let lock =
            Lock::new(LockType::Put, b"b".to_vec(), 20.into(), 3000, None, 0.into(), 1, 0.into(), false);
        kv.put_cf(CF_LOCK, &data(Key::from_raw(b"b")), &lock.to_bytes()).unwrap();

        let mut scanner = MvccInfoScanner::new(&kv, b"z", b"").unwrap();
        let (key, info) = scanner.next_key().unwrap().unwrap();
        assert_eq!(key, data(Key::from_raw(b"a")));
        let commits: Vec<_> = info.writes.iter().map(|w| w.commit_ts).collect();
        assert_eq!((commits, info.values[0].start_ts), (vec![12, 8], 5));
        let (key, info) = scanner.next_key().unwrap().unwrap();
        assert_eq!((key, info.lock.map(|l| l.start_ts)), (data(Key::from_raw(b"b")), Some(20)));
        assert!(scanner.next_key().unwrap().is_none());
    }
}
