//! `key`: explains a key in all its forms.
use base64::Engine;
use clap::Args;
use keys::{codec, data_key, escape, hex_upper};
use kvproto::{kvrpcpb::ApiVersion, metapb::Region};
use serde_json::{Value, json};
use txn_types::{Lock, LockOrSharedLocks, WriteRef};

use super::open::open_source;
use crate::{
    Error, Result,
    cli::Global,
    key::{self, Inner, KeyFormat, Reading},
    print::output::Output,
    schema::enum_value,
    source::Source,
    tidb::{TableKey, row, table},
    timestamp,
};

/// A key, and a value of it.
#[derive(Clone, Debug, Args)]
pub struct KeyArgs {
    /// The key, in any form; see --key-format
    #[arg(value_name = "KEY", allow_hyphen_values = true)]
    key: String,
    /// Also decode this value, given as hex: a TiDB row, a write or a lock record
    #[arg(long, value_name = "HEX")]
    value: Option<String>,
}

/// Facts about the store that keys are looked up in.
struct Store {
    api_version: ApiVersion,
    regions: Vec<Region>,
}

impl Store {
    fn read(source: &dyn Source) -> Result<Store> {
        let of = |function| format!("{}::{function}", source.executor());
        let api_version = source.store_info().map_err(|e| e.into_error(&of("get_store_info")))?.1;
        let mut regions = Vec::new();
        for id in source.all_regions().map_err(|e| e.into_error(&of("get_all_regions_in_store")))? {
            let info = source.region_info(id).map_err(|e| e.into_error(&of("region_info")))?;
            regions.extend(info.region_local_state.and_then(|state| state.region));
        }
        Ok(Store { api_version, regions })
    }

    /// Returns the region that contains `user_key`; bounds are compared in memcomparable form, or raw where
    /// keys are raw.
    fn region(&self, user_key: &[u8], encoded: &[u8]) -> Option<&Region> {
        let holds = |key: &[u8], region: &&Region| {
            !region.peers.is_empty()
                && region.start_key.as_slice() <= key
                && (region.end_key.is_empty() || key < region.end_key.as_slice())
        };
        let of_encoded = self.regions.iter().find(|region| holds(encoded, region));
        of_encoded.or_else(|| self.regions.iter().find(|region| holds(user_key, region)))
    }
}

/// Runs `key`.
pub fn run(args: &KeyArgs, global: &Global, out: &mut Output<'_>) -> Result<()> {
    let (text, value) = (args.key.as_str(), args.value.as_deref());
    let source = open_source(global, out)?;
    let store = source.as_deref().map(Store::read).transpose()?;
    let readings = all_readings(text, global.key_format)?;
    let value = value.map(key::hex).transpose()?;
    if out.is_json() {
        let list: Vec<Value> = readings.iter().map(|reading| explain_json(reading, store.as_ref())).collect();
        let mut object = json!({ "key": text, "ambiguous": readings.len() > 1, "readings": list });
        if let Some(value) = &value {
            object["value"] = json!(value_facts(value).into_iter().collect::<serde_json::Map<_, _>>());
        }
        return out.json(&object);
    }
    if readings.len() > 1 {
        let forms: Vec<&str> = readings.iter().map(|reading| reading.form).collect();
        out.line(format!(
            "{text:?} can be read in {} ways; --key-format {} selects one\n",
            readings.len(),
            forms.join("|")
        ))?;
    }
    for (at, reading) in readings.iter().enumerate() {
        if at > 0 {
            out.line("")?;
        }
        for (name, value) in facts(reading, store.as_ref()) {
            out.line(format!("{name:<16}{value}"))?;
        }
    }
    for (name, value) in value.iter().flat_map(|value| value_facts(value)) {
        out.line(format!("\nvalue as {name}:"))?;
        match value {
            Value::String(lines) => lines.lines().try_for_each(|line| out.line(format!("  {line}")))?,
            value => out.line(format!("  {value}"))?,
        }
    }
    Ok(())
}

