//! Statistics from SST properties (TiKV `dump_write_cf_properties`, `dump_default_cf_properties`).

use std::sync::Arc;

use kvproto::metapb::Region;

use super::{
    CF_DEFAULT, CF_LOCK, CF_WRITE, bounds,
    collect::{MvccProperties, RangeIndex, range_index},
};
use crate::{
    error::DebugError,
    lsm::{Db, SstFile},
    source::Answer,
};

/// Above so many keys only about a thousandth is looked at (TiKV).
const SAMPLING_THRESHOLD: usize = 20_000;
const SAMPLE_RATIO: usize = 1000;

type Properties = Vec<(String, String)>;

/// The properties that `region-properties` prints.
pub fn of_region(db: &Db, region: &Region) -> Answer<Properties> {
    let (start, end) = bounds(Some(region));
    let mut all = of_range(db, &start, &end)?;
    let middle = middle_key(db, &start, &end)?.unwrap_or_default();
    let middle = middle.strip_prefix(&[keys::DATA_PREFIX]).unwrap_or(&middle);
    all.push(("region.start_key".to_owned(), keys::hex_lower(&region.start_key)));
    all.push(("region.end_key".to_owned(), keys::hex_lower(&region.end_key)));
    all.push(("region.middle_key_by_approximate_size".to_owned(), keys::hex_lower(middle)));
    Ok(all)
}

/// The properties that `range-properties` prints; bounds with `z`.
pub fn of_range(db: &Db, start: &[u8], end: &[u8]) -> Answer<Properties> {
    let mut all = write_cf(db, start, end)?;
    let files = files(db, CF_DEFAULT, start, end)?;
    let mut entries = 0;
    for file in &files {
        entries += db.table(CF_DEFAULT, file).map_or(0, |table| table.properties().num_entries());
    }
    let mut add = |name: &str, value: String| all.push((format!("defaultcf.{name}"), value));
    add("num_entries", entries.to_string());
    add("num_files", files.len().to_string());
    add("sst_files", names(&files));
    Ok(all)
}

fn write_cf(db: &Db, start: &[u8], end: &[u8]) -> Answer<Properties> {
    let files = files(db, CF_WRITE, start, end)?;
    let (mut mvcc, mut entries) = (MvccProperties::default(), 0);
    for file in &files {
        let Some(table) = db.table(CF_WRITE, file) else { continue };
        entries += table.properties().num_entries();
        match MvccProperties::of(&table) {
            Ok(of_file) => mvcc.add(&of_file),
            Err(e) => db.note_damage(CF_WRITE, e),
        }
    }
    let numbers = [
        ("mvcc.min_ts", if mvcc.min_ts == u64::MAX { 0 } else { mvcc.min_ts }),
        ("mvcc.max_ts", mvcc.max_ts),
        ("mvcc.num_rows", mvcc.num_rows),
        ("mvcc.num_puts", mvcc.num_puts),
        ("mvcc.num_deletes", mvcc.num_deletes),
        ("mvcc.num_versions", mvcc.num_versions),
        ("mvcc.max_row_versions", mvcc.max_row_versions),
        ("writecf.num_entries", entries),
        ("writecf.num_deletes", entries.saturating_sub(mvcc.num_versions)),
        ("writecf.num_files", files.len() as u64),
    ];
    let mut all: Properties = numbers.map(|(name, value)| (name.to_owned(), value.to_string())).to_vec();
    all.push(("writecf.sst_files".to_owned(), names(&files)));
    Ok(all)
}

/// The SSTs of `cf` that may hold keys of the range, by name.
fn files<'a>(db: &'a Db, cf: &str, start: &[u8], end: &[u8]) -> Answer<Vec<&'a SstFile>> {
    let all = db.family(cf)?.files().iter().map(Arc::as_ref);
    let mut files: Vec<&SstFile> = all.filter(|file| file.overlaps(start, end)).collect();
    files.sort_by(|a, b| a.path().cmp(b.path()));
    Ok(files)
}

fn names(files: &[&SstFile]) -> String {
    let names = files.iter().filter_map(|file| file.path().file_name()?.to_str());
    names.collect::<Vec<_>>().join(", ")
}

/// The key that halves the range by size, if any SST tells (TiKV `get_region_approximate_middle`).
fn middle_key(db: &Db, start: &[u8], end: &[u8]) -> Answer<Option<Vec<u8>>> {
    let mut largest: Option<(&str, u64)> = None;
    for cf in [CF_DEFAULT, CF_WRITE, CF_LOCK] {
        let size = approximate_size(db, cf, start, end)?;
        if largest.is_none_or(|(_, most)| size >= most) {
            largest = Some((cf, size));
        }
    }
    match largest {
        Some((cf, size)) if size > 0 => split_key(db, cf, start, end),
        // As TiKV's error reads, with the places it passes through.
        _ => Err(DebugError::Other(
            "[src/server/debug.rs:1002]: [components/raftstore/src/coprocessor/split_check/half.rs:121]: \
             \"[components/engine_rocks/src/range_properties.rs:158]: all CFs are empty\""
                .to_owned(),
        )),
    }
}

fn approximate_size(db: &Db, cf: &str, start: &[u8], end: &[u8]) -> Answer<u64> {
    let in_logs = db.family(cf)?.unflushed().filter(|(key, _)| *key >= start && *key < end);
    let mut size: u64 = in_logs.map(|(key, len)| (key.len() + len) as u64).sum();
    for file in files(db, cf, start, end)? {
        let index = index_of(db, cf, file);
        let before = |key: &[u8]| match index.binary_search_by(|(k, _)| k.as_slice().cmp(key)) {
            Ok(at) => index[at].1.size,
            Err(at) => at.checked_sub(1).map_or(0, |at| index[at].1.size),
        };
        size += before(end).saturating_sub(before(start));
    }
    Ok(size)
}

/// The range index of `file`; empty, and told, where it cannot be read.
fn index_of(db: &Db, cf: &str, file: &SstFile) -> RangeIndex {
    let index = db.table(cf, file).map(|table| range_index(&table));
    index.unwrap_or_else(|| Ok(RangeIndex::new())).unwrap_or_else(|e| {
        db.note_damage(cf, e);
        RangeIndex::new()
    })
}

/// The middle one of the keys that the SSTs' range indexes have strictly inside the range.
fn split_key(db: &Db, cf: &str, start: &[u8], end: &[u8]) -> Answer<Option<Vec<u8>>> {
    let mut inside: Vec<Vec<u8>> = Vec::new();
    for file in files(db, cf, start, end)? {
        let index = index_of(db, cf, file);
        inside.extend(
            index
                .into_iter()
                .map(|(key, _)| key)
                .filter(|key| key.as_slice() > start && key.as_slice() < end),
        );
    }
    if inside.len() > SAMPLING_THRESHOLD {
        let step = inside.len() / SAMPLE_RATIO;
        inside = inside.into_iter().step_by(step).collect();
    }
    inside.sort();
    let at = if inside.len() <= 1 { 0 } else { inside.len() / 2 };
    Ok(inside.into_iter().nth(at))
}
