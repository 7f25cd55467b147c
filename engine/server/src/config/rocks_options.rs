//! The options that RocksDB accepts while it is open, under TiKV's names.
use std::str::FromStr;

use engine_rocks::{ALL_CFS, RocksEngine};
use serde_json::{Map, Value};

use super::{
    ReadableSize, TikvConfig,
    tuning::{CfTuning, DbTuning},
};

/// Options of column families, and whether each is a size.
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

/// Options of the database: TiKV's name, RocksDB's name, and whether it is a size.
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

/// An option and its new value in RocksDB's form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RocksOption {
    /// None for an option of the database.
    cf: Option<&'static str>,
    name: String,
    value: String,
    /// The name in `tikv.toml`, for messages.
    key: String,
}

impl RocksOption {
    /// Returns the option with its current value; none if RocksDB does not report it.
    fn in_effect(&self, kv: &RocksEngine) -> Result<Option<RocksOption>, String> {
        let value = kv.option_in_effect(self.cf, &self.name).map_err(|e| e.to_string())?;
        Ok(value.map(|value| RocksOption { value, ..self.clone() }))
    }

    pub fn set(&self, kv: &RocksEngine) -> Result<(), String> {
        let option = [(self.name.as_str(), self.value.as_str())];
        let done = match self.cf {
            Some(cf) => kv.set_options_cf(cf, &option),
            None => kv.set_db_options(&option),
        };
        done.map_err(|e| format!("{} = {}: {e}", self.key, self.value))
    }
}

/// Returns whether a dotted name is in the section of RocksDB.
pub fn is_option(name: &str) -> bool {
    name.starts_with("rocksdb.")
}

/// Returns whether RocksDB accepts the option while it is open.
pub fn is_online(name: &str) -> bool {
    is_option(name) && place(name).is_ok()
}

/// Sets all options or none: when RocksDB refuses one, the options already set get their old values back.
///
/// # Errors
/// The option that RocksDB refused, and why.
pub fn set_all(kv: &RocksEngine, options: &[RocksOption]) -> Result<Undo, String> {
    let mut undo = Undo { kv: Some(kv.clone()), before: Vec::new() };
    for option in options {
        let before = option.in_effect(kv)?;
        // On a failure `undo` is dropped, which sets the old values.
        option.set(kv)?;
        undo.before.extend(before);
    }
    Ok(undo)
}

/// Restores the old values when dropped, unless [`Undo::keep`] was called.
#[must_use]
pub struct Undo {
    kv: Option<RocksEngine>,
    before: Vec<RocksOption>,
}

impl Undo {
    pub fn keep(mut self) {
        self.kv = None;
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        let Some(kv) = &self.kv else { return };
        for option in self.before.iter().rev() {
            if let Err(e) = option.set(kv) {
                log::error!("cannot restore an option of RocksDB: {e}");
            }
        }
    }
}

/// Returns the configured options that are not set when the database is opened.
pub fn given(config: &TikvConfig) -> Result<Vec<RocksOption>, String> {
    let mut plain = config.clone();
    let rocksdb = &mut plain.rocksdb;
    rocksdb.tuning = DbTuning::default();
    for cf in [&mut rocksdb.defaultcf, &mut rocksdb.writecf, &mut rocksdb.lockcf, &mut rocksdb.raftcf] {
        cf.tuning = CfTuning::default();
    }
    differing(&plain, config)
}

/// Returns the limits of RocksDB's write stalls that differ because flow control changed. A value that the
/// configuration gives for an option stays in effect.
pub fn differing_stalls(old: &TikvConfig, new: &TikvConfig) -> Result<Vec<RocksOption>, String> {
    let given = given(new)?;
    let (old, new) = (old.build_db_config(), new.build_db_config());
    let mut options = Vec::new();
    for cf in ALL_CFS {
        let pairs = old.cf(cf).stall_options().into_iter().zip(new.cf(cf).stall_options());
        for (_, (name, value)) in pairs.filter(|(old, new)| old != new) {
            let key = format!("rocksdb.{cf}cf.{}", name.replace('_', "-"));
            if !given.iter().any(|option| option.key == key) {
                options.push(RocksOption { cf: Some(cf), name: name.to_owned(), value, key });
            }
        }
    }
    Ok(options)
}

/// Returns the RocksDB options among `changes`. The error names an unknown option or an invalid value.
pub fn parse_all(changes: &Map<String, Value>) -> Result<Vec<RocksOption>, String> {
    changes.iter().filter(|(name, _)| is_option(name)).map(|(name, value)| parse(name, value)).collect()
}

