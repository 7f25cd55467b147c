//! Write records: the value in CF write for each committed or rolled back version.
use keys::codec;

use crate::{Error, LastChange, LockType, Result, SHORT_VALUE_MAX_LEN, SHORT_VALUE_PREFIX, TimeStamp, Value};

const OVERLAPPED_ROLLBACK: u8 = b'R';
const GC_FENCE_PREFIX: u8 = b'F';
const LAST_CHANGE_PREFIX: u8 = b'l';
const TXN_SOURCE_PREFIX: u8 = b'S';
const PROTECTED_ROLLBACK_SHORT_VALUE: &[u8] = b"p";

/// Change that a version made to the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteType {
    /// Put a value.
    Put,
    /// Deleted the key.
    Delete,
    /// Locked the key without changing the value.
    Lock,
    /// The transaction was rolled back.
    Rollback,
}

impl WriteType {
    /// Returns the write type of a committed lock of type `lock_type`.
    pub fn from_lock_type(lock_type: LockType) -> Option<WriteType> {
        match lock_type {
            LockType::Put => Some(WriteType::Put),
            LockType::Delete => Some(WriteType::Delete),
            LockType::Lock => Some(WriteType::Lock),
            LockType::Pessimistic | LockType::Shared => None,
        }
    }

    /// Decodes the first byte of a record.
    pub fn from_u8(flag: u8) -> Option<WriteType> {
        match flag {
            b'P' => Some(WriteType::Put),
            b'D' => Some(WriteType::Delete),
            b'L' => Some(WriteType::Lock),
            b'R' => Some(WriteType::Rollback),
            _ => None,
        }
    }

    /// Returns the first byte of a record.
    pub fn to_u8(self) -> u8 {
        match self {
            WriteType::Put => b'P',
            WriteType::Delete => b'D',
            WriteType::Lock => b'L',
            WriteType::Rollback => b'R',
        }
    }
}

/// Write record that owns its value; fields as in [`WriteRef`].
#[derive(Debug, PartialEq, Clone)]
pub struct Write {
    /// Change that the version made.
    pub write_type: WriteType,
    /// Start timestamp of the transaction, also of the value's key in CF default.
    pub start_ts: TimeStamp,
    /// Value of a PUT, up to 255 bytes.
    pub short_value: Option<Value>,
    /// See [`WriteRef::has_overlapped_rollback`].
    pub has_overlapped_rollback: bool,
    /// See [`WriteRef::gc_fence`].
    pub gc_fence: Option<TimeStamp>,
    /// Position of the last PUT or DELETE below.
    pub last_change: LastChange,
    /// Source of the write, for CDC; 0 by default.
    pub txn_source: u64,
}

impl Write {
    /// Creates the record of a commit.
    pub fn new(write_type: WriteType, start_ts: TimeStamp, short_value: Option<Value>) -> Write {
        Write {
            write_type,
            start_ts,
            short_value,
            has_overlapped_rollback: false,
            gc_fence: None,
            last_change: LastChange::Unknown,
            txn_source: 0,
        }
    }

    /// Creates the record of a rollback; a protected one is never collapsed into another.
    pub fn new_rollback(start_ts: TimeStamp, protected: bool) -> Write {
        let short_value = protected.then(|| PROTECTED_ROLLBACK_SHORT_VALUE.to_vec());
        Write::new(WriteType::Rollback, start_ts, short_value)
    }

    /// Marks that a protected rollback has the same timestamp.
    #[must_use]
    pub fn set_overlapped_rollback(mut self, overlapped: bool, gc_fence: Option<TimeStamp>) -> Write {
        self.has_overlapped_rollback = overlapped;
        self.gc_fence = gc_fence;
        self
    }

    /// Sets the position of the last PUT or DELETE below.
    #[must_use]
    pub fn set_last_change(mut self, last_change: LastChange) -> Write {
        self.last_change = last_change;
        self
    }

    /// Sets the source of the write.
    #[must_use]
    pub fn set_txn_source(mut self, source: u64) -> Write {
        self.txn_source = source;
        self
    }

    /// Returns the type of an encoded record, without decoding the rest.
    #[inline]
    pub fn parse_type(data: &[u8]) -> Result<WriteType> {
        let flag = data.first().copied().and_then(WriteType::from_u8);
        flag.ok_or_else(|| bad("unknown type in the first byte", data))
    }

