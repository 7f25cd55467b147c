//! Reads a data directory without locking, creating or changing anything, so a server may be running on it.
mod approximate;
mod bounds;
mod collect;
mod config;
pub(crate) mod damage;
mod hash_order;
pub(crate) mod health;
mod mvcc;
mod properties;
mod raft;
mod states;
mod tablets;
mod unflushed;

use std::path::{Path, PathBuf};

use keys::CF_RAFT;
use kvproto::{
    eraftpb::Entry,
    kvrpcpb::ApiVersion,
    raft_serverpb::{PeerState, RegionLocalState},
};
use prost::Message;
use store_files::io::Damage;

use crate::{
    Error,
    encryption::{Keyring, Notes},
    error::DebugError,
    lsm::Db,
    source::{Answer, MvccTaker, RawPair, RawTaker, RegionInfo, Source},
};

use self::bounds::bounds;

pub use config::StoreConfig;
pub(crate) use raft::{RAFT_LOG_STATE_KEY, RaftStore};
pub(crate) use states::{APPLY_STATE, REGION_STATE};

/// A store's data directory (RaftKv: `db/` and `raft-engine/` or `raft/`; RaftKv2: `tablets/` and `raft-engine/`).
#[derive(Debug)]
pub struct Offline {
    dir: PathBuf,
    wal_dir: PathBuf,
    keyring: Keyring,
    kv: Db,
    raft: RaftStore,
    /// Each region has a RocksDB of its own, in `tablets/`.
    has_tablets: bool,
    warnings: Vec<String>,
    /// Lost data of dictionaries and tablets.
    damages: Vec<Damage>,
}

/// Puts damage of the dictionaries before the error that it causes: without its key an encrypted file looks damaged.
fn add_cause(error: crate::Error, damages: &[Damage]) -> crate::Error {
    if damages.is_empty() {
        return error;
    }
    let causes: Vec<String> = damages.iter().map(ToString::to_string).collect();
    crate::Error::other(format!("{}; {error}", causes.join("; ")))
}

impl Offline {
    /// Opens `dir` for reading.
    pub fn open(dir: &Path, config: &StoreConfig) -> crate::Result<Offline> {
        check_layout(dir)?;
        let (keyring, Notes { warnings: mut notes, mut damages }) = Keyring::load(dir, &config.encryption)?;
        let has_tablets = dir.join("tablets").is_dir();
        if has_tablets {
            let raft = RaftStore::open(dir, config, &keyring).map_err(|e| add_cause(e, &damages))?;
            let (kv, missing) = tablets::open(dir, &raft, &keyring)?;
            damages.extend(missing);
            notes.extend(kv.warnings().iter().chain(raft.warnings()).cloned());
            let (dir, wal_dir) = (dir.to_owned(), dir.join("tablets"));
            return Ok(Offline { dir, wal_dir, keyring, kv, raft, has_tablets, warnings: notes, damages });
        }
        let kv = Db::open_with(&dir.join("db"), config.wal_dir.as_deref(), &[CF_RAFT], &keyring);
        let kv = kv.map_err(|e| add_cause(e.into(), &damages))?;
        let raft = RaftStore::open(dir, config, &keyring)?;
        let wal_dir = config.wal_dir.clone().unwrap_or_else(|| dir.join("db"));
        notes.extend(kv.warnings().iter().chain(raft.warnings()).cloned());
        let dir = dir.to_owned();
        Ok(Offline { dir, wal_dir, keyring, kv, raft, has_tablets, warnings: notes, damages })
    }

    /// Returns the keys of its encrypted files.
    pub(crate) fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Whether each region has a RocksDB of its own.
    pub(crate) fn has_tablets(&self) -> bool {
        self.has_tablets
    }

    /// Returns the directory of each RocksDB of the data, with that of its WAL.
    pub(crate) fn db_dirs(&self) -> Vec<(&Path, &Path)> {
        if !self.has_tablets {
            return vec![(self.kv.dir(), &self.wal_dir)];
        }
        self.kv.parts().iter().map(|part| (part.db.dir(), part.db.dir())).collect()
    }

