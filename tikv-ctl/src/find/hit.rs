//! A key to find, and the records that contain it.
use std::path::PathBuf;

use txn_types::{LockOrSharedLocks, parse_lock};

use crate::{key::inner, lsm::ValueType};

/// A key to find, as transactions write it and as raw keys are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The user key.
    pub user_key: Vec<u8>,
    /// The memcomparable form of the user key.
    pub encoded: Vec<u8>,
}

impl Target {
    /// Creates the target for `user_key`.
    pub fn new(user_key: &[u8]) -> Target {
        Target { user_key: user_key.to_vec(), encoded: keys::encode_bytes(user_key) }
    }

    /// Returns the timestamp in `key` (without `z`) if it is one of the target's records; `None` if it is
    /// another key.
    pub(super) fn matches(&self, cf: &str, key: &[u8]) -> Option<Option<u64>> {
        if cf == "default" && key == self.user_key {
            return Some(None);
        }
        let found = inner(key).filter(|_| key.starts_with(&self.encoded))?;
        (found.user_key == self.user_key && (cf == "lock") == found.ts.is_none()).then_some(found.ts)
    }
}

/// Position of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "a variant's comment names its fields")]
pub enum HitPlace {
    /// A Raft log entry in the log of its region, by term and index.
    RaftLog { region: u64, term: u64, index: u64 },
    /// A record of RocksDB's WAL: its file, the offset in bytes, and its sequence number.
    Wal { path: PathBuf, offset: u64, sequence: u64 },
    /// A record of an SST: its file, the file's level, and the record's sequence number.
    Sst { path: PathBuf, level: u32, sequence: u64 },
    /// A value in a Titan blob file that an SST or the WAL names: offset and size in bytes.
    Blob { path: PathBuf, offset: u64, size: u64 },
}

impl HitPlace {
    pub(super) fn sequence(&self) -> Option<u64> {
        match self {
            HitPlace::Wal { sequence, .. } | HitPlace::Sst { sequence, .. } => Some(*sequence),
            _ => None,
        }
    }
}

/// Kind of change that a record makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Sets the value of the key.
    Put,
    /// Deletes the key.
    Delete,
    /// Deletes a range with the key.
    DeleteRange,
    /// Adds an SST that contains the key.
    Ingest,
}

/// A record in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The place in a file.
    pub place: HitPlace,
    /// The column family.
    pub cf: String,
    /// The change that it makes.
    pub kind: Kind,
    /// The timestamp in the key: of commit in CF write, of start in CF default.
    pub key_ts: Option<u64>,
    /// The value; empty if it is not a put or if the value is in a blob file.
    pub value: Vec<u8>,
    /// The timestamp to sort by, if it is known.
    pub time: Option<u64>,
}

impl Hit {
    pub(super) fn new(place: HitPlace, cf: &str, kind: Kind, key_ts: Option<u64>, value: &[u8]) -> Hit {
        let lock_ts = || match parse_lock(value) {
            Ok(LockOrSharedLocks::Lock(lock)) => Some(lock.ts.into_inner()),
            _ => None,
        };
        let time = key_ts.or_else(|| if cf == "lock" && kind == Kind::Put { lock_ts() } else { None });
        Hit { place, cf: cf.to_owned(), kind, key_ts, value: value.to_vec(), time }
    }
}

/// Returns the change that a record of RocksDB makes.
pub(super) fn kind_of(value_type: ValueType) -> Kind {
    match value_type {
        ValueType::Deletion | ValueType::SingleDeletion => Kind::Delete,
        ValueType::RangeDeletion => Kind::DeleteRange,
        _ => Kind::Put,
    }
}
