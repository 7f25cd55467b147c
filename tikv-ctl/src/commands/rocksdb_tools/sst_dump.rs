//! `sst_dump`: reads one SST, or those of a directory.
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use keys::hex_upper;
use serde_json::json;

use super::options::{self, OptionSpec, ParsedArgs, Takes, flag, refused, value};
use crate::{
    Error, Result,
    cli::Global,
    commands::{
        open::load_keys_around,
        sst::{self, Recompress},
    },
    encryption::Keyring,
    lsm::{InternalKey, Table, verify},
    print::{
        entry_lines::{EntryLines, Form},
        line::Line,
        output::{JsonList, Output},
    },
};

const HELP: &str = "\
RocksDB's sst_dump, with its own flags

Usage: tikv-ctl sst_dump --file=FILE_OR_DIRECTORY [OPTIONS]

  --command=check|scan|raw|verify|recompress|identify|none
                         check: read every entry (the default). scan: print every entry. raw: print blocks and entries;
                         RocksDB's tool writes them to FILE_dump.txt, this one to standard output or to -o FILE.
                         verify: read and check every block. recompress: the size with other compressions.
                         identify: only say whether it is an SST. none: only what the other flags request
  --from=KEY --to=KEY    Range of user keys for check and scan; --prefix=KEY: all keys that begin with KEY
  --read_num=N           Read at most N entries, of all files together
  --input_key_hex        --from, --to and --prefix are in hexadecimal
  --output_hex           Print keys and values in hexadecimal
  --verify_checksum      No effect: checksums are always verified
  --show_properties      Print the table's properties
  --list_meta_blocks     Print the names of the meta blocks
  --show_summary         Print sums over all files
  --compression_types=A,B   Compressions of recompress: kNoCompression, kSnappyCompression, kZlibCompression,
                         kLZ4Compression, kZSTD (level 3) [default: all of them, and other levels of ZSTD]
  --set_block_size=N     Size in bytes of the data blocks of recompress [default: as in the file]
  --parse_internal_key=0xHEX   Print an internal key: user key, sequence number, type
";

const READS: &[&str] = &["check", "scan"];
const RECOMPRESS: &str = "compressions are tried with their default settings: leave it out";
const ENV: &str = "only this machine's file system is supported: leave it out";

const KNOWN: &[OptionSpec] = &[
    value("file", &[]),
    value("command", &[]),
    value("from", READS),
    value("to", READS),
    value("prefix", READS),
    value("read_num", READS),
    flag("input_key_hex", READS),
    flag("output_hex", &["scan", "raw"]),
    flag("verify_checksum", &[]),
    flag("show_properties", &[]),
    flag("list_meta_blocks", &[]),
    flag("show_summary", &[]),
    value("parse_internal_key", &[]),
    refused(
        "decode_blob_index",
        Takes::Nothing,
        "TiKV's values are in Titan's files: `tikv-ctl find KEY` reads them",
    ),
    refused("env_uri", Takes::Value, ENV),
    refused("fs_uri", Takes::Value, ENV),
    value("set_block_size", &["recompress"]),
    value("compression_types", &["recompress"]),
    refused("compression_level", Takes::Value, RECOMPRESS),
    refused("compression_level_from", Takes::Value, RECOMPRESS),
    refused("compression_level_to", Takes::Value, RECOMPRESS),
    refused("compression_max_dict_bytes", Takes::Value, RECOMPRESS),
    refused("compression_zstd_max_train_bytes", Takes::Value, RECOMPRESS),
    refused("compression_max_dict_buffer_bytes", Takes::Value, RECOMPRESS),
    refused("compression_use_zstd_finalize_dict", Takes::Nothing, RECOMPRESS),
    refused("show_compression_sizes", Takes::Nothing, "give --command=recompress"),
];
/// RocksDB's names of the compressions, and the names here.
const COMPRESSIONS: &[(&str, &str)] = &[
    ("kNoCompression", "none"),
    ("kSnappyCompression", "snappy"),
    ("kZlibCompression", "zlib"),
    ("kLZ4Compression", "lz4"),
    ("kZSTD", "zstd-3"),
];
/// Maximum size of a data block: offsets in it have 32 bits.
const MAX_BLOCK_SIZE: u64 = 256 << 20;
const COMMANDS: &[&str] = &["check", "scan", "raw", "verify", "recompress", "identify", "none"];

/// Buffered text is written out at this size, in bytes.
const FLUSH_AT: usize = 64 << 10;

/// Options of a run and its counts.
struct Dump<'a> {
    given: &'a ParsedArgs,
    keyring: &'a Keyring,
    command: &'a str,
    recompress: Recompress,
    from: Vec<u8>,
    to: Vec<u8>,
    prefix: Option<Vec<u8>>,
    /// Maximum number of entries still to read.
    left: u64,
    /// Whether there are several files, printed as a list.
    many: bool,
    damages: usize,
    entries: u64,
    blocks: u64,
    bytes: u64,
}

