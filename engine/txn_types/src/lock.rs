//! Lock records: the value in CF lock for each locked key.
use keys::codec;
use kvproto::kvrpcpb::{LockInfo, Op};

use crate::{Error, LastChange, Mutation, Result, SHORT_VALUE_MAX_LEN, SHORT_VALUE_PREFIX, TimeStamp, Value};

const FOR_UPDATE_TS_PREFIX: u8 = b'f';
const TXN_SIZE_PREFIX: u8 = b't';
const MIN_COMMIT_TS_PREFIX: u8 = b'c';
const ASYNC_COMMIT_PREFIX: u8 = b'a';
const ROLLBACK_TS_PREFIX: u8 = b'r';
const LAST_CHANGE_PREFIX: u8 = b'l';
const TXN_SOURCE_PREFIX: u8 = b's';
const LOCKED_WITH_CONFLICT_PREFIX: u8 = b'F';
const GENERATION_PREFIX: u8 = b'g';

/// Purpose or kind of a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockType {
    /// The transaction will put a value.
    Put,
    /// The transaction will delete the key.
    Delete,
    /// The transaction only locks the key.
    Lock,
    /// Pessimistic lock: not prewritten yet.
    Pessimistic,
    /// Several transactions share the lock: a [`crate::SharedLocks`].
    Shared,
}

impl LockType {
    /// Returns the type of lock that a prewrite of `mutation` writes; `None` if the mutation only checks.
    pub fn from_mutation(mutation: &Mutation) -> Option<LockType> {
        match mutation {
            Mutation::Put(..) | Mutation::Insert(..) => Some(LockType::Put),
            Mutation::Delete(..) => Some(LockType::Delete),
            Mutation::Lock(..) | Mutation::SharedLock(..) => Some(LockType::Lock),
            Mutation::CheckNotExists(..) => None,
        }
    }

    /// Decodes the first byte of a record.
    pub fn from_u8(flag: u8) -> Option<LockType> {
        match flag {
            b'P' => Some(LockType::Put),
            b'D' => Some(LockType::Delete),
            b'L' => Some(LockType::Lock),
            b'S' => Some(LockType::Pessimistic),
            b'H' => Some(LockType::Shared),
            _ => None,
        }
    }

    /// Returns the first byte of a record.
    pub fn to_u8(self) -> u8 {
        match self {
            LockType::Put => b'P',
            LockType::Delete => b'D',
            LockType::Lock => b'L',
            LockType::Pessimistic => b'S',
            LockType::Shared => b'H',
        }
    }
}

impl From<LockType> for Op {
    fn from(lock_type: LockType) -> Op {
        match lock_type {
            LockType::Put => Op::Put,
            LockType::Delete => Op::Del,
            LockType::Lock => Op::Lock,
            LockType::Pessimistic => Op::PessimisticLock,
            LockType::Shared => Op::SharedLock,
        }
    }
}

/// Lock of one transaction.
///
/// TiKV: `txn_types::lock::Lock`.
#[derive(Debug, PartialEq, Clone)]
pub struct Lock {
    /// Purpose of the lock.
    pub lock_type: LockType,
    /// Raw primary key of the transaction.
    pub primary: Vec<u8>,
    /// Start timestamp of the transaction.
    pub ts: TimeStamp,
    /// Milliseconds from the physical part of `ts` until others may resolve the lock.
    pub ttl: u64,
    /// Value of a PUT, up to 255 bytes; a longer value is already in CF default.
    pub short_value: Option<Value>,
    /// Nonzero for a pessimistic transaction.
    pub for_update_ts: TimeStamp,
    /// Number of the transaction's keys in this region; a hint for resolving.
    pub txn_size: u64,
    /// Minimum commit timestamp of the transaction.
    pub min_commit_ts: TimeStamp,
    /// Whether the transaction is committed once all keys are prewritten.
    pub use_async_commit: bool,
    /// Whether the transaction commits in one phase. Only in memory locks, never on disk.
    pub use_one_pc: bool,
    /// Raw keys of the other locks of an async-commit transaction; only on its primary.
    pub secondaries: Vec<Vec<u8>>,
    /// Transactions rolled back on this key while it was locked; a commit record could overwrite theirs.
    pub rollback_ts: Vec<TimeStamp>,
    /// Position of the last PUT or DELETE of the key.
    pub last_change: LastChange,
    /// Source of the write, for CDC; 0 by default.
    pub txn_source: u64,
    /// Whether a pessimistic lock was acquired despite a newer version (fair locking).
    pub is_locked_with_conflict: bool,
    /// Number of the flush of a pipelined transaction; 0 for others.
    pub generation: u64,
}

