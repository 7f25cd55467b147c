//! `size`, `scan`, `mvcc`, `raw-scan`, `print`.

use keys::{escape, hex_upper};
use kvproto::kvrpcpb::{MvccInfo, MvccLock, MvccValue, MvccWrite};
use prost::Message;
use serde_json::{Value, json};

use super::mvcc_text;
use crate::{
    Error, Result,
    cli::MvccFilter,
    key::{KeyFormat, KeyUse, parse_key},
    key_text::KeyText,
    line::Line,
    output::Output,
    source::Source,
    text::message_json,
};

/// Buffered text is written out at this size, in bytes.
const FLUSH_AT: usize = 64 << 10;
const DATA_CFS: [&str; 3] = ["default", "lock", "write"];
const ALL_CFS: [&str; 4] = ["default", "lock", "write", "raft"];

/// Formats a size as TiKV prints it.
pub fn convert_gbmb(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    if bytes < MIB {
        return format!("{bytes}B");
    }
    let gib = if bytes >= GIB { format!("{}GiB ", bytes / GIB) } else { String::new() };
    let mib = if bytes.is_multiple_of(GIB) {
        String::new()
    } else {
        format!("{:.3}MiB", (bytes % GIB) as f64 / MIB as f64)
    };
    gib + mib.as_str()
}

fn known_cf(cf: &str, known: &[&str]) -> Result<()> {
    if known.contains(&cf) {
        return Ok(());
    }
    Err(Error::TikvStderr(format!("CF {cf:?} doesn't exist. There are {}", known.join(", "))))
}

/// `size`: prints the bytes of keys and values per column family, of one region or of all; estimated or by a
/// scan.
pub fn size(
    region: Option<u64>,
    cfs: &[String],
    approximate: bool,
    source: &dyn Source,
    out: &mut Output<'_>,
) -> Result<()> {
    cfs.iter().try_for_each(|cf| known_cf(cf, &ALL_CFS))?;
    let of = |function| format!("{}::{function}", source.executor());
    let regions = match region {
        Some(region) => vec![region],
        None => source.all_regions().map_err(|e| e.into_error(&of("get_all_regions_in_store")))?,
    };
    let (mut total, mut objects) = (0, Vec::new());
    for id in &regions {
        let sizes = match approximate {
            true => source.approximate_region_size(*id, cfs),
            false => source.region_size(*id, cfs),
        };
        let sizes = sizes.map_err(|e| e.into_error(&of("region_size")))?;
        out.tick("regions");
        total += sizes.iter().map(|(_, size)| size).sum::<u64>();
        if out.is_json() {
            let by_cf: serde_json::Map<_, _> =
                sizes.into_iter().map(|(cf, size)| (cf, json!(size))).collect();
            objects.push(json!({ "region_id": id, "cfs": by_cf }));
            continue;
        }
        out.line(format!("region id: {id}"))?;
        for (cf, size) in sizes {
            out.line(format!("cf {cf} region size: {}", convert_gbmb(size)))?;
        }
    }
    if out.is_json() {
        let mut object = json!({ "regions": objects, "total_bytes": total });
        if approximate {
            object["approximate"] = json!(true);
        }
        return out.json(&object);
    }
    if region.is_none() {
        out.line(format!("total region number: {}", regions.len()))?;
        out.line(format!("total region size: {}", convert_gbmb(total)))?;
    }
    Ok(())
}

fn read_key(text: &str, format: KeyFormat, usage: KeyUse, out: &mut Output<'_>) -> Result<Vec<u8>> {
    let parsed = parse_key(text, format, usage)?;
    if let Some(note) = parsed.note {
        out.note(&note);
    }
    Ok(parsed.key)
}

/// `mvcc`: prints the records of one key.
pub fn mvcc(
    key: &str,
    filter: &MvccFilter,
    format: KeyFormat,
    source: &dyn Source,
    out: &mut Output<'_>,
) -> Result<()> {
    let key = read_key(key, format, KeyUse::Mvcc, out)?;
    dump(&key, &[], 0, filter, source, out)
}

