//! Finds places in RocksDB: WAL records, SSTs, blob files.
use std::{path::Path, sync::Arc};

use keys::DATA_CFS;
use store_files::io::{Cursor, Damage, read_whole};

use super::hit::{Hit, HitPlace, Kind, Target, kind_of};
use crate::{
    Offline, Result,
    lsm::{LogReader, Record, SstFile, ValueType, logs, read_batch, read_manifest_or_tables},
};

/// Sorts after every 8-byte timestamp.
const AFTER_ALL_TS: [u8; 9] = [0xff; 9];

/// Adds the records of all existing WAL files, flushed or not.
pub(super) fn add_wal(
    store: &Offline,
    target: &Target,
    hits: &mut Vec<Hit>,
    damages: &mut Vec<Damage>,
) -> Result<()> {
    for (dir, wal_dir) in store.db_dirs() {
        add_wal_of(store, (dir, wal_dir), target, hits, damages)?;
    }
    Ok(())
}

fn add_wal_of(
    store: &Offline,
    (dir, wal_dir): (&Path, &Path),
    target: &Target,
    hits: &mut Vec<Hit>,
    damages: &mut Vec<Damage>,
) -> Result<()> {
    // Opening the store has already reported damage of the MANIFEST.
    let state = read_manifest_or_tables(dir, store.keyring()).unwrap_or_default();
    for (number, path) in logs(wal_dir)? {
        let Ok(data) = read_whole(&path, store.keyring()) else {
            // A running server removed the file after flushing its records to SSTs.
            continue;
        };
        let mut reader = LogReader::new(&data, number);
        loop {
            let (offset, record) = match reader.next_record() {
                Record::Data { offset, data } => (offset, data),
                Record::End if reader.resync() => continue,
                Record::End => break,
                Record::Corrupt { offset, what } => {
                    damages.push(Damage::at(&path, offset, what));
                    if reader.resync() {
                        continue;
                    }
                    break;
                }
            };
            let read = read_batch(&record, |entry| {
                let name =
                    state.families.get(&entry.cf).map(|family| family.name.as_str()).unwrap_or_default();
                if !DATA_CFS.contains(&name) {
                    return;
                }
                let place = HitPlace::Wal { path: path.clone(), offset, sequence: entry.sequence };
                add(store, target, name, (entry.key, entry.value, entry.value_type), place, hits);
            });
            if let Err(what) = read {
                damages.push(Damage::at(&path, offset, what));
            }
        }
    }
    Ok(())
}

fn add(
    store: &Offline,
    target: &Target,
    cf: &str,
    (key, value, value_type): (&[u8], &[u8], ValueType),
    place: HitPlace,
    hits: &mut Vec<Hit>,
) {
    let Some(bare) = key.strip_prefix(&[keys::DATA_PREFIX]) else { return };
    if value_type == ValueType::RangeDeletion {
        let whole = keys::data_key(&target.encoded);
        if key <= whole.as_slice() && whole.as_slice() < value {
            hits.push(Hit::new(place, cf, Kind::DeleteRange, None, &[]));
        }
        return;
    }
    let Some(ts) = target.matches(cf, bare) else { return };
    if value_type == ValueType::BlobIndex {
        hits.push(Hit::new(place, cf, Kind::Put, ts, &[]));
        if let Some(blob) = blob_place(store, value) {
            let value = store.kv().get(cf, key).unwrap_or_else(|e| {
                store.kv().note_damage(cf, e);
                None
            });
            let value = value.unwrap_or_default();
            hits.push(Hit::new(blob, cf, Kind::Put, ts, &value));
        }
        return;
    }
    let kind = kind_of(value_type);
    hits.push(Hit::new(place, cf, kind, ts, if kind == Kind::Put { value } else { &[] }));
}

/// Returns the place that a blob index points to.
fn blob_place(store: &Offline, index: &[u8]) -> Option<HitPlace> {
    let mut cursor = Cursor::new(index);
    let (_, number, offset, size) = (cursor.u8()?, cursor.varint()?, cursor.varint()?, cursor.varint()?);
    let dirs = store.db_dirs();
    let mut paths = dirs.iter().map(|(dir, _)| dir.join("titandb").join(format!("{number:06}.blob")));
    let first = paths.next()?;
    let path = if first.exists() { first } else { paths.find(|path| path.exists()).unwrap_or(first) };
    Some(HitPlace::Blob { path, offset, size })
}

/// Adds the entries of SSTs whose bounds include the key; reports an unreadable file as damage.
pub(super) fn add_ssts(
    store: &Offline,
    target: &Target,
    hits: &mut Vec<Hit>,
    damages: &mut Vec<Damage>,
) -> Result<()> {
    let encoded = keys::data_key(&target.encoded);
    let raw = keys::data_key(&target.user_key);
    for cf in DATA_CFS.iter().copied() {
        for file in store.kv().family(cf)?.files() {
            let mut ranges = vec![(encoded.clone(), [encoded.as_slice(), &AFTER_ALL_TS].concat())];
            if cf == "default" {
                ranges.push((raw.clone(), [raw.as_slice(), &[0]].concat()));
            }
            ranges.retain(|(from, to)| file.overlaps(from, to));
            if ranges.is_empty() {
                continue;
            }
            if let Err(e) = add_sst(store, target, cf, file, &ranges, hits) {
                damages.push(Damage::from(e).in_cf(cf));
            }
        }
    }
    Ok(())
}

fn add_sst(
    store: &Offline,
    target: &Target,
    cf: &str,
    file: &Arc<SstFile>,
    ranges: &[(Vec<u8>, Vec<u8>)],
    hits: &mut Vec<Hit>,
) -> store_files::io::Result<()> {
    let table = file.table()?;
    let place = |sequence| HitPlace::Sst { path: file.path().to_owned(), level: file.level(), sequence };
    for (start, end, sequence) in table.range_deletions()? {
        add(store, target, cf, (&start, &end, ValueType::RangeDeletion), place(sequence), hits);
    }
    for (from, to) in ranges {
        // Filters of CF write contain keys without timestamps: one probe answers for all versions.
        let exact = (to.len() == from.len() + 1).then_some(from.as_slice());
        if !table.may_hold(exact, from).unwrap_or(true) {
            continue;
        }
        let mut iter = table.iter_from(from)?;
        while iter.advance()? {
            let key = iter.key();
            if key.user_key >= to.as_slice() {
                break;
            }
            let entry = (key.user_key, iter.value(), key.value_type());
            add(store, target, cf, entry, place(key.sequence()), hits);
        }
    }
    Ok(())
}