impl Lock {
    /// Creates a lock from the fields common to all locks; `with_*` and `set_*` set the others.
    #[allow(clippy::too_many_arguments)] // TiKV's signature
    pub fn new(
        lock_type: LockType,
        primary: Vec<u8>,
        ts: TimeStamp,
        ttl: u64,
        short_value: Option<Value>,
        for_update_ts: TimeStamp,
        txn_size: u64,
        min_commit_ts: TimeStamp,
        is_locked_with_conflict: bool,
    ) -> Lock {
        Lock {
            lock_type,
            primary,
            ts,
            ttl,
            short_value,
            for_update_ts,
            txn_size,
            min_commit_ts,
            is_locked_with_conflict,
            use_async_commit: false,
            use_one_pc: false,
            secondaries: Vec::new(),
            rollback_ts: Vec::new(),
            last_change: LastChange::Unknown,
            txn_source: 0,
            generation: 0,
        }
    }

    /// Makes this the lock of an async-commit transaction.
    #[must_use]
    pub fn use_async_commit(mut self, secondaries: Vec<Vec<u8>>) -> Lock {
        self.use_async_commit = true;
        self.secondaries = secondaries;
        self
    }

    /// Sets the transactions rolled back on this key.
    #[must_use]
    pub fn with_rollback_ts(mut self, rollback_ts: Vec<TimeStamp>) -> Lock {
        self.rollback_ts = rollback_ts;
        self
    }

    /// Sets the position of the last PUT or DELETE.
    #[must_use]
    pub fn set_last_change(mut self, last_change: LastChange) -> Lock {
        self.last_change = last_change;
        self
    }

    /// Sets the source of the write.
    #[must_use]
    pub fn set_txn_source(mut self, source: u64) -> Lock {
        self.txn_source = source;
        self
    }

    /// Sets the number of the flush of a pipelined transaction.
    #[must_use]
    pub fn with_generation(mut self, generation: u64) -> Lock {
        self.generation = generation;
        self
    }

    /// Whether the transaction is pessimistic.
    pub fn is_pessimistic_txn(&self) -> bool {
        !self.for_update_ts.is_zero()
    }

    /// Whether the key is not prewritten yet.
    pub fn is_pessimistic_lock(&self) -> bool {
        self.lock_type == LockType::Pessimistic
    }

    /// Whether the pessimistic lock was acquired despite a newer version.
    pub fn is_pessimistic_lock_with_conflict(&self) -> bool {
        self.is_pessimistic_lock() && self.is_locked_with_conflict
    }

    /// Converts the lock to its form for clients.
    pub fn into_lock_info(self, raw_key: Vec<u8>) -> LockInfo {
        LockInfo {
            primary_lock: self.primary,
            lock_version: self.ts.into_inner(),
            key: raw_key,
            lock_ttl: self.ttl,
            txn_size: self.txn_size,
            lock_type: Op::from(self.lock_type).into(),
            lock_for_update_ts: self.for_update_ts.into_inner(),
            use_async_commit: self.use_async_commit,
            min_commit_ts: self.min_commit_ts.into_inner(),
            secondaries: self.secondaries,
            ..Default::default()
        }
    }

