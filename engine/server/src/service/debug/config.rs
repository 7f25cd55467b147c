//! `ModifyTikvConfig`: what of the configuration can be changed while the store runs.

use std::str::FromStr;

use engine_rocks::RocksEngine;
use log::LevelFilter;

use crate::config::{ReadableSize, TikvConfig};

/// Options of column families that RocksDB takes while it runs, by TiKV's names, and whether they are sizes.
const CF_OPTIONS: [(&str, bool); 14] = [
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
    ("ttl", false),
];

/// Sets `name` to `value` until the store stops; the error says what is wrong with them.
pub fn modify(kv: &RocksEngine, known: &TikvConfig, name: &str, value: &str) -> Result<(), String> {
    let path: Vec<&str> = name.split('.').collect();
    match path.as_slice() {
        ["log", "level"] | ["log-level"] => {
            let level = LevelFilter::from_str(value).map_err(|_| {
                format!("log.level: expected error, warn, info, debug or trace, met {value:?}")
            })?;
            log::set_max_level(level);
            Ok(())
        }
        ["rocksdb", cf, option] if cf.ends_with("cf") => cf_option(kv, cf, option, value),
        _ if is_known(known, &path) => {
            Err(format!("{name} cannot be changed while the store runs: set it in the configuration file"))
        }
        _ => Err(format!("unexpect fields: {}", path.first().unwrap_or(&""))),
    }
}

fn cf_option(kv: &RocksEngine, section: &str, option: &str, value: &str) -> Result<(), String> {
    let cf = section.trim_end_matches("cf");
    if !kv.cf_names().iter().any(|name| name == cf) {
        return Err(format!("unexpect fields: {section}"));
    }
    let Some((_, size)) = CF_OPTIONS.iter().find(|(name, _)| *name == option) else {
        return Err(format!("unexpect fields: {option}"));
    };
    let value = if *size {
        let bytes = ReadableSize::from_str(value).map_err(|e| format!("{section}.{option}: {e}"))?;
        bytes.0.to_string()
    } else {
        value.to_owned()
    };
    let name = option.replace('-', "_");
    kv.set_options_cf(cf, &[(&name, &value)]).map_err(|e| format!("{section}.{option} = {value}: {e}"))
}

fn is_known(known: &TikvConfig, path: &[&str]) -> bool {
    let Ok(mut value) = toml::Value::try_from(known) else { return false };
    path.iter().all(|part| match value.get(part).cloned() {
        Some(inner) => {
            value = inner;
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use engine_rocks::DbConfig;

    use super::*;

    #[test]
    fn options_of_column_families_change_and_mistakes_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let kv = RocksEngine::open(dir.path(), &DbConfig::small()).unwrap();
        let known = TikvConfig::default();
        let modify = |name: &str, value: &str| modify(&kv, &known, name, value);
        modify("rocksdb.defaultcf.disable-auto-compactions", "true").unwrap();
        modify("rocksdb.writecf.write-buffer-size", "8MB").unwrap();
        assert_eq!(modify("nope.nope", "1").unwrap_err(), "unexpect fields: nope");
        assert!(modify("rocksdb.defaultcf.nope", "1").unwrap_err().contains("nope"));
        assert!(modify("rocksdb.nopecf.ttl", "1").unwrap_err().contains("nopecf"));
        assert!(modify("rocksdb.writecf.write-buffer-size", "much").is_err());
        assert!(modify("rocksdb.writecf.max-write-buffer-number", "much").is_err());
        assert!(modify("server.addr", "x").unwrap_err().contains("cannot be changed"));
    }
}
