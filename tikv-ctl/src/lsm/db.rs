//! A RocksDB directory opened for reading: MANIFEST, SSTs and what only the WAL has.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use super::{
    DbIter, Error, InternalKey, RandomFile, Result, Table, ValueType,
    log::{LogReader, Record},
    manifest::{self, FileMeta, VersionState},
    titan::Titan,
    wal,
};

const COMPARATOR: &str = "leveldb.BytewiseComparator";
/// How often a directory that a server is changing is read again.
const ATTEMPTS: usize = 20;

/// A deleted range: start, end (exclusive) and sequence number.
pub type RangeTombstone = (Vec<u8>, Vec<u8>, u64);

/// An entry that only the WAL has: user key, packed sequence and type, value.
pub(super) type MemEntry = (Vec<u8>, u64, Vec<u8>);

/// An SST of the current version. It stays readable when a running server deletes it meanwhile.
#[derive(Debug)]
pub struct SstFile {
    meta: FileMeta,
    path: PathBuf,
    handle: Mutex<Option<RandomFile>>,
    table: OnceLock<Arc<Table>>,
}

impl SstFile {
    /// The level it is on.
    pub fn level(&self) -> u32 {
        self.meta.level
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The least user key.
    pub fn smallest(&self) -> &[u8] {
        InternalKey::decode(&self.meta.smallest).map_or(&[], |key| key.user_key)
    }

    /// The greatest user key.
    pub fn largest(&self) -> &[u8] {
        InternalKey::decode(&self.meta.largest).map_or(&[], |key| key.user_key)
    }

    /// Whether it may hold keys in `[from, to)`; an empty `to` is no bound.
    pub fn overlaps(&self, from: &[u8], to: &[u8]) -> bool {
        self.largest() >= from && (to.is_empty() || self.smallest() < to)
    }

    /// The table, opened at the first call.
    pub fn table(&self) -> Result<Arc<Table>> {
        if let Some(table) = self.table.get() {
            return Ok(table.clone());
        }
        let handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let file = match handle {
            Some(file) => file,
            None => RandomFile::open(&self.path)?,
        };
        let table = Arc::new(Table::from_file(file, Some(self.meta.largest_seqno))?);
        Ok(self.table.get_or_init(|| table).clone())
    }
}

/// A column family of an opened database.
#[derive(Debug, Default)]
pub struct ColumnFamily {
    name: String,
    files: Vec<Arc<SstFile>>,
    mem: Arc<Vec<MemEntry>>,
    mem_deletions: Vec<RangeTombstone>,
}

impl ColumnFamily {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its SSTs, by level and then by least key; on level 0 by number.
    pub fn files(&self) -> &[Arc<SstFile>] {
        &self.files
    }

    /// What only the WAL has, in order: keys, and lengths of their values.
    pub fn unflushed(&self) -> impl Iterator<Item = (&[u8], usize)> {
        self.mem.iter().map(|(key, _, value)| (key.as_slice(), value.len()))
    }

    pub(super) fn mem(&self) -> &Arc<Vec<MemEntry>> {
        &self.mem
    }

