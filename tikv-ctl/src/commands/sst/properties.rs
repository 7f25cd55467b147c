//! `sst PATH properties`: prints the table's properties, with TiKV's decoded.
use keys::{escape, hex_upper};
use serde_json::{Map, Value, json};
use store_files::io::Context;

use crate::{
    Error, Result,
    lsm::{Table, TableProperties},
    print::output::Output,
};

/// RocksDB's numbers and texts, in the order of sst_dump.
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

pub fn run(table: &Table, out: &mut Output<'_>) -> Result<()> {
    let properties = table.properties();
    let filter = table.filter_text().map_err(|e| e.context(Context::Part("the filter")));
    if let Err(e) = &filter {
        out.note(&e.to_string());
    }
    print(table, properties, filter.as_deref().unwrap_or("cannot be read"), out)?;
    filter.map_or_else(|_| Err(Error::Damaged(1)), |_| Ok(()))
}

fn print(table: &Table, properties: &TableProperties, filter: &str, out: &mut Output<'_>) -> Result<()> {
    let mut all: Vec<(String, Value)> = vec![
        ("file".into(), json!(table.file().path().display().to_string())),
        ("file size".into(), json!(table.file().size())),
        ("format version".into(), json!(table.format_version())),
        ("checksum".into(), json!(format!("{:?}", table.checksum_type()))),
        ("index type".into(), json!(properties.index_type_name())),
        ("filter".into(), json!(filter)),
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

pub(super) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Returns the decoded properties that TiKV's collectors wrote.
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

/// Formats a timestamp with its milliseconds since the Unix epoch.
fn ts_text(ts: u64) -> String {
    if ts == 0 || ts == u64::MAX { ts.to_string() } else { format!("{ts} (unix {} ms)", ts >> 18) }
}
