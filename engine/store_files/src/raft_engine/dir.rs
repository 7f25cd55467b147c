//! The files of a raft-engine directory, and the state after replaying them.
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use kvproto::eraftpb::Entry;
use prost::Message;

use super::{
    atomic::{Change, Pending},
    batch::{BadBatch, BatchIter, Gap},
    item::{Content, INTERNAL_KEY_PREFIX},
    memtable::{EntryPlace, MemTable},
};
use crate::{
    encryption::Keyring,
    io::{Damage, FileError as Error, Result, read_whole},
};

/// Maximum number of attempts to read a directory from which a server removes files.
const ATTEMPTS: usize = 20;

/// The two logs of raft-engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Queue {
    /// New batches.
    Append,
    /// Old data that raft-engine moved out of the append queue.
    Rewrite,
}

impl Queue {
    fn extension(self) -> &'static str {
        match self {
            Queue::Append => "raftlog",
            Queue::Rewrite => "rewrite",
        }
    }
}

/// A log file by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// The queue of the file.
    pub queue: Queue,
    /// Number of the file in its queue.
    pub seq: u64,
    /// Path of the file.
    pub path: PathBuf,
}

impl LogFile {
    /// Parses the name of `path`. Returns `None` if it is not the name of a raft-engine file.
    pub fn from_path(path: &Path) -> Option<LogFile> {
        let (stem, extension) = path.file_name()?.to_str()?.split_once('.')?;
        let queue =
            [Queue::Append, Queue::Rewrite].into_iter().find(|queue| queue.extension() == extension)?;
        let numbered = stem.len() == 16 && stem.bytes().all(|b| b.is_ascii_digit());
        let seq = numbered.then(|| stem.parse().ok())??;
        Some(LogFile { queue, seq, path: path.to_owned() })
    }

    /// Reads the whole file.
    pub fn read(&self, keyring: &Keyring) -> Result<Vec<u8>> {
        read_whole(&self.path, keyring)
    }
}

impl fmt::Display for LogFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileId {{ queue: {:?}, seq: {} }}", self.queue, self.seq)
    }
}

/// Whether `dir` has raft-engine files.
pub fn is_raft_engine_dir(dir: &Path) -> bool {
    files(dir).is_ok_and(|files| !files.is_empty())
}

