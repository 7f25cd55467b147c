//! A RocksDB directory opened for reading: MANIFEST, SSTs and what only the WAL has.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use super::{
    DbIter, Error, InternalKey, MemEntry, RandomFile, Result, Table,
    file::read_whole,
    manifest::{self, FileMeta, VersionState},
    mem, options,
    recovery::{self, RecoveredSst},
    replay::{Replay, live_logs},
    rescue,
    table::COMPARATOR,
    titan::Titan,
};

/// How often a directory that a server is changing is read again.
const ATTEMPTS: usize = 20;
/// So many damaged places are told one by one.
const MOST_DAMAGES: usize = 1000;

/// A deleted range: start, end (exclusive) and sequence number.
pub type RangeTombstone = (Vec<u8>, Vec<u8>, u64);

/// An SST of the current version. It stays readable when a running server deletes it meanwhile.
#[derive(Debug)]
pub struct SstFile {
    meta: FileMeta,
    family: String,
    path: PathBuf,
    handle: Mutex<Option<RandomFile>>,
    table: OnceLock<Arc<Table>>,
}

impl SstFile {
    /// The level it is on.
    pub fn level(&self) -> u32 {
        self.meta.level
    }

    /// What the MANIFEST says of it.
    pub fn meta(&self) -> &FileMeta {
        &self.meta
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

    /// Whether its keys reach into `[from, to]`.
    pub fn touches(&self, from: &[u8], to: &[u8]) -> bool {
        self.largest() >= from && self.smallest() <= to
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
        let table = Table::from_file(file, Some(self.meta.largest_seqno))?;
        if let Some(what) = self.is_another(&table) {
            return Err(table.file().corrupt(0, what));
        }
        let table = Arc::new(table);
        Ok(self.table.get_or_init(|| table).clone())
    }
}

impl SstFile {
    /// What tells that `table`, which is whole, is not the file that the MANIFEST names.
    fn is_another(&self, table: &Table) -> Option<String> {
        // What was cut short, or has lost its footer, is told as that.
        if !table.damages().is_empty() {
            return None;
        }
        let (size, met) = (self.meta.size, table.file().size());
        let properties = table.properties();
        let family = properties.text("rocksdb.column.family.name").filter(|name| !name.is_empty());
        let session = properties.text("rocksdb.creating.session.identity");
        let session = session.as_deref().and_then(session_number);
        let what = if size != met {
            format!("a file of {size} bytes expected, as the MANIFEST says, a whole one of {met} met")
        } else if let Some(family) = family.filter(|family| *family != self.family) {
            format!(
                "an SST of column family {} expected, as the MANIFEST says, one of {family} met",
                self.family
            )
        } else if session.zip(self.meta.session).is_some_and(|(met, told)| met != told) {
            "another unique id than the MANIFEST has".to_owned()
        } else {
            return None;
        };
        Some(format!("{what}: it is another file under this name, and is left out"))
    }
}

/// The part of a session's name that unique ids of files begin with (RocksDB `DecodeSessionId`).
fn session_number(name: &str) -> Option<u64> {
    let (upper, lower) = name.split_at_checked(name.len().checked_sub(12)?)?;
    let (upper, lower) = (u64::from_str_radix(upper, 36).ok()?, u64::from_str_radix(lower, 36).ok()?);
    Some(lower & (u64::MAX >> 2) | upper << 62)
}

/// A column family of an opened database.
#[derive(Debug, Default)]
pub struct ColumnFamily {
    id: u32,
    name: String,
    files: Vec<Arc<SstFile>>,
    mem: Arc<Vec<MemEntry>>,
    mem_deletions: Vec<RangeTombstone>,
    recovered: Option<RecoveredSst>,
}

impl ColumnFamily {
    /// Its number.
    pub fn id(&self) -> u32 {
        self.id
    }

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
        self.mem.iter().map(|entry| (entry.key.as_slice(), entry.value.len()))
    }

