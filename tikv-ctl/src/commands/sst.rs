//! `sst`: what is in an SST file.

use std::{collections::BTreeMap, fmt::Write as _, path::Path, sync::Arc};

use keys::{escape, hex_upper};
use serde_json::{Map, Value, json};

use super::data::key_json;
use crate::{
    Error, Result,
    cli::{SstArgs, SstView},
    key::{KeyFormat, KeyUse, parse_key},
    lsm::{InternalKey, Table, TableProperties, ValueType},
    output::Output,
};

/// Runs `sst`.
pub fn run(args: &SstArgs, format: KeyFormat, out: &mut Output<'_>) -> Result<()> {
    if !args.path.is_file() {
        let met = if args.path.is_dir() { "a directory" } else { "nothing" };
        return Err(Error::other(format!("{}: expected an SST file, met {met}", args.path.display())));
    }
    let table = Arc::new(Table::open(&args.path)?);
    match args.what {
        SstView::Properties => properties(&table, out),
        SstView::Keys => keys_of(&table, args, format, out),
        SstView::Layout => layout(&table, out),
        SstView::Verify => verify(&table, out),
    }
}

/// RocksDB's numbers and texts, in the order in which sst_dump prints them.
const NUMBERS: [(&str, &str); 16] = [
    ("data blocks", "rocksdb.num.data.blocks"),
    ("entries", "rocksdb.num.entries"),
    ("deletions", "rocksdb.deleted.keys"),
    ("merge operands", "rocksdb.merge.operands"),
    ("range deletions", "rocksdb.num.range-deletions"),
    ("raw key size", "rocksdb.raw.key.size"),
    ("raw value size", "rocksdb.raw.value.size"),
    ("data block size", "rocksdb.data.size"),
    ("index block size", "rocksdb.index.size"),
    ("filter block size", "rocksdb.filter.size"),
    ("entries for filter", "rocksdb.num.filter_entries"),
    ("column family id", "rocksdb.column.family.id"),
    ("creation time", "rocksdb.creation.time"),
    ("oldest key time", "rocksdb.oldest.key.time"),
    ("file creation time", "rocksdb.file.creation.time"),
    ("original file number", "rocksdb.original.file.number"),
];
const TEXTS: [(&str, &str); 10] = [
    ("column family name", "rocksdb.column.family.name"),
    ("comparator", "rocksdb.comparator"),
    ("filter policy", "rocksdb.filter.policy"),
    ("prefix extractor", "rocksdb.prefix.extractor.name"),
    ("merge operator", "rocksdb.merge.operator"),
    ("property collectors", "rocksdb.property.collectors"),
    ("compression", "rocksdb.compression"),
    ("db id", "rocksdb.creating.db.identity"),
    ("db session id", "rocksdb.creating.session.identity"),
    ("db host id", "rocksdb.creating.host.identity"),
];
const RANGE_INDEXES: [&str; 3] = ["tikv.range_index", "tikv.rows_index", "tikv.size_index"];