    /// Returns the database at `place` in the directory (that of all data if `None`), and the directory of
    /// its WAL.
    pub(crate) fn database(&self, place: Option<&Path>) -> crate::Result<(&Db, &Path)> {
        let Some(place) = place else { return Ok((&self.kv, &self.wal_dir)) };
        let path = self.dir.join(place);
        let found = self.kv.parts().iter().map(|part| &part.db).find(|db| db.dir() == path);
        found.map(|db| (db, db.dir())).ok_or_else(|| {
            Error::other(format!(
                "{}: expected a tablet of a region, found none: the store has changed since the plan was made; \
                 nothing was changed",
                path.display()
            ))
        })
    }

    /// Returns the place in the directory of the database for the data key `key`; none if one database has
    /// all data.
    pub(crate) fn place_of(&self, key: &[u8]) -> Option<PathBuf> {
        let part = self.kv.parts().iter().find(|part| part.start.as_slice() <= key && key < &part.end[..])?;
        part.db.dir().strip_prefix(&self.dir).ok().map(Path::to_owned)
    }

    /// Returns the Raft log.
    pub(crate) fn raft(&self) -> &RaftStore {
        &self.raft
    }

    /// Returns problems of the files that lose no data.
    pub fn warnings(&self) -> impl Iterator<Item = &String> {
        self.warnings.iter()
    }

    /// Returns the RocksDB of the data.
    pub fn kv(&self) -> &Db {
        &self.kv
    }
}

/// Fails with the reason if the directory is not a TiKV data directory.
fn check_layout(dir: &Path) -> crate::Result<()> {
    let fail = |what: &str| Err(Error::other(format!("--data-dir {}: {what}", dir.display())));
    if let Err(e) = std::fs::metadata(dir) {
        let is_missing = e.kind() == std::io::ErrorKind::NotFound;
        return if is_missing { fail("no such directory") } else { fail(&e.to_string()) };
    }
    if !dir.is_dir() {
        return fail("expected a directory, found a file");
    }
    match (dir.join("db").is_dir(), dir.join("tablets").is_dir()) {
        (true, false) | (false, true) => {}
        (true, true) => return fail("expected db/ or tablets/, found both: two stores are mixed in it"),
        (false, false) if dir.join("CURRENT").is_file() => {
            return fail("it is a RocksDB itself: give the directory that contains db/");
        }
        (false, false) => {
            return fail(
                "it has no db/: expected a TiKV data directory with db/ (or tablets/) and raft-engine/ or raft/",
            );
        }
    }
    Ok(())
}

