//! Cutting logs in raft-engine. Mirrors `raftstore::store::worker::raftlog_gc`.
use crate::store::{
    Engines,
    worker::{Scheduler, Worker},
};

pub enum RaftlogGcTask {
    /// Entries below `end` are applied and truncated.
    Gc { region_id: u64, end: u64 },
    /// Old files are removed or rewritten.
    Purge,
}

pub type RaftlogGcScheduler = Scheduler<RaftlogGcTask>;

/// The thread `raftlog-gc-0`.
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
    // What the log could replay is about to go: it must be durable in RocksDB first.
    if let Err(err) = engines.kv.sync_wal() {
        log::error!("region {region_id}: the log is kept, RocksDB's WAL cannot be synced: {err}");
        return;
    }
    match engines.raft.gc(region_id, 0, end) {
        Ok(n) => log::debug!("region {region_id}: {n} entries below {end} are removed"),
        Err(err) => log::error!("region {region_id}: cannot remove entries below {end}: {err}"),
    }
}

fn purge(engines: &Engines) {
    match engines.raft.manual_purge() {
        Ok(regions) if !regions.is_empty() => log::info!("regions {regions:?} hold old log files back"),
        Ok(_) => {}
        Err(err) => log::error!("raft-engine purge: {err}"),
    }
}