    /// The SST that this would become when RocksDB opens the directory for writing.
    pub fn recovered(&self) -> Option<&RecoveredSst> {
        self.recovered.as_ref()
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
    /// Of the MANIFEST and the logs: what a server, too, would not have.
    losses: Vec<(String, Error)>,
    damages: Mutex<Vec<(String, Error)>>,
    parts: Vec<Part>,
}

/// A database that holds the keys of one range of a store.
#[derive(Debug)]
pub struct Part {
    /// The first key.
    pub start: Vec<u8>,
    /// The key behind the last; what else the database has does not count.
    pub end: Vec<u8>,
    pub db: Db,
}

impl Db {
    /// Databases that hold a range each, as one: `parts` in the order of their keys.
    pub fn join(dir: &Path, parts: Vec<Part>) -> Db {
        let mut families: BTreeMap<String, ColumnFamily> = BTreeMap::new();
        for name in ["default", "lock", "write"] {
            families.insert(name.to_owned(), ColumnFamily { name: name.to_owned(), ..Default::default() });
        }
        for family in parts.iter().flat_map(|part| part.db.families.values()) {
            let (id, name) = (family.id, family.name.clone());
            let all = families.entry(name.clone()).or_insert_with(|| ColumnFamily {
                id,
                name,
                ..Default::default()
            });
            all.files.extend(family.files.iter().cloned());
        }
        families.values_mut().for_each(|family| sort(&mut family.files));
        let warnings = parts.iter().flat_map(|part| part.db.warnings.clone()).collect();
        let (dir, titan) = (dir.to_owned(), Titan::new(dir));
        Db { dir, families, titan, warnings, losses: Vec::new(), damages: Mutex::default(), parts }
    }

    /// The databases that this one is joined from; none: it is one.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Reads the directory `dir`, with its WAL in `wal_dir` or beside the SSTs.
    pub fn open(dir: &Path, wal_dir: Option<&Path>) -> Result<Db> {
        Db::open_with(dir, wal_dir, &[])
    }

    /// The same for a database that has the column families `needed`: a MANIFEST without them was cut short.
    pub fn open_with(dir: &Path, wal_dir: Option<&Path>, needed: &[&str]) -> Result<Db> {
        if !dir.is_dir() {
            return Err(Error::NotADb(format!("{}: expected a RocksDB directory, met none", dir.display())));
        }
        if !dir.join("CURRENT").is_file() && !rescue::has_tables(dir) {
            let what = "expected a RocksDB directory, met one without a CURRENT file: it is another \
                        directory, or the database was never created";
            return Err(Error::NotADb(format!("{}: {what}", dir.display())));
        }
        let wal_dir = wal_dir.unwrap_or(dir);
        for attempt in 1..=ATTEMPTS {
            // What is still missing at the last attempt is missing for good.
            let tolerant = attempt == ATTEMPTS;
            let state = match manifest::read(dir).and_then(|state| state.with_families(needed)) {
                Ok(state) => state,
                Err(e) if e.is_not_found() && !tolerant => {
                    pause();
                    continue;
                }
                Err(e) => rescue::state(dir, &e, needed)?,
            };
            match Db::open_at(dir, Some(wal_dir), &state, tolerant) {
                Ok(db) => {
                    // A MANIFEST that grew meanwhile may have moved data from a log, read too late, to an SST.
                    let again = manifest::read(dir)
                        .is_ok_and(|now| now.path != state.path || now.manifest_len != state.manifest_len);
                    if !again || tolerant {
                        return Ok(db);
                    }
                }
                Err(e) if e.is_not_found() && !tolerant => {}
                Err(e) => return Err(e),
            }
            pause();
        }
        Err(Error::NotADb(format!("{}: it changes all the time", dir.display())))
    }

    /// Reads the SSTs of `dir` that the MANIFEST at `manifest` names, and no logs.
    pub fn open_by(dir: &Path, manifest: &Path) -> Result<Db> {
        let state = manifest::read_file(manifest)?;
        let mut db = Db::open_at(dir, None, &state, true)?;
        db.losses.extend(state.torn_at.map(|offset| {
            let what = "the last version edit is not whole".to_owned();
            (String::new(), Error::Corruption { path: manifest.to_owned(), offset, what })
        }));
        Ok(db)
    }

