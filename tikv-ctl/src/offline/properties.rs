//! Statistics from the properties of SSTs (TiKV `dump_write_cf_properties`, `dump_default_cf_properties`).
use std::{cmp::Reverse, path::Path, sync::Arc};

use keys::{CF_DEFAULT, CF_LOCK, CF_WRITE};
use kvproto::metapb::Region;

use super::{
    bounds::bounds,
    collect::{MvccProperties, RangeIndex, range_index, recovered_index},
    hash_order::hash_order,
};
use crate::{
    error::DebugError,
    lsm::{Db, RecoveredSst, SstFile},
    source::Answer,
};

/// With more keys than this, only about one in a thousand is examined (TiKV).
const SAMPLING_THRESHOLD: usize = 20_000;
const SAMPLE_RATIO: usize = 1000;

type Properties = Vec<(String, String)>;

/// Returns the properties that `region-properties` prints.
pub fn region_properties(db: &Db, region: &Region) -> Answer<Properties> {
    let (start, end) = bounds(Some(region));
    let mut all = range_properties(db, &start, &end)?;
    let middle = middle_key(db, &start, &end)?.unwrap_or_default();
    let middle = middle.strip_prefix(&[keys::DATA_PREFIX]).unwrap_or(&middle);
    all.push(("region.start_key".to_owned(), keys::hex_lower(&region.start_key)));
    all.push(("region.end_key".to_owned(), keys::hex_lower(&region.end_key)));
    all.push(("region.middle_key_by_approximate_size".to_owned(), keys::hex_lower(middle)));
    Ok(all)
}

/// Returns the properties that `range-properties` prints; bounds are with `z`.
pub fn range_properties(db: &Db, start: &[u8], end: &[u8]) -> Answer<Properties> {
    let mut all = write_cf(db, start, end)?;
    let ssts = ssts(db, CF_DEFAULT, start, end)?;
    let entries: u64 = ssts.iter().map(|sst| sst.num_entries(db, CF_DEFAULT)).sum();
    let mut add = |name: &str, value: String| all.push((format!("defaultcf.{name}"), value));
    add("num_entries", entries.to_string());
    add("num_files", ssts.len().to_string());
    add("sst_files", names(&ssts));
    Ok(all)
}

fn write_cf(db: &Db, start: &[u8], end: &[u8]) -> Answer<Properties> {
    let ssts = ssts(db, CF_WRITE, start, end)?;
    let (mut mvcc, mut entries) = (MvccProperties::default(), 0);
    for sst in &ssts {
        entries += sst.num_entries(db, CF_WRITE);
        if let Some(of_sst) = sst.mvcc(db) {
            mvcc.add(&of_sst);
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
        ("writecf.num_files", ssts.len() as u64),
    ];
    let mut all: Properties = numbers.map(|(name, value)| (name.to_owned(), value.to_string())).to_vec();
    all.push(("writecf.sst_files".to_owned(), names(&ssts)));
    Ok(all)
}

/// An SST, or the one that logs would become when TiKV's tool opens the directory.
enum Sst<'a> {
    File(&'a SstFile),
    Recovered(&'a RecoveredSst),
}

impl Sst<'_> {
    fn path(&self) -> &Path {
        match self {
            Sst::File(file) => file.path(),
            Sst::Recovered(sst) => sst.path(),
        }
    }

    fn num_entries(&self, db: &Db, cf: &str) -> u64 {
        match self {
            Sst::File(file) => db.table(cf, file).map_or(0, |table| table.properties().num_entries()),
            Sst::Recovered(sst) => sst.num_entries(),
        }
    }

    /// Returns the properties of an SST of CF write; if they cannot be read, reports damage and returns none.
    fn mvcc(&self, db: &Db) -> Option<MvccProperties> {
        match self {
            Sst::File(file) => {
                let mvcc = MvccProperties::from_table(&db.table(CF_WRITE, file)?);
                mvcc.map_err(|e| db.note_damage(CF_WRITE, e)).ok()
            }
            Sst::Recovered(sst) => Some(MvccProperties::from_recovered(sst)),
        }
    }

    /// Returns the range index; if it cannot be read, reports damage and returns an empty one.
    fn index(&self, db: &Db, cf: &str) -> RangeIndex {
        match self {
            Sst::File(file) => {
                let index = db.table(cf, file).map_or(Ok(RangeIndex::new()), |table| range_index(&table));
                index.map_err(|e| db.note_damage(cf, e)).unwrap_or_default()
            }
            Sst::Recovered(sst) => recovered_index(sst),
        }
    }
}

/// Returns the SSTs of `cf` that may contain keys of the range, including its end, in the order of TiKV's
/// tool.
fn ssts<'a>(db: &'a Db, cf: &str, start: &[u8], end: &[u8]) -> Answer<Vec<Sst<'a>>> {
    let family = db.family(cf)?;
    let recovered = family.recovered().filter(|sst| sst.touches(start, end)).map(Sst::Recovered);
    let mut files: Vec<&SstFile> = family.files().iter().map(Arc::as_ref).collect();
    files.retain(|file| file.touches(start, end));
    // Overlapping files are sorted newest first; files of other levels stay in the order of their keys.
    files.sort_by_key(|file| {
        let meta = file.meta();
        let age =
            (meta.level == 0).then_some((meta.epoch, meta.largest_seqno, meta.smallest_seqno, meta.number));
        (meta.level, Reverse(age))
    });
    let all = recovered.into_iter().chain(files.into_iter().map(Sst::File)).collect();
    Ok(hash_order(all, |sst: &Sst<'_>| sst.path().as_os_str().as_encoded_bytes().to_vec()))
}

fn names(ssts: &[Sst<'_>]) -> String {
    let names = ssts.iter().filter_map(|sst| sst.path().file_name()?.to_str());
    names.collect::<Vec<_>>().join(", ")
}

/// Returns the key that halves the range by size, if any SST has an index (TiKV
/// `get_region_approximate_middle`).
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
        // TiKV's error, with the source lines that it passes through.
        _ => Err(DebugError::Other(
            "[src/server/debug.rs:1002]: [components/raftstore/src/coprocessor/split_check/half.rs:121]: \
             \"[components/engine_rocks/src/range_properties.rs:158]: all CFs are empty\""
                .to_owned(),
        )),
    }
}

fn approximate_size(db: &Db, cf: &str, start: &[u8], end: &[u8]) -> Answer<u64> {
    let mut size = 0;
    for sst in ssts(db, cf, start, end)? {
        let index = sst.index(db, cf);
        let before = |key: &[u8]| match index.binary_search_by(|(k, _)| k.as_slice().cmp(key)) {
            Ok(at) => index[at].1.size,
            Err(at) => at.checked_sub(1).map_or(0, |at| index[at].1.size),
        };
        size += before(end).saturating_sub(before(start));
    }
    Ok(size)
}

/// Returns the middle one of the range-index keys that are strictly inside the range.
fn split_key(db: &Db, cf: &str, start: &[u8], end: &[u8]) -> Answer<Option<Vec<u8>>> {
    let mut inside: Vec<Vec<u8>> = Vec::new();
    for sst in ssts(db, cf, start, end)? {
        inside.extend(
            sst.index(db, cf)
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