    /// Encodes the value for CF lock.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut buf =
            Vec::with_capacity(96 + self.primary.len() + self.short_value.as_ref().map_or(0, Vec::len));
        buf.push(self.lock_type.to_u8());
        codec::encode_compact_bytes(&mut buf, &self.primary);
        codec::encode_var_u64(&mut buf, self.ts.into_inner());
        codec::encode_var_u64(&mut buf, self.ttl);
        if let Some(value) = &self.short_value {
            debug_assert!(value.len() <= SHORT_VALUE_MAX_LEN);
            buf.push(SHORT_VALUE_PREFIX);
            buf.push(value.len() as u8);
            buf.extend_from_slice(value);
        }
        encode_nonzero(&mut buf, FOR_UPDATE_TS_PREFIX, self.for_update_ts.into_inner());
        encode_nonzero(&mut buf, TXN_SIZE_PREFIX, self.txn_size);
        encode_nonzero(&mut buf, MIN_COMMIT_TS_PREFIX, self.min_commit_ts.into_inner());
        self.encode_lists(&mut buf);
        self.last_change.encode(LAST_CHANGE_PREFIX, &mut buf);
        if self.txn_source != 0 {
            buf.push(TXN_SOURCE_PREFIX);
            codec::encode_var_u64(&mut buf, self.txn_source);
        }
        if self.is_locked_with_conflict {
            buf.push(LOCKED_WITH_CONFLICT_PREFIX);
        }
        encode_nonzero(&mut buf, GENERATION_PREFIX, self.generation);
        buf
    }

    fn encode_lists(&self, buf: &mut Vec<u8>) {
        if self.use_async_commit {
            buf.push(ASYNC_COMMIT_PREFIX);
            codec::encode_var_u64(buf, self.secondaries.len() as u64);
            for key in &self.secondaries {
                codec::encode_compact_bytes(buf, key);
            }
        }
        if !self.rollback_ts.is_empty() {
            buf.push(ROLLBACK_TS_PREFIX);
            codec::encode_var_u64(buf, self.rollback_ts.len() as u64);
            for ts in &self.rollback_ts {
                codec::encode_u64(buf, ts.into_inner());
            }
        }
    }

    /// Decodes a lock of one transaction; [`crate::parse_lock`] accepts shared locks, too.
    pub fn parse(data: &[u8]) -> Result<Lock> {
        let lock_type = decode_lock_type(data)?;
        if lock_type == LockType::Shared {
            return Err(bad_lock("expected one transaction's lock, found shared locks", data));
        }
        let mut input = &data[1..];
        let primary = codec::decode_compact_bytes(&mut input)?.to_vec();
        let ts = codec::decode_var_u64(&mut input)?.into();
        // Locks of the first versions end after the start timestamp.
        let ttl = if input.is_empty() { 0 } else { codec::decode_var_u64(&mut input)? };
        let zero = TimeStamp::zero();
        let mut lock = Lock::new(lock_type, primary, ts, ttl, None, zero, 0, zero, false);
        while let Some((field, rest)) = input.split_first() {
            input = rest;
            if !lock.decode_field(*field, &mut input)? {
                break;
            }
        }
        Ok(lock)
    }

    /// Decodes one field; returns false for an unknown field, which ends the record.
    fn decode_field(&mut self, field: u8, input: &mut &[u8]) -> Result<bool> {
        match field {
            SHORT_VALUE_PREFIX => {
                let len = codec::decode_u8(input)?;
                self.short_value = Some(codec::take(input, len.into(), "short value")?.to_vec());
            }
            FOR_UPDATE_TS_PREFIX => self.for_update_ts = codec::decode_u64(input)?.into(),
            TXN_SIZE_PREFIX => self.txn_size = codec::decode_u64(input)?,
            MIN_COMMIT_TS_PREFIX => self.min_commit_ts = codec::decode_u64(input)?.into(),
            ASYNC_COMMIT_PREFIX => {
                self.use_async_commit = true;
                let key = |input: &mut &[u8]| codec::decode_compact_bytes(input).map(<[u8]>::to_vec);
                self.secondaries = decode_list(input, key)?;
            }
            ROLLBACK_TS_PREFIX => {
                self.rollback_ts = decode_list(input, |input| codec::decode_u64(input).map(Into::into))?;
            }
            LAST_CHANGE_PREFIX => self.last_change = LastChange::decode(input)?,
            TXN_SOURCE_PREFIX => self.txn_source = codec::decode_var_u64(input)?,
            LOCKED_WITH_CONFLICT_PREFIX => self.is_locked_with_conflict = true,
            GENERATION_PREFIX => self.generation = codec::decode_u64(input)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn encode_nonzero(buf: &mut Vec<u8>, prefix: u8, value: u64) {
    if value != 0 {
        buf.push(prefix);
        codec::encode_u64(buf, value);
    }
}

/// Decodes a count and that many items. The count is untrusted, so no memory is reserved for it.
pub(crate) fn decode_list<'a, T>(
    input: &mut &'a [u8],
    item: impl Fn(&mut &'a [u8]) -> keys::Result<T>,
) -> Result<Vec<T>> {
    let count = codec::decode_var_u64(input)?;
    Ok((0..count).map(|_| item(input)).collect::<keys::Result<Vec<T>>>()?)
}

pub(crate) fn bad_lock(what: &'static str, data: &[u8]) -> Error {
    Error::BadFormatLock { what, data: data.to_vec() }
}

/// Returns the type of an encoded lock, without decoding the rest.
pub fn decode_lock_type(data: &[u8]) -> Result<LockType> {
    let flag = data.first().copied().and_then(LockType::from_u8);
    flag.ok_or_else(|| bad_lock("unknown type in the first byte", data))
}

/// Returns the start timestamp of an encoded lock of one transaction.
pub fn decode_lock_start_ts(data: &[u8]) -> Result<TimeStamp> {
    if decode_lock_type(data)? == LockType::Shared {
        return Err(bad_lock("shared locks have no single start timestamp", data));
    }
    let mut input = &data[1..];
    codec::decode_compact_bytes(&mut input)?;
    Ok(codec::decode_var_u64(&mut input)?.into())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::test_util::Random;

    pub fn random_lock(random: &mut Random, lock_type: LockType) -> Lock {
        let lock = Lock::new(
            lock_type,
            random.bytes(20),
            random.number().into(),
            random.number(),
            random.some(|r| r.bytes(255)),
            random.number().into(),
            random.number(),
            random.number().into(),
            random.flip(),
        )
        .set_last_change(LastChange::random(random))
        .set_txn_source(random.number())
        .with_rollback_ts((0..random.below(3)).map(|i| i.into()).collect())
        .with_generation(random.number());
        if random.flip() {
            let count = random.below(3);
            return lock.use_async_commit((0..count).map(|_| random.bytes(20)).collect());
        }
        lock
    }

    #[test]
    fn a_lock_has_tikvs_bytes() {
        let (ts, min) = (5.into(), 6.into());
        let lock = Lock::new(LockType::Put, b"pk".to_vec(), ts, 3000, Some(b"x".to_vec()), ts, 1, min, false);
        let bytes = "5004706b05b817760178660000000000000005740000000000000001630000000000000006";
        assert_eq!(keys::hex_lower(&lock.to_bytes()), bytes);
        assert_eq!(Lock::parse(&keys::hex_decode(bytes).unwrap()), Ok(lock));
    }

    #[test]
    fn random_locks_round_trip() {
        let mut random = Random::new(21);
        let types = [LockType::Put, LockType::Delete, LockType::Lock, LockType::Pessimistic];
        for i in 0..5000 {
            let lock = random_lock(&mut random, types[i % 4]);
            let bytes = lock.to_bytes();
            assert_eq!(decode_lock_type(&bytes), Ok(lock.lock_type));
            assert_eq!(decode_lock_start_ts(&bytes), Ok(lock.ts));
            assert_eq!(Lock::parse(&bytes), Ok(lock));
        }
    }

    #[test]
    fn an_old_lock_may_end_after_its_start() {
        let lock = Lock::parse(b"L\x02k\x07").unwrap();
        assert_eq!((lock.lock_type, lock.ts, lock.ttl), (LockType::Lock, 7.into(), 0));
    }

    #[test]
    fn an_unknown_field_ends_the_lock() {
        let lock = Lock::parse(b"L\x02k\x07\x08~future").unwrap();
        assert_eq!((lock.ttl, lock.generation), (8, 0));
    }

    #[test]
    fn bad_bytes_are_an_error_not_a_panic() {
        assert!(matches!(Lock::parse(b""), Err(Error::BadFormatLock { .. })));
        assert!(matches!(Lock::parse(b"X"), Err(Error::BadFormatLock { .. })));
        assert!(matches!(Lock::parse(b"Hh\0"), Err(Error::BadFormatLock { .. })));
        assert!(matches!(Lock::parse(b"P\x02k\x07\x08v\x09abc"), Err(Error::Codec(_))));
        // A count of 2^63 must not reserve memory.
        let huge = b"P\x02k\x07\x08r\xff\xff\xff\xff\xff\xff\xff\xff\x7f";
        assert!(matches!(Lock::parse(huge), Err(Error::Codec(_))));
        let mut random = Random::new(22);
        for _ in 0..20_000 {
            let mut bytes = random_lock(&mut random, LockType::Put).to_bytes();
            bytes.truncate(random.below(bytes.len() as u64 + 1) as usize);
            let _ = Lock::parse(&bytes);
            let _ = Lock::parse(&random.bytes(40));
        }
    }

    #[test]
    fn lock_info_has_all_fields_for_clients() {
        let mut random = Random::new(23);
        let lock = random_lock(&mut random, LockType::Pessimistic).use_async_commit(vec![b"s".to_vec()]);
        let info = lock.clone().into_lock_info(b"raw".to_vec());
        assert_eq!(info.lock_type(), Op::PessimisticLock);
        assert_eq!((info.key, info.primary_lock), (b"raw".to_vec(), lock.primary));
        assert_eq!((info.lock_version, info.lock_ttl), (lock.ts.into_inner(), lock.ttl));
        assert_eq!((info.use_async_commit, info.secondaries), (true, vec![b"s".to_vec()]));
        assert_eq!(info.lock_for_update_ts, lock.for_update_ts.into_inner());
    }
}
