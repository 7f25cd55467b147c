//! Settings that can change while a store runs: their names, how a change is parsed, and how it takes effect.
use serde_json::{Map, Value};

use super::{TikvConfig, rocks_options};
use crate::logger;

/// Names in `tikv.toml`; those of RocksDB are in `rocks_options`.
const ONLINE: [&str; 61] = [
    "log.level",
    "slow-log-threshold",
    "trace.keep",
    "trace.sample-one-in",
    "trace.slow-thresholds",
    "coprocessor.batch-split-limit",
    "coprocessor.region-max-keys",
    "coprocessor.region-max-size",
    "coprocessor.region-split-keys",
    "coprocessor.region-split-size",
    "pessimistic-txn.in-memory",
    "pessimistic-txn.in-memory-instance-size-limit",
    "pessimistic-txn.in-memory-peer-size-limit",
    "pessimistic-txn.pipelined",
    "pessimistic-txn.wait-for-lock-timeout",
    "pessimistic-txn.wake-up-delay-duration",
    "raftstore.abnormal-leader-missing-duration",
    "raftstore.allow-remove-leader",
    "raftstore.check-leader-lease-interval",
    "raftstore.leader-transfer-max-log-lag",
    "raftstore.max-leader-missing-duration",
    "raftstore.max-peer-down-duration",
    "raftstore.messages-per-tick",
    "raftstore.pd-heartbeat-tick-interval",
    "raftstore.pd-store-heartbeat-tick-interval",
    "raftstore.peer-stale-state-check-interval",
    "raftstore.raft-base-tick-interval",
    "raftstore.raft-engine-purge-interval",
    "raftstore.raft-entry-max-size",
    "raftstore.raft-log-gc-count-limit",
    "raftstore.raft-log-gc-size-limit",
    "raftstore.raft-log-gc-threshold",
    "raftstore.raft-log-gc-tick-interval",
    "raftstore.raft-log-reserve-max-ticks",
    "raftstore.reactive-memory-lock-tick-interval",
    "raftstore.reactive-memory-lock-timeout-tick",
    "raftstore.region-max-size",
    "raftstore.right-derive-when-split",
    "raftstore.snap-gc-timeout",
    "raftstore.snap-mgr-gc-tick-interval",
    "raftstore.split-region-check-tick-interval",
    "readpool.unified.max-tasks-per-worker",
    "readpool.unified.max-thread-count",
    "rocksdb.max-background-jobs",
    "rocksdb.max-open-files",
    "rocksdb.max-total-wal-size",
    "server.concurrent-recv-snap-limit",
    "server.concurrent-send-snap-limit",
    "server.raft-msg-max-batch-size",
    "storage.block-cache.capacity",
    "storage.flow-control.enable",
    "storage.flow-control.hard-pending-compaction-bytes-limit",
    "storage.flow-control.l0-files-threshold",
    "storage.flow-control.memtables-threshold",
    "storage.flow-control.soft-pending-compaction-bytes-limit",
    "storage.max-ts.action-on-invalid-update",
    "storage.max-ts.max-drift",
    "storage.memory-quota",
    "storage.scheduler-pending-write-threshold",
    "storage.scheduler-worker-pool-size",
    "storage.ttl-check-poll-interval",
];

/// Sections of TiKV's configuration; this server has only some of them.
const TIKVS: [&str; 26] = [
    "backup",
    "backup-stream",
    "causal-ts",
    "cdc",
    "coprocessor",
    "coprocessor-v2",
    "gc",
    "import",
    "in-memory-engine",
    "log",
    "log-backup",
    "memory",
    "pd",
    "pessimistic-txn",
    "quota",
    "raft-engine",
    "raftdb",
    "raftstore",
    "readpool",
    "resolved-ts",
    "resource-control",
    "resource-metering",
    "rocksdb",
    "security",
    "server",
    "storage",
];

