//! Shared locks: locks of several transactions on one key.
use std::collections::BTreeMap;

use keys::codec;
use kvproto::kvrpcpb::{LockInfo, Op};

use crate::{
    Error, Lock, LockType, Result, TimeStamp,
    lock::{bad_lock, decode_list, decode_lock_type},
};

const TXNS_INFO_PREFIX: u8 = b'h';
const FLAGS_PREFIX: u8 = b'i';
const SHRINK_ONLY: u8 = 1;

/// Record in CF lock.
#[derive(Debug, PartialEq, Clone)]
pub enum LockOrSharedLocks {
    /// Lock of one transaction.
    Lock(Lock),
    /// Locks that several transactions share.
    Shared(SharedLocks),
}

impl LockOrSharedLocks {
    /// Converts to the form for clients.
    pub fn into_lock_info(self, raw_key: Vec<u8>) -> LockInfo {
        match self {
            LockOrSharedLocks::Lock(lock) => lock.into_lock_info(raw_key),
            LockOrSharedLocks::Shared(shared) => shared.into_lock_info(raw_key),
        }
    }
}

/// Decodes a record of CF lock of either kind.
pub fn parse_lock(data: &[u8]) -> Result<LockOrSharedLocks> {
    match decode_lock_type(data)? {
        LockType::Shared => SharedLocks::parse(data).map(LockOrSharedLocks::Shared),
        _ => Lock::parse(data).map(LockOrSharedLocks::Lock),
    }
}

/// Locks on one key, by start timestamp of their transactions.
///
/// TiKV: `txn_types::lock::SharedLocks`.
#[derive(Debug, PartialEq, Clone, Default)]
pub struct SharedLocks {
    shrink_only: bool,
    locks: BTreeMap<TimeStamp, Member>,
}

/// Lock of one transaction, and its bytes: a lock that stays as it is keeps the fields that this version does not know.
#[derive(Debug, PartialEq, Clone)]
struct Member {
    lock: Lock,
    bytes: Vec<u8>,
}

impl From<Lock> for Member {
    fn from(lock: Lock) -> Self {
        let bytes = lock.to_bytes();
        Member { lock, bytes }
    }
}

impl SharedLocks {
    /// Creates an empty set of locks.
    pub fn new() -> SharedLocks {
        SharedLocks::default()
    }

    /// Number of transactions with a lock on the key.
    pub fn len(&self) -> usize {
        self.locks.len()
    }

    /// Whether no transaction has a lock on the key.
    pub fn is_empty(&self) -> bool {
        self.locks.is_empty()
    }

    /// Whether no further transaction may join.
    pub fn is_shrink_only(&self) -> bool {
        self.shrink_only
    }

    /// Permanently prevents further transactions from joining.
    pub fn set_shrink_only(&mut self) {
        self.shrink_only = true;
    }