/// Runs `sst_dump`.
pub fn run(args: &[String], global: &Global, out: &mut Output<'_>) -> Result<()> {
    if options::help(args, HELP, out)? {
        return Ok(());
    }
    let given = ParsedArgs::parse("sst_dump", KNOWN, args)?;
    if let Some(word) = given.words.first() {
        return Err(given.fail(format!("unexpected {word}: give --file=FILE")));
    }
    if let Some(text) = given.get("parse_internal_key") {
        return parse_internal_key(&given, text, out);
    }
    let command = given.get("command").unwrap_or("check");
    if !COMMANDS.contains(&command) {
        return Err(given.fail(format!("--command={command}: expected one of {}", COMMANDS.join(", "))));
    }
    given.check(KNOWN, command)?;
    let path = Path::new(
        given.get("file").ok_or_else(|| given.fail("expected --file=FILE_OR_DIRECTORY, found none"))?,
    );
    if given.has("from") && given.has("prefix") {
        return Err(given.fail("--prefix cannot be given with --from"));
    }
    let (keyring, known) = load_keys_around(path, global, out)?;
    let hex = given.has("input_key_hex");
    let prefix = given.get("prefix").map(|text| given.key(text, hex)).transpose()?;
    let files = files(path)?;
    let mut dump = Dump {
        command,
        recompress: recompress(&given)?,
        many: path.is_dir(),
        from: prefix.clone().map_or_else(|| given.key_of("from", hex), Ok)?,
        to: given.key_of("to", hex)?,
        prefix,
        left: given.number("read_num")?.filter(|count| *count > 0).unwrap_or(u64::MAX),
        damages: known,
        entries: 0,
        blocks: 0,
        bytes: 0,
        given: &given,
        keyring: &keyring,
    };
    let mut list = out.list();
    for file in &files {
        if let Err(e) = dump.file(file, &mut list, out) {
            // In a directory, the other files are still read.
            if files.len() == 1 || matches!(e, Error::Output(_)) {
                return Err(e);
            }
            dump.damages += 1;
            out.note(&e.to_string());
        }
    }
    dump.end(&files, list, out)
}

/// Returns what `recompress` tries.
fn recompress(given: &ParsedArgs) -> Result<Recompress> {
    let mut wanted = Recompress::default();
    if let Some(types) = given.get("compression_types") {
        let find = |text: &str| {
            COMPRESSIONS.iter().find(|(theirs, _)| *theirs == text).map(|(_, ours)| *ours).ok_or_else(|| {
                let known: Vec<&str> = COMPRESSIONS.iter().map(|(theirs, _)| *theirs).collect();
                given
                    .fail(format!("--compression_types: expected some of {}, found {text}", known.join(", ")))
            })
        };
        wanted.with = types.split(',').map(|text| find(text.trim())).collect::<Result<_>>()?;
    }
    if let Some(size) = given.number("set_block_size")? {
        let size = Some(size).filter(|size| (1..=MAX_BLOCK_SIZE).contains(size)).ok_or_else(|| {
            given.fail(format!("--set_block_size={size}: expected 1 to {MAX_BLOCK_SIZE} bytes"))
        })?;
        wanted.block_size = Some(size as usize);
    }
    Ok(wanted)
}

/// Returns the file, or the SSTs of the directory in the order of their numbers.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let fail = |e: std::io::Error| Error::other(format!("{}: {e}", path.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.extension().is_some_and(|extension| extension == "sst") {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Error::other(format!("{}: expected a directory with SSTs, found none", path.display())));
    }
    Ok(files)
}

fn parse_internal_key(given: &ParsedArgs, text: &str, out: &mut Output<'_>) -> Result<()> {
    let bytes = given.key(text, true)?;
    let key = InternalKey::decode(&bytes)
        .ok_or_else(|| given.fail("expected an internal key, which ends with 8 bytes of sequence number and type, found fewer bytes"))?;
    let (user_key, sequence, kind) = (hex_upper(key.user_key), key.sequence(), key.value_type().to_u8());
    out.either(
        || format!("{{'{user_key}' seq:{sequence}, type:{kind}}}"),
        || json!({ "key_hex": user_key, "sequence": sequence, "type": kind }),
    )
}

