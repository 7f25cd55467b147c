//! Dumps and checks log files, for `raft-engine-ctl dump` and `check`.
use std::{collections::BTreeMap, path::Path};

use super::{
    batch::{BadBatch, BatchIter},
    dir::{LogFile, Queue, files},
    item::{Content, ItemText, LogItem},
};
use crate::{
    encryption::Keyring,
    io::{Damage, FileError as Error, Result},
};

/// Lists the log files at `path`, a directory or one file.
pub fn log_files(path: &Path) -> Result<Vec<LogFile>> {
    let files = if path.is_dir() { files(path)? } else { LogFile::from_path(path).into_iter().collect() };
    if files.is_empty() {
        let what = if path.exists() {
            "expected a raft-engine directory or a file NNNNNNNNNNNNNNNN.raftlog or .rewrite"
        } else {
            "no such file or directory"
        };
        return Err(Error::NotADb(format!("{}: {what}", path.display())));
    }
    Ok(files)
}

/// Calls `print` with each item of the files at `path` in raft-engine's own text, rewrite files first. Empty
/// `groups` means all groups. For a damaged batch, `print` gets an error line. Returns the number of damaged
/// batches.
pub fn dump<E>(
    path: &Path,
    groups: &[u64],
    keyring: &Keyring,
    mut print: impl FnMut(&str) -> std::result::Result<(), E>,
) -> Result<std::result::Result<usize, E>> {
    let mut damages = 0;
    let files = log_files(path)?;
    for file in rewrite_first(&files) {
        let data = file.read(keyring)?;
        for line in file_lines(file, &data, groups, &mut damages) {
            if let Err(e) = print(&line) {
                return Ok(Err(e));
            }
        }
    }
    Ok(Ok(damages))
}

fn file_lines(file: &LogFile, data: &[u8], groups: &[u64], damages: &mut usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut damage = |offset: u64, what: String| {
        *damages += 1;
        let damage = Damage::at(&file.path, offset, what).of_len(data.len());
        format!("Err(Corruption({:?}))", damage.to_string())
    };
    let mut batches = match BatchIter::new(data, file.seq) {
        Ok(batches) => batches,
        Err(BadBatch { offset, what }) => return vec![damage(offset, what)],
    };
    while let Some(next) = batches.next_or_gap() {
        match next {
            Ok(batch) => {
                let block = (batch.entries_offset, batch.entries_len);
                let wanted =
                    batch.items.iter().filter(|item| groups.is_empty() || groups.contains(&item.group));
                lines.extend(wanted.map(|item| {
                    ItemText { item, file: file.to_string(), block, compressed: batch.compressed }.to_string()
                }));
            }
            Err(gap) => lines.push(damage(gap.offset, gap.what)),
        }
    }
    lines
}

/// Lists the items of one file without their offsets, with each entry as an item. The list ends at damage.
pub fn items(path: &Path, keyring: &Keyring) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    if let Some(file) = LogFile::from_path(path) {
        let data = file.read(keyring)?;
        let Ok(mut batches) = BatchIter::new(&data, file.seq) else { return Ok(lines) };
        while let Ok(Some(batch)) = batches.next_batch() {
            for item in &batch.items {
                let group = item.group;
                match &item.content {
                    Content::Entries(indexes) => lines.extend(
                        indexes.iter().map(|e| format!("group {group}: entry {}, {} bytes", e.index, e.len)),
                    ),
                    Content::Clean => lines.push(format!("group {group}: clean")),
                    Content::Compact(index) => lines.push(format!("group {group}: compact to {index}")),
                    Content::Put(key, value) => lines.push(format!(
                        "group {group}: put {} = {}",
                        keys::hex_upper(key),
                        keys::hex_upper(value)
                    )),
                    Content::Delete(key) => {
                        lines.push(format!("group {group}: delete {}", keys::hex_upper(key)));
                    }
                }
            }
        }
    }
    Ok(lines)
}

/// The result of [`check`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Groups whose entries have a hole, and the last index before it.
    pub broken: Vec<(u64, u64)>,
    /// Damage in files, except in the tail of the last one.
    pub damages: Vec<Damage>,
}

