//! Properties of a region or range under TiKV's names (`src/server/debug.rs`). They are counted from the
//! rows, since our SST files have no `tikv.*` properties: exact, but slower than TiKV's.
use engine_rocks::{CF_DEFAULT, CF_LOCK, CF_WRITE, RocksEngine};
use txn_types::{Key, WriteRef, WriteType};

use super::error::DebugError;

#[derive(Default)]
struct Mvcc {
    min_ts: Option<u64>,
    max_ts: u64,
    rows: u64,
    puts: u64,
    deletes: u64,
    versions: u64,
    max_row_versions: u64,
}

/// Returns `(name, value)` of the data keys `start..end`.
pub fn range(kv: &RocksEngine, start: &[u8], end: &[u8]) -> Result<Vec<(String, String)>, DebugError> {
    let mvcc = mvcc(kv, start, end)?;
    let mut out: Vec<(String, String)> = [
        ("mvcc.min_ts", mvcc.min_ts.unwrap_or(0)),
        ("mvcc.max_ts", mvcc.max_ts),
        ("mvcc.num_rows", mvcc.rows),
        ("mvcc.num_puts", mvcc.puts),
        ("mvcc.num_deletes", mvcc.deletes),
        ("mvcc.num_versions", mvcc.versions),
        ("mvcc.max_row_versions", mvcc.max_row_versions),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_string()))
    .into();
    for (name, cf) in [("writecf", CF_WRITE), ("defaultcf", CF_DEFAULT)] {
        let mut names = Vec::new();
        for file in kv.live_files_cf(cf)? {
            let begins = file.start_key.as_deref().is_some_and(|k| k < end);
            if begins && file.end_key.as_deref().is_some_and(|k| k >= start) {
                names.push(file.name.trim_start_matches('/').to_owned());
            }
        }
        let entries = kv.approximate_keys_cf(cf, start, end)?;
        out.push((format!("{name}.num_entries"), entries.to_string()));
        if cf == CF_WRITE {
            out.push((format!("{name}.num_deletes"), entries.saturating_sub(mvcc.versions).to_string()));
        }
        out.push((format!("{name}.num_files"), names.len().to_string()));
        out.push((format!("{name}.sst_files"), names.join(", ")));
    }
    Ok(out)
}

/// Returns the key that halves the bytes of the range's largest column family; none if the range is empty.
pub fn middle_key(kv: &RocksEngine, start: &[u8], end: &[u8]) -> Result<Option<Vec<u8>>, DebugError> {
    let (mut largest, mut most) = (CF_DEFAULT, 0);
    for cf in [CF_DEFAULT, CF_WRITE, CF_LOCK] {
        let mut size = 0;
        kv.scan_cf(cf, start, end, |key, value| {
            size += key.len() + value.len();
            Ok(true)
        })?;
        // Of equally large ones the last, as in TiKV.
        if size > 0 && size >= most {
            (largest, most) = (cf, size);
        }
    }
    let (mut before, mut middle) = (0, None);
    kv.scan_cf(largest, start, end, |key, value| {
        middle = Some(key.to_vec());
        before += key.len() + value.len();
        Ok(before * 2 <= most)
    })?;
    Ok(middle)
}

fn mvcc(kv: &RocksEngine, start: &[u8], end: &[u8]) -> Result<Mvcc, DebugError> {
    let mut out = Mvcc::default();
    let (mut row, mut row_versions) = (Vec::new(), 0);
    let mut bad = None;
    kv.scan_cf(CF_WRITE, start, end, |key, value| {
        let parsed = Key::split_on_ts_for(key).and_then(|(user, ts)| Ok((user, ts, WriteRef::parse(value)?)));
        let (user, ts, write) = match parsed {
            Ok(parsed) => parsed,
            Err(e) => {
                bad = Some(e);
                return Ok(false);
            }
        };
        let ts = ts.into_inner();
        out.min_ts = Some(out.min_ts.map_or(ts, |min| min.min(ts)));
        out.max_ts = out.max_ts.max(ts);
        out.versions += 1;
        if row != user {
            row = user.to_vec();
            row_versions = 0;
            // A row with rollbacks only also counts, as in TiKV's collector.
            out.rows += 1;
        }
        row_versions += 1;
        out.max_row_versions = out.max_row_versions.max(row_versions);
        match write.write_type {
            WriteType::Put => out.puts += 1,
            WriteType::Delete => out.deletes += 1,
            _ => {}
        }
        Ok(true)
    })?;
    bad.map_or(Ok(out), |e| Err(e.into()))
}

#[cfg(test)]
mod tests {
    use engine_rocks::DbConfig;

    use super::*;

    #[test]
    fn the_middle_key_halves_the_largest_column_family() {
        let dir = tempfile::tempdir().unwrap();
        let kv = RocksEngine::open(dir.path(), &DbConfig::small()).unwrap();
        assert_eq!(middle_key(&kv, b"z", b"{").unwrap(), None);
        for n in 0..10u8 {
            kv.put_cf(CF_WRITE, &[b'z', n], &[0; 100]).unwrap();
            kv.put_cf(CF_DEFAULT, &[b'z', n], &[0; 10]).unwrap();
        }
        assert_eq!(middle_key(&kv, b"z", b"{").unwrap(), Some(vec![b'z', 5]));
        assert_eq!(middle_key(&kv, b"z", &[b'z', 4]).unwrap(), Some(vec![b'z', 2]));
        kv.put_cf(CF_LOCK, b"z\x02", &[0; 5000]).unwrap();
        assert_eq!(middle_key(&kv, b"z", b"{").unwrap(), Some(vec![b'z', 2]));
    }
}
