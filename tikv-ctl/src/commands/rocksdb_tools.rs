//! `ldb` and `sst_dump`: the commands of RocksDB's tools that read, answered by our own readers.

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand, ValueEnum};
use keys::hex_upper;
use serde_json::json;

use super::files::{open_db, tell_damages};
use crate::{
    Error, Result,
    entry_lines::{EntryLines, Form},
    key::{KeyFormat, KeyUse, parse_key},
    line::Line,
    lsm::{InternalKey, Table, manifest::VersionState, read_manifest},
    output::Output,
};

/// Text is handed on when so many bytes have come together.
const FLUSH_AT: usize = 64 << 10;

/// RocksDB's `ldb`, read only
#[derive(Debug, Parser)]
#[command(name = "ldb", no_binary_name = true)]
struct Ldb {
    /// The database's directory
    #[arg(long, global = true, default_value = ".")]
    db: PathBuf,
    /// Column family
    #[arg(long, alias = "column-family", global = true, default_value = "default")]
    column_family: String,
    /// Keys and values in hexadecimal after 0x
    #[arg(long, global = true)]
    hex: bool,
    /// Print at most so many keys
    #[arg(long, alias = "max-keys", global = true)]
    max_keys: Option<u64>,
    /// First key
    #[arg(long, global = true)]
    from: Option<String>,
    /// Where it ends (exclusive)
    #[arg(long, global = true)]
    to: Option<String>,
    #[command(subcommand)]
    cmd: LdbCmd,
}

#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
enum LdbCmd {
    /// The column families
    ListColumnFamilies {},
    /// The levels and files
    ManifestDump {},
    /// Keys and values in order
    Scan {},
    /// A key's value
    Get { key: String },
}

