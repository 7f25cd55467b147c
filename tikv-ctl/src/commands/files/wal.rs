//! `wal`: prints the write batches of RocksDB's logs.
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use keys::hex_upper;
use serde_json::{Value, json};
use store_files::io::read_whole;

use super::paths::{check_exists, part_of, wal_dir};
use crate::{
    Error, Result,
    cli::Global,
    commands::data::key_json,
    encryption::Keyring,
    lsm::{
        LogReader, Record, ValueType, logs, no_log_here, read_manifest_or_tables,
        wal::{WalEntry, read_batch},
    },
    print::{
        line::Line,
        output::{JsonList, Output},
    },
};

/// Options, names of column families, and counts.
struct Printer {
    keys_only: bool,
    families: BTreeMap<u32, String>,
    damages: usize,
    batches: u64,
    changes: u64,
}

pub fn run(
    path: &Path,
    keys_only: bool,
    keyring: &Keyring,
    global: &Global,
    out: &mut Output<'_>,
) -> Result<()> {
    check_exists(path, "a log file or a RocksDB directory")?;
    let dir = if path.is_file() { path.parent().unwrap_or(path).to_owned() } else { part_of(path, "db") };
    let logs_in = wal_dir(&dir, global)?.unwrap_or_else(|| dir.clone());
    let files = log_files(path, &logs_in)?;
    // Only the names of column families come from here; a log in another directory shows ids.
    let state = read_manifest_or_tables(&dir, keyring).unwrap_or_default();
    state.damages.iter().for_each(|e| out.note(&format!("{e}; names of column families may be missing")));
    let damages = state.damages.len();
    let families = state.families.into_iter().map(|(id, family)| (id, family.name)).collect();
    let mut printer = Printer { keys_only, families, damages, batches: 0, changes: 0 };
    if files.is_empty() {
        out.note(&format!("warning: {}: {}", logs_in.display(), no_log_here(&dir, keyring)));
    }
    let mut list = out.list();
    for (number, file) in &files {
        let data = read_whole(file, keyring)?;
        printer.print_file(*number, file, &data, &mut list, out)?;
    }
    let Printer { damages, batches, changes, .. } = printer;
    if out.is_json() {
        list.end(out)?;
    } else {
        out.line(format!("{} logs, {batches} write batches, {changes} changes", files.len()))?;
    }
    if damages > 0 { Err(Error::Damaged(damages)) } else { Ok(()) }
}

fn log_files(path: &Path, logs_in: &Path) -> Result<Vec<(u64, PathBuf)>> {
    if path.is_dir() {
        return Ok(logs(logs_in)?);
    }
    let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
    let is_log = path.extension().is_some_and(|extension| extension == "log");
    match number {
        Some(number) if is_log => Ok(vec![(number, path.to_owned())]),
        _ => Err(Error::other(format!(
            "{}: expected a log of RocksDB, NNNNNN.log (the number distinguishes its records from those of a recycled \
             file), found another name",
            path.display()
        ))),
    }
}

impl Printer {
    fn print_file(
        &mut self,
        number: u64,
        path: &Path,
        data: &[u8],
        list: &mut JsonList,
        out: &mut Output<'_>,
    ) -> Result<()> {
        if !out.is_json() {
            out.line(format!("{}: {} bytes", path.display(), data.len()))?;
        }
        let mut reader = LogReader::new(data, number);
        loop {
            let (offset, what) = match reader.next_record() {
                Record::End => (reader.offset(), None),
                Record::Corrupt { offset, what } => (offset, Some(what)),
                Record::Data { offset, data: batch } => {
                    self.batches += 1;
                    let mut changes = Vec::new();
                    let read = read_batch(&batch, |entry| changes.push(entry));
                    self.changes += changes.len() as u64;
                    self.print_batch(path, offset, &changes, list, out)?;
                    match read {
                        Ok(()) => continue,
                        Err(what) => {
                            self.damages += 1;
                            out.note(&format!("{} at byte {offset}: {what}", path.display()));
                            continue;
                        }
                    }
                }
            };
            // A wrong length ends a log like a torn write does, but whole records follow it.
            let more_follow = reader.resync();
            let next = if more_follow {
                format!("the next record is at byte {}", reader.offset())
            } else {
                "no whole record follows".into()
            };
            let what = match what {
                Some(what) => what,
                None if more_follow => "the log seems to end here".to_owned(),
                None => return self.warn_tail(path, data, offset, out),
            };
            self.damages += 1;
            out.note(&format!(
                "{} at byte {offset} of {}: {what}; {next}. RocksDB recovers only the records before it",
                path.display(),
                data.len()
            ));
            if !more_follow {
                return Ok(());
            }
        }
    }

    /// Warns if a log ends before its file does and the rest is not zeros.
    fn warn_tail(&mut self, path: &Path, data: &[u8], end: u64, out: &mut Output<'_>) -> Result<()> {
        let rest = data.get(end as usize..).unwrap_or_default();
        if rest.iter().any(|byte| *byte != 0) {
            out.note(&format!(
                "{} at byte {end}: the log ends here, the {} bytes after it belong to no complete record: a torn \
                 write, or the remains of the file that was recycled",
                path.display(),
                rest.len()
            ));
        }
        Ok(())
    }

    fn family(&self, id: u32) -> String {
        self.families.get(&id).filter(|name| !name.is_empty()).cloned().unwrap_or_else(|| id.to_string())
    }

    fn print_batch(
        &self,
        path: &Path,
        offset: u64,
        changes: &[WalEntry<'_>],
        list: &mut JsonList,
        out: &mut Output<'_>,
    ) -> Result<()> {
        let first = changes.first().map_or(0, |change| change.sequence);
        if out.is_json() {
            let changes: Vec<Value> = changes.iter().map(|change| self.change_json(change)).collect();
            let path = path.display().to_string();
            return list.push(
                out,
                &json!({ "file": path, "offset": offset, "sequence": first, "changes": changes }),
            );
        }
        let mut text = Line::default();
        text.format(format_args!("{offset:>10} seq {first}, {} changes\n", changes.len()));
        for change in changes {
            text.format(format_args!("           {} {} ", verb(change.value_type), self.family(change.cf)));
            text.escaped(change.key);
            if change.value_type == ValueType::RangeDeletion {
                text.push(b" .. ");
                text.escaped(change.value);
            } else if !self.keys_only && !change.value.is_empty() {
                text.push(b" => ");
                text.escaped(change.value);
            }
            text.push(b"\n");
        }
        out.bytes(text.as_bytes())
    }

    fn change_json(&self, change: &WalEntry<'_>) -> Value {
        let mut object = key_json(change.key);
        object["op"] = json!(verb(change.value_type));
        object["cf"] = json!(self.family(change.cf));
        object["seq"] = json!(change.sequence);
        if !self.keys_only {
            object["value"] = json!(hex_upper(change.value));
        }
        object
    }
}

fn verb(kind: ValueType) -> String {
    match kind {
        ValueType::Value => "put".to_owned(),
        ValueType::Deletion => "delete".to_owned(),
        ValueType::SingleDeletion => "single-delete".to_owned(),
        ValueType::RangeDeletion => "delete-range".to_owned(),
        ValueType::Merge => "merge".to_owned(),
        ValueType::BlobIndex => "put-blob-index".to_owned(),
        ValueType::WideColumnEntity => "put-entity".to_owned(),
        ValueType::Other(byte) => format!("type-{byte}"),
    }
}
