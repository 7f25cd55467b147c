//! What every fuzz target and `tests/mutations.rs` do with any bytes: no panic, no hang, no memory that the bytes do not
//! account for.

use std::{path::Path, sync::Arc};

use tikv_ctl::{
    encryption::{EncryptionConfig, FileDict, parse_keys},
    key::{
        KeyFormat::{Auto, Base64, Escaped, Hex, Raw, Tidb},
        KeyUse, inner, parse_key, readings,
    },
    lsm::{
        BlobFile, BlobIndex, Filter, LogReader, RandomFile, Record, Table, decode_record, decompress,
        manifest, options, read_batch, verify,
    },
    raft_engine::BatchIter,
    simple_write,
    snapshot::LockFile,
    text::{message_json, message_text},
    tidb::{self, TableKey},
};

/// As an SST: opened, verified, walked, searched, filtered.
pub fn sst(data: &[u8]) {
    let file = RandomFile::from_bytes(Path::new("any.sst"), data.to_vec());
    let Ok(table) = Table::from_file(file, Some(7)) else { return };
    let table = Arc::new(table);
    let _ = verify(&table, 1);
    let _ = (table.range_deletions(), table.filter_text(), table.may_hold(Some(b"key"), b"row"));
    if let Ok(mut iter) = table.iter() {
        // Each error leaves a block behind, so that the walk ends.
        while !matches!(iter.advance(), Ok(false)) {}
    }
    if let Ok(mut iter) = table.iter_from(data.get(..9).unwrap_or(data)) {
        let _ = iter.advance();
    }
    for name in ["tikv.range_index", "tikv.rows_index"] {
        let _ = table.properties().range_index(name);
    }
}

/// As an SST whose footer is lost, and as one whose index is: its blocks are looked for.
pub fn salvage(data: &[u8]) {
    const FOOTER: usize = 53;
    let cut = &data[..data.len().saturating_sub(FOOTER)];
    let no_index = [cut, &[0; FOOTER]].concat();
    for bytes in [cut, &no_index] {
        let file = RandomFile::from_bytes(Path::new("any.sst"), bytes.to_vec());
        let Ok(table) = Table::from_file(file, None) else { continue };
        let _ = verify(&Arc::new(table), 1);
    }
}

/// As a compressed block: its compression, whether its length stands before it, a dictionary, the block.
pub fn compressed(data: &[u8]) {
    let Some((&[kind, sized, dict], rest)) = data.split_first_chunk() else { return };
    let (dict, body) = rest.split_at(usize::from(dict).min(rest.len()));
    for dict in [dict, &[]] {
        let _ = decompress(kind, body, dict, sized & 1 == 0);
    }
}

/// As a filter: the length of a key, the key, the filter.
pub fn filter(data: &[u8]) {
    let Some((len, rest)) = data.split_first() else { return };
    let (key, filter) = rest.split_at(usize::from(*len).min(rest.len()));
    let filter = Filter::parse(filter);
    let _ = (filter.may_contain(key), filter.may_contain(b""), filter.may_contain(data));
}

/// As a MANIFEST, and as one version edit.
pub fn manifest(data: &[u8]) {
    let _ = manifest::replay("MANIFEST-000001".into(), data);
    let _ = manifest::parse(data);
}

/// As an OPTIONS file.
pub fn options(data: &[u8]) {
    let _ = options::parse(&String::from_utf8_lossy(data));
}

/// As the dictionaries of encryption at rest.
pub fn encryption(data: &[u8]) {
    let _ = FileDict::parse("file.dict".into(), data.to_vec());
    let _ = parse_keys(Path::new("key.dict"), data, &EncryptionConfig::default());
}

/// As the files of a snapshot: locks, and what it says of itself.
pub fn snapshot(data: &[u8]) {
    let _ =
        LockFile::new(data).map(|pair| pair.map_or(0, |(key, value)| key.len() + value.len())).sum::<usize>();
    let _ = message_text("raft_serverpb.SnapshotMeta", data).is_ok();
}

/// As the data of a Raft log entry in raftstore-v2's own form.
pub fn simple_write(data: &[u8]) {
    let _ = (simple_write::is_simple(data), simple_write::decode(data));
}

/// As a log, with what follows damage, and as one write batch.
pub fn wal(data: &[u8]) {
    let mut reader = LogReader::new(data, 1);
    loop {
        match reader.next_record() {
            Record::End => break,
            Record::Data { data, .. } => drop(read_batch(&data, |_| {})),
            Record::Corrupt { .. } => {
                if !reader.resync() {
                    break;
                }
            }
        }
    }
    let _ = read_batch(data, |_| {});
}

/// As a raft-engine file: batches, entries, and what follows damage.
pub fn raft_log(data: &[u8]) {
    let Ok(mut batches) = BatchIter::new(data, 1) else { return };
    loop {
        match batches.next_batch() {
            Ok(None) => break,
            Ok(Some(batch)) => drop(batch.plain()),
            Err(_) => {
                if batches.resync().is_none() {
                    break;
                }
            }
        }
    }
}

/// As the small records: locks, writes, blob indexes and records, and protobuf as text.
pub fn records(data: &[u8]) {
    let _ = (txn_types::WriteRef::parse(data).is_ok(), txn_types::parse_lock(data).is_ok());
    let _ = (BlobIndex::decode(data), decode_record(data).is_ok());
    for message in ["raft_cmdpb.RaftCmdRequest", "raft_serverpb.RegionLocalState", "eraftpb.Entry"] {
        let _ = (message_text(message, data).is_ok(), message_json(message, data).is_ok());
    }
}

/// As a Titan blob file: its dictionary, and one record behind the other from the end of each header there is.
pub fn blob(data: &[u8]) {
    const RECORD_HEADER: usize = 9;
    let file = RandomFile::from_bytes(Path::new("000001.blob"), data.to_vec());
    let Ok(blob) = BlobFile::new(file) else { return };
    for start in [8, 12] {
        let mut at = start;
        while let Some(len) = data.get(at + 4..).and_then(<[u8]>::first_chunk) {
            let size = RECORD_HEADER + u32::from_le_bytes(*len) as usize;
            let _ = blob.record(at as u64, size as u64);
            at += size;
        }
    }
}

/// As keys: the text of a key in every form, and TiDB's.
pub fn keys(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for form in [Auto, Raw, Hex, Escaped, Base64, Tidb] {
        for usage in [KeyUse::Raw, KeyUse::Mvcc, KeyUse::MvccBound] {
            let _ = parse_key(&text, form, usage).map(|parsed| TableKey::decode(&parsed.key));
        }
    }
    let _ = (readings(&text), inner(data), tidb::table::meta_text(data));
    if let Some(key) = TableKey::decode(data) {
        let _ = (key.to_string(), key.json(), key.encode());
    }
}

/// As TiDB's rows and column values.
pub fn rows(data: &[u8]) {
    let _ = tidb::datum::decode_all(data).map(|all| all.iter().for_each(|datum| drop(datum.json())));
    let _ = tidb::row::decode(data).map(|row| (row.lines(), row.json()));
    let text = String::from_utf8_lossy(data);
    let _ = tidb::Datum::parse(&text).map(|datum| (datum.to_string(), datum.encode_key(&mut Vec::new())));
}