/// Lists the log files in `dir`: the append queue's, then the rewrite queue's, oldest first.
pub(super) fn files(dir: &Path) -> Result<Vec<LogFile>> {
    let io = |source| Error::Io { path: dir.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(io)? {
        files.extend(LogFile::from_path(&entry.map_err(io)?.path()));
    }
    files.sort_by_key(|file| (file.queue, file.seq));
    Ok(files)
}

/// Returns the newest files with consecutive numbers. Files before a hole are useless.
fn contiguous(files: &[LogFile]) -> &[LogFile] {
    let hole = files.windows(2).rposition(|pair| pair[0].seq + 1 != pair[1].seq);
    &files[hole.map_or(0, |at| at + 1)..]
}

/// A replayed directory: the keys and entries of each Raft group.
#[derive(Debug, Default)]
pub struct RaftEngineDir {
    dir: PathBuf,
    spill_dir: Option<PathBuf>,
    keyring: Keyring,
    groups: BTreeMap<u64, MemTable>,
    warnings: Vec<String>,
    damages: Vec<Damage>,
}

/// Maximum number of groups that a message names.
const MAX_NAMED: usize = 20;

impl RaftEngineDir {
    /// Replays the files of `dir`, and those of `spill_dir`, where raft-engine puts files if `dir` is full.
    /// Intact batches after damaged ones count.
    ///
    /// # Errors
    /// There is no raft-engine file, or a file cannot be read. Other damage is in [`Self::damages`].
    pub fn open(dir: &Path, spill_dir: Option<&Path>, keyring: &Keyring) -> Result<RaftEngineDir> {
        if !is_raft_engine_dir(dir) && !spill_dir.is_some_and(is_raft_engine_dir) {
            let what = "expected a raft-engine directory with .raftlog files, found none: if it is elsewhere, \
                        give --config with raft-engine.dir";
            return Err(Error::NotADb(format!("{}: {what}", dir.display())));
        }
        let mut last = None;
        for _ in 0..ATTEMPTS {
            match RaftEngineDir::replay(dir, spill_dir, keyring) {
                // A running server purged a file between listing and reading.
                Err(e) if e.is_not_found() => last = Some(e),
                done => return done,
            }
        }
        Err(last.unwrap_or_else(|| {
            Error::NotADb(format!(
                "{}: the directory changed during each of {ATTEMPTS} attempts to read it: try again",
                dir.display()
            ))
        }))
    }

    fn replay(dir: &Path, spill_dir: Option<&Path>, keyring: &Keyring) -> Result<RaftEngineDir> {
        let spill_dir = spill_dir.map(Path::to_owned);
        let (dir_path, keyring) = (dir.to_owned(), keyring.clone());
        let mut engine = RaftEngineDir { dir: dir_path, spill_dir, keyring, ..Default::default() };
        let all = engine.files()?;
        let (append, rewrite): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|file| file.queue == Queue::Append);
        // raft-engine always has an append file to write to.
        if append.is_empty() {
            let what = "expected .raftlog files, found only .rewrite files: their data is lost";
            engine.damages.push(Damage::whole(dir, what));
        }
        let mut pending = Pending::default();
        for queue in [&rewrite, &append] {
            let run = contiguous(queue);
            if let (true, Some(first)) = (run.len() < queue.len(), run.first()) {
                let what = format!(
                    "expected log files with consecutive numbers, found a gap before {}: the data of the missing files \
                     is lost, and the {} files before the gap are skipped, as raft-engine does",
                    first.path.file_name().unwrap_or_default().display(),
                    queue.len() - run.len()
                );
                engine.damages.push(Damage::whole(dir, what));
            }
            for (i, file) in run.iter().enumerate() {
                engine.replay_file(file, i + 1 == run.len(), &mut pending)?;
            }
        }
        Ok(engine)
    }

    fn replay_file(&mut self, file: &LogFile, last: bool, pending: &mut Pending) -> Result<()> {
        let data = file.read(&self.keyring)?;
        let mut batches = match BatchIter::new(&data, file.seq) {
            Ok(batches) => batches,
            // A new file that was not written yet.
            Err(_) if last && data.iter().all(|byte| *byte == 0) => return Ok(()),
            Err(BadBatch { offset, what }) => {
                let what = format!("{what}; the whole file is skipped");
                self.damages.push(Damage::at(&file.path, offset, what).of_len(data.len()));
                return Ok(());
            }
        };
        while let Some(next) = batches.next_or_gap() {
            match next {
                Ok(batch) => {
                    let change = Change::new(file.path.clone(), batch);
                    match file.queue {
                        Queue::Append => self.apply(change),
                        Queue::Rewrite => {
                            pending.take(change).into_iter().for_each(|change| self.apply(change))
                        }
                    }
                }
                Err(gap) => self.report_gap(file, data.len(), &gap, last),
            }
        }
        Ok(())
    }

    fn report_gap(&mut self, file: &LogFile, len: usize, gap: &Gap, last: bool) {
        let damage = Damage::at(&file.path, gap.offset, gap.what.clone()).of_len(len);
        if last && gap.next.is_none() {
            self.warnings.push(format!(
                "{damage}; the log ends here: these bytes are a torn write, as after a crash, or older data of a \
                 recycled file; otherwise entries are lost"
            ));
            return;
        }
        let rest = match gap.next {
            Some(next) => format!("reading continues at byte {next}, where raft-engine would not continue"),
            None => "no whole batch follows in this file".to_owned(),
        };
        let known: Vec<String> = self.groups().take(MAX_NAMED).map(|id| id.to_string()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let what = format!(
            "{}; {rest}. Entries and states of Raft groups (regions) are lost here; groups read before: {known}",
            gap.what
        );
        self.damages.push(Damage { what, ..damage });
    }

    fn apply(&mut self, change: Change) {
        let keep_holes = !self.damages.is_empty();
        let Change { path, block_offset, block_len, compressed, items } = change;
        for item in items {
            let table = self.groups.entry(item.group).or_default();
            match item.content {
                Content::Entries(indexes) => {
                    let place =
                        |index| EntryPlace { path: path.clone(), block_offset, block_len, compressed, index };
                    table.append(indexes.into_iter().map(place), keep_holes);
                }
                Content::Clean => *table = MemTable::default(),
                Content::Compact(index) => table.compact_to(index),
                Content::Put(key, _) if key.starts_with(INTERNAL_KEY_PREFIX) => {}
                Content::Put(key, value) => table.put(key, value),
                Content::Delete(key) => table.delete(&key),
            }
        }
    }

    /// Lists the log files of both directories: the append queue's, then the rewrite queue's, oldest first.
    pub(super) fn files(&self) -> Result<Vec<LogFile>> {
        let mut all = files(&self.dir)?;
        // raft-engine creates the second directory when it first needs it.
        if let Some(spilled) = self.spill_dir.as_deref().filter(|dir| dir.is_dir()) {
            all.append(&mut files(spilled)?);
            all.sort_by_key(|file| (file.queue, file.seq));
        }
        Ok(all)
    }

    /// Path of the directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The keys of its encrypted files.
    pub(super) fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Anomalies that lose no data, or need not.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Damage by which data is lost.
    pub fn damages(&self) -> &[Damage] {
        &self.damages
    }

    /// Ids of the Raft groups with keys or entries.
    pub fn groups(&self) -> impl Iterator<Item = u64> {
        self.groups.iter().filter(|(_, table)| !table.is_empty()).map(|(id, _)| *id)
    }

    /// The keys and entries of a group.
    pub fn group(&self, id: u64) -> Option<&MemTable> {
        self.groups.get(&id)
    }

    /// The value of a key of a group.
    pub fn get(&self, group: u64, key: &[u8]) -> Option<&[u8]> {
        self.groups.get(&group)?.get(key)
    }

    /// Reads the entry of `group` at `index`.
    pub fn entry(&self, group: u64, index: u64) -> Result<Option<Entry>> {
        let Some(place) = self.groups.get(&group).and_then(|table| table.entry(index)) else {
            return Ok(None);
        };
        let bytes = place.read(&self.keyring)?;
        let entry = Entry::decode(bytes.as_slice()).map_err(|e| {
            let what = format!("entry {index} of group {group} does not decode: {e}");
            Error::corrupt(&place.path, place.block_offset, what)
        })?;
        Ok(Some(entry))
    }
}
