//! Removes compacted log entries from raft-engine. Mirrors `raftstore::store::worker::raftlog_gc`.
use crate::store::{
    engines::Engines,
    worker::{Scheduler, Worker},
};

/// Task of the thread `raftlog-gc-0`.
pub enum RaftlogGcTask {
    /// Removes entries below `end`, which are applied and compacted.
    Gc {
        /// Id of the region.
        region_id: u64,
        /// Index of the first entry that stays.
        end: u64,
    },
    /// Removes or rewrites old files.
    Purge,
}

/// Schedules the removal of log entries.
pub type RaftlogGcScheduler = Scheduler<RaftlogGcTask>;

/// Starts the thread `raftlog-gc-0`.
pub fn spawn(engines: Engines, store_id: u64) -> std::io::Result<Worker<RaftlogGcTask>> {
    Worker::spawn("raftlog-gc", store_id, 1, || {
        let engines = engines.clone();
        move |task| match task {
            RaftlogGcTask::Gc { region_id, end } => gc(&engines, region_id, end),
            RaftlogGcTask::Purge => purge(&engines),
        }
    })
}

fn gc(engines: &Engines, region_id: u64, end: u64) {
    // These entries can no longer be replayed afterwards: their data must be durable in RocksDB first.
    if let Err(err) = engines.kv.sync_wal() {
        log::error!("region {region_id}: kept the log, cannot sync RocksDB's WAL: {err}");
        return;
    }
    match engines.raft.gc(region_id, 0, end) {
        Ok(n) => log::debug!("region {region_id}: removed {n} entries below {end}"),
        Err(err) => log::error!("region {region_id}: cannot remove entries below {end}: {err}"),
    }
}

fn purge(engines: &Engines) {
    match engines.raft.manual_purge() {
        Ok(regions) if !regions.is_empty() => {
            log::info!("regions {regions:?} prevent the removal of old log files")
        }
        Ok(_) => {}
        Err(err) => log::error!("cannot purge raft-engine: {err}"),
    }
}
