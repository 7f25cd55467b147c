//! The files of a raft-engine directory, and the state they replay to.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use kvproto::eraftpb::Entry;
use prost::Message;

use super::{
    BatchIter, Content, Gap, MemTable,
    atomic::{Change, Pending},
    item::INTERNAL_KEY_PREFIX,
    memtable::EntryPlace,
};
use crate::lsm::{Error, Result, read_whole};

const ATTEMPTS: usize = 20;

/// Which of the two logs a file belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Queue {
    Append,
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
    pub queue: Queue,
    pub seq: u64,
    pub path: PathBuf,
}

impl LogFile {
    /// The file that `path` names; `None` when its name is none of raft-engine's.
    pub fn from_path(path: &Path) -> Option<LogFile> {
        let (stem, extension) = path.file_name()?.to_str()?.split_once('.')?;
        let queue =
            [Queue::Append, Queue::Rewrite].into_iter().find(|queue| queue.extension() == extension)?;
        let numbered = stem.len() == 16 && stem.bytes().all(|b| b.is_ascii_digit());
        let seq = numbered.then(|| stem.parse().ok())??;
        Some(LogFile { queue, seq, path: path.to_owned() })
    }

    /// The file's bytes.
    pub fn read(&self) -> Result<Vec<u8>> {
        read_whole(&self.path)
    }
}

impl fmt::Display for LogFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileId {{ queue: {:?}, seq: {} }}", self.queue, self.seq)
    }
}

/// Whether `dir` has files of raft-engine.
pub fn is_raft_engine_dir(dir: &Path) -> bool {
    files(dir).is_ok_and(|files| !files.is_empty())
}

