//! A RocksDB directory opened for reading: the MANIFEST, the SSTs, and the entries that are only in the WAL.
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use super::{
    format::{COMPARATOR, RangeTombstone, sst_path},
    internal_key::InternalKey,
    lost_manifest,
    manifest::{self, FileMeta, VersionState},
    memtable::{self, MemEntry},
    options,
    recovery::{self, RecoveredSst},
    replay::{Replay, live_logs},
    table::Table,
    titan::Titan,
};
use crate::{
    encryption::Keyring,
    io::{Context, Damage, FileError, RandomFile, Result, read_whole},
};

/// Maximum number of attempts to read a directory that a server is changing.
const ATTEMPTS: usize = 20;
/// Maximum number of damaged places that are reported individually.
const MAX_DAMAGES: usize = 1000;

/// An SST of the current version. It stays readable if a running server deletes it.
#[derive(Debug)]
pub struct SstFile {
    meta: FileMeta,
    family: String,
    path: PathBuf,
    keyring: Keyring,
    handle: Mutex<Option<RandomFile>>,
    table: OnceLock<Arc<Table>>,
}

impl SstFile {
    /// Level of the SST.
    pub fn level(&self) -> u32 {
        self.meta.level
    }

    /// Description of the SST in the MANIFEST.
    pub fn meta(&self) -> &FileMeta {
        &self.meta
    }

    /// Path of the SST.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The smallest user key.
    pub fn smallest(&self) -> &[u8] {
        InternalKey::decode(&self.meta.smallest).map_or(&[], |key| key.user_key)
    }

    /// The largest user key.
    pub fn largest(&self) -> &[u8] {
        InternalKey::decode(&self.meta.largest).map_or(&[], |key| key.user_key)
    }

    /// Whether the range of its keys overlaps `[from, to)`; an empty `to` is unbounded.
    pub fn overlaps(&self, from: &[u8], to: &[u8]) -> bool {
        self.largest() >= from && (to.is_empty() || self.smallest() < to)
    }

    /// Whether the range of its keys overlaps `[from, to]`.
    pub fn touches(&self, from: &[u8], to: &[u8]) -> bool {
        self.largest() >= from && self.smallest() <= to
    }

    /// Returns the table, opened on the first call.
    ///
    /// # Errors
    /// The file cannot be opened, or is not the one that the MANIFEST refers to.
    pub fn table(&self) -> Result<Arc<Table>> {
        if let Some(table) = self.table.get() {
            return Ok(table.clone());
        }
        let handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let file = match handle {
            Some(file) => file,
            None => RandomFile::open(&self.path, &self.keyring)?,
        };
        let table = Table::from_file(file, Some(self.meta.largest_seqno))?;
        if let Some(what) = self.find_mismatch(&table) {
            return Err(table.file().corrupt(0, what));
        }
        let table = Arc::new(table);
        Ok(self.table.get_or_init(|| table).clone())
    }
}

impl SstFile {
    /// Evidence that `table`, although intact, is not the file that the MANIFEST refers to.
    fn find_mismatch(&self, table: &Table) -> Option<String> {
        // A truncated file, or one without its footer, is reported as damaged.
        if !table.damages().is_empty() {
            return None;
        }
        let (expected, size) = (self.meta.size, table.file().size());
        let properties = table.properties();
        let family = properties.text("rocksdb.column.family.name").filter(|name| !name.is_empty());
        let session = properties.text("rocksdb.creating.session.identity");
        let session = session.as_deref().and_then(session_number);
        let what = if expected != size {
            format!(
                "expected a file of {expected} bytes by the MANIFEST, found an intact one of {size} bytes"
            )
        } else if let Some(family) = family.filter(|family| *family != self.family) {
            format!("expected an SST of column family {} by the MANIFEST, found one of {family}", self.family)
        } else if session.zip(self.meta.session).is_some_and(|(found, expected)| found != expected) {
            "expected the unique id in the MANIFEST, found another one".to_owned()
        } else {
            return None;
        };
        Some(format!("{what}: a different file has this name; it is skipped"))
    }
}

/// Decodes the part of a session's name that begins the ids of its files (RocksDB `DecodeSessionId`).
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
    /// Id of the column family.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Name of the column family.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The SSTs, by level and then by smallest key; on level 0 by number.
    pub fn files(&self) -> &[Arc<SstFile>] {
        &self.files
    }

    /// Entries that are only in the WAL, in order: keys, and lengths of values in bytes.
    pub fn unflushed(&self) -> impl Iterator<Item = (&[u8], usize)> {
        self.mem.iter().map(|entry| (entry.key.as_slice(), entry.value.len()))
    }

    /// The SST that RocksDB would create from these entries when it opens the directory for writing.
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
    keyring: Keyring,
    families: BTreeMap<String, ColumnFamily>,
    titan: Titan,
    warnings: Vec<String>,
    /// Losses in the MANIFEST and the logs, which a server would also have.
    losses: Vec<Damage>,
    damages: Mutex<Vec<Damage>>,
    parts: Vec<Part>,
}

