//! `ldb`: reads a database by its directory.
use std::path::Path;

use keys::hex_upper;
use serde_json::json;

use super::{
    manifest_dump,
    options::{self, OptionSpec, ParsedArgs, Takes, flag, refused, value},
    remove_sst,
};
use crate::{
    Error, Result,
    cli::Global,
    commands::{
        files::{open_db, report_damages},
        open::load_keys_around,
    },
    lsm::Db,
    print::output::Output,
};

const HELP: &str = "\
RocksDB's ldb: the commands that read, with their own flags

Usage: tikv-ctl ldb --db=DIR [OPTIONS] COMMAND

Commands:
  scan                        Keys and values in order: [--from=KEY] [--to=KEY] [--max_keys=N] [--no_value]
  dump                        Like scan, and a count: [--from=KEY] [--to=KEY] [--max_keys=N] [--count_only]
  get KEY                     A key's value
  multi_get KEY...            The values of keys
  list_column_families        The column families
  manifest_dump               Levels and files: [--path=MANIFEST] [--sst_file_number=N] [--verbose]
  checkconsistency            Check that all files exist and can be opened
  unsafe_remove_sst_file N    Take an SST out of the MANIFEST, as `bad-ssts` advises: [--dry_run] [--yes] [--undo_file=FILE]

Options:
  --db=DIR               The database's directory
  --column_family=NAME   Column family of scan, dump, get and multi_get (--cf) [default: default]
  --hex                  Keys and values in hexadecimal after 0x; --key_hex, --value_hex: only keys, only values
  --try_load_options     Read the logs from the directory that the OPTIONS file names

Keys are the exact bytes in RocksDB: a key of TiKV's data begins with z.
";

const ROWS: &[&str] = &["scan", "dump"];
const DATA: &[&str] = &["scan", "dump", "get", "multi_get"];
const KEYS: &[&str] = &["scan", "dump", "get", "multi_get", "manifest_dump"];
const REMOVE: &[&str] = &["unsafe_remove_sst_file"];
const OPENS: &[&str] = &["scan", "dump", "get", "multi_get", "checkconsistency"];
const TTL: &str = "ldb doesn't support TTL DB with multiple column families";
const WRITES: &str = "it configures writes, and this tool writes nothing: leave it out";
const ENV: &str = "only this machine's file system is supported: leave it out";

const KNOWN: &[OptionSpec] = &[
    value("db", &[]),
    value("column_family", DATA),
    value("cf", DATA),
    flag("hex", KEYS),
    flag("key_hex", DATA),
    flag("value_hex", DATA),
    value("from", ROWS),
    value("to", ROWS),
    value("max_keys", ROWS),
    flag("no_value", &["scan"]),
    flag("count_only", &["dump"]),
    value("path", &["manifest_dump"]),
    value("sst_file_number", &["manifest_dump"]),
    flag("verbose", &["manifest_dump"]),
    flag("dry_run", REMOVE),
    flag("yes", REMOVE),
    value("undo_file", REMOVE),
    flag("try_load_options", OPENS),
    // Checks are always on, and unknown settings never fail a read: the flag has no effect.
    flag("ignore_unknown_options", OPENS),
    refused("disable_consistency_checks", Takes::Nothing, "checks are always on: leave it out"),
    refused("json", Takes::Nothing, "give --format json before ldb"),
    refused("ttl", Takes::Nothing, TTL),
    refused("timestamp", Takes::Nothing, TTL),
    refused("start_time", Takes::Value, TTL),
    refused("end_time", Takes::Value, TTL),
    refused("get_write_time", Takes::Nothing, "TiKV keeps no write times in RocksDB: leave it out"),
    refused("count_delim", Takes::Value, "counts are never split by a delimiter: use RocksDB's own ldb"),
    refused("stats", Takes::Nothing, "there are no statistics without RocksDB: use its own ldb"),
    refused("bucket", Takes::Value, TTL),
    refused(
        "secondary_path",
        Takes::Value,
        "a directory is read without locks, even a running server's: leave it out",
    ),
    refused(
        "leader_path",
        Takes::Value,
        "a directory is read without locks, even a running server's: leave it out",
    ),
    refused("env_uri", Takes::Value, ENV),
    refused("fs_uri", Takes::Value, ENV),
    refused("bloom_bits", Takes::Value, WRITES),
    refused("fix_prefix_len", Takes::Value, WRITES),
    refused("compression_type", Takes::Value, WRITES),
    refused("compression_max_dict_bytes", Takes::Value, WRITES),
    refused("block_size", Takes::Value, WRITES),
    refused("auto_compaction", Takes::Value, WRITES),
    refused("db_write_buffer_size", Takes::Value, WRITES),
    refused("write_buffer_size", Takes::Value, WRITES),
    refused("file_size", Takes::Value, WRITES),
    refused("create_if_missing", Takes::Nothing, WRITES),
    refused("enable_blob_files", Takes::Nothing, WRITES),
    refused("use_txn", Takes::Nothing, WRITES),
];

