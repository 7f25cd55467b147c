//! `raw-scan` and `print`: rows as they are in RocksDB, and what they mean in API V1TTL and V2.
use api_version::KvFormat;
use clap::Args;
use keys::{CF_DEFAULT, data_key, encode_bytes, escape, hex_upper};
use serde_json::{Value, json};

use super::key_args::{RANGE_END_HINT, RAW_KEY_HINT, key_json, read_key};
use crate::{
    Error, Result,
    key::{KeyFormat, KeyUse},
    print::output::Output,
    raw_row::{self, RawFlags, RawRow},
    source::{RawPair, Source},
};

/// A range of RocksDB keys.
#[derive(Clone, Debug, Args)]
pub struct RawScanArgs {
    #[arg(short = 'f', long, value_name = "KEY", default_value = "", hide_default_value = true, help = RAW_KEY_HINT)]
    from: String,
    #[arg(short = 't', long, value_name = "KEY", default_value = "", hide_default_value = true, help = RANGE_END_HINT)]
    to: String,
    /// Print at most this many keys
    #[arg(long, default_value_t = 30)]
    limit: usize,
    /// The column family name
    #[arg(long, default_value = "default", value_parser = ["default", "lock", "write", "raft"])]
    cf: String,
    #[command(flatten)]
    raw: RawFlags,
}

/// A RocksDB key.
#[derive(Clone, Debug, Args)]
pub struct PrintArgs {
    /// The column family name
    #[arg(short = 'c', value_name = "CF", default_value = "default", value_parser = ["default", "lock", "write", "raft"])]
    cf: String,
    #[arg(short = 'k', value_name = "KEY", help = RAW_KEY_HINT)]
    key: String,
    #[command(flatten)]
    raw: RawFlags,
}

/// `raw-scan`: prints keys and values as they are in RocksDB, and decoded if the store adds bytes to them.
pub fn scan(args: &RawScanArgs, format: KeyFormat, source: &dyn Source, out: &mut Output<'_>) -> Result<()> {
    let from = bound(&args.from, format, out)?;
    let to = bound(&args.to, format, out)?;
    if !to.is_empty() && from >= to {
        return Err(Error::TikvStderr(format!(
            "to_key should be greater than from_key, but got from_key: \"{}\", to_key: \"{}\"",
            escape(&from),
            escape(&to)
        )));
    }
    if args.limit == 0 {
        return Err(Error::TikvStderr("limit should be greater than 0".to_owned()));
    }
    let rows = args.raw.format(Some(source), out);
    let mut count = 0;
    let mut list = out.list();
    let scanned = source.raw_scan(&from, &to, args.limit, &args.cf, &mut |pair| {
        count += 1;
        out.tick("keys");
        match out.is_json() {
            true => list.push(out, &pair_json(rows, &args.cf, pair)),
            false => pair_lines(rows, &args.cf, pair).iter().try_for_each(|line| out.line(line)),
        }
    });
    scanned.map_err(|e| e.into_error(&format!("{}::raw_scan_impl", source.executor())))?;
    if out.is_json() {
        return list.end(out);
    }
    out.line("")?;
    out.line(format!("Total scanned keys: {count}"))
}

fn pair_lines(format: KvFormat, cf: &str, pair: RawPair<'_>) -> Vec<String> {
    match pair {
        RawPair::Stored { key, value } => {
            let stored = format!("key: \"{}\", value: \"{}\"", escape(key), escape(value));
            let row = RawRow::decode(format, cf, key, value).map(|row| format!("  {}", raw_row::text(&row)));
            std::iter::once(stored).chain(row).collect()
        }
        RawPair::Answered { user_key, value, ttl_s } => {
            let left = if ttl_s == 0 { "never expires".to_owned() } else { format!("expires in {ttl_s} s") };
            vec![format!("raw key \"{}\": value \"{}\", {left}", escape(user_key), escape(value))]
        }
    }
}

fn pair_json(format: KvFormat, cf: &str, pair: RawPair<'_>) -> Value {
    match pair {
        RawPair::Stored { key, value } => stored_json(format, cf, key, value),
        RawPair::Answered { user_key, value, ttl_s } => {
            let mut object = key_json(&data_key(&encode_bytes(user_key)));
            object["value"] = Value::Null;
            object["raw"] = json!({
                "user_key": escape(user_key),
                "user_key_hex": hex_upper(user_key),
                "value": hex_upper(value),
                "ttl_s": ttl_s,
            });
            object
        }
    }
}

/// Returns a row of RocksDB, with `raw` if the store adds bytes to its value.
pub fn stored_json(format: KvFormat, cf: &str, key: &[u8], value: &[u8]) -> Value {
    let mut object = key_json(key);
    object["value"] = json!(hex_upper(value));
    if let Some(row) = RawRow::decode(format, cf, key, value) {
        object["raw"] = raw_row::json(&row);
    }
    object
}

/// Parses a bound; an empty one is unbounded in every format.
fn bound(text: &str, format: KeyFormat, out: &mut Output<'_>) -> Result<Vec<u8>> {
    if text.is_empty() { Ok(Vec::new()) } else { read_key(text, format, KeyUse::Raw, out) }
}

/// `print`: prints a value as it is in RocksDB, and decoded if the store adds bytes to it.
pub fn print(args: &PrintArgs, format: KeyFormat, source: &dyn Source, out: &mut Output<'_>) -> Result<()> {
    let key = read_key(&args.key, format, KeyUse::Raw, out)?;
    let value =
        source.get(&args.cf, &key).map_err(|e| e.into_error(&format!("{}::get", source.executor())))?;
    let rows = args.raw.format(Some(source), out);
    let row = RawRow::decode(rows, &args.cf, &key, &value);
    out.either(
        || {
            let stored = format!("value: {}", escape(&value));
            row.map_or_else(|| stored.clone(), |row| format!("{stored}\n  {}", raw_row::text(&row)))
        },
        || stored_json(rows, &args.cf, &key, &value),
    )
}

/// Explains why a raw key has no MVCC records: it is in no transaction.
pub fn note_raw_key(key: &[u8], source: &dyn Source, out: &mut Output<'_>) {
    let format = source.store_info().ok().and_then(|(_, version)| KvFormat::try_from(version).ok());
    let Some(format) = format else { return };
    if RawRow::decode(format, CF_DEFAULT, key, b"").is_some() {
        out.note(&format!(
            "note: {} is a raw key of API {format:?}, and raw keys have no MVCC records: raw-scan prints them",
            escape(key)
        ));
    }
}