fn all_readings(text: &str, format: KeyFormat) -> Result<Vec<Reading>> {
    let one = |form, bytes: Vec<u8>| {
        let whole = Inner { user_key: bytes.clone(), ts: None };
        vec![Reading { form, inner: key::inner(&bytes).unwrap_or(whole), bytes }]
    };
    let readings = match format {
        KeyFormat::Auto => key::readings(text),
        KeyFormat::Raw => {
            let bytes = text.as_bytes().to_vec();
            vec![Reading { form: "raw", inner: Inner { user_key: bytes.clone(), ts: None }, bytes }]
        }
        KeyFormat::Hex => one("hex", key::hex(text)?),
        KeyFormat::Escaped => one("escaped", key::escaped(text)?),
        KeyFormat::Base64 => one("base64", key::base64(text)?),
        KeyFormat::Tidb => one("tidb", key::tidb(text)?),
    };
    if readings.is_empty() {
        return Err(Error::other(format!(
            "key {text:?}: expected escaped, hex, base64 or t100_r5, found another form: see --key-format"
        )));
    }
    Ok(readings)
}

/// Returns the keyspace of a key of API V2 (mode, id) and the bytes after its prefix.
fn keyspace(user_key: &[u8]) -> Option<(&'static str, u32, &[u8])> {
    let mode = match user_key.first()? {
        b'x' => "transactional",
        b'r' => "raw",
        _ => return None,
    };
    let id = user_key.get(1..4)?.iter().fold(0, |id, byte| id << 8 | u32::from(*byte));
    Some((mode, id, &user_key[4..]))
}

/// Returns the table key, with or without a keyspace prefix.
fn table_key(user_key: &[u8]) -> Option<TableKey> {
    TableKey::decode(user_key).or_else(|| TableKey::decode(keyspace(user_key)?.2))
}

fn local_key(bytes: &[u8]) -> Option<String> {
    if bytes == keys::STORE_IDENT_KEY {
        return Some("the store's identity (CF default)".to_owned());
    }
    if let Ok((region, index)) = keys::decode_raft_log_key(bytes) {
        return Some(format!("Raft log of region {region}, index {index}"));
    }
    if let Ok((region, suffix)) = keys::decode_region_raft_key(bytes) {
        let what = match suffix {
            2 => "RaftLocalState",
            3 => "RaftApplyState (CF raft)",
            4 => "RaftLocalState of a snapshot (CF raft)",
            _ => "Raft state of an unknown kind",
        };
        return Some(format!("{what} of region {region}"));
    }
    let (region, _) = keys::decode_region_meta_key(bytes).ok()?;
    Some(format!("RegionLocalState of region {region} (CF raft)"))
}

/// Returns name and text of each fact about a key.
fn facts(reading: &Reading, store: Option<&Store>) -> Vec<(&'static str, String)> {
    let mut list = vec![("read as", reading.form.to_owned())];
    if let Some(what) = local_key(&reading.bytes) {
        list.push(("RocksDB key", escape(&reading.bytes)));
        list.push(("  hex", hex_upper(&reading.bytes)));
        list.push(("local key", what));
        return list;
    }
    let Inner { user_key, ts } = &reading.inner;
    let (encoded, rocks) = encoded_forms(&reading.inner);
    list.extend([
        ("user key", escape(user_key)),
        ("  hex", hex_upper(user_key)),
        ("  base64", base64_text(user_key)),
        ("memcomparable", escape(&encoded)),
        ("  hex", hex_upper(&encoded)),
        ("RocksDB key", escape(&rocks)),
        ("  hex", hex_upper(&rocks)),
    ]);
    if let Some(ts) = ts {
        list.push(("timestamp", timestamp::text(*ts)));
    }
    list.extend(keyspace_text(user_key, store).map(|text| ("keyspace", text)));
    if let Some(key) = table_key(user_key) {
        list.push(("TiDB", table_text(&key)));
    } else if let Some(text) = table::meta_text(user_key) {
        list.push(("TiDB", format!("meta: {text}")));
    }
    if let Some(store) = store {
        let text = store.region(user_key, &encoded).map_or("none on this store".to_owned(), |region| {
            format!("{} [{}, {})", region.id, bound(&region.start_key), bound(&region.end_key))
        });
        list.push(("region", text));
    }
    list
}

/// Returns the memcomparable form, and the RocksDB key with its timestamp.
fn encoded_forms(inner: &Inner) -> (Vec<u8>, Vec<u8>) {
    let encoded = codec::encode_bytes(&inner.user_key);
    let mut rocks = data_key(&encoded);
    if let Some(ts) = inner.ts {
        codec::encode_u64_desc(&mut rocks, ts);
    }
    (encoded, rocks)
}