/// `scan`: prints the records of keys in a range.
pub fn scan(
    from: &str,
    to: Option<&str>,
    limit: Option<u64>,
    filter: &MvccFilter,
    format: KeyFormat,
    source: &dyn Source,
    out: &mut Output<'_>,
) -> Result<()> {
    let from = read_key(from, format, KeyUse::MvccBound, out)?;
    let to = to.map(|to| read_key(to, format, KeyUse::MvccBound, out)).transpose()?.unwrap_or_default();
    let limit = limit.unwrap_or(0);
    if to.is_empty() && limit == 0 {
        return Err(Error::Tikv("please pass \"to\" or \"limit\"".to_owned()));
    }
    dump(&from, &to, limit, filter, source, out)
}

/// Prints MVCC records (TiKV `dump_mvccs_infos`). Without `to` and `limit`, only those of the key `from`.
fn dump(
    from: &[u8],
    to: &[u8],
    limit: u64,
    filter: &MvccFilter,
    source: &dyn Source,
    out: &mut Output<'_>,
) -> Result<()> {
    let has_z = |key: &[u8]| key.first() == Some(&keys::DATA_PREFIX);
    if !has_z(from) || (!to.is_empty() && !has_z(to) && to != keys::DATA_MAX_KEY) {
        return Err(Error::Tikv("from and to should start with \"z\"".to_owned()));
    }
    if !to.is_empty() && to < from {
        return Err(Error::Tikv("\"to\" must be greater than \"from\"".to_owned()));
    }
    filter.show_cf.iter().try_for_each(|cf| known_cf(cf, &DATA_CFS))?;
    let point = to.is_empty() && limit == 0;
    let limit = if point { 1 } else { limit };
    let mut found = false;
    let mut list = out.list();
    let (mut text, mut keys) = (Line::default(), KeyText::default());
    let scanned = source.scan_mvcc(from, to, limit, &mut |key, info| {
        if point && key != from {
            return Ok(());
        }
        found = true;
        out.tick("keys");
        if out.is_json() {
            let object = mvcc_json(key, info, filter)?;
            return list.push(out, &object);
        }
        mvcc_text::row(key, info, filter, &mut keys, &mut text);
        if text.len() >= FLUSH_AT {
            out.bytes(text.as_bytes())?;
            text.clear();
        }
        Ok(())
    });
    // Rows found before a failure are printed, too.
    out.bytes(text.as_bytes())?;
    scanned.map_err(|e| match source.executor() {
        // As in TiKV's tool: an error that a server returns while it sends rows is printed without the call's
        // name.
        "DebugClient" => e.into_error_with(|e| e.to_string()),
        executor => e.into_error(&format!("{executor}::scan_mvcc")),
    })?;
    if point && !found {
        return Err(Error::Tikv(format!("no mvcc infos for {}\nno mvcc infos", escape(from))));
    }
    if out.is_json() { list.end(out) } else { Ok(()) }
}

impl MvccFilter {
    fn shows(&self, cf: &str) -> bool {
        self.show_cf.iter().any(|shown| shown == cf)
    }

    fn keeps_start(&self, ts: u64) -> bool {
        self.start_ts.is_none_or(|wanted| wanted == ts)
    }

    fn keeps_commit(&self, ts: u64) -> bool {
        self.commit_ts.is_none_or(|wanted| wanted == ts)
    }

    /// Whether this lock is shown.
    pub fn shows_lock(&self, lock: &MvccLock) -> bool {
        self.shows("lock") && self.keeps_start(lock.start_ts)
    }

    /// Whether this value is shown. As in TiKV's tool, `--commit-ts` filters values by their start.
    pub fn shows_value(&self, value: &MvccValue) -> bool {
        self.shows("default") && self.keeps_commit(value.start_ts)
    }

    /// Whether this write is shown.
    pub fn shows_write(&self, write: &MvccWrite) -> bool {
        self.shows("write") && self.keeps_start(write.start_ts) && self.keeps_commit(write.commit_ts)
    }

