//! Collects the results of one apply poller's round and writes them to RocksDB.
use engine_rocks::{RocksEngine, RocksWriteBatch, WritePerf};
use kvproto::raft_cmdpb::RaftCmdResponse;
use raft::eraftpb::Entry;
use tracepoints::EngineClock;

use super::msg::ApplyRes;
use crate::{
    Error, RaftRouter,
    store::{
        callback::{Callback, WriteResponse},
        cmd_resp,
        msg::PeerMsg,
        run::{Run, runs, stamp_run},
        worker::region::RegionScheduler,
        write_tracker::WriteTracker,
    },
};

/// State of one apply poller's round. TiKV: `ApplyContext`.
pub struct ApplyContext {
    /// RocksDB.
    pub kv: RocksEngine,
    /// Changes of this round.
    pub wb: RocksWriteBatch,
    /// Router to the store's peers.
    pub router: RaftRouter,
    /// Schedules snapshots and deletions.
    pub region_scheduler: RegionScheduler,
    callbacks: Vec<(Callback, WriteTracker, RaftCmdResponse)>,
    results: Vec<ApplyRes>,
    /// Runs of entries in the write batch.
    runs: Vec<Run>,
    /// RocksDB refused a write: nothing more may be applied or answered.
    failed: bool,
}

impl ApplyContext {
    /// Creates a context with an empty batch.
    pub fn new(kv: RocksEngine, router: RaftRouter, region_scheduler: RegionScheduler) -> Self {
        let wb = kv.write_batch();
        Self {
            kv,
            wb,
            router,
            region_scheduler,
            callbacks: Vec::new(),
            results: Vec::new(),
            runs: Vec::new(),
            failed: false,
        }
    }

    /// Whether a write has failed: nothing more may be applied.
    pub fn failed(&self) -> bool {
        self.failed
    }

    /// Queues a response, which is sent after the write.
    pub fn add_callback(&mut self, cb: Callback, tracker: WriteTracker, resp: RaftCmdResponse) {
        if !cb.is_none() {
            self.callbacks.push((cb, tracker, resp));
        }
    }

    /// Queues a result for the peer FSM, which is sent after the write.
    pub fn add_result(&mut self, res: ApplyRes) {
        self.results.push(res);
    }

    /// Stamps the start of execution of these entries.
    pub fn begin_entries(&mut self, region: u64, entries: &[Entry]) {
        for run in runs(region, entries) {
            stamp_run!(step_thread, APPLY_BEGIN, run);
            self.runs.push(run);
        }
    }

    /// Records a fatal error and stops the store.
    pub fn fail(&mut self, why: &str) {
        self.failed = true;
        self.router.stop_store(why);
    }

    /// Writes the collected data, then calls the callbacks and notifies the peers.
    /// TiKV: `ApplyContext::flush`, `write_to_db`.
    pub fn flush(&mut self) {
        let Some(perf) = self.write_to_db() else { return };
        self.runs.drain(..).for_each(|run| stamp_run!(stamp, APPLY_DONE, run));
        let now = EngineClock::now();
        for (cb, tracker, response) in self.callbacks.drain(..) {
            cb.invoke_write(WriteResponse { response, times: tracker.times(now, &perf) });
        }
        for res in self.results.drain(..) {
            // The peer may have been destroyed since.
            let _ = self.router.send_peer(res.region_id, PeerMsg::ApplyRes(Box::new(res)));
        }
    }

    /// Returns the times of the write, or nothing if it failed.
    fn write_to_db(&mut self) -> Option<WritePerf> {
        if self.failed {
            return None;
        }
        self.runs.iter().for_each(|run| stamp_run!(step_thread, APPLY_WRITE, *run));
        if self.wb.is_empty() {
            return Some(WritePerf::default());
        }
        // No sync needed: the log is durable and is compacted only after a sync of RocksDB's WAL.
        let (written, perf) = WritePerf::measure(|| self.wb.write_opt(false));
        self.wb.clear();
        let Err(err) = written else { return Some(perf) };
        self.fail(&format!("cannot write to RocksDB: {err}"));
        for (cb, ..) in self.callbacks.drain(..) {
            cb.invoke_with_response(cmd_resp::new_error(Error::ServerIsBusy(format!("RocksDB: {err}"))));
        }
        self.results.clear();
        None
    }
}
