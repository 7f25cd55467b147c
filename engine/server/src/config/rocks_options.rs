//! RocksDB's options that it takes while it is open, by TiKV's names.
use std::str::FromStr;

use engine_rocks::RocksEngine;
use serde_json::{Map, Value};

use super::{ReadableSize, TikvConfig};

/// Of column families, and whether they are sizes.
const OF_CF: [(&str, bool); 15] = [
    ("write-buffer-size", true),
    ("max-write-buffer-number", false),
    ("disable-auto-compactions", false),
    ("level0-file-num-compaction-trigger", false),
    ("level0-slowdown-writes-trigger", false),
    ("level0-stop-writes-trigger", false),
    ("target-file-size-base", true),
    ("max-bytes-for-level-base", true),
    ("max-bytes-for-level-multiplier", false),
    ("max-compaction-bytes", true),
    ("soft-pending-compaction-bytes-limit", true),
    ("hard-pending-compaction-bytes-limit", true),
    ("periodic-compaction-seconds", false),
    ("paranoid-file-checks", false),
    ("ttl", false),
];

/// Of the database, their names in RocksDB, and whether they are sizes.
const OF_DB: [(&str, &str, bool); 8] = [
    ("max-background-jobs", "max_background_jobs", false),
    ("max-sub-compactions", "max_subcompactions", false),
    ("max-open-files", "max_open_files", false),
    ("max-total-wal-size", "max_total_wal_size", true),
    ("bytes-per-sync", "bytes_per_sync", true),
    ("wal-bytes-per-sync", "wal_bytes_per_sync", true),
    ("compaction-readahead-size", "compaction_readahead_size", true),
    ("stats-dump-period-sec", "stats_dump_period_sec", false),
];

const CFS: [&str; 4] = ["default", "write", "lock", "raft"];

/// An option and its new value, as RocksDB takes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RocksOption {
    /// None: of the database.
    cf: Option<&'static str>,
    name: String,
    value: String,
    /// For messages.
    key: String,
}

impl RocksOption {
    pub fn set(&self, kv: &RocksEngine) -> Result<(), String> {
        let option = [(self.name.as_str(), self.value.as_str())];
        let done = match self.cf {
            Some(cf) => kv.set_options_cf(cf, &option),
            None => kv.set_db_options(&option),
        };
        done.map_err(|e| format!("{} = {}: {e}", self.key, self.value))
    }
}

/// Whether a dotted name is in the section of RocksDB.
pub fn is_option(name: &str) -> bool {
    name.starts_with("rocksdb.")
}

/// What of `changes` is for RocksDB. The error names what is not known, or not a value.
pub fn of(changes: &Map<String, Value>) -> Result<Vec<RocksOption>, String> {
    changes.iter().filter(|(name, _)| is_option(name)).map(|(name, value)| parse(name, value)).collect()
}

/// What is another in `new` than in `old`.
pub fn differing(old: &TikvConfig, new: &TikvConfig) -> Result<Vec<RocksOption>, String> {
    let tree = |config: &TikvConfig| serde_json::to_value(&config.rocksdb).map_err(|e| e.to_string());
    let (old, new) = (tree(old)?, tree(new)?);
    let mut changes = Map::new();
    collect("rocksdb", &old, &new, &mut changes);
    of(&changes)
}

fn collect(path: &str, old: &Value, new: &Value, out: &mut Map<String, Value>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (name, new) in new {
                let old = old.get(name).unwrap_or(&Value::Null);
                collect(&format!("{path}.{name}"), old, new, out);
            }
        }
        _ if old != new => drop(out.insert(path.to_owned(), new.clone())),
        _ => {}
    }
}

fn parse(key: &str, value: &Value) -> Result<RocksOption, String> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let unknown = |field: &str| Err(format!("unexpect fields: {field}"));
    let parts: Vec<&str> = key.split('.').skip(1).collect();
    let (cf, name, size) = match parts.as_slice() {
        [name] => match OF_DB.iter().find(|(known, ..)| known == name) {
            Some((_, rocks, size)) => (None, (*rocks).to_owned(), *size),
            None => return unknown(name),
        },
        [section, name] => {
            let cf = section.strip_suffix("cf").and_then(|cf| CFS.into_iter().find(|known| *known == cf));
            let Some(cf) = cf else { return unknown(section) };
            match OF_CF.iter().find(|(known, _)| known == name) {
                Some((_, size)) => (Some(cf), name.replace('-', "_"), *size),
                None => return unknown(name),
            }
        }
        _ => return unknown(key),
    };
    let value = match size {
        true => ReadableSize::from_str(&text).map_err(|e| format!("{key}: {e}"))?.0.to_string(),
        false => text,
    };
    Ok(RocksOption { cf, name, value, key: key.to_owned() })
}

#[cfg(test)]
mod tests {
    use engine_rocks::DbConfig;
    use serde_json::json;

    use super::*;

    fn set(kv: &RocksEngine, key: &str, value: Value) -> Result<(), String> {
        of(&Map::from_iter([(key.to_owned(), value)]))?.iter().try_for_each(|option| option.set(kv))
    }

    #[test]
    fn rocksdb_takes_every_option_and_mistakes_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let kv = RocksEngine::open(dir.path(), &DbConfig::small()).unwrap();
        let value = |name: &str, size: bool| match (name, size) {
            ("disable-auto-compactions" | "paranoid-file-checks", _) => json!("true"),
            ("max-open-files", _) => json!("-1"),
            (_, true) => json!("8MiB"),
            _ => json!("4"),
        };
        for (name, size) in OF_CF {
            set(&kv, &format!("rocksdb.writecf.{name}"), value(name, size)).unwrap();
        }
        for (name, _, size) in OF_DB {
            set(&kv, &format!("rocksdb.{name}"), value(name, size)).unwrap();
        }
        assert_eq!(set(&kv, "rocksdb.nope", json!(1)).unwrap_err(), "unexpect fields: nope");
        assert!(set(&kv, "rocksdb.nopecf.ttl", json!(1)).unwrap_err().contains("nopecf"));
        assert!(set(&kv, "rocksdb.defaultcf.nope", json!(1)).unwrap_err().contains("nope"));
        assert!(set(&kv, "rocksdb.writecf.write-buffer-size", json!("much")).is_err());
        assert!(set(&kv, "rocksdb.writecf.max-write-buffer-number", json!("much")).is_err());
    }

    #[test]
    fn what_differs_in_two_files_is_found() {
        let (old, mut new) = (TikvConfig::default(), TikvConfig::default());
        new.rocksdb.max_background_jobs = 5;
        new.rocksdb.lockcf.write_buffer_size = ReadableSize::mb(7);
        let found = differing(&old, &new).unwrap();
        let keys: Vec<&str> = found.iter().map(|option| option.key.as_str()).collect();
        assert_eq!(keys, ["rocksdb.lockcf.write-buffer-size", "rocksdb.max-background-jobs"]);
        assert_eq!(found[0].value, (7 << 20).to_string());
    }
}