/// Returns the options whose values differ between `old` and `new`.
pub fn differing(old: &TikvConfig, new: &TikvConfig) -> Result<Vec<RocksOption>, String> {
    let tree = |config: &TikvConfig| serde_json::to_value(&config.rocksdb).map_err(|e| e.to_string());
    let (old, new) = (tree(old)?, tree(new)?);
    let mut changes = Map::new();
    collect("rocksdb", &old, &new, &mut changes);
    parse_all(&changes)
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

/// Column family (none: the database), RocksDB's name, and whether the value is a size.
type OptionPlace = (Option<&'static str>, String, bool);

/// Looks up the option of a dotted name.
fn place(key: &str) -> Result<OptionPlace, String> {
    let unknown = |field: &str| Err(format!("unexpect fields: {field}"));
    let parts: Vec<&str> = key.split('.').skip(1).collect();
    match parts.as_slice() {
        [name] => match OF_DB.iter().find(|(known, ..)| known == name) {
            Some((_, rocks, size)) => Ok((None, (*rocks).to_owned(), *size)),
            None => unknown(name),
        },
        [section, name] => {
            let cf =
                section.strip_suffix("cf").and_then(|cf| ALL_CFS.iter().copied().find(|known| *known == cf));
            let Some(cf) = cf else { return unknown(section) };
            match OF_CF.iter().find(|(known, _)| known == name) {
                Some((_, size)) => Ok((Some(cf), name.replace('-', "_"), *size)),
                None => unknown(name),
            }
        }
        _ => unknown(key),
    }
}

fn parse(key: &str, value: &Value) -> Result<RocksOption, String> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let (cf, name, size) = place(key)?;
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
        parse_all(&Map::from_iter([(key.to_owned(), value)]))?.iter().try_for_each(|option| option.set(kv))
    }

    #[test]
    fn rocksdb_accepts_every_listed_option() {
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
    fn one_refused_option_restores_the_earlier_ones() {
        let dir = tempfile::tempdir().unwrap();
        let kv = RocksEngine::open(dir.path(), &DbConfig::small()).unwrap();
        let now = || kv.option_in_effect(Some("default"), "max_write_buffer_number").unwrap();
        let before = now();
        let changes = json!({
            "rocksdb.defaultcf.max-write-buffer-number": 9,
            "rocksdb.writecf.max-write-buffer-number": 99_999_999_999u64
        });
        let options = parse_all(changes.as_object().unwrap()).unwrap();
        assert_eq!(options.len(), 2);
        let refused = set_all(&kv, &options).err().expect("the value is not an integer");
        assert!(refused.contains("rocksdb.writecf.max-write-buffer-number"), "{refused}");
        assert_eq!(now(), before);
        drop(set_all(&kv, &options[..1]).unwrap());
        assert_eq!(now(), before, "restored");
        set_all(&kv, &options[..1]).unwrap().keep();
        assert_eq!(now().as_deref(), Some("9"));
    }

    #[test]
    fn options_not_used_at_opening_are_set_afterwards() {
        let text = "[rocksdb]\nmax-sub-compactions = 2\nmax-open-files = 77\n[rocksdb.writecf]\nttl = 5\n\
                    max-compaction-bytes = \"2GiB\"\nwrite-buffer-size = \"1MiB\"\n";
        let (config, unknown) = TikvConfig::from_toml(text).unwrap();
        assert!(unknown.is_empty(), "{unknown:?}");
        let given = given(&config).unwrap();
        let given: Vec<_> = given.iter().map(|option| (option.key.as_str(), option.value.as_str())).collect();
        let expected = [
            ("rocksdb.max-sub-compactions", "2"),
            ("rocksdb.writecf.max-compaction-bytes", "2147483648"),
            ("rocksdb.writecf.ttl", "5"),
        ];
        assert_eq!(given, expected);
    }

    #[test]
    fn rocksdb_stalls_no_writes_while_flow_control_is_on() {
        let text = "[rocksdb.writecf]\nlevel0-stop-writes-trigger = 50\n";
        let (on, _) = TikvConfig::from_toml(text).unwrap();
        let mut off = on.clone();
        off.storage.flow_control.enable = false;
        let dir = tempfile::tempdir().unwrap();
        let kv = RocksEngine::open(dir.path(), &on.build_db_config()).unwrap();
        on.tune(&kv).unwrap();
        let in_effect = |cf: &str, name: &str| kv.option_in_effect(Some(cf), name).unwrap().unwrap();
        let stalls = |cf: &str| {
            let limits = ["soft", "hard"].map(|kind| format!("{kind}_pending_compaction_bytes_limit"));
            let limits = limits.map(|name| in_effect(cf, &name));
            let files =
                ["slowdown", "stop"].map(|kind| in_effect(cf, &format!("level0_{kind}_writes_trigger")));
            (files, limits, in_effect(cf, "max_write_buffer_number"))
        };
        let (most, no_limit) = (i32::MAX.to_string(), i64::MAX.to_string());
        let open = ([most.clone(), most.clone()], [no_limit.clone(), no_limit.clone()], "20".to_owned());
        assert_eq!(stalls("default"), open);
        assert_eq!(stalls("write").0[1], "50", "the given value stays");

        assert!(differing_stalls(&on, &on).unwrap().is_empty());
        set_all(&kv, &differing_stalls(&on, &off).unwrap()).unwrap().keep();
        let bytes = [192_u64 << 30, 1024 << 30].map(|bytes| bytes.to_string());
        for cf in ["default", "lock", "raft"] {
            assert_eq!(stalls(cf), (["20", "20"].map(str::to_owned), bytes.clone(), "5".to_owned()), "{cf}");
        }
        assert_eq!(stalls("write").0, ["20", "50"].map(str::to_owned));
        set_all(&kv, &differing_stalls(&off, &on).unwrap()).unwrap().keep();
        assert_eq!(stalls("default"), open);
        assert_eq!(stalls("write").0, [most, "50".to_owned()]);
    }

    #[test]
    fn differing_options_are_found() {
        let (old, mut new) = (TikvConfig::default(), TikvConfig::default());
        new.rocksdb.max_background_jobs = 5;
        new.rocksdb.lockcf.write_buffer_size = ReadableSize::mb(7);
        let found = differing(&old, &new).unwrap();
        let keys: Vec<&str> = found.iter().map(|option| option.key.as_str()).collect();
        assert_eq!(keys, ["rocksdb.lockcf.write-buffer-size", "rocksdb.max-background-jobs"]);
        assert_eq!(found[0].value, (7 << 20).to_string());
    }
}