fn is_online(name: &str) -> bool {
    ONLINE.contains(&name) || rocks_options::is_online(name)
}

/// Returns the configuration as a tree.
pub fn known(config: &TikvConfig) -> Result<Value, String> {
    serde_json::to_value(config).map_err(|e| e.to_string())
}

/// Returns whether `tree` has a dotted name.
fn has(tree: &Value, name: &str) -> bool {
    name.split('.').try_fold(tree, |at, part| at.get(part)).is_some()
}

/// Returns the reason why a name cannot be changed.
fn refused(tree: &Value, name: &str) -> String {
    let section = name.split('.').next().unwrap_or_default();
    if has(tree, name) {
        format!("config {name} can not be changed online: change tikv.toml and restart the store")
    } else if TIKVS.contains(&section) {
        format!(
            "config {name}: this server has no such setting; GET /config lists the settings of this server"
        )
    } else {
        format!("unexpect fields: {section}")
    }
}

/// Returns the configuration with all of these changes. Names are dotted, with `-` or `_`.
///
/// # Errors
/// The first name or value that is not accepted, and why.
pub fn with(config: &TikvConfig, changes: &Map<String, Value>) -> Result<TikvConfig, String> {
    let mut tree = known(config)?;
    for (name, value) in changes {
        if !is_online(name) {
            return Err(refused(&tree, name));
        }
        let place = place_of(&mut tree, name).ok_or_else(|| format!("config {name} does not exist"))?;
        *place = like(place, value);
        // One by one, so that an error names the setting.
        serde_json::from_value::<TikvConfig>(tree.clone()).map_err(|e| format!("config {name}: {e}"))?;
    }
    let mut changed: TikvConfig = serde_json::from_value(tree).map_err(|e| e.to_string())?;
    check(&mut changed)?;
    Ok(changed)
}

/// Returns the new values in the form of the configuration file: texts as
/// they were given, numbers as numbers.
pub fn to_persist(config: &TikvConfig, changes: &Map<String, Value>) -> Result<Vec<(String, Value)>, String> {
    let mut tree = known(config)?;
    let typed = |(name, value): (&String, &Value)| {
        let old = place_of(&mut tree, name).map_or(Value::Null, |place| place.clone());
        (name.clone(), like(&old, value))
    };
    Ok(changes.iter().map(typed).collect())
}

/// Returns the place of a dotted name in `tree`; an option of RocksDB that is not set has a place, too.
fn place_of<'t>(tree: &'t mut Value, name: &str) -> Option<&'t mut Value> {
    let (section, key) = name.rsplit_once('.').unwrap_or(("", name));
    let mut parts = section.split('.').filter(|part| !part.is_empty());
    let table = parts.try_fold(tree, |at, part| at.get_mut(part))?.as_object_mut()?;
    if rocks_options::is_online(name) {
        return Some(table.entry(key).or_insert(Value::Null));
    }
    table.get_mut(key)
}

/// Copies the changed online settings of `read` into `config`, and returns
/// the names of the other changed ones.
pub fn merge(config: &TikvConfig, read: &TikvConfig) -> Result<(TikvConfig, Vec<String>), String> {
    let json = |config: &TikvConfig| serde_json::to_value(config).map_err(|e| e.to_string());
    let (mut tree, mut rest) = (json(config)?, Vec::new());
    merge_into(&mut tree, &json(read)?, "", &mut rest);
    let mut merged: TikvConfig = serde_json::from_value(tree).map_err(|e| e.to_string())?;
    check(&mut merged)?;
    Ok((merged, rest))
}

fn merge_into(at: &mut Value, new: &Value, path: &str, rest: &mut Vec<String>) {
    if at == new {
        return;
    }
    if is_online(path) {
        at.clone_from(new);
        return;
    }
    match (at, new) {
        (Value::Object(at), Value::Object(new)) => {
            for (name, new) in new {
                let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                match at.get_mut(name) {
                    Some(at) => merge_into(at, new, &below, rest),
                    None if is_online(&below) => drop(at.insert(name.clone(), new.clone())),
                    None => rest.push(below),
                }
            }
        }
        _ => rest.push(path.to_owned()),
    }
}