/// Commands of RocksDB's ldb that this tool does not have, and their replacements.
const ELSEWHERE: &[(&str, &str)] = &[
    ("dump_wal", "`tikv-ctl wal FILE` prints a log"),
    ("idump", "`tikv-ctl sst FILE keys` prints every version in an SST"),
    ("dump_live_files", "`tikv-ctl lsm DIR` and `tikv-ctl manifest DIR` show the files"),
    ("list_live_files_metadata", "`tikv-ctl lsm DIR` shows the files"),
    ("list_file_range_deletes", "`tikv-ctl sst FILE keys` prints range deletions, too"),
    ("approxsize", "`tikv-ctl --data-dir DIR size --approximate` shows the sizes of regions"),
    ("get_property", "`tikv-ctl --host ADDR metrics -t rocksdb_kv` asks the server"),
    ("compact", "`tikv-ctl --data-dir DIR compact` compacts a range"),
    ("query", "`tikv-ctl ldb --db=DIR get KEY` and scan read values"),
];

/// Runs `ldb`.
pub fn run(args: &[String], global: &Global, out: &mut Output<'_>) -> Result<()> {
    if options::help(args, HELP, out)? {
        return Ok(());
    }
    let args: Vec<String> =
        args.iter().map(|arg| if arg == "-v" { "--verbose" } else { arg }.to_owned()).collect();
    let given = ParsedArgs::parse("ldb", KNOWN, &args)?;
    let (command, words) = match given.words.split_first() {
        Some((command, words)) => (command.as_str(), words),
        None => return Err(given.fail("Command not specified!")),
    };
    let params = match command {
        "get" | "unsafe_remove_sst_file" => 1..=1,
        "multi_get" => 1..=usize::MAX,
        "scan" | "dump" | "list_column_families" | "manifest_dump" | "checkconsistency" => 0..=0,
        _ => return Err(not_here(&given, command)),
    };
    given.check(KNOWN, command)?;
    if !params.contains(&words.len()) {
        let what =
            format!("number of words after {command}: expected {}, found {}", params.start(), words.len());
        return Err(given.fail(what));
    }
    if command == "manifest_dump"
        && let Some(path) = given.get("path")
    {
        return manifest_dump::run(Path::new(path), &given, global, out);
    }
    let dir = given.get("db").ok_or_else(|| given.fail("expected --db=DIR, found none"))?;
    let dir = Path::new(dir);
    match command {
        "manifest_dump" => manifest_dump::run(dir, &given, global, out),
        "list_column_families" => list_column_families(dir, global, out),
        "unsafe_remove_sst_file" => remove_sst::run(dir, &words[0], &given, global, out),
        _ => {
            let (keyring, damages) = load_keys_around(dir, global, out)?;
            let db = open_db(dir, given.has("try_load_options"), &keyring, global, out)?;
            read(command, words, &given, &db, out)?;
            report_damages(&db, out)?;
            if damages == 0 { Ok(()) } else { Err(Error::Damaged(damages)) }
        }
    }
}

fn not_here(given: &ParsedArgs, command: &str) -> Error {
    match ELSEWHERE.iter().find(|(name, _)| *name == command) {
        Some((_, instead)) => given.fail(format!("{command} is not implemented: {instead}")),
        None => given.fail(format!(
            "{command} is not implemented (only reading commands and unsafe_remove_sst_file are): use RocksDB's own ldb"
        )),
    }
}

