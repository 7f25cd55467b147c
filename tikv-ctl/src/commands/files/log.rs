//! `log`: prints raft-engine's files as they are on the disk.
use std::{collections::BTreeMap, path::Path};

use keys::hex_upper;
use kvproto::eraftpb::{Entry, EntryType};
use prost::Message;
use serde_json::{Value, json};

use super::paths::{check_exists, part_of};
use crate::{
    Error, Result,
    encryption::Keyring,
    print::output::{JsonList, Output},
    raft_engine::{BadBatch, BatchIter, Content, LogBatch, LogFile, Queue, log_files},
    text::message_text,
};

/// Data of a Raft group in one file.
#[derive(Debug, Default)]
struct InFile {
    first: Option<u64>,
    last: Option<u64>,
    entries: u64,
    others: u64,
}

pub fn run(
    path: &Path,
    regions: &[u64],
    summary: bool,
    keyring: &Keyring,
    out: &mut Output<'_>,
) -> Result<()> {
    check_exists(path, "a raft-engine directory or file")?;
    let path = part_of(path, "raft-engine");
    let files = log_files(&path)?;
    let mut list = out.list();
    let mut damages = 0;
    for file in &files {
        let data = file.read(keyring)?;
        damages += one_file(file, &data, regions, summary, &mut list, out)?;
    }
    warn_holes(&files, out);
    if path.is_dir() && files.iter().all(|file| file.queue == Queue::Rewrite) {
        out.note(
            "warning: expected .raftlog files, found only .rewrite files: the newest entries are missing",
        );
    }
    if out.is_json() {
        list.end(out)?;
    }
    if damages > 0 { Err(Error::Damaged(damages)) } else { Ok(()) }
}

/// Warns of gaps in the numbers of files.
fn warn_holes(files: &[LogFile], out: &mut Output<'_>) {
    for pair in
        files.windows(2).filter(|pair| pair[0].queue == pair[1].queue && pair[0].seq + 1 < pair[1].seq)
    {
        out.note(&format!(
            "warning: files {} to {} of the {:?} queue are missing: raft-engine ignores all files before the gap",
            pair[0].seq + 1,
            pair[1].seq - 1,
            pair[0].queue
        ));
    }
}

fn one_file(
    file: &LogFile,
    data: &[u8],
    regions: &[u64],
    summary: bool,
    list: &mut JsonList,
    out: &mut Output<'_>,
) -> Result<usize> {
    let path = file.path.display();
    let mut batches = match BatchIter::new(data, file.seq) {
        Ok(batches) => batches,
        Err(BadBatch { offset, what }) => {
            out.note(&format!("{path} at byte {offset}: {what}"));
            return Ok(1);
        }
    };
    if !out.is_json() {
        let header = batches.header();
        out.line(format!(
            "{path}: version {}, alignment {}, {} bytes",
            header.version,
            header.alignment,
            data.len()
        ))?;
    }
    let (mut groups, mut count, mut damages): (BTreeMap<u64, InFile>, _, _) = Default::default();
    loop {
        match batches.next_batch() {
            Ok(None) => break,
            Ok(Some(batch)) => {
                count += 1u64;
                follow(&batch, &mut groups);
                if !summary {
                    print_batch(file, &batch, regions, list, out)?;
                }
            }
            Err(BadBatch { offset, what }) => {
                damages += 1;
                let next = batches.resync();
                let next = next
                    .map_or("no whole batch follows".into(), |at| format!("the next batch is at byte {at}"));
                let touched: Vec<String> = groups.keys().take(20).map(u64::to_string).collect();
                out.note(&format!(
                    "{path} at byte {offset} of {}: {what}; {next}. Raft groups of this file: {}. At the end of the \
                     last file this is a torn write, which raft-engine cuts off; elsewhere raft-engine refuses to \
                     start",
                    data.len(),
                    touched.join(", ")
                ));
            }
        }
    }
    if summary {
        print_summary(file, count, &groups, regions, list, out)?;
    }
    Ok(damages)
}

fn follow(batch: &LogBatch<'_>, groups: &mut BTreeMap<u64, InFile>) {
    for item in &batch.items {
        let group = groups.entry(item.group).or_default();
        match &item.content {
            Content::Entries(indexes) => {
                group.entries += indexes.len() as u64;
                group.first =
                    group.first.min(indexes.first().map(|e| e.index)).or(indexes.first().map(|e| e.index));
                group.last = group.last.max(indexes.last().map(|e| e.index));
            }
            _ => group.others += 1,
        }
    }
}

