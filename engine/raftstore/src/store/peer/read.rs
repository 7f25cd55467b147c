//! Reads that ask a quorum, and their responses. Mirrors `Peer::read_index` and `Peer::apply_reads`.
use kvproto::raft_cmdpb::{
    CmdType, RaftCmdRequest, RaftCmdResponse, RaftResponseHeader, Response, SnapResponse,
};
use raft::ReadState;
use tikv_kv::ReadIndexTimes;
use tracepoints::{EngineClock, Req};

use super::Peer;
use crate::{
    Error,
    store::{
        callback::{Callback, ReadResponse},
        cmd_resp,
        read_index_context::ReadIndexContext,
        read_queue::{ReadIndexRequest, read_id},
        region_snapshot::RegionSnapshot,
        util,
    },
};

impl Peer {
    /// Starts a read index round. Returns its id for stamps, or `None` if the read was refused at once.
    ///
    /// `propose_wait_nanos`: time since the creation of the command.
    pub fn read_index(
        &mut self,
        cmd: RaftCmdRequest,
        callback: Callback,
        req: Req,
        propose_wait_nanos: u64,
    ) -> Option<u64> {
        if self.raft_group.raft.leader_id == raft::INVALID_ID {
            let err = Error::NotLeader(self.region_id, None);
            callback.invoke_with_response(cmd_resp::err_resp(err, self.term()));
            return None;
        }
        // Raft silently drops the read until the leader has committed an entry of its own term.
        if self.is_leader() && !self.raft_group.raft.commit_to_current_term() {
            callback.invoke_with_response(cmd_resp::err_resp(Error::StaleCommand, self.term()));
            return None;
        }
        if self.is_leader() && self.is_splitting() {
            let reason = "can not read index due to split";
            let err = Error::ReadIndexNotReady { reason, region_id: self.region_id };
            callback.invoke_with_response(cmd_resp::err_resp(err, self.term()));
            return None;
        }
        let mut read = ReadIndexRequest::new(Some((cmd, callback)), req, EngineClock::now());
        read.propose_wait_nanos = propose_wait_nanos;
        Some(self.ask_quorum(read))
    }

    fn ask_quorum(&mut self, read: ReadIndexRequest) -> u64 {
        let id = read.read_id();
        self.raft_group.read_index(read.context());
        self.pending_reads.push(read);
        id
    }

    /// Renews a lease that is about to end, by a round without a read. TiKV: `try_renew_leader_lease`.
    pub fn try_renew_leader_lease(&mut self) {
        let now = EngineClock::now();
        let useful = self.is_leader()
            && self.leader_lease.need_renew(now)
            && self.raft_group.raft.commit_to_current_term()
            && self.raft_group.raft.lead_transferee.is_none();
        // One such round at a time; Raft's heartbeats repeat a lost one.
        if useful && self.pending_reads.iter_mut().all(|r| r.cmd.is_some()) {
            self.ask_quorum(ReadIndexRequest::new(None, Req::NONE, now));
        }
    }

    /// Marks rounds as confirmed by a quorum. TiKV: `apply_reads`.
    pub fn confirm_reads(&mut self, states: Vec<ReadState>) {
        let leader = self.is_leader();
        for state in states {
            let context = match ReadIndexContext::parse(&state.request_ctx) {
                Ok(context) => context,
                Err(err) => {
                    log::warn!("region {}: dropped the response to a read index: {err}", self.region_id);
                    continue;
                }
            };
            match self.pending_reads.confirm(context, state.index, leader) {
                Some(at) if leader => self.maybe_renew_leader_lease(at),
                Some(_) => {}
                None => {
                    log::debug!(
                        "region {}: ignored the response to the unknown read index {:x}",
                        self.region_id,
                        read_id(&state.request_ctx)
                    )
                }
            }
        }
    }

    /// Returns the next read that can be answered. Ends rounds that only renewed the lease.
    pub fn next_ready_read(&mut self) -> Option<ReadIndexRequest> {
        loop {
            let read = self.pending_reads.pop_ready(self.storage().applied_index())?;
            if read.cmd.is_some() {
                return Some(read);
            }
        }
    }

    /// Sends the response of a confirmed and applied read.
    pub fn answer_read(&self, read: ReadIndexRequest) {
        let confirm_wait_nanos = read.propose_time.elapsed().as_nanos() as u64;
        let times = ReadIndexTimes { propose_wait_nanos: read.propose_wait_nanos, confirm_wait_nanos };
        let Some((cmd, callback)) = read.cmd else { return };
        match read.locked {
            Some(lock) => callback.invoke_with_response(cmd_resp::locked(lock, self.term())),
            None => callback.invoke_read(self.execute_read(&cmd).with_times(times)),
        }
    }

    /// Takes a snapshot of the region as applied now. TiKV: `ReadExecutor::execute`.
    pub fn execute_read(&self, cmd: &RaftCmdRequest) -> ReadResponse {
        let (storage, term) = (self.storage(), self.term());
        let refused = |err| ReadResponse::from(cmd_resp::err_resp(err, term));
        // The region may have been split since the read began.
        if let Err(err) = util::check_cmd_epoch(cmd, self.region()) {
            return refused(err);
        }
        if !cmd.requests.iter().all(|r| matches!(r.cmd_type(), CmdType::Snap | CmdType::ReadIndex)) {
            return refused(Error::other("expected a snapshot request: values are read from the snapshot"));
        }
        let region = self.region().clone();
        let snap = storage.engines.kv.snapshot();
        let responses = cmd.requests.iter().map(|r| Response {
            cmd_type: r.cmd_type,
            snap: Some(SnapResponse { region: Some((*region).clone()) }),
            ..Default::default()
        });
        let header = Some(RaftResponseHeader { current_term: term, ..Default::default() });
        let response = RaftCmdResponse { header, responses: responses.collect(), ..Default::default() };
        let txn_ext = self.txn_ext.clone();
        let snapshot = RegionSnapshot::new(snap, region, term, storage.applied_index(), txn_ext);
        ReadResponse { snapshot: Some(snapshot), ..ReadResponse::from(response) }
    }

    /// Sends unanswered rounds again after some ticks: a follower's message may get lost.
    /// TiKV: `retry_pending_reads`.
    pub fn retry_pending_reads(&mut self, interval_ticks: usize) {
        if self.is_leader() || self.raft_group.raft.leader_id == raft::INVALID_ID {
            return;
        }
        let mut again = Vec::new();
        for read in self.pending_reads.iter_mut().filter(|r| r.read_index.is_none()) {
            read.waited_ticks += 1;
            if read.waited_ticks >= interval_ticks {
                read.waited_ticks = 0;
                again.push(read.context());
            }
        }
        for context in again {
            self.raft_group.read_index(context);
        }
    }

    /// Refuses all pending reads because the peer leaves; clients must find another peer.
    pub fn refuse_all(&mut self) {
        let proposed = self.proposals.take_all().into_iter().map(|p| p.cb);
        let read = self.pending_reads.take_all().into_iter().filter_map(|r| r.cmd).map(|(_, cb)| cb);
        for callback in proposed.chain(read) {
            callback.invoke_with_response(cmd_resp::new_error(Error::RegionNotFound(self.region_id)));
        }
    }

    /// Refuses all pending reads of a leader that steps down.
    pub(super) fn drop_reads(&mut self) {
        let term = self.term();
        for read in self.pending_reads.take_all() {
            if let Some((_, callback)) = read.cmd {
                let err = Error::NotLeader(self.region_id, self.leader());
                callback.invoke_with_response(cmd_resp::err_resp(err, term));
            }
        }
    }
}