fn read(command: &str, words: &[String], given: &ParsedArgs, db: &Db, out: &mut Output<'_>) -> Result<()> {
    let (key_hex, value_hex) =
        (given.has("hex") || given.has("key_hex"), given.has("hex") || given.has("value_hex"));
    let cf = given.get("column_family").or(given.get("cf")).unwrap_or("default");
    match command {
        "checkconsistency" => {
            for family in db.families() {
                family.files().iter().for_each(|file| drop(db.table(family.name(), file)));
            }
            if db.damages().is_empty() {
                out.either(|| "OK".to_owned(), || json!({ "consistent": true }))
            } else {
                Ok(())
            }
        }
        "get" => {
            let value = db.get(cf, &given.key(&words[0], key_hex)?)?;
            let Some(value) = value else {
                // Unreadable data may be the reason that there is no value.
                report_damages(db, out)?;
                return Err(Error::other(format!("Failed: NotFound: key {}", words[0])));
            };
            if out.is_json() {
                return out.json(&json!({ "value": hex_upper(&value) }));
            }
            out.foreign(&shown(&value, value_hex))?;
            out.bytes(b"\n")
        }
        "multi_get" => {
            let mut list = out.list();
            for word in words {
                let key = given.key(word, key_hex)?;
                let value = db.get(cf, &key)?;
                if out.is_json() {
                    let value = value.map(|value| hex_upper(&value));
                    list.push(out, &json!({ "key_hex": hex_upper(&key), "value": value }))?;
                } else if let Some(value) = value {
                    row(&shown(&key, key_hex), Some(&shown(&value, value_hex)), out)?;
                } else {
                    out.line(format!("Key not found: {word}"))?;
                }
            }
            if out.is_json() { list.end(out) } else { Ok(()) }
        }
        _ => rows(command, cf, (key_hex, value_hex), given, db, out),
    }
}

/// `scan` and `dump`: prints or counts keys and values.
fn rows(
    command: &str,
    cf: &str,
    (key_hex, value_hex): (bool, bool),
    given: &ParsedArgs,
    db: &Db,
    out: &mut Output<'_>,
) -> Result<()> {
    // RocksDB's own default, which scripts give: no limit.
    let limited = given.get("max_keys") != Some("-1");
    let limit = if limited { given.number("max_keys")?.unwrap_or(u64::MAX) } else { u64::MAX };
    let mut iter = db.scan(cf, &given.key_of("from", key_hex)?, &given.key_of("to", key_hex)?)?;
    let (with_rows, with_value) = (!given.has("count_only"), !given.has("no_value"));
    let (mut list, mut count) = (out.list(), 0);
    while count < limit && iter.advance()? {
        count += 1;
        if !with_rows {
            continue;
        }
        if out.is_json() {
            let mut object = json!({ "key_hex": hex_upper(iter.key()) });
            if with_value {
                object["value"] = json!(hex_upper(iter.value()));
            }
            list.push(out, &object)?;
        } else {
            let value = with_value.then(|| shown(iter.value(), value_hex));
            row(&shown(iter.key(), key_hex), value.as_deref(), out)?;
        }
    }
    match (out.is_json(), with_rows) {
        (true, true) => list.end(out),
        (true, false) => out.json(&json!({ "keys": count })),
        (false, _) if command == "dump" => out.line(format!("Keys in range: {count}")),
        (false, _) => Ok(()),
    }
}

fn row(key: &[u8], value: Option<&[u8]>, out: &mut Output<'_>) -> Result<()> {
    out.foreign(key)?;
    if let Some(value) = value {
        out.bytes(b" ==> ")?;
        out.foreign(value)?;
    }
    out.bytes(b"\n")
}

fn list_column_families(dir: &Path, global: &Global, out: &mut Output<'_>) -> Result<()> {
    let (_, state) = manifest_dump::read(dir, global, out)?;
    let names: Vec<&str> = state.families.values().map(|family| family.name.as_str()).collect();
    out.either(
        || format!("Column families in {}: \n{{{}}}", dir.display(), names.join(", ")),
        || names.clone(),
    )
}

/// Formats keys and values as these tools print them.
fn shown(bytes: &[u8], hex: bool) -> Vec<u8> {
    if hex { format!("0x{}", hex_upper(bytes)).into_bytes() } else { bytes.to_vec() }
}