fn check(config: &mut TikvConfig) -> Result<(), String> {
    logger::parse_level(&config.log.level)?;
    config.validate().map_err(|e| e.to_string())
}

/// Converts `new` to the type of `old`: TiKV's tools send numbers as text, too.
fn like(old: &Value, new: &Value) -> Value {
    match (old, new) {
        (Value::Number(_) | Value::Bool(_) | Value::Null, Value::String(text)) => {
            serde_json::from_str(text).unwrap_or_else(|_| new.clone())
        }
        _ => new.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn changes(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn all_changes_apply_or_none_and_errors_name_the_setting() {
        let config = TikvConfig::default();
        let new = json!({"log.level": "warn", "slow-log-threshold": "20ms", "trace.sample-one-in": "7",
            "trace.slow-thresholds": {"kv_get": "5ms"}});
        let changed = with(&config, &changes(&new)).unwrap();
        let tail = changed.build_tail_config();
        assert_eq!((tail.slow_ns, tail.one_in, changed.log.level.as_str()), (20_000_000, 7, "warn"));
        assert_eq!(tail.slow_by_kind, [(tracepoints::RequestKind::KvGet, 5_000_000)]);
        for (wrong, named) in [
            (json!({"server.addr": "x"}), "server.addr can not be changed online"),
            (json!({"gc.ratio-threshold": "1.1"}), "no such setting"),
            (json!({"nope.nope": "1"}), "unexpect fields: nope"),
            (json!({"raftstore.raft-log-gc-threshold": "many"}), "raft-log-gc-threshold"),
            (json!({"log.level": "loud"}), "loud"),
            (json!({"slow-log-threshold": "soon"}), "slow-log-threshold"),
            (json!({"trace.sample-one-in": "x"}), "trace.sample-one-in"),
            (json!({"trace.slow-thresholds": {"kv_got": "5ms"}}), "kv_got"),
        ] {
            let error = with(&config, &changes(&wrong)).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn unset_options_of_rocksdb_have_a_place() {
        let new = json!({"rocksdb.writecf.max-compaction-bytes": "1GB", "rocksdb.max-sub-compactions": "3",
            "log.level": "warn", "trace.sample-one-in": "7"});
        let changed = with(&TikvConfig::default(), &changes(&new)).unwrap();
        assert_eq!(changed.rocksdb.tuning.max_sub_compactions, Some(3));
        assert_eq!(
            changed.rocksdb.writecf.tuning.max_compaction_bytes,
            Some(super::super::ReadableSize::gb(1))
        );
        let written = to_persist(&TikvConfig::default(), &changes(&new)).unwrap();
        let written: Vec<_> = written.into_iter().map(|(_, value)| value).collect();
        assert_eq!(written, [json!("warn"), json!(3), json!("1GB"), json!(7)]);
        let wrong = json!({"rocksdb.writecf.disable-auto-compactions": "perhaps"});
        assert!(
            with(&TikvConfig::default(), &changes(&wrong)).unwrap_err().contains("disable-auto-compactions")
        );
    }

    #[test]
    fn reload_applies_online_settings_and_names_the_rest() {
        let config = TikvConfig::default();
        let text = "[log]\nlevel = \"error\"\n[server]\ngrpc-concurrency = 2\nlabels = { zone = \"z1\" }\n";
        let (read, _) = TikvConfig::from_toml(text).unwrap();
        let (merged, rest) = merge(&config, &read).unwrap();
        assert_eq!(merged.log.level, "error");
        assert_eq!(rest, ["server.grpc-concurrency", "server.labels.zone"]);
        assert_eq!(merged.server, config.server);
        assert_eq!(merge(&read, &read).unwrap(), (read, vec![]));
    }
}