fn base64_text(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn keyspace_text(user_key: &[u8], store: Option<&Store>) -> Option<String> {
    let known = store.map(|store| store.api_version);
    match (keyspace(user_key), known) {
        (Some((mode, id, _)), Some(ApiVersion::V2)) => Some(format!("{id}, {mode} (API V2)")),
        (_, Some(version)) => {
            Some(format!("none (API {})", enum_value("kvrpcpb.APIVersion", i64::from(version as i32))))
        }
        (Some((mode, id, _)), None) => Some(format!(
            "{id}, {mode}, if the store has API V2; none with V1 (give --data-dir or --host to read the version)"
        )),
        (None, None) => None,
    }
}

fn table_text(key: &TableKey) -> String {
    use table::TableKeyKind::*;
    let values = |values: &[crate::tidb::Datum]| {
        values.iter().map(|value| value.to_string()).collect::<Vec<_>>().join(", ")
    };
    let what = match &key.kind {
        Table => "all of it".to_owned(),
        Rows => "all rows".to_owned(),
        Row(handle) => format!("row {handle}"),
        CommonRow(list) => format!("row by primary key ({})", values(list)),
        Index(id, list) if list.is_empty() => format!("index {id}"),
        Index(id, list) => format!("index {id}, values ({})", values(list)),
    };
    format!("{key}: table {}, {what}", key.table_id)
}

/// Formats a region's bound: the user key if the bound has that form, and TiDB's name of it.
fn bound(encoded: &[u8]) -> String {
    if encoded.is_empty() {
        return "-inf/+inf".to_owned();
    }
    let Some(inner) = key::inner(encoded) else { return escape(encoded) };
    table_key(&inner.user_key).map_or_else(|| escape(&inner.user_key), |key| key.to_string())
}

fn explain_json(reading: &Reading, store: Option<&Store>) -> Value {
    let Inner { user_key, ts } = &reading.inner;
    let (encoded, rocks) = encoded_forms(&reading.inner);
    let keyspace = keyspace(user_key).map(|(mode, id, _)| json!({ "mode": mode, "id": id }));
    let region = store.and_then(|store| store.region(user_key, &encoded)).map(|region| {
        json!({
            "id": region.id,
            "start_key": hex_upper(&region.start_key),
            "end_key": hex_upper(&region.end_key),
        })
    });
    json!({
        "form": reading.form,
        "local": local_key(&reading.bytes),
        "user_key": escape(user_key),
        "user_key_hex": hex_upper(user_key),
        "user_key_base64": base64_text(user_key),
        "encoded_hex": hex_upper(&encoded),
        "key": escape(&rocks),
        "key_hex": hex_upper(&rocks),
        "ts": ts.map(timestamp::json),
        "api_version": store.map(|s| enum_value("kvrpcpb.APIVersion", i64::from(s.api_version as i32))),
        "keyspace": keyspace,
        "tidb": table_key(user_key).map(|key| key.json()),
        "tidb_meta": table::meta_text(user_key),
        "region": region,
    })
}

fn lock_json(lock: &Lock) -> Value {
    json!({ "type": format!("{:?}", lock.lock_type), "primary": escape(&lock.primary),
            "start_ts": timestamp::json(lock.ts.into_inner()), "ttl_ms": lock.ttl })
}

/// Returns every reading of a value by name, as text or as JSON.
fn value_facts(value: &[u8]) -> Vec<(String, Value)> {
    let mut list = Vec::new();
    if let Some(row) = row::decode(value) {
        list.push((format!("row_v{}", row.version), json!(row.lines().join("\n"))));
    }
    if let Ok(write) = WriteRef::parse(value) {
        let short = write.short_value.map(escape);
        list.push((
            "write".to_owned(),
            json!({ "type": format!("{:?}", write.write_type), "start_ts": timestamp::json(write.start_ts.into_inner()),
                    "short_value": short }),
        ));
    }
    match txn_types::parse_lock(value) {
        Ok(LockOrSharedLocks::Lock(lock)) => list.push(("lock".to_owned(), lock_json(&lock))),
        Ok(LockOrSharedLocks::Shared(shared)) => list.push((
            "shared_locks".to_owned(),
            json!({ "shrink_only": shared.is_shrink_only(),
                    "locks": shared.iter().map(lock_json).collect::<Vec<_>>() }),
        )),
        Err(_) => {}
    }
    list.push(("bytes".to_owned(), json!(escape(value))));
    list
}