    pub(super) fn mem_deletions(&self) -> &[RangeTombstone] {
        &self.mem_deletions
    }
}

/// A RocksDB directory at one point in time.
#[derive(Debug)]
pub struct Db {
    dir: PathBuf,
    families: BTreeMap<String, ColumnFamily>,
    titan: Titan,
    warnings: Vec<String>,
}

impl Db {
    /// Reads the directory `dir`, with its WAL in `wal_dir` or beside the SSTs.
    pub fn open(dir: &Path, wal_dir: Option<&Path>) -> Result<Db> {
        if !dir.is_dir() {
            return Err(Error::NotADb(format!("{}: expected a RocksDB directory, met none", dir.display())));
        }
        if !dir.join("CURRENT").is_file() {
            let what = "expected a RocksDB directory, met one without a CURRENT file: it is another \
                        directory, or the database was never created";
            return Err(Error::NotADb(format!("{}: {what}", dir.display())));
        }
        let wal_dir = wal_dir.unwrap_or(dir);
        let mut last = None;
        for attempt in 0..ATTEMPTS {
            match Db::open_once(dir, wal_dir) {
                Ok((db, state)) => {
                    // A MANIFEST that grew meanwhile may have moved data from a log, read too late, to an SST.
                    let again = manifest::read(dir)
                        .is_ok_and(|now| now.path != state.path || now.manifest_len != state.manifest_len);
                    if !again || attempt + 1 == ATTEMPTS {
                        return Ok(db);
                    }
                }
                Err(e) if e.is_not_found() => last = Some(e),
                Err(e) => return Err(e),
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Err(last.unwrap_or_else(|| Error::NotADb(format!("{}: it changes all the time", dir.display()))))
    }

    fn open_once(dir: &Path, wal_dir: &Path) -> Result<(Db, VersionState)> {
        let state = manifest::read(dir)?;
        let mut families = BTreeMap::new();
        for family in state.families.values() {
            if family.comparator != COMPARATOR {
                let what = format!(
                    "column family {} is ordered by {:?}, only {COMPARATOR} is understood",
                    family.name, family.comparator
                );
                return Err(Error::Unsupported { path: state.path.clone(), what });
            }
            let mut files = Vec::with_capacity(family.files.len());
            for meta in family.files.values() {
                files.push(Arc::new(open_sst(dir, meta.clone())?));
            }
            files.sort_by(|a, b| {
                let by_key = if a.level() == 0 {
                    a.meta.number.cmp(&b.meta.number)
                } else {
                    a.smallest().cmp(b.smallest())
                };
                a.level().cmp(&b.level()).then(by_key)
            });
            let name = family.name.clone();
            families.insert(name.clone(), ColumnFamily { name, files, ..Default::default() });
        }
        let mut db = Db { dir: dir.to_owned(), families, titan: Titan::new(dir), warnings: Vec::new() };
        db.read_logs(wal_dir, &state)?;
        Ok((db, state))
    }

    fn read_logs(&mut self, wal_dir: &Path, state: &VersionState) -> Result<()> {
        let mut entries: BTreeMap<u32, Vec<MemEntry>> = BTreeMap::new();
        let oldest = state.families.values().map(|family| family.log_number).min().unwrap_or(0);
        for (number, path) in logs(wal_dir)? {
            if number < oldest {
                continue;
            }
            let data = std::fs::read(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
            if !self.read_log(&path, number, &data, state, &mut entries) {
                break;
            }
        }
        for (id, mut list) in entries {
            let name = state.families.get(&id).map(|family| family.name.as_str()).unwrap_or_default();
            let Some(family) = self.families.get_mut(name) else { continue };
            list.retain(|(key, packed, value)| {
                let deletes = ValueType::from_u8(*packed as u8) == ValueType::RangeDeletion;
                if deletes {
                    family.mem_deletions.push((key.clone(), value.clone(), packed >> 8));
                }
                !deletes
            });
            list.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
            family.mem = Arc::new(list);
        }
        Ok(())
    }

    /// Reads one log; `false` when it is damaged before its end, so that later ones must not be applied (RocksDB's
    /// point-in-time recovery, TiKV's default).
    fn read_log(
        &mut self,
        path: &Path,
        number: u64,
        data: &[u8],
        state: &VersionState,
        entries: &mut BTreeMap<u32, Vec<MemEntry>>,
    ) -> bool {
        let mut reader = LogReader::new(data, number);
        loop {
            let (offset, what) = match reader.next_record() {
                Record::End => return true,
                Record::Corrupt { offset, what } => (offset, what),
                Record::Data { offset, data } => {
                    let applied = wal::read_batch(&data, |entry| {
                        let family = state.families.get(&entry.cf);
                        if family.is_some_and(|family| family.log_number <= number) {
                            let packed = entry.sequence << 8 | u64::from(entry.value_type.to_u8());
                            let list = entries.entry(entry.cf).or_default();
                            list.push((entry.key.to_vec(), packed, entry.value.to_vec()));
                        }
                    });
                    match applied {
                        Ok(()) => continue,
                        Err(what) => (offset, what),
                    }
                }
            };
            self.warnings.push(format!(
                "{} at byte {offset}: {what}; what the log holds from there on is left out",
                path.display()
            ));
            return false;
        }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What was wrong but could be read around.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// All column families.
    pub fn families(&self) -> impl Iterator<Item = &ColumnFamily> {
        self.families.values()
    }

    /// A column family by name.
    pub fn family(&self, name: &str) -> Result<&ColumnFamily> {
        self.families.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.families.keys().map(String::as_str).collect();
            let what = format!("no column family {name:?}, there are {}", known.join(", "));
            Error::NotADb(format!("{}: {what}", self.dir.display()))
        })
    }

    pub(super) fn titan(&self) -> &Titan {
        &self.titan
    }

    /// Walks the newest versions of the keys in `[from, to)`; an empty `to` is no bound.
    pub fn scan<'a>(&'a self, cf: &str, from: &[u8], to: &[u8]) -> Result<DbIter<'a>> {
        DbIter::new(self, self.family(cf)?, from, to)
    }

    /// The newest version of `key`.
    pub fn get(&self, cf: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut end = key.to_vec();
        end.push(0);
        let mut iter = self.scan(cf, key, &end)?;
        Ok(if iter.advance()? { Some(iter.value().to_vec()) } else { None })
    }
}

fn open_sst(dir: &Path, meta: FileMeta) -> Result<SstFile> {
    let path = dir.join(format!("{:06}.sst", meta.number));
    let handle = match RandomFile::open(&path) {
        Ok(file) => Some(file),
        // With more SSTs than file descriptors the rest is opened when it is needed.
        Err(Error::Io { source, .. }) if source.raw_os_error() == Some(libc::EMFILE) => None,
        Err(e) => return Err(e),
    };
    Ok(SstFile { meta, path, handle: Mutex::new(handle), table: OnceLock::new() })
}

/// Numbers and paths of the logs in `dir`, oldest first.
pub(crate) fn logs(dir: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let io = |source| Error::Io { path: dir.to_owned(), source };
    let mut logs = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let is_log = path.extension().is_some_and(|ext| ext == "log");
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        if let (true, Some(number)) = (is_log, number) {
            logs.push((number, path));
        }
    }
    logs.sort_unstable();
    Ok(logs)
}
