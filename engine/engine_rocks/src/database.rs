//! The open RocksDB, and a snapshot that keeps it open.
use std::sync::Arc;

use prost::Message;
use rocksdb::{Cache, ColumnFamily, DB, Options, ReadOptions, Snapshot, WriteOptions};

use crate::{Error, Result, event_listener::EventCounters, open::Opened};

/// An open database, shared by the engine, its snapshots, iterators and batches.
pub(crate) struct Database {
    /// The database.
    pub db: DB,
    /// Options that the database was opened with.
    pub options: Options,
    /// Block cache of all column families.
    pub cache: Cache,
    /// Counts of background work.
    pub counters: Arc<EventCounters>,
    write: WriteOptions,
    write_sync: WriteOptions,
}

impl From<Opened> for Database {
    fn from(opened: Opened) -> Database {
        let mut write_sync = WriteOptions::default();
        write_sync.set_sync(true);
        let Opened { db, options, cache, counters } = opened;
        Database { db, options, cache, counters, write: WriteOptions::default(), write_sync }
    }
}

impl Database {
    pub(crate) fn write_options(&self, sync: bool) -> &WriteOptions {
        if sync { &self.write_sync } else { &self.write }
    }

    pub(crate) fn cf(&self, cf: &str) -> Result<&ColumnFamily> {
        let unknown = || Error::UnknownCf { cf: cf.to_owned(), known: self.cf_names() };
        self.db.cf_handle(cf).ok_or_else(unknown)
    }

    /// Returns the names of the column families, sorted.
    pub(crate) fn cf_names(&self) -> Vec<String> {
        let mut names = self.db.cf_names();
        names.sort();
        names
    }
}

/// A snapshot and its database. Fields are dropped in this order: options that point at the snapshot, the
/// snapshot, its database.
pub(crate) struct DatabaseSnapshot {
    /// Options of reads at the snapshot.
    pub get: ReadOptions,
    /// The snapshot, which borrows from `database`.
    pub snapshot: Snapshot<'static>,
    /// The database, kept open.
    pub database: Arc<Database>,
}

/// Decodes the protobuf message in `value`, which was found at `key` in `cf`.
pub(crate) fn decode_msg<M: Message + Default>(cf: &str, key: &[u8], value: &[u8]) -> Result<M> {
    M::decode(value).map_err(|source| {
        let key = key.iter().map(|b| format!("{b:02X}")).collect();
        Error::BadMessage { cf: cf.to_owned(), key, source }
    })
}
