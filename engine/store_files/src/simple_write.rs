//! Entries in raftstore-v2's own format (TiKV `store::simple_write`): a header and a sequence of writes, not
//! a protobuf message.
//!
//! ```text
//! field     bytes   meaning
//! magic     1       0, with which no protobuf message begins
//! header            `RaftRequestHeader` after its length (varint)
//! writes:
//!   type    1       0 put, 1 delete, 2 delete range, 3 ingest
//!   put: family, key, value
//!   delete: family, key
//!   delete range: family, start key, end key, notify only (1 byte)
//!   ingest: number of SSTs (a length), then `SstMeta` after its length (varint) for each
//! family    1       0 default, 1 write, 2 lock; 3 is followed by the name
//! key, value and name follow their lengths
//! length    1       0 to 240: itself; 241 to 251: more bytes follow, big-endian
//! ```
use kvproto::{
    import_sstpb::SstMeta,
    raft_cmdpb::{
        CmdType, DeleteRangeRequest, DeleteRequest, IngestSstRequest, PutRequest, RaftCmdRequest,
        RaftRequestHeader, Request,
    },
};
use prost::Message;

/// First byte of an entry in this format. No protobuf message begins with it.
const MAGIC: u8 = 0;
const PUT: u8 = 0;
const DELETE: u8 = 1;
const DELETE_RANGE: u8 = 2;
const INGEST: u8 = 3;
const CFS: [&str; 3] = ["default", "write", "lock"];
const NAMED_CF: u8 = 3;

/// Whether an entry's data has this format.
pub fn is_simple(data: &[u8]) -> bool {
    data.first() == Some(&MAGIC)
}

/// Decodes an entry into the command of an ordinary entry. Returns `None` if it does not decode.
pub fn decode(data: &[u8]) -> Option<RaftCmdRequest> {
    let mut rest = data.strip_prefix(&[MAGIC])?;
    let header = RaftRequestHeader::decode_length_delimited(&mut rest).ok()?;
    let mut requests = Vec::new();
    while !rest.is_empty() {
        take_request(&mut rest, &mut requests)?;
    }
    Some(RaftCmdRequest { header: Some(header), requests, ..Default::default() })
}

fn take_request(rest: &mut &[u8], requests: &mut Vec<Request>) -> Option<()> {
    let tag = take(rest, 1)?[0];
    let request = |cmd_type: CmdType| Request { cmd_type: cmd_type.into(), ..Default::default() };
    match tag {
        PUT => {
            let put = PutRequest { cf: take_cf(rest)?, key: take_bytes(rest)?, value: take_bytes(rest)? };
            requests.push(Request { put: Some(put), ..request(CmdType::Put) });
        }
        DELETE => {
            let delete = DeleteRequest { cf: take_cf(rest)?, key: take_bytes(rest)? };
            requests.push(Request { delete: Some(delete), ..request(CmdType::Delete) });
        }
        DELETE_RANGE => {
            let range = DeleteRangeRequest {
                cf: take_cf(rest)?,
                start_key: take_bytes(rest)?,
                end_key: take_bytes(rest)?,
                notify_only: take(rest, 1)?[0] != 0,
            };
            requests.push(Request { delete_range: Some(range), ..request(CmdType::DeleteRange) });
        }
        INGEST => {
            for _ in 0..take_len(rest)? {
                let sst = Some(SstMeta::decode_length_delimited(&mut *rest).ok()?);
                let ingest_sst = Some(IngestSstRequest { sst });
                requests.push(Request { ingest_sst, ..request(CmdType::IngestSst) });
            }
        }
        _ => return None,
    }
    Some(())
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(len)?;
    *rest = left;
    Some(taken)
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

/// Takes a length: one byte if it is up to 240, otherwise a byte for the range and the rest.
fn take_len(rest: &mut &[u8]) -> Option<usize> {
    let first = usize::from(take(rest, 1)?[0]);
    Some(match first {
        0..=240 => first,
        241..=248 => 240 + (first - 241) * 256 + number(take(rest, 1)?),
        249 => 2288 + number(take(rest, 2)?),
        250 => number(take(rest, 3)?),
        251 => number(take(rest, 4)?),
        _ => return None,
    })
}

fn take_bytes(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let len = take_len(rest)?;
    take(rest, len).map(<[u8]>::to_vec)
}

fn take_cf(rest: &mut &[u8]) -> Option<String> {
    match take(rest, 1)?[0] {
        NAMED_CF => String::from_utf8(take_bytes(rest)?).ok(),
        known => CFS.get(usize::from(known)).map(|name| (*name).to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_decode_as_in_tikv() {
        let len = |bytes: &[u8]| take_len(&mut &*bytes);
        assert_eq!(len(&[240]), Some(240));
        assert_eq!(len(&[241, 1]), Some(241));
        assert_eq!(len(&[248, 255]), Some(2287));
        assert_eq!(len(&[249, 0, 0]), Some(2288));
        assert_eq!(len(&[250, 1, 8, 240]), Some(67_824));
        assert_eq!(len(&[251, 1, 0, 0, 0]), Some(16_777_216));
        assert_eq!((len(&[252]), len(&[249, 1])), (None, None));
    }

    #[test]
    fn writes_decode_and_truncated_ones_do_not() {
        let header = RaftRequestHeader { term: 7, ..Default::default() };
        let mut data = vec![MAGIC];
        data.extend_from_slice(&header.encode_length_delimited_to_vec());
        data.extend_from_slice(&[PUT, 1, 1, b'k', 2, b'v', b'w', DELETE, 2, 1, b'k']);
        data.extend_from_slice(&[DELETE_RANGE, NAMED_CF, 2, b'c', b'f', 1, b'a', 1, b'b', 1]);
        let meta = SstMeta { length: 9, ..Default::default() };
        data.extend_from_slice(&[INGEST, 1]);
        data.extend_from_slice(&meta.encode_length_delimited_to_vec());
        let command = decode(&data).unwrap();
        assert_eq!(command.header, Some(header));
        let put = PutRequest { cf: "write".into(), key: b"k".to_vec(), value: b"vw".to_vec() };
        assert_eq!(command.requests[0].put, Some(put));
        assert_eq!(command.requests[1].delete.as_ref().map(|delete| delete.cf.as_str()), Some("lock"));
        assert!(
            command.requests[2]
                .delete_range
                .as_ref()
                .is_some_and(|range| range.notify_only && range.cf == "cf")
        );
        assert_eq!(command.requests[3].ingest_sst.as_ref().and_then(|ingest| ingest.sst.clone()), Some(meta));
        let whole = command.requests.len();
        for cut in 0..data.len() {
            assert!(decode(&data[..cut]).is_none_or(|command| command.requests.len() < whole), "{cut}");
        }
    }
}