    /// Returns the start timestamps of the transactions in ascending order.
    pub fn iter_ts(&self) -> impl Iterator<Item = TimeStamp> + '_ {
        self.locks.keys().copied()
    }

    /// Returns the locks in ascending order of their start timestamps.
    pub fn iter(&self) -> impl Iterator<Item = &Lock> {
        self.locks.values().map(|member| &member.lock)
    }

    /// Whether the transaction that started at `ts` has a lock.
    pub fn contains_start_ts(&self, ts: TimeStamp) -> bool {
        self.locks.contains_key(&ts)
    }

    /// Returns the lock of the transaction that started at `ts`.
    pub fn get_lock(&self, ts: TimeStamp) -> Option<&Lock> {
        self.locks.get(&ts).map(|member| &member.lock)
    }

    /// Removes the lock of the transaction that started at `ts`.
    pub fn remove_lock(&mut self, ts: TimeStamp) -> Option<Lock> {
        self.locks.remove(&ts).map(|member| member.lock)
    }

    /// Keeps only the locks for which `wanted` returns true. TiKV: `SharedLocks::filter_shared_locks`.
    pub fn retain(&mut self, wanted: impl Fn(&Lock) -> bool) {
        self.locks.retain(|_, member| wanted(&member.lock));
    }

    /// Keeps at most the `count` locks of the oldest transactions. TiKV: `SharedLocks::truncate_to`.
    pub fn truncate_to(&mut self, count: usize) {
        let first = self.iter_ts().nth(count);
        if let Some(first) = first {
            self.locks.split_off(&first);
        }
    }

    /// Adds the lock of a transaction that has none on the key.
    ///
    /// # Errors
    /// `InvalidOperation` if no further transaction may join, or if the transaction has a lock.
    pub fn insert_lock(&mut self, lock: Lock) -> Result<()> {
        check_type(&lock)?;
        let ts = lock.ts;
        if self.shrink_only {
            let what = format!("cannot insert new lock #{ts} into shrink-only SharedLocks");
            return Err(Error::InvalidOperation(what));
        }
        if self.contains_start_ts(ts) {
            return Err(Error::InvalidOperation(format!("lock #{ts} already exists in SharedLocks")));
        }
        self.locks.insert(ts, lock.into());
        Ok(())
    }

    /// Replaces the lock of a transaction.
    ///
    /// # Errors
    /// `InvalidOperation` if the transaction has no lock.
    pub fn update_lock(&mut self, lock: Lock) -> Result<()> {
        check_type(&lock)?;
        match self.locks.get_mut(&lock.ts) {
            Some(old) => {
                *old = lock.into();
                Ok(())
            }
            None => Err(Error::InvalidOperation(format!("lock #{} does not exist in SharedLocks", lock.ts))),
        }
    }

    /// Decodes a record whose first byte is `H`.
    pub fn parse(data: &[u8]) -> Result<SharedLocks> {
        if decode_lock_type(data)? != LockType::Shared {
            return Err(bad_lock("expected shared locks, found one transaction's lock", data));
        }
        let mut shared = SharedLocks::new();
        let mut input = &data[1..];
        while let Some((field, rest)) = input.split_first() {
            input = rest;
            match *field {
                FLAGS_PREFIX => match codec::decode_u8(&mut input)? {
                    0 => {}
                    SHRINK_ONLY => shared.shrink_only = true,
                    _ => return Err(bad_lock("unknown flags of shared locks", data)),
                },
                TXNS_INFO_PREFIX => {
                    for bytes in decode_list(&mut input, codec::decode_compact_bytes)? {
                        let lock = Lock::parse(bytes)?;
                        shared.locks.insert(lock.ts, Member { lock, bytes: bytes.to_vec() });
                    }
                }
                _ => break,
            }
        }
        Ok(shared)
    }

    /// Encodes the value for CF lock.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut buf = vec![LockType::Shared.to_u8()];
        if self.shrink_only {
            buf.extend_from_slice(&[FLAGS_PREFIX, SHRINK_ONLY]);
        }
        buf.push(TXNS_INFO_PREFIX);
        codec::encode_var_u64(&mut buf, self.locks.len() as u64);
        for member in self.locks.values() {
            codec::encode_compact_bytes(&mut buf, &member.bytes);
        }
        buf
    }

    /// Converts to the form for clients.
    pub fn into_lock_info(self, raw_key: Vec<u8>) -> LockInfo {
        let infos =
            self.locks.into_values().map(|member| member.lock.into_lock_info(raw_key.clone())).collect();
        LockInfo {
            key: raw_key.clone(),
            lock_type: Op::SharedLock.into(),
            shared_lock_infos: infos,
            ..Default::default()
        }
    }
}

/// A lock in its form for clients, of one transaction or of several. TiKV: `txn_types::LockInfoExt`.
pub trait LockInfoExt {
    /// Whether several transactions share the lock.
    fn is_shared_lock(&self) -> bool;
    /// Returns the lock of each transaction.
    fn iter_locks(&self) -> impl Iterator<Item = &LockInfo>;
}

impl LockInfoExt for LockInfo {
    fn is_shared_lock(&self) -> bool {
        self.lock_type() == Op::SharedLock
    }

    fn iter_locks(&self) -> impl Iterator<Item = &LockInfo> {
        let shared = self.is_shared_lock();
        self.shared_lock_infos.iter().filter(move |_| shared).chain(Some(self).filter(move |_| !shared))
    }
}

