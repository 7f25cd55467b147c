//! Runs each reader on arbitrary bytes, for the fuzz targets and `tests/mutations.rs`. A reader must not
//! panic, hang, or allocate out of proportion to its input.
use std::{path::Path, sync::Arc};

use store_files::{
    encryption::{EncryptionConfig, FileDict, parse_keys},
    io::RandomFile,
    key_forms::{
        KeyFormat::{Auto, Base64, Escaped, Hex, Raw, Tidb},
        KeyUse, inner, parse_key, readings,
    },
    lsm::{
        BlobFile, BlobIndex, Filter, LogReader, Record, Table, decode_record, decompress, manifest, options,
        read_batch, verify,
    },
    protobuf_text::{message_json, message_text},
    raft_engine::BatchIter,
    simple_write,
    snapshot_lock_file::LockFile,
    tidb::{self, TableKey},
};

/// Opens, verifies, iterates, searches and filters an SST.
pub fn sst(data: &[u8]) {
    let file = RandomFile::from_bytes(Path::new("any.sst"), data.to_vec());
    let Ok(table) = Table::from_file(file, Some(7)) else { return };
    let table = Arc::new(table);
    let _ = verify(&table, 1);
    let _ = (table.range_deletions(), table.filter_text(), table.may_hold(Some(b"key"), b"row"));
    if let Ok(mut iter) = table.iter() {
        // Each error skips a block, so the loop ends.
        while !matches!(iter.advance(), Ok(false)) {}
    }
    if let Ok(mut iter) = table.iter_from(data.get(..9).unwrap_or(data)) {
        let _ = iter.advance();
    }
    for name in ["tikv.range_index", "tikv.rows_index"] {
        let _ = table.properties().range_index(name);
    }
}

/// Searches for the data blocks of an SST without a footer, and of one without an index.
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

/// Decompresses a block. The input is its compression type, whether it has a length, the dictionary's length,
/// the dictionary, and the block.
pub fn compressed(data: &[u8]) {
    let Some((&[kind, sized, dict], rest)) = data.split_first_chunk() else { return };
    let (dict, body) = rest.split_at(usize::from(dict).min(rest.len()));
    for dict in [dict, &[]] {
        let _ = decompress(kind, body, dict, sized & 1 == 0);
    }
}

/// Evaluates a filter. The input is the length of a key, the key, and the filter.
pub fn filter(data: &[u8]) {
    let Some((len, rest)) = data.split_first() else { return };
    let (key, filter) = rest.split_at(usize::from(*len).min(rest.len()));
    let filter = Filter::parse(filter);
    let _ = (filter.may_contain(key), filter.may_contain(b""), filter.may_contain(data));
}

/// Reads a MANIFEST, and a version edit.
pub fn manifest(data: &[u8]) {
    let _ = manifest::replay("MANIFEST-000001".into(), data);
    let _ = manifest::parse(data);
}

/// Parses an OPTIONS file.
pub fn options(data: &[u8]) {
    let _ = options::parse(&String::from_utf8_lossy(data));
}

/// Reads the dictionaries of encryption at rest.
pub fn encryption(data: &[u8]) {
    let _ = FileDict::parse("file.dict".into(), data.to_vec());
    let _ = parse_keys(Path::new("key.dict"), data, &EncryptionConfig::default());
}

/// Reads the lock file and the metadata of a snapshot.
pub fn snapshot(data: &[u8]) {
    let _ =
        LockFile::new(data).map(|pair| pair.map_or(0, |(key, value)| key.len() + value.len())).sum::<usize>();
    let _ = message_text("raft_serverpb.SnapshotMeta", data).is_ok();
}

/// Decodes a Raft log entry in raftstore-v2's own format.
pub fn simple_write(data: &[u8]) {
    let _ = (simple_write::is_simple(data), simple_write::decode(data));
}

/// Reads a log, also after damage, and a write batch.
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

/// Reads the batches and entries of a raft-engine file, also after damage.
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

/// Decodes small records: locks, writes, blob indexes, blob records, and protobuf messages.
pub fn records(data: &[u8]) {
    let _ = (txn_types::WriteRef::parse(data).is_ok(), txn_types::parse_lock(data).is_ok());
    let _ = (BlobIndex::decode(data), decode_record(data).is_ok());
    for message in ["raft_cmdpb.RaftCmdRequest", "raft_serverpb.RegionLocalState", "eraftpb.Entry"] {
        let _ = (message_text(message, data).is_ok(), message_json(message, data).is_ok());
    }
}

/// Reads a Titan blob file: its dictionary, and all records after a header of either length.
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

/// Parses keys in every form, and decodes TiDB's keys.
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

/// Decodes TiDB's rows and column values.
pub fn rows(data: &[u8]) {
    let _ = tidb::datum::decode_all(data).map(|all| all.iter().for_each(|datum| drop(datum.json())));
    let _ = tidb::row::decode(data).map(|row| (row.lines(), row.json()));
    let text = String::from_utf8_lossy(data);
    let _ = tidb::Datum::parse(&text).map(|datum| (datum.to_string(), datum.encode_key(&mut Vec::new())));
}