    /// Borrows this record.
    pub fn as_ref(&self) -> WriteRef<'_> {
        WriteRef {
            write_type: self.write_type,
            start_ts: self.start_ts,
            short_value: self.short_value.as_deref(),
            has_overlapped_rollback: self.has_overlapped_rollback,
            gc_fence: self.gc_fence,
            last_change: self.last_change,
            txn_source: self.txn_source,
        }
    }

    /// Encodes the value for CF write.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.as_ref().to_bytes()
    }
}

/// Write record that borrows its value from the encoded bytes.
#[derive(Debug, PartialEq, Clone)]
pub struct WriteRef<'a> {
    /// Change that the version made.
    pub write_type: WriteType,
    /// Start timestamp of the transaction, also of the value's key in CF default.
    pub start_ts: TimeStamp,
    /// Value of a PUT, up to 255 bytes; `p` marks a protected rollback.
    pub short_value: Option<&'a [u8]>,
    /// Whether a protected rollback with `start_ts` equal to this commit's timestamp shares the record.
    pub has_overlapped_rollback: bool,
    /// Set if the record was rewritten for an overlapping rollback: commit timestamp of the next version at
    /// that time, zero if there was none. If that version is gone, GC has removed this one, too.
    pub gc_fence: Option<TimeStamp>,
    /// Position of the last PUT or DELETE below.
    pub last_change: LastChange,
    /// Source of the write, for CDC; 0 by default.
    pub txn_source: u64,
}

impl WriteRef<'_> {
    /// Decodes a record. An unknown field ends it, since newer versions may add fields.
    #[inline]
    pub fn parse(data: &[u8]) -> Result<WriteRef<'_>> {
        let write_type = Write::parse_type(data)?;
        let mut input = &data[1..];
        let start_ts = codec::decode_var_u64(&mut input)?.into();
        let mut write = WriteRef {
            write_type,
            start_ts,
            short_value: None,
            has_overlapped_rollback: false,
            gc_fence: None,
            last_change: LastChange::Unknown,
            txn_source: 0,
        };
        while let Some((field, rest)) = input.split_first() {
            input = rest;
            match *field {
                SHORT_VALUE_PREFIX => {
                    let len = codec::decode_u8(&mut input)?;
                    write.short_value = Some(codec::take(&mut input, len.into(), "short value")?);
                }
                OVERLAPPED_ROLLBACK => write.has_overlapped_rollback = true,
                GC_FENCE_PREFIX => write.gc_fence = Some(codec::decode_u64(&mut input)?.into()),
                LAST_CHANGE_PREFIX => write.last_change = LastChange::decode(&mut input)?,
                TXN_SOURCE_PREFIX => write.txn_source = codec::decode_var_u64(&mut input)?,
                _ => break,
            }
        }
        Ok(write)
    }

    /// Encodes the value for CF write.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut buf = Vec::with_capacity(48 + self.short_value.map_or(0, <[u8]>::len));
        buf.push(self.write_type.to_u8());
        codec::encode_var_u64(&mut buf, self.start_ts.into_inner());
        if let Some(value) = self.short_value {
            debug_assert!(value.len() <= SHORT_VALUE_MAX_LEN);
            buf.push(SHORT_VALUE_PREFIX);
            buf.push(value.len() as u8);
            buf.extend_from_slice(value);
        }
        if self.has_overlapped_rollback {
            buf.push(OVERLAPPED_ROLLBACK);
        }
        if let Some(ts) = self.gc_fence {
            buf.push(GC_FENCE_PREFIX);
            codec::encode_u64(&mut buf, ts.into_inner());
        }
        self.last_change.encode(LAST_CHANGE_PREFIX, &mut buf);
        if self.txn_source != 0 {
            buf.push(TXN_SOURCE_PREFIX);
            codec::encode_var_u64(&mut buf, self.txn_source);
        }
        buf
    }

    /// Whether the latest version found at `read_ts` is valid: false if GC has removed the version in its
    /// fence, and with it this one. `read_ts` must be above the safe point.
    pub fn check_gc_fence_as_latest_version(&self, read_ts: TimeStamp) -> bool {
        !self.gc_fence.is_some_and(|fence| !fence.is_zero() && fence <= read_ts)
    }

    /// Whether this is a rollback that must not be collapsed.
    pub fn is_protected(&self) -> bool {
        self.write_type == WriteType::Rollback && self.short_value == Some(PROTECTED_ROLLBACK_SHORT_VALUE)
    }

    /// Copies the record with its value.
    pub fn to_owned(&self) -> Write {
        Write {
            write_type: self.write_type,
            start_ts: self.start_ts,
            short_value: self.short_value.map(<[u8]>::to_vec),
            has_overlapped_rollback: self.has_overlapped_rollback,
            gc_fence: self.gc_fence,
            last_change: self.last_change,
            txn_source: self.txn_source,
        }
    }
}