/// A database with the keys of one range of a store.
#[derive(Debug)]
pub struct Part {
    /// The first key of the range.
    pub start: Vec<u8>,
    /// The end of the range (exclusive). Other keys of the database do not count.
    pub end: Vec<u8>,
    /// The database.
    pub db: Db,
}

impl Db {
    /// Joins databases with a range each into one. `parts` are in the order of their keys.
    pub fn join(dir: &Path, parts: Vec<Part>, keyring: &Keyring) -> Db {
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
        let (dir, titan, keyring) = (dir.to_owned(), Titan::new(dir, keyring), keyring.clone());
        Db { dir, keyring, families, titan, warnings, losses: Vec::new(), damages: Mutex::default(), parts }
    }

    /// The databases of a joined one; empty for a single database.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Reads the directory `dir` with its WAL in `wal_dir`, by default also in `dir`.
    ///
    /// # Errors
    /// As [`Db::open_with`].
    pub fn open(dir: &Path, wal_dir: Option<&Path>, keyring: &Keyring) -> Result<Db> {
        Db::open_with(dir, wal_dir, &[], keyring)
    }

    /// Reads a database that must have the column families `needed`: a MANIFEST without them was truncated.
    ///
    /// # Errors
    /// The directory is not a RocksDB, or its state cannot be read. Other damage is in [`Db::damages`].
    pub fn open_with(dir: &Path, wal_dir: Option<&Path>, needed: &[&str], keyring: &Keyring) -> Result<Db> {
        if !dir.is_dir() {
            return Err(FileError::NotADb(format!(
                "{}: expected a RocksDB directory, found none",
                dir.display()
            )));
        }
        if !dir.join("CURRENT").is_file() && !lost_manifest::has_tables(dir) {
            let what = "expected a RocksDB directory, found one without a CURRENT file: it is another \
                        directory, or the database was never created";
            return Err(FileError::NotADb(format!("{}: {what}", dir.display())));
        }
        let wal_dir = wal_dir.unwrap_or(dir);
        for attempt in 1..=ATTEMPTS {
            // A file that is missing at the last attempt is lost.
            let tolerant = attempt == ATTEMPTS;
            let state = match manifest::read(dir, keyring).and_then(|state| state.with_families(needed)) {
                Ok(state) => state,
                Err(e) if e.is_not_found() && !tolerant => {
                    pause();
                    continue;
                }
                Err(e) => lost_manifest::state(dir, &e, needed, keyring)?,
            };
            match Db::open_at(dir, Some(wal_dir), &state, tolerant, keyring) {
                Ok(db) => {
                    // If the MANIFEST grew, data may have moved to a new SST from a log before it was read.
                    let again = manifest::read(dir, keyring)
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
        Err(FileError::NotADb(format!(
            "{}: the directory changed during each of {ATTEMPTS} attempts to read it: try again",
            dir.display()
        )))
    }

    /// Reads the SSTs of `dir` that the MANIFEST at `manifest` names, without logs.
    pub fn open_by(dir: &Path, manifest: &Path, keyring: &Keyring) -> Result<Db> {
        let state = manifest::read_file(manifest, keyring)?;
        let mut db = Db::open_at(dir, None, &state, true, keyring)?;
        let torn = |offset| Damage::at(manifest, offset, "the last version edit is incomplete");
        db.losses.extend(state.torn_at.map(torn));
        Ok(db)
    }

    fn open_at(
        dir: &Path,
        wal_dir: Option<&Path>,
        state: &VersionState,
        tolerant: bool,
        keyring: &Keyring,
    ) -> Result<Db> {
        let mut db = Db {
            dir: dir.to_owned(),
            families: BTreeMap::new(),
            titan: Titan::new(dir, keyring),
            keyring: keyring.clone(),
            warnings: state.warnings.clone(),
            losses: state.damages.clone(),
            damages: Mutex::default(),
            parts: Vec::new(),
        };
        for (id, family) in &state.families {
            if family.comparator != COMPARATOR {
                let what = format!(
                    "expected column family {} in the order of {COMPARATOR}, found {:?}: this is another program's \
                     RocksDB; use its own tools",
                    family.name, family.comparator
                );
                return Err(FileError::Unsupported { path: state.path.clone(), what });
            }
            let mut files = Vec::with_capacity(family.files.len());
            for meta in family.files.values() {
                let (file, missing) = open_sst(dir, &family.name, meta.clone(), tolerant, keyring)?;
                if let Some(e) = missing {
                    db.note_damage(
                        &family.name,
                        e.context(Context::Lost { after: file.smallest(), up_to: file.largest() }),
                    );
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
        // Every database has a log since its creation, also when it is closed.
        if logs.is_empty() {
            let from = if oldest > 0 { format!(" numbered {oldest} or later") } else { String::new() };
            let what = no_log_here(&self.dir, &self.keyring);
            self.warnings.push(format!(
                "{}: {}",
                wal_dir.display(),
                what.replacen("(WAL)", &format!("(WAL){from}"), 1)
            ));
        }
        let mut next_number = recovery::first_number(&self.dir, state);
        let mut replay = Replay::from_state(state);
        for (number, path) in logs {
            next_number = next_number.max(number.saturating_add(1));
            replay.read(&path, number, &read_whole(&path, &self.keyring)?, &mut |entry| {
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
            let (list, deletions) = memtable::sort(list);
            family.mem = Arc::new(list);
            let path = sst_path(&self.dir, next_number);
            next_number = next_number.saturating_add(1);
            family.recovered = Some(RecoveredSst::new(path, family.mem.clone(), deletions.clone()));
            family.mem_deletions = deletions;
        }
        Ok(())
    }

    /// Path of the directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Anomalies that lose no data, or need not.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Damage so far, in the order of discovery.
    pub fn damages(&self) -> Vec<Damage> {
        let mut all = self.losses.clone();
        all.extend(self.damages.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned());
        all.extend(self.parts.iter().flat_map(|part| part.db.damages()));
        all
    }

    /// Damage found so far in SSTs and blob files, without losses in the MANIFEST and the logs.
    pub fn unread(&self) -> Vec<Damage> {
        let mut all = self.damages.lock().unwrap_or_else(PoisonError::into_inner).clone();
        all.extend(self.parts.iter().flat_map(|part| part.db.unread()));
        all
    }

    /// Adds damage, unless it is already known.
    pub fn note_damage(&self, cf: &str, damage: impl Into<Damage>) {
        let damage = damage.into().in_cf(cf);
        let mut damages = self.damages.lock().unwrap_or_else(PoisonError::into_inner);
        let text = damage.to_string();
        if damages.len() < MAX_DAMAGES && !damages.iter().any(|known| known.to_string() == text) {
            damages.push(damage);
        }
    }

    /// Opens the table of `file`. Returns `None` if that fails, and notes the damage.
    pub fn table(&self, cf: &str, file: &SstFile) -> Option<Arc<Table>> {
        let table = file.table().map_err(|e| {
            self.note_damage(cf, e.context(Context::Lost { after: file.smallest(), up_to: file.largest() }))
        });
        let table = table.ok()?;
        table.damages().iter().for_each(|e| self.note_damage(cf, e.clone()));
        Some(table)
    }

    /// All column families.
    pub fn families(&self) -> impl Iterator<Item = &ColumnFamily> {
        self.families.values()
    }

    /// Returns the column family `name`.
    pub fn family(&self, name: &str) -> Result<&ColumnFamily> {
        self.families.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.families.keys().map(String::as_str).collect();
            let what = format!("expected a column family {name:?}, found only {}", known.join(", "));
            FileError::NotADb(format!("{}: {what}", self.dir.display()))
        })
    }

    /// The blob files.
    pub fn titan(&self) -> &Titan {
        &self.titan
    }
}

/// Explains that no log of the database `dir` was found, and the remedy.
pub fn no_log_here(dir: &Path, keyring: &Keyring) -> String {
    let elsewhere = match options::wal_dir(dir, keyring) {
        Some(named) => format!(
            "its OPTIONS file has wal_dir = {}: give the store's configuration, which has rocksdb.wal-dir, with --config",
            named.display()
        ),
        None => "if rocksdb.wal-dir is set, give the store's configuration with --config".to_owned(),
    };
    format!(
        "expected a log (WAL), found none: {elsewhere}; otherwise changes that were only in logs are lost, unless this is a \
         checkpoint, which needs no log"
    )
}

fn pause() {
    std::thread::sleep(std::time::Duration::from_millis(10));
}

/// Sorts by level and then by smallest key; on level 0 by number.
fn sort(files: &mut [Arc<SstFile>]) {
    files.sort_by(|a, b| {
        let by_key =
            if a.level() == 0 { a.meta.number.cmp(&b.meta.number) } else { a.smallest().cmp(b.smallest()) };
        a.level().cmp(&b.level()).then(by_key)
    });
}

/// Opens an SST, so that it stays readable. With `tolerant`, returns a missing file's error with the SST.
fn open_sst(
    dir: &Path,
    family: &str,
    meta: FileMeta,
    tolerant: bool,
    keyring: &Keyring,
) -> Result<(SstFile, Option<FileError>)> {
    let path = sst_path(dir, meta.number);
    let (handle, missing) = match RandomFile::open(&path, keyring) {
        Ok(file) => (Some(file), None),
        // If there are more SSTs than file descriptors, the others are opened when they are read.
        Err(FileError::Io { source, .. }) if source.raw_os_error() == Some(libc::EMFILE) => (None, None),
        Err(e) if tolerant => (None, Some(e)),
        Err(e) => return Err(e),
    };
    let (family, keyring, handle) = (family.to_owned(), keyring.clone(), Mutex::new(handle));
    Ok((SstFile { meta, family, path, keyring, handle, table: OnceLock::new() }, missing))
}