impl Source for Offline {
    fn executor(&self) -> &'static str {
        "Debugger"
    }

    fn damages(&self) -> Vec<String> {
        self.all_damages()
    }

    fn all_regions(&self) -> Answer<Vec<u64>> {
        let mut regions = Vec::new();
        self.each_region(|region, state| {
            // As in TiKV: a store with tablets does not list its tombstones.
            let gone = self.has_tablets
                && RegionLocalState::decode(state).is_ok_and(|state| state.state() == PeerState::Tombstone);
            if !gone {
                regions.push(region);
            }
            Ok(())
        })?;
        regions.sort_unstable();
        Ok(regions)
    }

    fn get(&self, cf: &str, key: &[u8]) -> Answer<Vec<u8>> {
        let part = self.kv.parts().iter().find(|part| *part.start <= *key && *key < *part.end);
        if self.has_tablets && part.is_none() {
            let key = key.strip_prefix(&[keys::DATA_PREFIX]).unwrap_or(key);
            return Err(DebugError::NotFound(format!("Not found region containing {key:?}")));
        }
        self.kv.get(cf, key)?.ok_or_else(|| {
            // TiKV's error contains this description of the database.
            let path = part.map_or_else(|| self.dir.join("db"), |part| part.db.dir().to_owned());
            DebugError::NotFound(format!(
                "value for key {key:?} in db RocksEngine {{ db: Db [path={}], support_multi_batch_write: true, \
                 ingest_latch: RangeLatch {{ range_latches: Mutex {{ data: {{}}, poisoned: false, .. }} }} }}",
                path.display()
            ))
        })
    }

    fn region_info(&self, region: u64) -> Answer<RegionInfo> {
        let info = self.info(region)?;
        if info == RegionInfo::default() {
            return Err(DebugError::NotFound(format!("info for region {region}")));
        }
        Ok(info)
    }

    fn region_size(&self, region: u64, cfs: &[String]) -> Answer<Vec<(String, u64)>> {
        let state = self
            .region_state(region)?
            .ok_or_else(|| DebugError::NotFound(format!("none region {region}")))?;
        let (start, end) = bounds(state.region.as_ref());
        let mut sizes = Vec::with_capacity(cfs.len());
        for cf in cfs {
            let mut iter = self.kv.scan(cf, &start, &end)?;
            let mut size = 0;
            while iter.advance()? {
                size += (iter.key().len() + iter.value().len()) as u64;
            }
            sizes.push((cf.clone(), size));
        }
        Ok(sizes)
    }

    fn approximate_region_size(&self, region: u64, cfs: &[String]) -> Answer<Vec<(String, u64)>> {
        let state = self
            .region_state(region)?
            .ok_or_else(|| DebugError::NotFound(format!("none region {region}")))?;
        let (start, end) = bounds(state.region.as_ref());
        cfs.iter().map(|cf| Ok((cf.clone(), approximate::size(&self.kv, cf, &start, &end)?))).collect()
    }

    fn raft_log(&self, region: u64, index: u64) -> Answer<Entry> {
        let missing = || DebugError::NotFound(format!("raft log for region {region} at index {index}"));
        self.raft.entry(region, index)?.ok_or_else(missing)
    }

    fn scan_mvcc(&self, from: &[u8], to: &[u8], limit: u64, take: MvccTaker<'_>) -> Answer<()> {
        if to.is_empty() && limit == 0 {
            return Err(DebugError::InvalidArgument("no limit and to_key".to_owned()));
        }
        mvcc::scan(&self.kv, from, to, limit, take)
    }

    fn raw_scan(&self, from: &[u8], to: &[u8], limit: usize, cf: &str, take: RawTaker<'_>) -> Answer<()> {
        let mut iter = self.kv.scan(cf, from, to)?;
        for _ in 0..limit {
            if !iter.advance()? {
                break;
            }
            take(RawPair::Stored { key: iter.key(), value: iter.value() })?;
        }
        Ok(())
    }

    fn region_properties(&self, region: u64) -> Answer<Vec<(String, String)>> {
        // TiKV's two kinds of stores have different error texts.
        let none = if self.has_tablets { "none region" } else { "region" };
        let state =
            self.region_state(region)?.ok_or_else(|| DebugError::NotFound(format!("{none} {region}")))?;
        if self.has_tablets && state.state() == PeerState::Tombstone {
            return Err(DebugError::NotFound(format!("region {region} is tombstone")));
        }
        let region = state.region.unwrap_or_default();
        // After a split, a tablet may still have files of the new region: use only the tablet of this region.
        let tablet = self.kv.parts().iter().find(|part| part.start == bounds(Some(&region)).0);
        properties::region_properties(tablet.map_or(&self.kv, |part| &part.db), &region)
    }

    fn range_properties(&self, start: &[u8], end: &[u8]) -> Answer<Vec<(String, String)>> {
        properties::range_properties(&self.kv, &keys::data_key(start), &keys::data_end_key(end))
    }

    fn store_info(&self) -> Answer<(u64, ApiVersion)> {
        let ident = self.store_ident()?;
        Ok((ident.store_id, ident.api_version()))
    }

    fn cluster_id(&self) -> Answer<u64> {
        Ok(self.store_ident()?.cluster_id)
    }

    fn bad_regions(&self) -> Answer<Vec<(u64, String)>> {
        health::bad_regions(self)
    }
}