    fn open_at(dir: &Path, wal_dir: Option<&Path>, state: &VersionState, tolerant: bool) -> Result<Db> {
        let mut db = Db {
            dir: dir.to_owned(),
            families: BTreeMap::new(),
            titan: Titan::new(dir),
            warnings: state.warnings.clone(),
            losses: state.damages.iter().map(|e| (String::new(), e.clone())).collect(),
            damages: Mutex::default(),
            parts: Vec::new(),
        };
        for (id, family) in &state.families {
            if family.comparator != COMPARATOR {
                let what = format!(
                    "column family {} is ordered by {:?}, only {COMPARATOR} is understood: this is another program's \
                     RocksDB; use its own tools",
                    family.name, family.comparator
                );
                return Err(Error::Unsupported { path: state.path.clone(), what });
            }
            let mut files = Vec::with_capacity(family.files.len());
            for meta in family.files.values() {
                let (file, missing) = open_sst(dir, &family.name, meta.clone(), tolerant)?;
                if let Some(e) = missing {
                    db.note_damage(&family.name, e.losing(file.smallest(), file.largest()));
                }
                files.push(Arc::new(file));
            }
            sort(&mut files);
            let name = family.name.clone();
            db.families.insert(name.clone(), ColumnFamily { id: *id, name, files, ..Default::default() });
        }
        if let Some(wal_dir) = wal_dir {
            db.read_logs(wal_dir, state)?;
        }
        Ok(db)
    }

    fn read_logs(&mut self, wal_dir: &Path, state: &VersionState) -> Result<()> {
        let mut entries: BTreeMap<u32, Vec<MemEntry>> = BTreeMap::new();
        let (oldest, logs) = (state.oldest_log(), live_logs(wal_dir, state)?);
        // A database has one from the moment it is made, and leaves it behind.
        if logs.is_empty() {
            let from = if oldest > 0 { format!(" numbered {oldest} or later") } else { String::new() };
            let what = no_log_here(&self.dir);
            self.warnings.push(format!(
                "{}: {}",
                wal_dir.display(),
                what.replacen("(WAL)", &format!("(WAL){from}"), 1)
            ));
        }
        let mut next_number = recovery::first_number(&self.dir, state);
        let mut replay = Replay::of(state);
        for (number, path) in logs {
            next_number = next_number.max(number.saturating_add(1));
            replay.read(&path, number, &read_whole(&path)?, &mut |entry| {
                let family = state.families.get(&entry.cf);
                if family.is_some_and(|family| family.log_number <= number) {
                    let packed = entry.sequence << 8 | u64::from(entry.value_type.to_u8());
                    let (key, value) = (entry.key.to_vec(), entry.value.to_vec());
                    entries.entry(entry.cf).or_default().push(MemEntry { key, packed, value });
                }
            });
        }
        self.losses.extend(replay.finish(state));
        self.warnings.append(&mut replay.warnings);
        for (id, list) in entries {
            let name = state.families.get(&id).map(|family| family.name.as_str()).unwrap_or_default();
            let Some(family) = self.families.get_mut(name) else { continue };
            let (list, deletions) = mem::sort(list);
            family.mem = Arc::new(list);
            let path = sst_path(&self.dir, next_number);
            next_number = next_number.saturating_add(1);
            family.recovered = Some(RecoveredSst::new(path, family.mem.clone(), deletions.clone()));
            family.mem_deletions = deletions;
        }
        Ok(())
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What was wrong but could be read around.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What could not be read so far: column family, empty where it is not known, and error, in the order in which it was
    /// met.
    pub fn damages(&self) -> Vec<(String, Error)> {
        let mut all = self.losses.clone();
        all.extend(self.damages.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned());
        all.extend(self.parts.iter().flat_map(|part| part.db.damages()));
        all
    }

    /// The same without what is lost with the MANIFEST and the logs: what only a reader of SSTs and blob files misses.
    pub fn unread(&self) -> Vec<(String, Error)> {
        let mut all = self.damages.lock().unwrap_or_else(PoisonError::into_inner).clone();
        all.extend(self.parts.iter().flat_map(|part| part.db.unread()));
        all
    }

    /// Keeps what could not be read, once.
    pub(crate) fn note_damage(&self, cf: &str, e: Error) {
        let mut damages = self.damages.lock().unwrap_or_else(PoisonError::into_inner);
        let text = e.to_string();
        if damages.len() < MOST_DAMAGES && !damages.iter().any(|(_, known)| known.to_string() == text) {
            damages.push((cf.to_owned(), e));
        }
    }

    /// The table of `file`; `None`, and the damage is kept, when it cannot be opened.
    pub(crate) fn table(&self, cf: &str, file: &SstFile) -> Option<Arc<Table>> {
        let table = file.table().map_err(|e| self.note_damage(cf, e.losing(file.smallest(), file.largest())));
        let table = table.ok()?;
        table.damages().iter().for_each(|e| self.note_damage(cf, e.clone()));
        Some(table)
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

    /// Its blob files.
    pub fn titan(&self) -> &Titan {
        &self.titan
    }

    /// Walks the newest versions of the keys in `[from, to)`; an empty `to` is no bound.
    pub fn scan<'a>(&'a self, cf: &str, from: &[u8], to: &[u8]) -> Result<DbIter<'a>> {
        Ok(DbIter::new(self, self.family(cf)?, from, to))
    }

