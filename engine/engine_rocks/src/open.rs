//! Opening a database: which column families, and what stands in the way, by name.

use std::{fs, path::Path, sync::Arc};

use rocksdb::{Cache, ColumnFamilyDescriptor, DB, Options};

use crate::{
    ALL_CFS, DbConfig, Error, Result,
    event_listener::{CountingListener, EventCounters},
};

/// An open database and what belongs to it.
pub(crate) struct Opened {
    pub db: DB,
    pub options: Options,
    pub cache: Cache,
    pub counters: Arc<EventCounters>,
}

/// Opens for reading and writing; unknown column families are kept, missing ones of ours are made.
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

/// Opens for reading only, beside a process that has it open for writing; takes no lock.
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
    let descriptor = |cf: &String| ColumnFamilyDescriptor::new(cf, config.cf(cf).options(cf, cache));
    names.iter().map(descriptor).collect()
}

fn list_cfs(path: &Path) -> Result<Vec<String>> {
    DB::list_cf(&Options::default(), path).map_err(|e| open_error(path, e))
}

fn absent(path: &Path) -> Error {
    let path = path.to_owned();
    if path.is_dir() { Error::NoDatabase { path } } else { Error::MissingDir { path } }
}

/// Whether a database is there; fails where only parts of one are, which RocksDB would start anew.
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
            _ => half(format!("CURRENT should hold the name of a MANIFEST, it holds {text:?}")),
        },
        Err(_) if !current.exists() => {
            let leftovers = database_files(path)?;
            if leftovers.is_empty() {
                return Ok(false);
            }
            half(format!("CURRENT is missing beside {}", leftovers.join(", ")))
        }
        Err(source) => Err(Error::Io { path: current, source }),
    }
}

/// Names of a few files that only a database has.
fn database_files(path: &Path) -> Result<Vec<String>> {
    const SHOWN: usize = 3;
    if !path.exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let of_database = |name: &String| name.starts_with("MANIFEST-") || name.ends_with(".sst");
    let mut names: Vec<String> = names.filter(of_database).collect();
    names.sort();
    names.truncate(SHOWN);
    Ok(names)
}

/// Whether TiKV's Titan has written blob files there.
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