fn properties(table: &Table, out: &mut Output<'_>) -> Result<()> {
    let properties = table.properties();
    let mut all: Vec<(String, Value)> = vec![
        ("file".into(), json!(table.file().path().display().to_string())),
        ("file size".into(), json!(table.file().size())),
        ("format version".into(), json!(table.format_version())),
        ("checksum".into(), json!(format!("{:?}", table.checksum_type()))),
    ];
    all.extend(
        NUMBERS.iter().filter_map(|(name, key)| Some(((*name).into(), json!(properties.number(key)?)))),
    );
    all.extend(TEXTS.iter().filter_map(|(name, key)| Some(((*name).into(), json!(properties.text(key)?)))));
    let tikv = tikv_properties(properties);
    if out.is_json() {
        let mut object: Map<_, _> =
            all.into_iter().map(|(name, value)| (name.replace(' ', "_"), value)).collect();
        object.insert("tikv".into(), Value::Object(tikv));
        return out.json(&object);
    }
    for (name, value) in all {
        out.line(format!("{name}: {}", plain(&value)))?;
    }
    for (name, value) in tikv {
        let Some(points) = value.as_array() else {
            out.line(format!("{name}: {}", plain(&value)))?;
            continue;
        };
        out.line(format!("{name}: {} points", points.len()))?;
        for point in points {
            let of = |field: &str| plain(&point[field]);
            out.line(format!("  {}  bytes before: {}  keys before: {}", of("key"), of("size"), of("keys")))?;
        }
    }
    Ok(())
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What TiKV's collectors wrote, decoded.
fn tikv_properties(properties: &TableProperties) -> Map<String, Value> {
    let mut all = Map::new();
    for (name, bytes) in properties.all().iter().filter(|(name, _)| name.starts_with("tikv.")) {
        let index = RANGE_INDEXES.contains(&name.as_str()).then(|| properties.range_index(name)).flatten();
        let value = match (index, properties.tikv_number(name)) {
            (Some(points), _) => points
                .into_iter()
                .map(|(key, offsets)| json!({ "key": escape(&key), "size": offsets.size, "keys": offsets.keys }))
                .collect(),
            (None, Some(number)) if name.ends_with("_ts") => json!(ts_text(number)),
            (None, Some(number)) => json!(number),
            (None, None) => json!(hex_upper(bytes)),
        };
        all.insert(name.clone(), value);
    }
    all
}

/// A timestamp with the milliseconds since the Unix epoch that it holds.
fn ts_text(ts: u64) -> String {
    if ts == 0 || ts == u64::MAX { ts.to_string() } else { format!("{ts} (unix {} ms)", ts >> 18) }
}

fn type_name(kind: ValueType) -> String {
    match kind {
        ValueType::Other(byte) => format!("type {byte}"),
        known => format!("{known:?}"),
    }
}

fn keys_of(table: &Arc<Table>, args: &SstArgs, format: KeyFormat, out: &mut Output<'_>) -> Result<()> {
    let mut bound = |text: &Option<String>| -> Result<Option<Vec<u8>>> {
        let Some(text) = text else { return Ok(None) };
        let parsed = parse_key(text, format, KeyUse::Raw)?;
        parsed.note.iter().for_each(|note| out.note(note));
        Ok(Some(parsed.key))
    };
    let (from, to) = (bound(&args.from)?, bound(&args.to)?);
    let mut iter = match &from {
        Some(from) => table.iter_from(from)?,
        None => table.iter()?,
    };
    let mut list = out.list();
    let mut count = 0;
    while (args.limit == 0 || count < args.limit) && iter.advance()? {
        let key = iter.key();
        if to.as_ref().is_some_and(|to| key.user_key >= to.as_slice()) {
            break;
        }
        count += 1;
        if out.is_json() {
            list.push(out, &entry_json(key, iter.value()))?;
        } else {
            let kind = key.value_type();
            out.line(format!(
                "'{}' seq:{}, type:{} => {}",
                escape(key.user_key),
                key.sequence(),
                kind.to_u8(),
                escape(iter.value())
            ))?;
        }
    }
    if out.is_json() { list.end(out) } else { out.line(format!("\nTotal keys: {count}")) }
}

fn entry_json(key: InternalKey<'_>, value: &[u8]) -> Value {
    let mut object = key_json(key.user_key);
    object["seq"] = json!(key.sequence());
    object["type"] = json!(type_name(key.value_type()));
    object["value"] = json!(hex_upper(value));
    object
}

fn layout(table: &Table, out: &mut Output<'_>) -> Result<()> {
    let mut rows = Vec::new();
    for (number, entry) in table.index()?.iter().enumerate() {
        rows.push(json!({
            "block": format!("data {number}"), "offset": entry.handle.offset, "size": entry.handle.size,
            "compression": table.block_compression(entry.handle)?, "up_to": escape(&entry.separator),
        }));
    }
    for block in table.meta_blocks() {
        rows.push(json!({
            "block": block.name, "offset": block.handle.offset, "size": block.handle.size,
            "compression": table.block_compression(block.handle)?, "up_to": "",
        }));
    }
    if out.is_json() {
        return out.json(&rows);
    }
    let mut text = format!("{:>12} {:>10} {:<14} block", "offset", "size", "compression");
    for row in rows {
        let of = |field: &str| plain(&row[field]);
        let up_to = Some(of("up_to")).filter(|key| !key.is_empty()).map(|key| format!(", keys up to {key}"));
        let _ = write!(
            text,
            "\n{:>12} {:>10} {:<14} {}{}",
            of("offset"),
            of("size"),
            of("compression"),
            of("block"),
            up_to.unwrap_or_default()
        );
    }
    out.line(text)
}

/// Reads everything, so that a damaged block shows; also whether keys are in order and as many as told.
fn verify(table: &Arc<Table>, out: &mut Output<'_>) -> Result<()> {
    let mut iter = table.iter()?;
    let (mut count, mut last) = (0u64, None::<(Vec<u8>, u64)>);
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    while iter.advance()? {
        let key = iter.key();
        if let Some((before, packed)) = &last {
            let ordered = (before.as_slice(), std::cmp::Reverse(*packed))
                < (key.user_key, std::cmp::Reverse(key.packed));
            if !ordered {
                return Err(bad(
                    table.file().path(),
                    &format!("entry {count} is not in order: {}", escape(key.user_key)),
                ));
            }
        }
        *kinds.entry(type_name(key.value_type())).or_default() += 1;
        last = Some((key.user_key.to_vec(), key.packed));
        count += 1;
    }
    for block in table.meta_blocks() {
        table.read_block(block.handle)?;
    }
    let told = table.properties().num_entries();
    // Range deletions are counted as entries but lie in their own block.
    let deletions = table.range_deletions()?.len() as u64;
    if count + deletions != told && told != 0 {
        return Err(bad(table.file().path(), &format!("{told} entries expected, {count} met")));
    }
    let blocks = table.index()?.len();
    out.either(
        || format!("{count} entries in {blocks} data blocks: all checksums match, keys are in order"),
        || json!({ "entries": count, "data_blocks": blocks, "types": kinds, "ok": true }),
    )
}

fn bad(path: &Path, what: &str) -> Error {
    Error::other(format!("{}: {what}", path.display()))
}