    /// The newest version of `key`.
    pub fn get(&self, cf: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut end = key.to_vec();
        end.push(0);
        let mut iter = self.scan(cf, key, &end)?;
        Ok(if iter.advance()? { Some(iter.value().to_vec()) } else { None })
    }
}

/// What it means that no log of the database `dir` is where it was looked for.
pub fn no_log_here(dir: &Path) -> String {
    let elsewhere = match options::wal_dir(dir) {
        Some(named) => format!(
            "its OPTIONS file has wal_dir = {}: give the --config of the store, with rocksdb.wal-dir",
            named.display()
        ),
        None => "where rocksdb.wal-dir is set, give the --config of the store".to_owned(),
    };
    format!(
        "no log (WAL) is here: {elsewhere}; otherwise what only logs had is lost, unless this is a checkpoint, which needs \
         none"
    )
}

fn pause() {
    std::thread::sleep(std::time::Duration::from_millis(10));
}

/// By level and then by least key; on level 0 by number.
fn sort(files: &mut [Arc<SstFile>]) {
    files.sort_by(|a, b| {
        let by_key =
            if a.level() == 0 { a.meta.number.cmp(&b.meta.number) } else { a.smallest().cmp(b.smallest()) };
        a.level().cmp(&b.level()).then(by_key)
    });
}

fn sst_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:06}.sst"))
}

/// Opens an SST, so that it stays readable; with `tolerant` a file that is not there is told beside.
fn open_sst(dir: &Path, family: &str, meta: FileMeta, tolerant: bool) -> Result<(SstFile, Option<Error>)> {
    let path = sst_path(dir, meta.number);
    let (handle, missing) = match RandomFile::open(&path) {
        Ok(file) => (Some(file), None),
        // With more SSTs than file descriptors the rest is opened when it is needed.
        Err(Error::Io { source, .. }) if source.raw_os_error() == Some(libc::EMFILE) => (None, None),
        Err(e) if tolerant => (None, Some(e)),
        Err(e) => return Err(e),
    };
    let (family, handle) = (family.to_owned(), Mutex::new(handle));
    Ok((SstFile { meta, family, path, handle, table: OnceLock::new() }, missing))
}

/// Numbers and paths of the logs in `dir`, oldest first.
pub fn logs(dir: &Path) -> Result<Vec<(u64, PathBuf)>> {
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