impl Dump<'_> {
    fn file(&mut self, path: &Path, list: &mut JsonList, out: &mut Output<'_>) -> Result<()> {
        let table = Arc::new(Table::open(path, self.keyring)?);
        if !out.is_json() {
            out.line(format!("Process {}\nSst file format: block-based", path.display()))?;
        }
        // Damage that the reader skipped is still damage.
        let index = table.index()?;
        let around = table.damages().iter().chain(index.damages());
        self.damages += around.map(|damage| out.note(&damage.to_string())).count();
        self.blocks += index.len() as u64;
        self.bytes += table.file().size();
        let before = self.entries;
        match self.command {
            "check" | "scan" => self.read(&table, list, out)?,
            "verify" => self.verify(&table, out)?,
            "recompress" => sst::recompress(&table, &self.recompress, out)?,
            "raw" => self.raw(&table, out)?,
            _ => {}
        }
        if out.is_json() {
            if !matches!(self.command, "scan" | "recompress" | "raw") {
                let entries = self.entries - before;
                let file = path.display().to_string();
                let object = json!({ "file": file, "entries": entries, "properties": names(&table) });
                return if self.many { list.push(out, &object) } else { out.json(&object) };
            }
            return Ok(());
        }
        if self.given.has("list_meta_blocks") {
            out.line("Meta Blocks:\n------------------------------")?;
            table.meta_blocks().iter().try_for_each(|block| out.line(format!("  {}", block.name)))?;
        }
        if self.given.has("show_properties") {
            out.line("Table Properties:\n------------------------------")?;
            names(&table).iter().try_for_each(|(name, value)| out.line(format!("  {name}: {value}")))?;
        }
        Ok(())
    }

    /// Reads the entries of the range; `scan` also prints them.
    fn read(&mut self, table: &Arc<Table>, list: &mut JsonList, out: &mut Output<'_>) -> Result<()> {
        let (print, hex) = (self.command == "scan", self.given.has("output_hex"));
        let mut lines = EntryLines::new(if hex { Form::Hex } else { Form::Plain });
        let mut text = Line::default();
        if !out.is_json() {
            out.line(format!("from [{}] to [{}]", hex_upper(&self.from), hex_upper(&self.to)))?;
        }
        let mut iter = if self.from.is_empty() { table.iter()? } else { table.iter_from(&self.from)? };
        // The first entry has no predecessor in the output: it shares nothing.
        let mut shared = false;
        while self.left > 0 {
            match iter.advance() {
                Ok(true) => {}
                Ok(false) => break,
                Err(e) => {
                    self.damages += 1;
                    out.note(&e.to_string());
                    continue;
                }
            }
            let key = iter.key();
            if key.user_key < self.from.as_slice() {
                continue;
            }
            let is_over = !self.to.is_empty() && key.user_key >= self.to.as_slice();
            if is_over || self.prefix.as_ref().is_some_and(|prefix| !key.user_key.starts_with(prefix)) {
                break;
            }
            self.left -= 1;
            self.entries += 1;
            if print && out.is_json() {
                let row = json!({ "key_hex": hex_upper(key.user_key), "sequence": key.sequence(),
                                  "type": key.value_type().to_u8(), "value": hex_upper(iter.value()) });
                list.push(out, &row)?;
            } else if print {
                lines.add(key, if shared { iter.shared() } else { 0 }, iter.value(), &mut text);
                shared = true;
                if text.len() >= FLUSH_AT {
                    out.foreign(text.as_bytes())?;
                    text.clear();
                }
            }
        }
        out.foreign(text.as_bytes())?;
        table.range_deletions().map(|_| ()).map_err(Error::from)
    }

    fn verify(&mut self, table: &Table, out: &mut Output<'_>) -> Result<()> {
        let found = verify(table, 1)?;
        self.entries += found.entries;
        found
            .damages
            .iter()
            .for_each(|e| out.note(&format!("{} is corrupted: {e}", table.file().path().display())));
        self.damages += found.damages.len();
        if found.damages.is_empty() && !out.is_json() { out.line("The file is ok") } else { Ok(()) }
    }

    /// Prints the positions of the blocks, the properties, and every entry.
    fn raw(&mut self, table: &Arc<Table>, out: &mut Output<'_>) -> Result<()> {
        sst::layout(table, out)?;
        if out.is_json() {
            return Ok(());
        }
        out.line("\nTable Properties:\n--------------------------------------")?;
        names(table).iter().try_for_each(|(name, value)| out.line(format!("  {name}: {value}")))?;
        let form = if self.given.has("output_hex") { Form::Hex } else { Form::Escaped };
        let (mut lines, mut text, mut block) = (EntryLines::new(form), Line::default(), usize::MAX);
        let mut iter = table.iter()?;
        while iter.advance()? {
            self.entries += 1;
            if iter.block() != block {
                block = iter.block();
                text.format(format_args!("\nData Block # {block}\n--------------------------------------\n"));
            }
            lines.add(iter.key(), iter.shared(), iter.value(), &mut text);
            if text.len() >= FLUSH_AT {
                out.bytes(text.as_bytes())?;
                text.clear();
            }
        }
        out.bytes(text.as_bytes())
    }

    fn end(self, files: &[PathBuf], list: JsonList, out: &mut Output<'_>) -> Result<()> {
        if out.is_json() {
            if self.command == "scan" || (self.many && !matches!(self.command, "recompress" | "raw")) {
                list.end(out)?;
            }
        } else if self.given.has("show_summary") {
            out.line(format!(
                "total number of files: {}\ntotal number of data blocks: {}\ntotal file size: {}\nentries read: {}",
                files.len(),
                self.blocks,
                self.bytes,
                self.entries
            ))?;
        }
        if self.damages > 0 { Err(Error::Damaged(self.damages)) } else { Ok(()) }
    }
}

/// Returns the properties by their own names: numbers as numbers, text as text, the rest in hexadecimal.
fn names(table: &Table) -> BTreeMap<String, String> {
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
