//! Opens a database: selects its column families, and names the obstacle if that fails.
use std::{fs, path::Path, sync::Arc};

use rocksdb::{Cache, ColumnFamilyDescriptor, DB, Options};

use crate::{
    ALL_CFS, DbConfig, Error, Result, compaction_filter,
    event_listener::{CountingListener, EventCounters},
};

/// An open database and its shared resources.
pub(crate) struct Opened {
    /// The database.
    pub db: DB,
    /// Options that the database was opened with.
    pub options: Options,
    /// Block cache of all column families.
    pub cache: Cache,
    /// Counts of background work.
    pub counters: Arc<EventCounters>,
}

/// Opens for reading and writing; keeps unknown column families, creates missing ones.
pub(crate) fn open(path: &Path, config: &DbConfig) -> Result<Opened> {
    let exists = check_dir(path)?;
    if !exists && !config.create_if_missing {
        return Err(absent(path));
    }
    if has_blobs(path) {
        return Err(Error::Titan { path: path.to_owned() });
    }
    fs::create_dir_all(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    let mut names: Vec<String> = ALL_CFS.iter().map(|cf| cf.to_string()).collect();
    if exists {
        let existing = list_cfs(path)?;
        names.extend(existing.into_iter().filter(|cf| !ALL_CFS.contains(&cf.as_str())));
    }
    let cache = Cache::new_lru_cache(config.block_cache_capacity);
    let (mut options, counters) = (config.db_options(), Arc::<EventCounters>::default());
    options.add_event_listener(CountingListener(counters.clone()));
    let db = DB::open_cf_descriptors(&options, path, descriptors(config, &names, &cache));
    let db = db.map_err(|e| open_error(path, e))?;
    Ok(Opened { db, options, cache, counters })
}

/// Opens only for reading, also while another process writes to the database; takes no lock.
pub(crate) fn open_readonly(path: &Path, config: &DbConfig) -> Result<Opened> {
    if !check_dir(path)? {
        return Err(absent(path));
    }
    let config = DbConfig { create_if_missing: false, ..config.clone() };
    let mut options = config.db_options();
    options.create_missing_column_families(false);
    let cache = Cache::new_lru_cache(config.block_cache_capacity);
    let names = list_cfs(path)?;
    let db = DB::open_cf_descriptors_read_only(&options, path, descriptors(&config, &names, &cache), false);
    let db = db.map_err(|e| open_error(path, e))?;
    Ok(Opened { db, options, cache, counters: Arc::default() })
}

fn descriptors(config: &DbConfig, names: &[String], cache: &Cache) -> Vec<ColumnFamilyDescriptor> {
    let descriptor = |cf: &String| {
        let mut options = config.cf(cf).options(cf, cache);
        if let Some((_, factory)) = config.compaction_filters.iter().find(|(name, _)| name == cf) {
            compaction_filter::set(&mut options, factory.clone());
        }
        ColumnFamilyDescriptor::new(cf, options)
    };
    names.iter().map(descriptor).collect()
}

fn list_cfs(path: &Path) -> Result<Vec<String>> {
    DB::list_cf(&Options::default(), path).map_err(|e| open_error(path, e))
}

fn absent(path: &Path) -> Error {
    let path = path.to_owned();
    if path.is_dir() { Error::NoDatabase { path } } else { Error::MissingDir { path } }
}

/// Whether a database exists; fails for parts of a database, which RocksDB would overwrite with a new one.
fn check_dir(path: &Path) -> Result<bool> {
    let half = |what: String| Err(Error::HalfWritten { path: path.to_owned(), what });
    let current = path.join("CURRENT");
    match fs::read_to_string(&current) {
        Ok(text) => match text.strip_suffix('\n') {
            Some(manifest) if manifest.starts_with("MANIFEST-") => {
                if path.join(manifest).is_file() {
                    return Ok(true);
                }
                half(format!("CURRENT names {manifest}, which is missing"))
            }
            _ => half(format!("expected the name of a MANIFEST in CURRENT, found {text:?}")),
        },
        Err(_) if !current.exists() => {
            let leftovers = database_files(path)?;
            if leftovers.is_empty() {
                return Ok(false);
            }
            half(format!("CURRENT is missing, but the directory contains {}", leftovers.join(", ")))
        }
        Err(source) => Err(Error::Io { path: current, source }),
    }
}

/// Returns the names of a few files that only a database has.
fn database_files(path: &Path) -> Result<Vec<String>> {
    const MAX_SHOWN: usize = 3;
    if !path.exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let of_database = |name: &String| name.starts_with("MANIFEST-") || name.ends_with(".sst");
    let mut names: Vec<String> = names.filter(of_database).collect();
    names.sort();
    names.truncate(MAX_SHOWN);
    Ok(names)
}

/// Whether TiKV's Titan has written blob files in this directory.
fn has_blobs(path: &Path) -> bool {
    let Ok(entries) = fs::read_dir(path.join("titandb")) else { return false };
    entries.flatten().any(|entry| entry.path().extension().is_some_and(|ext| ext == "blob"))
}

fn open_error(path: &Path, source: rocksdb::Error) -> Error {
    let message: &str = source.as_ref();
    if message.contains("lock hold by current process") || message.contains("While lock file") {
        return Error::Locked { path: path.to_owned(), detail: message.to_owned() };
    }
    Error::Open { path: path.to_owned(), source }
}
