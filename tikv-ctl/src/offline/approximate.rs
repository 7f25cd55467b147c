//! Sizes without a scan: from the properties of tables and, for a table only partly in the range, from TiKV's
//! range index or the index of its blocks.
use std::sync::Arc;

use store_files::io::Context;

use crate::{
    lsm::{Db, SstFile, Table},
    source::Answer,
};

/// Bytes after each user key that the properties count as part of the key.
const KEY_TRAILER: u64 = 8;

/// Estimates the bytes of keys and values of `cf` in `[start, end)`, including older versions and deleted
/// data until a compaction removes them.
pub fn size(db: &Db, cf: &str, start: &[u8], end: &[u8]) -> Answer<u64> {
    let family = db.family(cf)?;
    let inside = |key: &[u8]| key >= start && (end.is_empty() || key < end);
    let in_logs = family.unflushed().filter(|(key, _)| inside(key));
    let mut size: u64 = in_logs.map(|(key, len)| (key.len() + len) as u64).sum();
    for file in family.files().iter().filter(|file| file.overlaps(start, end)) {
        let Some(table) = db.table(cf, file) else { continue };
        size += match inside(file.smallest()) && inside(file.largest()) {
            true => plain_bytes(&table),
            false => part(db, cf, (file, &table), start, end),
        };
    }
    Ok(size)
}

/// Returns the bytes of keys and values of the whole table.
fn plain_bytes(table: &Table) -> u64 {
    let number = |name| table.properties().number(name).unwrap_or_default();
    let keys = number("rocksdb.raw.key.size");
    let trailers = KEY_TRAILER * table.properties().num_entries();
    keys.saturating_sub(trailers) + number("rocksdb.raw.value.size")
}

/// Returns the bytes of the part of the table that is in the range.
fn part(db: &Db, cf: &str, (file, table): (&SstFile, &Arc<Table>), start: &[u8], end: &[u8]) -> u64 {
    if let Some(index) = table.properties().range_index("tikv.range_index").filter(|index| !index.is_empty())
    {
        let before = |key: &[u8]| index.partition_point(|(known, _)| known.as_slice() <= key);
        let at = |key: &[u8]| before(key).checked_sub(1).map_or(0, |at| index[at].1.size);
        let all = index.last().map_or(0, |(_, offsets)| offsets.size);
        return if end.is_empty() { all } else { at(end) }.saturating_sub(at(start));
    }
    let index = match table.index() {
        Ok(index) => index,
        Err(e) => {
            db.note_damage(cf, e.context(Context::Lost { after: file.smallest(), up_to: file.largest() }));
            return 0;
        }
    };
    let blocks = |from: usize, to: usize| (from..to).map(|at| index.handle(at).size).sum::<u64>();
    let last = if end.is_empty() { index.len() } else { (index.find(end) + 1).min(index.len()) };
    let (in_range, all) = (blocks(index.find(start).min(last), last), blocks(0, index.len()));
    (u128::from(plain_bytes(table)) * u128::from(in_range) / u128::from(all.max(1))) as u64
}
