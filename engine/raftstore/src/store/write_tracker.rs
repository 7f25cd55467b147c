//! Points in engine time that a write passes. The tracker is plain data inside of the write's proposal, and the owner
//! of the proposal notes the points. So the details of a reply need no lock and no allocation, and do not depend on
//! recording.
//!
//! TiKV: `components/tracker`, `raftstore::store::local_metrics::TimeTracker`.
use engine_rocks::WritePerf;
use tikv_kv::WriteTimes;
use tracepoints::clock::EngineInstant;

/// Time of one write to raft-engine in nanoseconds. TiKV: `RaftEnginePerfContext`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RaftDbTimes {
    /// Wait for another writer of the group.
    pub write_leader_wait_nanos: u64,
    /// Write and sync of the log file.
    pub sync_log_nanos: u64,
    /// Update of the index in memory.
    pub write_memtable_nanos: u64,
}

impl RaftDbTimes {
    /// Takes the counters of the writes of this thread since the last call.
    pub fn take() -> Self {
        let perf = raft_log_engine::take_perf_context();
        let sync_log = perf.log_write_duration + perf.log_sync_duration + perf.log_rotate_duration;
        Self {
            write_leader_wait_nanos: perf.write_wait_duration.as_nanos() as u64,
            sync_log_nanos: sync_log.as_nanos() as u64,
            write_memtable_nanos: perf.apply_duration.as_nanos() as u64,
        }
    }
}

/// Points of one write. A point that the write has not passed is `None`.
#[derive(Clone, Copy, Debug, Default)]
pub struct WriteTracker {
    created: EngineInstant,
    proposed: EngineInstant,
    /// The entry's Ready was handed over to the store writer.
    queued: Option<EngineInstant>,
    /// The entry was sent to a follower, the last time.
    sent: Option<EngineInstant>,
    persisted: Option<EngineInstant>,
    raft_db: RaftDbTimes,
    committed: Option<EngineInstant>,
    apply_begun: Option<EngineInstant>,
}

impl WriteTracker {
    /// Begins with a proposal.
    pub fn new(created: EngineInstant, proposed: EngineInstant) -> Self {
        Self { created, proposed, ..Self::default() }
    }

    /// Returns the engine time of the proposal.
    pub fn propose_time(&self) -> EngineInstant {
        self.proposed
    }

    /// Notes that the entry was sent to a follower.
    pub fn on_sent(&mut self, at: EngineInstant) {
        self.sent = Some(at);
    }

    /// Notes that the store writer got the entry.
    pub fn on_queued(&mut self, at: EngineInstant) {
        self.queued = Some(at);
    }

    /// Notes that the entry is durable in the leader's log.
    pub fn on_persisted(&mut self, at: EngineInstant, raft_db: RaftDbTimes) {
        self.persisted = Some(at);
        self.raft_db = raft_db;
    }

    /// Notes that the entry is committed and goes to the apply FSM.
    pub fn on_committed(&mut self, at: EngineInstant) {
        self.committed = Some(at);
    }

    /// Notes that the apply FSM took the entry.
    pub fn on_apply_begun(&mut self, at: EngineInstant) {
        self.apply_begun = Some(at);
    }

    /// Returns the times of a write that is applied at `applied`; `apply_db`: its write to RocksDB.
    pub fn times(&self, applied: EngineInstant, apply_db: &WritePerf) -> WriteTimes {
        WriteTimes {
            store_batch_wait_nanos: between(Some(self.created), Some(self.proposed)),
            propose_send_wait_nanos: between(self.queued, self.sent),
            persist_log_nanos: between(self.queued, self.persisted),
            raft_db_write_leader_wait_nanos: self.raft_db.write_leader_wait_nanos,
            raft_db_sync_log_nanos: self.raft_db.sync_log_nanos,
            raft_db_write_memtable_nanos: self.raft_db.write_memtable_nanos,
            commit_log_nanos: between(Some(self.proposed), self.committed),
            apply_batch_wait_nanos: between(self.committed, self.apply_begun),
            apply_log_nanos: between(self.apply_begun, Some(applied)),
            apply_mutex_lock_nanos: apply_db.mutex_lock_nanos,
            apply_write_leader_wait_nanos: apply_db.leader_wait_nanos(),
            apply_write_wal_nanos: apply_db.write_wal_nanos,
            apply_write_memtable_nanos: apply_db.write_memtable_nanos,
        }
    }
}

/// Returns the nanoseconds between two points; 0 if the write has not passed both in this order.
fn between(from: Option<EngineInstant>, to: Option<EngineInstant>) -> u64 {
    match (from, to) {
        (Some(from), Some(to)) => to.saturating_since(from).as_nanos() as u64,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_write_follow_one_another() {
        let at = EngineInstant;
        let mut tracker = WriteTracker::new(at(100), at(110));
        tracker.on_queued(at(115));
        tracker.on_sent(at(125));
        let raft_db = RaftDbTimes { write_leader_wait_nanos: 1, sync_log_nanos: 20, write_memtable_nanos: 2 };
        tracker.on_persisted(at(150), raft_db);
        tracker.on_committed(at(160));
        tracker.on_apply_begun(at(163));
        let perf = WritePerf {
            call_nanos: 20,
            mutex_lock_nanos: 1,
            write_wal_nanos: 5,
            write_memtable_nanos: 6,
            other_nanos: 2,
        };
        let times = tracker.times(at(190), &perf);
        assert_eq!((times.store_batch_wait_nanos, times.commit_log_nanos), (10, 50));
        assert_eq!((times.propose_send_wait_nanos, times.persist_log_nanos), (10, 35));
        assert_eq!((times.apply_batch_wait_nanos, times.apply_log_nanos), (3, 27));
        assert_eq!((times.raft_db_sync_log_nanos, times.apply_write_leader_wait_nanos), (20, 6));
        let whole = times.store_batch_wait_nanos
            + times.commit_log_nanos
            + times.apply_batch_wait_nanos
            + times.apply_log_nanos;
        assert_eq!(whole, 90, "from the creation to the apply, without a gap");
    }

    #[test]
    fn a_point_that_was_not_passed_makes_no_time() {
        let mut tracker = WriteTracker::new(EngineInstant(5), EngineInstant(7));
        tracker.on_sent(EngineInstant(8));
        tracker.on_queued(EngineInstant(9));
        let times = tracker.times(EngineInstant(20), &WritePerf::default());
        assert_eq!(times.propose_send_wait_nanos, 0, "the entry was sent before its hand-over");
        assert_eq!((times.persist_log_nanos, times.commit_log_nanos, times.apply_log_nanos), (0, 0, 0));
    }
}