/// Checks all batches of the files at `path` (raft-engine `Engine::consistency_check`).
pub fn check(path: &Path, keyring: &Keyring) -> Result<Checked> {
    let files = log_files(path)?;
    // Separate for each queue: rewritten indexes may be far below appended ones.
    let mut last_index: BTreeMap<(Queue, u64), u64> = BTreeMap::new();
    let mut broken: BTreeMap<u64, u64> = BTreeMap::new();
    let mut damages = Vec::new();
    let last_append = files.iter().filter(|file| file.queue == Queue::Append).map(|file| file.seq).max();
    for file in rewrite_first(&files) {
        let data = file.read(keyring)?;
        let tail_may_tear = file.queue == Queue::Append && Some(file.seq) == last_append;
        let mut bad = |offset: u64, what: String| {
            damages.push(Damage::at(&file.path, offset, what).of_len(data.len()));
        };
        let mut batches = match BatchIter::new(&data, file.seq) {
            Ok(batches) => batches,
            // A new file that was not written yet.
            Err(_) if tail_may_tear && data.iter().all(|byte| *byte == 0) => continue,
            Err(BadBatch { offset, what }) => {
                bad(offset, what);
                continue;
            }
        };
        while let Some(next) = batches.next_or_gap() {
            match next {
                Ok(batch) => {
                    let queue = file.queue;
                    let each = |item: &LogItem| {
                        follow((queue, item.group), &item.content, &mut last_index, &mut broken);
                    };
                    batch.items.iter().for_each(each);
                }
                Err(gap) if tail_may_tear && gap.next.is_none() => {}
                Err(gap) => bad(gap.offset, gap.what),
            }
        }
    }
    Ok(Checked { broken: broken.into_iter().collect(), damages })
}

fn rewrite_first(files: &[LogFile]) -> impl Iterator<Item = &LogFile> {
    let of = |queue| files.iter().filter(move |file| file.queue == queue);
    of(Queue::Rewrite).chain(of(Queue::Append))
}

fn follow(
    (queue, group): (Queue, u64),
    content: &Content,
    last: &mut BTreeMap<(Queue, u64), u64>,
    broken: &mut BTreeMap<u64, u64>,
) {
    let place = (queue, group);
    match content {
        Content::Entries(indexes) => {
            let (Some(first), Some(end)) = (indexes.first(), indexes.last()) else { return };
            if let Some(before) = last.get(&place).filter(|before| before.saturating_add(1) < first.index) {
                broken.entry(group).or_insert(*before);
            }
            last.insert(place, end.index);
        }
        Content::Clean => {
            last.remove(&place);
            broken.remove(&group);
        }
        Content::Compact(index) => {
            // Compacted entries are not a hole.
            if last.get(&place).is_some_and(|before| before.saturating_add(1) < *index) {
                last.insert(place, index - 1);
            }
        }
        Content::Put(..) | Content::Delete(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates a file of version 1 with one batch of one item.
    fn log_file(item: &[u8], entry: &[u8]) -> Vec<u8> {
        let summed = |bytes: &[u8]| [bytes, &crc32fast::hash(bytes).to_le_bytes()].concat();
        let entries = if entry.is_empty() { Vec::new() } else { summed(entry) };
        let items = summed(&[&[1], item].concat());
        let footer = 16 + entries.len() as u64;
        let mut file = b"RAFT-LOG-FILE-HEADER-9986AB3E47F320B394C8E84916EB0ED5".to_vec();
        file.extend_from_slice(&1u64.to_be_bytes());
        file.extend_from_slice(&((footer + items.len() as u64) << 8).to_be_bytes());
        file.extend_from_slice(&footer.to_be_bytes());
        [file, entries, items].concat()
    }

    fn write(dir: &Path, name: &str, file: Vec<u8>) {
        std::fs::write(dir.join(format!("{:0>15}{name}", "")), file).unwrap();
    }

    #[test]
    fn check_finds_holes_within_a_queue_only() {
        let dir = tempfile::tempdir().unwrap();
        // Group 2 has entry 20 rewritten, and 101 and 103 appended.
        let entry = |index| log_file(&[2, 1, 1, index, 1], b"e");
        write(dir.path(), "1.rewrite", entry(20));
        write(dir.path(), "7.raftlog", entry(101));
        assert_eq!(check(dir.path(), &Keyring::default()).unwrap(), Checked::default());
        write(dir.path(), "8.raftlog", entry(103));
        assert_eq!(
            check(dir.path(), &Keyring::default()).unwrap(),
            Checked { broken: vec![(2, 101)], damages: Vec::new() }
        );
    }

    #[test]
    fn dump_prints_rewrite_files_first() {
        let dir = tempfile::tempdir().unwrap();
        for (name, group) in [("2.raftlog", 4), ("3.raftlog", 6), ("9.rewrite", 2)] {
            write(dir.path(), name, log_file(&[group, 2, 1], b""));
        }
        let mut lines = Vec::new();
        let print = |line: &str| {
            lines.push(line.to_owned());
            Ok::<(), ()>(())
        };
        dump(dir.path(), &[], &Keyring::default(), print).unwrap().unwrap();
        let clean = |group| format!("LogItem {{ raft_group_id: {group}, content: Command(Clean) }}");
        assert_eq!(lines, [clean(2), clean(4), clean(6)]);
    }
}
