//! `manifest`: prints the version edits of a MANIFEST and the resulting state.
use std::path::{Path, PathBuf};

use keys::escape;
use serde_json::{Value, json};
use store_files::io::{Damage, read_whole};

use super::paths::{check_exists, part_of};
use crate::{
    Error, Result,
    encryption::Keyring,
    lsm::{
        InternalKey, LogReader, Record,
        manifest::{self, Edit, FileMeta, VersionState},
    },
    offline::damage,
    print::output::Output,
};

/// The edits of a MANIFEST, read one after another.
struct Edits<'a> {
    file: &'a Path,
    data: &'a [u8],
    summary: bool,
    count: usize,
    /// The edits as JSON, if they are wanted in this form.
    rows: Vec<Value>,
    state: VersionState,
    damages: Vec<Damage>,
}

pub fn run(path: &Path, summary: bool, keyring: &Keyring, out: &mut Output<'_>) -> Result<()> {
    check_exists(path, "a MANIFEST file or a RocksDB directory")?;
    let dir = part_of(path, "db");
    let mut other = 0;
    let file = if path.is_file() { path.to_owned() } else { current(&dir, keyring, &mut other, out)? };
    let data = read_whole(&file, keyring)?;
    let (rows, state, damages) = (Vec::new(), VersionState::default(), Vec::new());
    let mut edits = Edits { file: &file, data: &data, summary, count: 0, rows, state, damages };
    edits.read(out)?;
    if dir.join("../raft-engine").is_dir() {
        edits.check_cf_raft(out);
    }
    let count = edits.damages.len() + other;
    edits.print(out)?;
    if count == 0 { Ok(()) } else { Err(Error::Damaged(count)) }
}

impl Edits<'_> {
    /// Reads and prints all edits. Damage ends it if no whole edit follows.
    fn read(&mut self, out: &mut Output<'_>) -> Result<()> {
        let mut reader = LogReader::new(self.data, 0);
        loop {
            let (offset, what) = match reader.next_record() {
                Record::End => {
                    let (offset, torn) = (reader.offset(), reader.is_torn());
                    if reader.resync() {
                        self.lose(offset, "the MANIFEST seems to end here, but whole edits follow", out);
                        continue;
                    }
                    if torn {
                        self.warn_torn(offset, out);
                    }
                    break;
                }
                Record::Data { offset, data } => match manifest::parse(&data) {
                    Some(edit) => {
                        self.add(offset, edit, out)?;
                        continue;
                    }
                    None => (
                        offset,
                        "cannot decode a version edit: it is damaged, or a newer RocksDB wrote it".to_owned(),
                    ),
                },
                Record::Corrupt { offset, what } => (offset, what),
            };
            self.lose(offset, &what, out);
            if !reader.resync() {
                break;
            }
        }
        if self.count > 0 {
            return Ok(());
        }
        Err(Error::other(format!(
            "{} at byte 0 of {}: expected a MANIFEST, found no version edit: `tikv-ctl lsm` reads the SSTs without it",
            self.file.display(),
            self.data.len()
        )))
    }

    fn add(&mut self, offset: u64, edit: Edit, out: &mut Output<'_>) -> Result<()> {
        self.count += 1;
        if !self.summary && out.is_json() {
            self.rows.push(edit_json(offset, &edit));
        } else if !self.summary {
            print_edit(offset, &edit, out)?;
        }
        self.state.apply(edit);
        Ok(())
    }

    fn lose(&mut self, offset: u64, what: &str, out: &mut Output<'_>) {
        let more = "edits from here on are missing, so the set of live files is uncertain";
        let damage = Damage::at(self.file, offset, format!("{what}; {more}")).of_len(self.data.len());
        self.report(damage, out);
    }

    fn report(&mut self, damage: Damage, out: &mut Output<'_>) {
        out.note(&damage.to_string());
        self.damages.push(damage);
    }

    /// A running server may be writing this edit.
    fn warn_torn(&self, offset: u64, out: &mut Output<'_>) {
        out.note(&format!(
            "warning: {} at byte {offset} of {}: expected a whole version edit, found part of one; its files are unknown",
            self.file.display(),
            self.data.len()
        ));
    }

    /// Reports a MANIFEST of a store without column family raft. Titan's MANIFEST has no column families.
    fn check_cf_raft(&mut self, out: &mut Output<'_>) {
        let has_raft = self.state.families.values().any(|family| family.name == "raft");
        if !has_raft && self.damages.is_empty() {
            let what =
                "expected a version edit that creates column family raft, found none: the file was truncated";
            self.report(Damage::at(self.file, self.data.len() as u64, what), out);
        }
    }

    fn print(self, out: &mut Output<'_>) -> Result<()> {
        if !out.is_json() {
            return print_state(self.file, self.count, &self.state, out);
        }
        let (file, state) = (self.file.display().to_string(), state_json(&self.state));
        let damages: Vec<Value> = self.damages.iter().map(damage::json).collect();
        out.json(&json!({ "file": file, "edits": self.rows, "state": state, "damages": damages }))
    }
}