/// The log files in `dir`: the append queue's, then the rewrite queue's, oldest first.
pub(super) fn files(dir: &Path) -> Result<Vec<LogFile>> {
    let io = |source| Error::Io { path: dir.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(io)? {
        files.extend(LogFile::from_path(&entry.map_err(io)?.path()));
    }
    files.sort_by_key(|file| (file.queue, file.seq));
    Ok(files)
}

/// The newest run of files whose numbers have no hole; what lies before a hole is of no use.
fn contiguous(files: &[LogFile]) -> &[LogFile] {
    let hole = files.windows(2).rposition(|pair| pair[0].seq + 1 != pair[1].seq);
    &files[hole.map_or(0, |at| at + 1)..]
}

/// A directory replayed: what each Raft group has.
#[derive(Debug, Default)]
pub struct RaftEngineDir {
    dir: PathBuf,
    spill_dir: Option<PathBuf>,
    groups: BTreeMap<u64, MemTable>,
    warnings: Vec<String>,
    damages: Vec<String>,
}

/// So many groups are named.
const MOST_NAMED: usize = 20;

impl RaftEngineDir {
    /// Replays the files of `dir`, and those that are in `spill_dir` because there was no room for them. What can be read
    /// behind damaged batches counts; they are told in [`Self::damages`].
    pub fn open(dir: &Path, spill_dir: Option<&Path>) -> Result<RaftEngineDir> {
        if !is_raft_engine_dir(dir) && !spill_dir.is_some_and(is_raft_engine_dir) {
            let what = "expected a raft-engine directory with .raftlog files, met none; where it is elsewhere, \
                        give --config with raft-engine.dir";
            return Err(Error::NotADb(format!("{}: {what}", dir.display())));
        }
        let mut last = None;
        for _ in 0..ATTEMPTS {
            match RaftEngineDir::replay(dir, spill_dir) {
                // A running server purged a file between listing and reading.
                Err(e) if e.is_not_found() => last = Some(e),
                done => return done,
            }
        }
        Err(last.unwrap_or_else(|| Error::NotADb(format!("{}: it changes all the time", dir.display()))))
    }

    fn replay(dir: &Path, spill_dir: Option<&Path>) -> Result<RaftEngineDir> {
        let spill_dir = spill_dir.map(Path::to_owned);
        let mut engine = RaftEngineDir { dir: dir.to_owned(), spill_dir, ..Default::default() };
        let all = engine.files()?;
        let (append, rewrite): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|file| file.queue == Queue::Append);
        // The one that is written to is there always.
        if append.is_empty() {
            let dir = dir.display();
            engine
                .damages
                .push(format!("{dir}: no .raftlog file is here, only .rewrite files: what it held is lost"));
        }
        let mut pending = Pending::default();
        for queue in [&rewrite, &append] {
            let run = contiguous(queue);
            if let (true, Some(first)) = (run.len() < queue.len(), run.first()) {
                engine.damages.push(format!(
                    "{}: numbers of log files are missing before {}: what was in those files is lost, and the {} \
                     files before them are left out, as raft-engine does",
                    dir.display(),
                    first.path.file_name().unwrap_or_default().display(),
                    queue.len() - run.len()
                ));
            }
            for (i, file) in run.iter().enumerate() {
                engine.replay_file(file, i + 1 == run.len(), &mut pending)?;
            }
        }
        Ok(engine)
    }

    fn replay_file(&mut self, file: &LogFile, last: bool, pending: &mut Pending) -> Result<()> {
        let data = file.read()?;
        let mut batches = match BatchIter::new(&data, file.seq) {
            Ok(batches) => batches,
            // A file just created, or not written yet.
            Err(_) if last && data.iter().all(|byte| *byte == 0) => return Ok(()),
            Err((offset, what)) => {
                let path = file.path.display();
                self.damages.push(format!(
                    "{path} at byte {offset} of {}: {what}; the whole file is left out",
                    data.len()
                ));
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
                Err(gap) => self.tell(file, data.len(), &gap, last),
            }
        }
        Ok(())
    }

    fn tell(&mut self, file: &LogFile, len: usize, gap: &Gap, last: bool) {
        let place = format!("{} at byte {} of {len}: {}", file.path.display(), gap.offset, gap.what);
        if last && gap.next.is_none() {
            self.warnings.push(format!(
                "{place}; the log ends before: a torn write, as a crash leaves it, or the remains of a recycled file; if it \
                 is neither, entries are lost"
            ));
            return;
        }
        let rest = match gap.next {
            Some(next) => format!("it is read on from byte {next}, where raft-engine would not go on"),
            None => "nothing follows in this file".to_owned(),
        };
        let known: Vec<String> = self.groups().take(MOST_NAMED).map(|id| id.to_string()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        self.damages.push(format!(
            "{place}; {rest}. Entries and states of Raft groups (regions) are lost there; groups met before: {known}"
        ));
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

    /// The log files of both directories: the append queue's, then the rewrite queue's, oldest first.
    pub(super) fn files(&self) -> Result<Vec<LogFile>> {
        let mut all = files(&self.dir)?;
        // The second directory is made when it is first needed.
        if let Some(spilled) = self.spill_dir.as_deref().filter(|dir| dir.is_dir()) {
            all.append(&mut files(spilled)?);
            all.sort_by_key(|file| (file.queue, file.seq));
        }
        Ok(all)
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What was wrong but is no loss, or need be none.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What is lost.
    pub fn damages(&self) -> &[String] {
        &self.damages
    }

    /// Ids of the Raft groups that have anything.
    pub fn groups(&self) -> impl Iterator<Item = u64> {
        self.groups.iter().filter(|(_, table)| !table.is_empty()).map(|(id, _)| *id)
    }

    /// What a group has.
    pub fn group(&self, id: u64) -> Option<&MemTable> {
        self.groups.get(&id)
    }

    /// A key-value of a group.
    pub fn get(&self, group: u64, key: &[u8]) -> Option<&[u8]> {
        self.groups.get(&group)?.get(key)
    }

    /// The entry of `group` at `index`.
    pub fn entry(&self, group: u64, index: u64) -> Result<Option<Entry>> {
        let Some(place) = self.groups.get(&group).and_then(|table| table.entry(index)) else {
            return Ok(None);
        };
        let bytes = place.read()?;
        let entry = Entry::decode(bytes.as_slice()).map_err(|e| Error::Corruption {
            path: place.path.clone(),
            offset: place.block_offset,
            what: format!("entry {index} of group {group} does not decode: {e}"),
        })?;
        Ok(Some(entry))
    }
}