fn check_type(lock: &Lock) -> Result<()> {
    match lock.lock_type {
        LockType::Lock | LockType::Pessimistic => Ok(()),
        other => Err(Error::InvalidOperation(format!("a lock of type {other:?} cannot be shared"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{lock::tests::random_lock, test_util::Random};

    #[test]
    fn shared_locks_round_trip() {
        let mut random = Random::new(31);
        for count in 0..50 {
            let mut shared = SharedLocks::new();
            for i in 0..count {
                let mut lock = random_lock(&mut random, LockType::Pessimistic);
                lock.ts = i.into();
                shared.insert_lock(lock).unwrap();
            }
            if random.flip() {
                shared.set_shrink_only();
            }
            assert_eq!(shared.len() as u64, count);
            assert_eq!(parse_lock(&shared.to_bytes()), Ok(LockOrSharedLocks::Shared(shared)));
        }
    }

    #[test]
    fn a_lock_joins_once_and_only_if_not_shrinking() {
        let mut random = Random::new(32);
        let lock = random_lock(&mut random, LockType::Lock);
        let mut shared = SharedLocks::new();
        assert!(shared.update_lock(lock.clone()).is_err());
        shared.insert_lock(lock.clone()).unwrap();
        assert!(shared.insert_lock(lock.clone()).is_err(), "the same transaction twice");
        assert!(shared.insert_lock(random_lock(&mut random, LockType::Put)).is_err());
        shared.update_lock(lock.clone()).unwrap();
        shared.set_shrink_only();
        assert!(shared.insert_lock(random_lock(&mut random, LockType::Lock)).is_err());
        assert_eq!(shared.remove_lock(lock.ts), Some(lock));
        assert!(shared.is_empty());
    }

    #[test]
    fn the_bytes_are_tikvs() {
        // H; i and the flag; h and the number of locks. The length of each lock is a signed varint: 30 means 15 bytes.
        let wanted = b"Hi\x01h\x02\x1eS\x04pk\x05\x07f\0\0\0\0\0\0\0\x05\x0cL\x04pk\x06\x08".to_vec();
        let shared = SharedLocks::parse(&wanted).unwrap();
        assert!(shared.is_shrink_only());
        let mut built = SharedLocks::new();
        let zero = TimeStamp::zero();
        let first =
            Lock::new(LockType::Pessimistic, b"pk".into(), 5.into(), 7, None, 5.into(), 0, zero, false);
        let second = Lock::new(LockType::Lock, b"pk".into(), 6.into(), 8, None, zero, 0, zero, false);
        built.insert_lock(second).unwrap();
        built.insert_lock(first).unwrap();
        built.set_shrink_only();
        assert_eq!(built, shared);
        assert_eq!(built.to_bytes(), wanted);
        assert_eq!(SharedLocks::parse(b"H"), Ok(SharedLocks::new()));
        assert_eq!(SharedLocks::new().to_bytes(), b"Hh\0");
    }

    #[test]
    fn a_lock_that_stays_keeps_its_unknown_fields() {
        // Both locks end in a field that no version knows.
        let bytes = b"Hh\x02\x0eL\x02k\x05\x08~\x01\x0eL\x02k\x06\x08~\x02";
        let mut shared = SharedLocks::parse(bytes).unwrap();
        assert_eq!(shared.to_bytes(), bytes);
        let mut changed = shared.get_lock(5.into()).unwrap().clone();
        changed.ttl = 9;
        shared.update_lock(changed).unwrap();
        assert_eq!(shared.to_bytes(), b"Hh\x02\x0aL\x02k\x05\x09\x0eL\x02k\x06\x08~\x02");
    }

    #[test]
    fn the_oldest_locks_are_kept() {
        let mut random = Random::new(35);
        let mut shared = SharedLocks::new();
        for ts in [5, 3, 4, 1] {
            let mut lock = random_lock(&mut random, LockType::Lock);
            lock.ts = ts.into();
            shared.insert_lock(lock).unwrap();
        }
        shared.truncate_to(4);
        shared.retain(|lock| lock.ts != 4.into());
        shared.truncate_to(2);
        assert_eq!(shared.iter_ts().collect::<Vec<_>>(), [1.into(), 3.into()]);
        let info = shared.into_lock_info(b"k".to_vec());
        let holders: Vec<_> = info.iter_locks().map(|lock| lock.lock_version).collect();
        assert_eq!((info.is_shared_lock(), holders), (true, vec![1, 3]));
        let one = LockInfo { lock_version: 7, ..LockInfo::default() };
        assert_eq!((one.is_shared_lock(), one.iter_locks().count()), (false, 1));
    }

    #[test]
    fn lock_info_nests_the_holders() {
        let mut random = Random::new(33);
        let mut shared = SharedLocks::new();
        shared.insert_lock(random_lock(&mut random, LockType::Pessimistic)).unwrap();
        let info = shared.into_lock_info(b"k".to_vec());
        assert_eq!((info.lock_type(), info.shared_lock_infos.len()), (Op::SharedLock, 1));
        assert_eq!(info.shared_lock_infos[0].key, b"k");
    }

    #[test]
    fn arbitrary_bytes_never_panic() {
        let mut random = Random::new(34);
        for _ in 0..20_000 {
            let bytes = [b"Hh", &random.bytes(40)[..]].concat();
            let _ = parse_lock(&bytes);
            let _ = parse_lock(&bytes[1..]);
        }
        assert!(matches!(SharedLocks::parse(b"Hi\x02"), Err(Error::BadFormatLock { .. })));
    }
}