/// RocksDB's `sst_dump`
#[derive(Debug, Parser)]
#[command(name = "sst_dump", no_binary_name = true)]
struct SstDump {
    /// The file
    #[arg(long)]
    file: PathBuf,
    /// What to do
    #[arg(long, value_enum, default_value_t)]
    command: SstCommand,
    /// Keys and values in hexadecimal
    #[arg(long, alias = "output-hex")]
    output_hex: bool,
    /// Print at most so many keys
    #[arg(long, alias = "read-num")]
    read_num: Option<u64>,
    /// Print the table's properties
    #[arg(long, alias = "show-properties")]
    show_properties: bool,
    /// Taken for compatibility: checksums are always verified
    #[arg(long, alias = "verify-checksum", hide = true)]
    verify_checksum: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum SstCommand {
    /// Print every entry
    #[default]
    Scan,
    /// Read every entry
    Check,
    /// Read every entry and check every block
    Verify,
    /// Nothing but what is asked otherwise
    None,
}

/// The flags of these tools are written with `_`.
fn parse<T: Parser>(args: &[String], out: &mut Output<'_>) -> Result<Option<T>> {
    let dashed = args.iter().map(|arg| match arg.split_once('=') {
        Some((name, value)) if name.starts_with("--") => format!("{}={value}", name.replace('_', "-")),
        _ if arg.starts_with("--") => arg.replace('_', "-"),
        _ => arg.clone(),
    });
    match T::try_parse_from(dashed) {
        Ok(parsed) => Ok(Some(parsed)),
        Err(e) if e.use_stderr() => Err(Error::other(format!(
            "{}\nhere are the commands that read; for the others use RocksDB's own tools",
            e.render().to_string().trim_end()
        ))),
        Err(e) => out.bytes(e.render().to_string().as_bytes()).map(|()| None),
    }
}

/// Keys and values as these tools print them.
fn shown(bytes: &[u8], hex: bool) -> String {
    if hex { format!("0x{}", hex_upper(bytes)) } else { String::from_utf8_lossy(bytes).into_owned() }
}

fn key(text: &str, hex: bool) -> Result<Vec<u8>> {
    if hex { crate::key::hex(text) } else { Ok(parse_key(text, KeyFormat::Escaped, KeyUse::Raw)?.key) }
}

/// Runs `ldb`.
pub fn ldb(args: &[String], out: &mut Output<'_>) -> Result<()> {
    let Some(tool) = parse::<Ldb>(args, out)? else { return Ok(()) };
    let bound = |text: &Option<String>| text.as_ref().map_or(Ok(Vec::new()), |text| key(text, tool.hex));
    match &tool.cmd {
        LdbCmd::ListColumnFamilies {} => {
            let state = read_state(&tool.db, out)?;
            let names: Vec<&str> = state.families.values().map(|family| family.name.as_str()).collect();
            out.either(
                || format!("Column families in {}: \n{{{}}}", tool.db.display(), names.join(", ")),
                || names.clone(),
            )
        }
        LdbCmd::ManifestDump {} => manifest_dump(&tool.db, out),
        LdbCmd::Get { key: text } => {
            let wanted = key(text, tool.hex)?;
            let db = open_db(&tool.db, out)?;
            let value = db.get(&tool.column_family, &wanted);
            // What could not be read may be why there is no value.
            let damages = tell_damages(&db, out);
            let value = value?.ok_or_else(|| Error::other(format!("Failed: NotFound: key {text}")))?;
            out.either(|| shown(&value, tool.hex), || json!({ "value": hex_upper(&value) }))?;
            damages
        }
        LdbCmd::Scan {} => {
            let db = open_db(&tool.db, out)?;
            let mut iter = db.scan(&tool.column_family, &bound(&tool.from)?, &bound(&tool.to)?)?;
            let (mut list, mut left) = (out.list(), tool.max_keys.unwrap_or(u64::MAX));
            while left > 0 && iter.advance()? {
                left -= 1;
                if out.is_json() {
                    let row = json!({ "key_hex": hex_upper(iter.key()), "value": hex_upper(iter.value()) });
                    list.push(out, &row)?;
                } else {
                    out.line(format!(
                        "{} ==> {}",
                        shown(iter.key(), tool.hex),
                        shown(iter.value(), tool.hex)
                    ))?;
                }
            }
            if out.is_json() {
                list.end(out)?;
            }
            tell_damages(&db, out)
        }
    }
}

/// What a MANIFEST says, and whether all of it could be read.
fn read_state(dir: &Path, out: &mut Output<'_>) -> Result<VersionState> {
    let state = read_manifest(dir)?;
    state.warnings.iter().for_each(|warning| out.note(&format!("warning: {warning}")));
    Ok(state)
}

fn manifest_dump(dir: &Path, out: &mut Output<'_>) -> Result<()> {
    let state = read_state(dir, out)?;
    if out.is_json() {
        let families = state.families.iter().map(|(id, family)| {
            let files = family.files.values().map(|file| {
                json!({ "number": file.number, "level": file.level, "size": file.size,
                        "smallest": hex_upper(&file.smallest), "largest": hex_upper(&file.largest) })
            });
            json!({ "id": id, "name": family.name, "log_number": family.log_number,
                    "comparator": family.comparator, "files": files.collect::<Vec<_>>() })
        });
        return out.json(&families.collect::<Vec<_>>());
    }
    let bound = |encoded: &[u8]| match InternalKey::decode(encoded) {
        Some(key) => {
            let user_key = keys::escape(key.user_key);
            format!("'{user_key}' seq:{}, type:{}", key.sequence(), key.value_type().to_u8())
        }
        None => format!("'{}'", keys::escape(encoded)),
    };
    for (id, family) in &state.families {
        out.line(format!("--------------- Column family \"{}\"  (ID {id}) --------------", family.name))?;
        out.line(format!("log number: {}\ncomparator: {}", family.log_number, family.comparator))?;
        let last = family.files.values().map(|file| file.level).max().unwrap_or(0);
        for level in 0..=last.max(6) {
            out.line(format!("--- level {level} ---"))?;
            for file in family.files.values().filter(|file| file.level == level) {
                out.line(format!(
                    " {}:{}[{} .. {}][{} .. {}]",
                    file.number,
                    file.size,
                    file.smallest_seqno,
                    file.largest_seqno,
                    bound(&file.smallest),
                    bound(&file.largest)
                ))?;
            }
        }
    }
    Ok(())
}

/// Runs `sst_dump`.
pub fn sst_dump(args: &[String], out: &mut Output<'_>) -> Result<()> {
    let Some(tool) = parse::<SstDump>(args, out)? else { return Ok(()) };
    let table = std::sync::Arc::new(Table::open(&tool.file)?);
    let mut lines = EntryLines::new(if tool.output_hex { Form::Hex } else { Form::Plain });
    let mut text = Line::default();
    if !out.is_json() {
        out.line(format!("Process {}\nSst file format: block-based", tool.file.display()))?;
    }
    // What could be read around is damage all the same.
    let index = table.index()?;
    let around = table.damages().iter().chain(index.damages());
    let mut damages = around.map(|damage| out.note(&damage.to_string())).count();
    let (mut list, mut count, limit) = (out.list(), 0u64, tool.read_num.unwrap_or(u64::MAX));
    if tool.command != SstCommand::None {
        let print = tool.command == SstCommand::Scan;
        if print && !out.is_json() {
            out.line("from [] to []")?;
        }
        let mut iter = table.iter()?;
        while count < limit {
            match iter.advance() {
                Ok(true) => count += 1,
                Ok(false) => break,
                Err(e) => {
                    damages += 1;
                    out.note(&e.to_string());
                    continue;
                }
            }
            let key = iter.key();
            if print && out.is_json() {
                let row = json!({ "key_hex": hex_upper(key.user_key), "sequence": key.sequence(),
                                  "type": key.value_type().to_u8(), "value": hex_upper(iter.value()) });
                list.push(out, &row)?;
            } else if print {
                lines.add(key, iter.shared(), iter.value(), &mut text);
                if text.len() >= FLUSH_AT {
                    out.bytes(text.as_bytes())?;
                    text.clear();
                }
            }
        }
        out.bytes(text.as_bytes())?;
        table.range_deletions()?;
    }
    if out.is_json() {
        match tool.command {
            SstCommand::Scan => list.end(out)?,
            _ => out.json(&json!({ "file": tool.file, "entries": count, "properties": names(&table) }))?,
        }
    } else if tool.show_properties {
        out.line("Table Properties:\n------------------------------")?;
        names(&table).iter().try_for_each(|(name, value)| out.line(format!("  {name}: {value}")))?;
    }
    if damages > 0 { Err(Error::Damaged(damages)) } else { Ok(()) }
}

/// The properties by their own names: numbers as numbers, text as text, the rest in hexadecimal.
fn names(table: &Table) -> std::collections::BTreeMap<String, String> {
    let properties = table.properties();
    let value = |name: &str, bytes: &[u8]| {
        let printable = !bytes.is_empty() && bytes.iter().all(|b| (0x20..0x7f).contains(b));
        if name.starts_with("tikv.") {
            properties.tikv_number(name).map_or_else(|| hex_upper(bytes), |number| number.to_string())
        } else if printable {
            String::from_utf8_lossy(bytes).into_owned()
        } else {
            properties.number(name).map_or_else(|| hex_upper(bytes), |number| number.to_string())
        }
    };
    properties.all().iter().map(|(name, bytes)| (name.clone(), value(name, bytes))).collect()
}