/// Returns the MANIFEST that CURRENT names. If it is missing, counts one damaged file and returns the newest MANIFEST.
fn current(dir: &Path, keyring: &Keyring, damages: &mut usize, out: &mut Output<'_>) -> Result<PathBuf> {
    let named = read_whole(&dir.join("CURRENT"), keyring);
    let named =
        named.map(|name| dir.join(String::from_utf8_lossy(&name).trim_end())).map_err(|e| e.to_string());
    let why = match named {
        Ok(path) if path.is_file() => return Ok(path),
        Ok(path) => format!("CURRENT at byte 0 names {}, which does not exist", path.display()),
        Err(e) => format!("CURRENT: {e}"),
    };
    let number = |name: &str| name.strip_prefix("MANIFEST-")?.parse::<u64>().ok();
    let entries = std::fs::read_dir(dir).map_err(|e| Error::other(format!("{}: {e}", dir.display())))?;
    let newest = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            Some((number(path.file_name()?.to_str()?)?, path))
        })
        .max();
    let (_, path) = newest.ok_or_else(|| {
        Error::other(format!(
            "{}: expected a MANIFEST, found none; {why}: `tikv-ctl lsm` reads the SSTs without it",
            dir.display()
        ))
    })?;
    *damages += 1;
    out.note(&format!("{}: {why}; reading the newest MANIFEST", dir.display()));
    Ok(path)
}

fn user_key(encoded: &[u8]) -> String {
    escape(InternalKey::decode(encoded).map_or(&[], |key| key.user_key))
}

fn file_json(file: &FileMeta) -> Value {
    json!({
        "number": file.number, "level": file.level, "size": file.size, "smallest": user_key(&file.smallest),
        "largest": user_key(&file.largest), "smallest_seq": file.smallest_seqno, "largest_seq": file.largest_seqno,
    })
}

fn edit_json(offset: u64, edit: &Edit) -> Value {
    let deleted: Vec<Value> =
        edit.deleted.iter().map(|(level, number)| json!({ "level": level, "number": number })).collect();
    json!({
        "offset": offset, "family": edit.family, "add_family": edit.add, "drop_family": edit.drop,
        "log_number": edit.log_number, "next_file_number": edit.next_file, "last_sequence": edit.last_sequence,
        "comparator": edit.comparator, "atomic_group_rest": edit.atomic_rest, "deleted": deleted,
        "added": edit.added.iter().map(file_json).collect::<Vec<_>>(),
    })
}

fn print_edit(offset: u64, edit: &Edit, out: &mut Output<'_>) -> Result<()> {
    let mut head = format!("{offset:>10} family {}", edit.family);
    if let Some(name) = &edit.add {
        head += &format!(", add {name:?}");
    }
    if edit.drop {
        head += ", drop it";
    }
    if let Some(name) = &edit.comparator {
        head += &format!(", comparator {name}");
    }
    for (name, number) in
        [("log", edit.log_number), ("next file", edit.next_file), ("last sequence", edit.last_sequence)]
    {
        if let Some(number) = number {
            head += &format!(", {name} {number}");
        }
    }
    if let Some(rest) = edit.atomic_rest {
        head += &format!(", {rest} more of its atomic group");
    }
    out.line(head)?;
    for (level, number) in &edit.deleted {
        out.line(format!("             - level {level} {number:06}.sst"))?;
    }
    edit.added.iter().try_for_each(|file| out.line(format!("             + {}", file_text(file))))
}

fn file_text(file: &FileMeta) -> String {
    format!(
        "level {} {:06}.sst, {} bytes, seq {}..{}, {} .. {}",
        file.level,
        file.number,
        file.size,
        file.smallest_seqno,
        file.largest_seqno,
        user_key(&file.smallest),
        user_key(&file.largest)
    )
}

fn state_json(state: &VersionState) -> Value {
    let families: Vec<Value> = state
        .families
        .iter()
        .map(|(id, family)| {
            json!({
                "id": id, "name": family.name, "comparator": family.comparator, "log_number": family.log_number,
                "files": family.files.values().map(file_json).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({ "last_sequence": state.last_sequence, "families": families })
}

fn print_state(file: &Path, edits: usize, state: &VersionState, out: &mut Output<'_>) -> Result<()> {
    out.line(format!("{}: {edits} edits, last sequence {}", file.display(), state.last_sequence))?;
    for (id, family) in &state.families {
        let bytes: u64 = family.files.values().map(|file| file.size).sum();
        let name = if family.name.is_empty() { "default" } else { &family.name };
        out.line(format!(
            "family {id} {name}: {} files, {bytes} bytes, logs from {:06} on",
            family.files.len(),
            family.log_number
        ))?;
        for file in family.files.values() {
            out.line(format!("  {}", file_text(file)))?;
        }
    }
    Ok(())
}