fn bad(what: &'static str, data: &[u8]) -> Error {
    Error::BadFormatWrite { what, data: data.to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_util::Random;

    fn random_write(random: &mut Random) -> Write {
        let types = [WriteType::Put, WriteType::Delete, WriteType::Lock, WriteType::Rollback];
        let write_type = types[random.below(4) as usize];
        let short_value = random.some(|r| r.bytes(255));
        let fence = random.some(|r| r.number().into());
        Write::new(write_type, random.number().into(), short_value)
            .set_overlapped_rollback(random.flip(), fence)
            .set_last_change(LastChange::random(random))
            .set_txn_source(if random.flip() { random.number() } else { 0 })
    }

    #[test]
    fn records_have_tikvs_bytes() {
        let put = Write::new(WriteType::Put, 5.into(), Some(b"x".to_vec()));
        assert_eq!(keys::hex_lower(&put.to_bytes()), "5005760178");
        let full = Write::new(WriteType::Put, 300.into(), Some(b"ab".to_vec()))
            .set_overlapped_rollback(true, Some(7.into()))
            .set_last_change(LastChange::make_exist(6.into(), 3))
            .set_txn_source(1);
        let bytes = "50ac0276026162524600000000000000076c0000000000000006035301";
        assert_eq!(keys::hex_lower(&full.to_bytes()), bytes);
        assert_eq!(WriteRef::parse(&keys::hex_decode(bytes).unwrap()).unwrap().to_owned(), full);
    }

    #[test]
    fn random_records_round_trip() {
        let mut random = Random::new(11);
        for _ in 0..5000 {
            let write = random_write(&mut random);
            let bytes = write.to_bytes();
            assert_eq!(WriteRef::parse(&bytes).unwrap().to_owned(), write);
            assert_eq!(Write::parse_type(&bytes), Ok(write.write_type));
        }
    }

    #[test]
    fn an_unknown_field_ends_the_record() {
        let write = Write::new(WriteType::Delete, 9.into(), None);
        let mut bytes = write.to_bytes();
        bytes.extend_from_slice(b"~future");
        assert_eq!(WriteRef::parse(&bytes).unwrap().to_owned(), write);
    }

    #[test]
    fn a_truncated_record_is_an_error_not_a_panic() {
        assert!(matches!(WriteRef::parse(b""), Err(Error::BadFormatWrite { .. })));
        assert!(matches!(WriteRef::parse(b"Q\x05"), Err(Error::BadFormatWrite { .. })));
        assert!(matches!(WriteRef::parse(b"P\x05v\x04abc"), Err(Error::Codec(_))));
        let mut random = Random::new(12);
        for _ in 0..20_000 {
            let mut bytes = random_write(&mut random).to_bytes();
            bytes.truncate(random.below(bytes.len() as u64 + 1) as usize);
            let _ = WriteRef::parse(&bytes);
            let _ = WriteRef::parse(&random.bytes(40));
        }
    }

    #[test]
    fn a_fence_at_or_below_the_read_hides_the_record() {
        let fenced = |ts: Option<u64>| {
            let write = Write::new(WriteType::Put, 1.into(), None);
            write.set_overlapped_rollback(true, ts.map(Into::into))
        };
        for (fence, valid) in
            [(None, true), (Some(0), true), (Some(11), true), (Some(10), false), (Some(3), false)]
        {
            assert_eq!(fenced(fence).as_ref().check_gc_fence_as_latest_version(10.into()), valid);
        }
    }

    #[test]
    fn only_protected_rollbacks_are_protected() {
        assert!(Write::new_rollback(1.into(), true).as_ref().is_protected());
        assert!(!Write::new_rollback(1.into(), false).as_ref().is_protected());
        assert!(!Write::new(WriteType::Put, 1.into(), Some(b"p".to_vec())).as_ref().is_protected());
    }
}
