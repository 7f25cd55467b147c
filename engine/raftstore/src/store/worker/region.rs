//! Generates and applies snapshots, deletes data of regions. Mirrors `raftstore::store::worker::region` and
//! `snap_gen`.
use engine_rocks::{CF_RAFT, RocksSnapshot};
use kvproto::{
    metapb::Region,
    raft_serverpb::{PeerState, RaftApplyState, RegionLocalState},
};
use prost::Message;
use raft::eraftpb::Snapshot;

use super::{Scheduler, Worker, consistency_check::compute_hash};
use crate::{
    Error, RaftRouter, Result,
    store::{
        engines::Engines,
        fsm::apply::GenSnapTask,
        msg::{CasualMessage, PeerMsg, SnapshotApplied},
        peer_storage,
        snap::{SnapEntry, SnapKey, SnapManager, build_snapshot, clear_range},
        util::conf_state_from_region,
    },
};

/// Task of the region workers.
pub enum RegionTask {
    /// Generate a snapshot for a follower.
    Gen {
        /// The snapshot that Raft requested.
        task: GenSnapTask,
        /// Data to read.
        snapshot: RocksSnapshot,
        /// Term of the last applied entry.
        last_applied_term: u64,
    },
    /// Replace the region's data with a received snapshot.
    Apply {
        /// Key of the snapshot.
        key: SnapKey,
        /// The region.
        region: Region,
    },
    /// Hashes the region's data as of entry `index`.
    ComputeHash {
        /// The region.
        region: Region,
        /// Index of the entry.
        index: u64,
        /// Data to read.
        snapshot: RocksSnapshot,
    },
    /// Deletes the data of a region that left the store.
    Destroy {
        /// The region.
        region: Region,
    },
}

/// Schedules region tasks. Generation has its own threads, so that it does not delay applying a snapshot.
#[derive(Clone)]
pub struct RegionScheduler {
    generator: Scheduler<RegionTask>,
    region: Scheduler<RegionTask>,
}

impl RegionScheduler {
    /// Queues a task.
    pub fn schedule(&self, task: RegionTask) {
        match task {
            RegionTask::Gen { .. } | RegionTask::ComputeHash { .. } => self.generator.schedule(task),
            _ => self.region.schedule(task),
        }
    }
}

/// Handle to the threads `snap-generator-{n}` and `region-worker-0`.
pub struct RegionWorkers {
    generator: Worker<RegionTask>,
    region: Worker<RegionTask>,
}

impl RegionWorkers {
    /// Starts the threads; `generators` of them generate snapshots.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn spawn(
        engines: &Engines,
        manager: &SnapManager,
        router: &RaftRouter,
        generators: usize,
    ) -> std::io::Result<Self> {
        let make = || {
            let runner =
                Runner { engines: engines.clone(), manager: manager.clone(), router: router.clone() };
            move |task| runner.run(task)
        };
        let store = router.store_id();
        Ok(Self {
            generator: Worker::spawn("snap-generator", store, generators, make)?,
            region: Worker::spawn("region-worker", store, 1, make)?,
        })
    }

    /// Returns the sender of tasks.
    pub fn scheduler(&self) -> RegionScheduler {
        RegionScheduler { generator: self.generator.scheduler(), region: self.region.scheduler() }
    }

    /// Ends the threads after their queued tasks.
    pub fn shutdown(&mut self) {
        self.generator.shutdown();
        self.region.shutdown();
    }
}

struct Runner {
    engines: Engines,
    manager: SnapManager,
    router: RaftRouter,
}

impl Runner {
    fn run(&self, task: RegionTask) {
        match task {
            RegionTask::Gen { task, snapshot, last_applied_term } => {
                let region_id = task.region_id;
                match self.generate(region_id, &snapshot, last_applied_term) {
                    // The receiver may be gone.
                    Ok(snap) => drop(task.notifier.try_send(snap)),
                    Err(err) => log::error!("region {region_id}: cannot generate a snapshot: {err}"),
                }
                // A notifier dropped without a snapshot reports the failure; Raft asks again.
                drop(task);
                let _ = self.router.send_casual_msg(region_id, CasualMessage::SnapshotGenerated);
            }
            RegionTask::Apply { key, region } => {
                self.manager.register(key, SnapEntry::Applying);
                let result = self.apply(&key, &region).map_err(|e| e.to_string());
                self.manager.deregister(&key, SnapEntry::Applying);
                let msg = PeerMsg::SnapshotApplied(SnapshotApplied { key, result });
                let _ = self.router.send_peer(region.id, msg);
            }
            RegionTask::ComputeHash { region, index, snapshot } => match compute_hash(&snapshot, &region) {
                Ok(hash) => {
                    let hash = hash.to_be_bytes().to_vec();
                    let msg = CasualMessage::ComputeHashResult { index, hash };
                    let _ = self.router.send_casual_msg(region.id, msg);
                }
                Err(err) => log::error!("region {}: cannot hash its data: {err}", region.id),
            },
            RegionTask::Destroy { region } => {
                if let Err(err) = clear_range(&self.engines.kv, &region) {
                    log::error!("region {}: cannot remove its data: {err}", region.id);
                }
            }
        }
    }

    /// Generates a snapshot with the states in the RocksDB snapshot itself.
    /// TiKV: `peer_storage::do_snapshot`.
    fn generate(&self, region_id: u64, snapshot: &RocksSnapshot, term: u64) -> Result<Snapshot> {
        let missing =
            |what| Error::other(format!("expected {what} of region {region_id} in CF raft, found none"));
        let apply_state: RaftApplyState = snapshot
            .get_msg_cf(CF_RAFT, &keys::apply_state_key(region_id))?
            .ok_or_else(|| missing("the apply state"))?;
        let state: RegionLocalState = snapshot
            .get_msg_cf(CF_RAFT, &keys::region_state_key(region_id))?
            .ok_or_else(|| missing("the region state"))?;
        if state.state() != PeerState::Normal {
            return Err(Error::other(format!(
                "expected region {region_id} to be Normal for a snapshot, found {:?}",
                state.state()
            )));
        }
        let region = state.region.ok_or_else(|| missing("the region"))?;
        let key = SnapKey::new(region_id, term, apply_state.applied_index);
        self.manager.register(key, SnapEntry::Generating);
        let data = build_snapshot(&self.manager, &key, snapshot, &region);
        self.manager.deregister(&key, SnapEntry::Generating);
        let mut snap = Snapshot { data: data?.encode_to_vec().into(), ..Default::default() };
        let meta = snap.mut_metadata();
        meta.index = key.idx;
        meta.term = key.term;
        meta.set_conf_state(conf_state_from_region(&region));
        Ok(snap)
    }

    /// Sets the region to normal only after all data is applied.
    fn apply(&self, key: &SnapKey, region: &Region) -> Result<()> {
        self.manager.apply_snapshot(key, &self.engines.kv, region)?;
        let mut batch = self.engines.kv.write_batch();
        peer_storage::write_peer_state(&mut batch, region, PeerState::Normal)?;
        batch.delete_cf(CF_RAFT, &keys::snapshot_raft_state_key(region.id))?;
        batch.write_opt(true)?;
        Ok(())
    }
}
