//! Wire format of a read index round's context. Mirrors `raftstore::store::read_queue::ReadIndexContext`.
use kvproto::{kvrpcpb::LockInfo, metapb::Region, raft_cmdpb::ReadIndexRequest};
use prost::Message;
use uuid::Uuid;

use crate::{Error, Result};

const UUID_LEN: usize = 16;
const REQUEST_FLAG: u8 = b'r';
const LOCKED_FLAG: u8 = b'l';
const READ_INDEX_SAFE_TS_FLAG: u8 = b'm';

/// Context of a round: an id of 16 bytes, then fields, each with a flag, a length and its bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadIndexContext {
    /// Id of the round.
    pub id: Uuid,
    /// From a replica to its leader: keys and timestamp of the read.
    pub request: Option<ReadIndexRequest>,
    /// From the leader: the lock in memory that blocks the read.
    pub locked: Option<LockInfo>,
    /// Timestamp below which TiKV's leader has no lock in memory; replicas here do not use it.
    pub read_index_safe_ts: Option<u64>,
}

/// Takes the bytes of a field; an error if too few are left.
fn take<'a>(bytes: &mut &'a [u8], len: u64) -> Result<&'a [u8]> {
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    let short =
        || Error::other(format!("expected {len} bytes in a read index context, found {}", bytes.len()));
    let (field, rest) = bytes.split_at_checked(len).ok_or_else(short)?;
    *bytes = rest;
    Ok(field)
}

fn message<M: Message + Default>(bytes: &mut &[u8]) -> Result<M> {
    let len = prost::encoding::decode_varint(bytes)?;
    Ok(M::decode(take(bytes, len)?)?)
}

impl ReadIndexContext {
    /// # Errors
    /// A truncated or undecodable context. An unknown field, which newer versions may add, ends the context.
    pub fn parse(mut bytes: &[u8]) -> Result<Self> {
        let id = take(&mut bytes, UUID_LEN as u64)?;
        let id = Uuid::from_slice(id).map_err(|e| Error::other(e.to_string()))?;
        let mut context = ReadIndexContext { id, ..Self::default() };
        while let Some((flag, rest)) = bytes.split_first() {
            bytes = rest;
            match *flag {
                REQUEST_FLAG => context.request = Some(message(&mut bytes)?),
                LOCKED_FLAG => context.locked = Some(message(&mut bytes)?),
                READ_INDEX_SAFE_TS_FLAG => {
                    let len = take(&mut bytes, 8)?.first_chunk().map_or(0, |b| u64::from_be_bytes(*b));
                    let safe_ts = take(&mut bytes, len)?.first_chunk().map(|b| u64::from_le_bytes(*b));
                    context.read_index_safe_ts = safe_ts;
                }
                _ => break,
            }
        }
        Ok(context)
    }

    /// Encodes the context. TiKV: `fields_to_bytes`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.id.as_bytes().to_vec();
        if let Some(request) = &self.request {
            bytes.push(REQUEST_FLAG);
            bytes.extend(request.encode_length_delimited_to_vec());
        }
        if let Some(locked) = &self.locked {
            bytes.push(LOCKED_FLAG);
            bytes.extend(locked.encode_length_delimited_to_vec());
        }
        if let Some(safe_ts) = self.read_index_safe_ts {
            bytes.push(READ_INDEX_SAFE_TS_FLAG);
            bytes.extend(8_u64.to_be_bytes());
            bytes.extend(safe_ts.to_le_bytes());
        }
        bytes
    }
}

/// Sees the reads of replicas before this store's leaders answer them. TiKV: `ReadIndexObserver`.
pub trait ReadIndexObserver: Send + Sync + 'static {
    /// Returns the memory lock that blocks a replica's read of `region`. Runs on pollers: must not block.
    fn on_step(&self, request: &ReadIndexRequest, region: &Region) -> Option<LockInfo>;
}

/// Observer of a store without transactions.
pub struct NoObserver;

impl ReadIndexObserver for NoObserver {
    fn on_step(&self, _: &ReadIndexRequest, _: &Region) -> Option<LockInfo> {
        None
    }
}

#[cfg(test)]
mod tests {
    use kvproto::kvrpcpb::KeyRange;

    use super::*;

    fn full() -> ReadIndexContext {
        let range = KeyRange { start_key: b"a".to_vec(), end_key: b"b".to_vec() };
        ReadIndexContext {
            id: Uuid::from_bytes([7; 16]),
            request: Some(ReadIndexRequest { start_ts: 5, key_ranges: vec![range] }),
            locked: Some(LockInfo { key: b"k".to_vec(), lock_version: 3, ..Default::default() }),
            read_index_safe_ts: Some(9),
        }
    }

    #[test]
    fn a_context_may_consist_of_an_id_alone() {
        let id = Uuid::new_v4();
        let context = ReadIndexContext::parse(id.as_bytes()).unwrap();
        assert_eq!(context, ReadIndexContext { id, ..Default::default() });
        assert_eq!(context.to_bytes(), id.as_bytes());
    }

    #[test]
    fn the_bytes_are_tikvs() {
        let bytes = full().to_bytes();
        assert_eq!(&bytes[..16], [7; 16]);
        // start_ts = 5, key_ranges = [{a, b}].
        assert_eq!(&bytes[16..28], b"r\x0a\x08\x05\x12\x06\x0a\x01a\x12\x01b");
        // key = k, lock_version = 3.
        assert_eq!(&bytes[28..35], b"l\x05\x10\x03\x1a\x01k");
        assert_eq!(&bytes[35..], b"m\0\0\0\0\0\0\0\x08\x09\0\0\0\0\0\0\0");
        assert_eq!(ReadIndexContext::parse(&bytes).unwrap(), full());
    }

    #[test]
    fn an_unknown_field_ends_it_and_a_short_one_is_an_error() {
        let mut bytes = full().to_bytes();
        bytes.extend(b"zwhatever");
        assert_eq!(ReadIndexContext::parse(&bytes).unwrap(), full());
        let bytes = full().to_bytes();
        for len in 0..16 {
            assert!(ReadIndexContext::parse(&bytes[..len]).is_err(), "{len}");
        }
        for len in [17, 20, 29, 40, bytes.len() - 1] {
            assert!(ReadIndexContext::parse(&bytes[..len]).is_err(), "{len}");
        }
        let mut huge = vec![0; 16];
        huge.extend(b"r\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
        assert!(ReadIndexContext::parse(&huge).is_err());
    }
}