    /// Returns `info` without the records that the filter hides.
    fn apply(&self, info: &MvccInfo) -> MvccInfo {
        let lock = info.lock.clone().filter(|lock| self.shows_lock(lock));
        let values = info.values.iter().filter(|value| self.shows_value(value));
        let writes = info.writes.iter().filter(|write| self.shows_write(write));
        MvccInfo { lock, writes: writes.cloned().collect(), values: values.cloned().collect() }
    }
}

fn mvcc_json(key: &[u8], info: &MvccInfo, filter: &MvccFilter) -> Result<Value> {
    let mut object = key_json(key);
    let info = message_json("kvrpcpb.MvccInfo", &filter.apply(info).encode_to_vec())?;
    if let (Some(object), Value::Object(info)) = (object.as_object_mut(), info) {
        object.extend(info);
    }
    Ok(object)
}

/// Returns a RocksDB key in its forms.
pub fn key_json(key: &[u8]) -> Value {
    let user_key = key.strip_prefix(&[keys::DATA_PREFIX]).and_then(|mut rest| {
        let raw = keys::codec::decode_bytes_from(&mut rest).ok()?;
        matches!(rest.len(), 0 | 8).then(|| escape(&raw))
    });
    json!({ "key": escape(key), "key_hex": hex_upper(key), "user_key": user_key })
}

/// `raw-scan`: prints keys and values as they are in RocksDB.
pub fn raw_scan(
    (from, to): (&str, &str),
    limit: usize,
    cf: &str,
    format: KeyFormat,
    source: &dyn Source,
    out: &mut Output<'_>,
) -> Result<()> {
    let from = bound(from, format, out)?;
    let to = bound(to, format, out)?;
    if !to.is_empty() && from >= to {
        return Err(Error::TikvStderr(format!(
            "to_key should be greater than from_key, but got from_key: \"{}\", to_key: \"{}\"",
            escape(&from),
            escape(&to)
        )));
    }
    if limit == 0 {
        return Err(Error::TikvStderr("limit should be greater than 0".to_owned()));
    }
    let mut count = 0;
    let mut list = out.list();
    let scanned = source.raw_scan(&from, &to, limit, cf, &mut |key, value| {
        count += 1;
        out.tick("keys");
        if out.is_json() {
            let mut object = key_json(key);
            object["value"] = json!(hex_upper(value));
            return list.push(out, &object);
        }
        out.line(format!("key: \"{}\", value: \"{}\"", escape(key), escape(value)))
    });
    scanned.map_err(|e| e.into_error(&format!("{}::raw_scan_impl", source.executor())))?;
    if out.is_json() {
        return list.end(out);
    }
    out.line("")?;
    out.line(format!("Total scanned keys: {count}"))
}

/// Parses a bound; an empty one is unbounded in every format.
fn bound(text: &str, format: KeyFormat, out: &mut Output<'_>) -> Result<Vec<u8>> {
    if text.is_empty() { Ok(Vec::new()) } else { read_key(text, format, KeyUse::Raw, out) }
}

/// `print`: prints a value as it is in RocksDB.
pub fn print(
    cf: &str,
    key: &str,
    format: KeyFormat,
    source: &dyn Source,
    out: &mut Output<'_>,
) -> Result<()> {
    let key = read_key(key, format, KeyUse::Raw, out)?;
    let value = source.get(cf, &key).map_err(|e| e.into_error(&format!("{}::get", source.executor())))?;
    out.either(
        || format!("value: {}", escape(&value)),
        || {
            let mut object = key_json(&key);
            object["value"] = json!(hex_upper(&value));
            object
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_print_as_in_tikv() {
        for (bytes, text) in [
            (0, "0B"),
            (1_048_575, "1048575B"),
            (1_048_576, "1.000MiB"),
            (838_543_048, "799.697MiB"),
            (1 << 30, "1GiB "),
            ((1 << 30) + (2 << 20), "1GiB 2.000MiB"),
        ] {
            assert_eq!(convert_gbmb(bytes), text);
        }
    }
}