fn print_summary(
    file: &LogFile,
    batches: u64,
    groups: &BTreeMap<u64, InFile>,
    regions: &[u64],
    list: &mut JsonList,
    out: &mut Output<'_>,
) -> Result<()> {
    let wanted = groups.iter().filter(|(id, _)| regions.is_empty() || regions.contains(id));
    if out.is_json() {
        let groups: Vec<Value> = wanted
            .map(|(id, group)| {
                json!({
                    "region": id, "first_index": group.first, "last_index": group.last,
                    "entries": group.entries, "others": group.others,
                })
            })
            .collect();
        let path = file.path.display().to_string();
        return list.push(out, &json!({ "file": path, "batches": batches, "regions": groups }));
    }
    out.line(format!("  {batches} batches"))?;
    for (id, group) in wanted {
        let span = match (group.first, group.last) {
            (Some(first), Some(last)) => format!(", index {first} to {last}"),
            _ => String::new(),
        };
        out.line(format!("  region {id}: {} entries{span}, {} other items", group.entries, group.others))?;
    }
    Ok(())
}

fn print_batch(
    file: &LogFile,
    batch: &LogBatch<'_>,
    regions: &[u64],
    list: &mut JsonList,
    out: &mut Output<'_>,
) -> Result<()> {
    let plain = batch.plain();
    if let Err(what) = &plain {
        out.note(&format!("{} at byte {}: {what}", file.path.display(), batch.entries_offset));
    }
    let plain = plain.unwrap_or_default();
    let wanted = batch.items.iter().filter(|item| regions.is_empty() || regions.contains(&item.group));
    let lines: Vec<(u64, Vec<String>)> =
        wanted.map(|item| (item.group, item_lines(&item.content, &plain))).collect();
    if lines.is_empty() {
        return Ok(());
    }
    let lz4 = if batch.compressed { ", lz4" } else { "" };
    if out.is_json() {
        let items: Vec<Value> =
            lines.iter().map(|(region, text)| json!({ "region": region, "items": text })).collect();
        let path = file.path.display().to_string();
        return list.push(
            out,
            &json!({ "file": path, "offset": batch.offset, "lz4": batch.compressed, "items": items }),
        );
    }
    out.line(format!(
        "{:>10} batch of {} items, {} bytes of entries{lz4}",
        batch.offset,
        lines.len(),
        plain.len()
    ))?;
    for (region, texts) in lines {
        texts.iter().try_for_each(|text| out.line(format!("           region {region} {text}")))?;
    }
    Ok(())
}

fn item_lines(content: &Content, plain: &[u8]) -> Vec<String> {
    match content {
        Content::Entries(indexes) => indexes
            .iter()
            .map(|at| {
                let start = at.offset as usize;
                let bytes = start.checked_add(at.len as usize).and_then(|end| plain.get(start..end));
                match bytes.map(Entry::decode) {
                    Some(Ok(entry)) => entry_text(&entry),
                    _ => format!("entry {} cannot be decoded", at.index),
                }
            })
            .collect(),
        Content::Clean => vec!["clean: removes the group".to_owned()],
        Content::Compact(index) => vec![format!("compact to {index}")],
        Content::Put(key, value) => vec![key_value_text(key, value)],
        Content::Delete(key) => vec![format!("delete key {}", hex_upper(key))],
    }
}

fn entry_text(entry: &Entry) -> String {
    let kind = match entry.entry_type() {
        EntryType::EntryNormal if entry.data.is_empty() => "empty (a new leader's)".to_owned(),
        EntryType::EntryNormal => match message_text("raft_cmdpb.RaftCmdRequest", &entry.data) {
            Ok(text) if entry.data.first() != Some(&0) => text,
            _ => format!("{} bytes: {}", entry.data.len(), hex_upper(&entry.data)),
        },
        EntryType::EntryConfChange => with_text("conf change", "eraftpb.ConfChange", &entry.data),
        EntryType::EntryConfChangeV2 => with_text("conf change v2", "eraftpb.ConfChangeV2", &entry.data),
    };
    format!("entry {} term {} {kind}", entry.index, entry.term)
}

fn with_text(what: &str, message: &str, data: &[u8]) -> String {
    format!("{what} {}", message_text(message, data).unwrap_or_else(|_| hex_upper(data)))
}

/// Formats a key-value pair with the state that TiKV stores under that key.
fn key_value_text(key: &[u8], value: &[u8]) -> String {
    let (name, message) = match key {
        b"R" => ("raft state", "raft_serverpb.RaftLocalState"),
        [1] => ("store ident", "raft_serverpb.StoreIdent"),
        [2] => ("bootstrap region", "metapb.Region"),
        [3, rest @ ..] if rest.len() == 8 => ("region state", "raft_serverpb.RegionLocalState"),
        [4, rest @ ..] if rest.len() == 8 => ("apply state", "raft_serverpb.RaftApplyState"),
        _ => return format!("put key {} = {}", hex_upper(key), hex_upper(value)),
    };
    with_text(name, message, value)
}
