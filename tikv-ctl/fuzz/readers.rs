//! What every fuzz target and `tests/mutations.rs` do with any bytes: no panic, no hang, no memory that the bytes do not
//! account for.

use std::{path::Path, sync::Arc};

use tikv_ctl::{
    key::{
        KeyFormat::{Auto, Base64, Escaped, Hex, Raw, Tidb},
        KeyUse, inner, parse_key, readings,
    },
    lsm::{
        BlobIndex, Filter, LogReader, RandomFile, Record, Table, decode_record, manifest, options,
        read_batch, verify,
    },
    raft_engine::BatchIter,
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

/// As a MANIFEST, as one version edit, and as an OPTIONS file.
pub fn manifest(data: &[u8]) {
    let _ = manifest::replay("MANIFEST-000001".into(), data);
    let _ = manifest::parse(data);
    let _ = options::parse(&String::from_utf8_lossy(data));
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

/// As the small records: locks, writes, blob indexes and records, filters, and protobuf as text.
pub fn records(data: &[u8]) {
    let _ = (txn_types::WriteRef::parse(data).is_ok(), txn_types::parse_lock(data).is_ok());
    let _ = (BlobIndex::decode(data), decode_record(data).is_ok());
    let _ = Filter::parse(data).may_contain(b"key");
    for message in ["raft_cmdpb.RaftCmdRequest", "raft_serverpb.RegionLocalState", "eraftpb.Entry"] {
        let _ = (message_text(message, data).is_ok(), message_json(message, data).is_ok());
    }
}

/// As keys and rows: the text of a key in every form, TiDB's keys, rows and column values.
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
    let _ = tidb::datum::decode_all(data).map(|all| all.iter().for_each(|datum| drop(datum.json())));
    let _ = tidb::row::decode(data).map(|row| (row.lines(), row.json()));
}
