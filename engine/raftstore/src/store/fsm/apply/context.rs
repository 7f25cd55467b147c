//! Collects the results of one apply poller's round and writes them to RocksDB.
use engine_rocks::{RocksEngine, RocksWriteBatch};
use kvproto::raft_cmdpb::RaftCmdResponse;
use raft::eraftpb::Entry;

use super::ApplyRes;
use crate::{
    Error, RaftRouter,
    store::{Callback, PeerMsg, cmd_resp, spans, worker::region::RegionScheduler},
};

/// Run of entries in a write batch.
struct Span {
    region: u64,
    term: u64,
    first: u64,
    last: u64,
}

/// State of one apply poller's round. TiKV: `ApplyContext`.
pub struct ApplyContext {
    pub kv: RocksEngine,
    pub wb: RocksWriteBatch,
    pub router: RaftRouter,
    pub region_scheduler: RegionScheduler,
    callbacks: Vec<(Callback, RaftCmdResponse)>,
    results: Vec<ApplyRes>,
    spans: Vec<Span>,
    /// RocksDB refused a write: nothing more may be applied or answered.
    failed: bool,
}

impl ApplyContext {
    pub fn new(kv: RocksEngine, router: RaftRouter, region_scheduler: RegionScheduler) -> Self {
        let wb = kv.write_batch();
        Self {
            kv,
            wb,
            router,
            region_scheduler,
            callbacks: Vec::new(),
            results: Vec::new(),
            spans: Vec::new(),
            failed: false,
        }
    }

    pub fn failed(&self) -> bool {
        self.failed
    }

    pub fn add_callback(&mut self, cb: Callback, resp: RaftCmdResponse) {
        if !cb.is_none() {
            self.callbacks.push((cb, resp));
        }
    }

    pub fn add_result(&mut self, res: ApplyRes) {
        self.results.push(res);
    }

    /// Stamps the start of execution of these entries.
    pub fn begin_entries(&mut self, region: u64, entries: &[Entry]) {
        spans::for_each_run(entries, |term, first, last| {
            let req = tracepoints::session::joined(region, term, first, last);
            tracepoints::step_thread!(
                APPLY_BEGIN,
                req,
                region = region,
                term = term,
                first = first,
                last = last
            );
            self.spans.push(Span { region, term, first, last });
        });
    }

    /// Records a fatal error and stops the store.
    pub fn fail(&mut self, why: &str) {
        self.failed = true;
        self.router.stop_store(why);
    }

    /// Writes the collected data, then calls the callbacks and notifies the peers.
    /// TiKV: `ApplyContext::flush`, `write_to_db`.
    pub fn flush(&mut self) {
        if !self.write_to_db() {
            return;
        }
        for s in self.spans.drain(..) {
            let req = tracepoints::session::joined(s.region, s.term, s.first, s.last);
            tracepoints::stamp!(
                APPLY_DONE,
                req,
                region = s.region,
                term = s.term,
                first = s.first,
                last = s.last
            );
        }
        for (cb, resp) in self.callbacks.drain(..) {
            cb.invoke_with_response(resp);
        }
        for res in self.results.drain(..) {
            // The peer may have been destroyed since.
            let _ = self.router.send_peer(res.region_id, PeerMsg::ApplyRes(Box::new(res)));
        }
    }

    fn write_to_db(&mut self) -> bool {
        if self.failed {
            return false;
        }
        for s in &self.spans {
            let req = tracepoints::session::joined(s.region, s.term, s.first, s.last);
            tracepoints::step_thread!(
                APPLY_WRITE,
                req,
                region = s.region,
                term = s.term,
                first = s.first,
                last = s.last
            );
        }
        if self.wb.is_empty() {
            return true;
        }
        // No sync needed: the log is durable and is compacted only after a sync of RocksDB's WAL.
        let written = self.wb.write_opt(false);
        self.wb.clear();
        let Err(err) = written else { return true };
        self.fail(&format!("cannot write to RocksDB: {err}"));
        for (cb, _) in self.callbacks.drain(..) {
            cb.invoke_with_response(cmd_resp::new_error(Error::ServerIsBusy(format!("RocksDB: {err}"))));
        }
        self.results.clear();
        false
    }
}
