//! Runs a peer FSM: continuations first, then messages, then Readies, until none is left or a gate holds.
use raft::eraftpb::MessageType;

use super::{Continuation, PeerFsm};
use crate::{
    batch_system::{HandleResult, Mailbox},
    store::{
        fsm::store::PollContext,
        msg::{CampaignType, CasualMessage, PeerMsg, SignificantMsg},
        peer::{
            commit_parts::{CommitPart, commit_parts},
            facts,
        },
        read_queue::read_id,
        run::{Run, nth_run},
        transport::Transport,
        worker::region::RegionTask,
        write_tracker::RaftDbTimes,
    },
};

/// Outcome of a continuation.
pub(super) enum Flow {
    Done,
    /// Held at its gate: return the continuation to the front of the queue.
    Park(Continuation),
}

/// A peer FSM and the state of the poller that runs it.
pub struct PeerFsmDelegate<'a, T: Transport> {
    /// The FSM.
    pub fsm: &'a mut PeerFsm,
    /// State of the poller.
    pub ctx: &'a mut PollContext<T>,
}

/// Expands to `step_fsm!` with this FSM's gate, its state, and a wake through its mailbox.
macro_rules! gate {
    ($self:expr, $stage:ident, $req:expr $(, $name:ident = $value:expr)* $(,)?) => {{
        let req: tracepoints::Req = $req;
        tracepoints::step_fsm_probe!($self.fsm.gate, $self.ctx.router.waker($self.fsm.peer.region_id),
            $self.fsm.peer.publish_at_stamp($self.ctx.store_id, req), $stage, req $(, $name = $value)*)
    }};
}

/// Expands to `gate!` with the fields of a run of entries.
macro_rules! gate_run {
    ($self:expr, $stage:ident, $run:expr) => {{
        let run: Run = $run;
        let (region, term, first, last) = (run.region, run.term, run.first, run.last);
        gate!($self, $stage, run.joined(), region = region, term = term, first = first, last = last)
    }};
}

impl<T: Transport> PeerFsmDelegate<'_, T> {
    /// Runs the FSM and publishes its state. TiKV: `RaftPoller::handle_normal`, `handle_msgs`,
    /// `collect_ready`.
    pub fn run(&mut self, mailbox: &Mailbox<PeerFsm>) -> HandleResult {
        let result = self.run_inner(mailbox);
        if !self.fsm.stopped {
            let advance = self.ctx.config.renew_leader_lease_advance_duration();
            self.fsm.peer.publish_delegate(&self.ctx.delegates, advance);
            self.fsm.peer.publish_probe(self.ctx.store_id, false);
        }
        result
    }

    fn run_inner(&mut self, mailbox: &Mailbox<PeerFsm>) -> HandleResult {
        let mut taken = 0;
        loop {
            while let Some(continuation) = self.fsm.pending_steps.pop_front() {
                let flow = self.run_continuation(continuation);
                self.fsm.peer.end_stamped(self.ctx.store_id);
                if let Flow::Park(continuation) = flow {
                    self.fsm.pending_steps.push_front(continuation);
                    return HandleResult::Park;
                }
            }
            if self.fsm.stopped {
                return HandleResult::Stop;
            }
            // From here on the work belongs to other requests.
            tracepoints::label::clear();
            if taken < self.ctx.config.messages_per_tick
                && let Some(msg) = mailbox.try_recv()
            {
                taken += 1;
                self.handle_msg(msg);
                continue;
            }
            if !self.collect_ready() {
                return HandleResult::Release;
            }
        }
    }

    fn handle_msg(&mut self, msg: PeerMsg) {
        if self.fsm.destroying.is_some() {
            return self.handle_msg_while_leaving(msg);
        }
        match msg {
            PeerMsg::RaftMessage(msg) => {
                if let Err(err) = self.on_raft_message(*msg) {
                    log::warn!("region {}: refused a message: {err}", self.fsm.region_id());
                }
            }
            PeerMsg::RaftCommand(cmd) => self.on_raft_command(*cmd),
            PeerMsg::Tick(tick) => self.on_tick(tick),
            PeerMsg::ApplyRes(res) => self.on_apply_res(*res),
            PeerMsg::Persisted(msg) if msg.peer_id == self.fsm.peer.peer_id() => {
                self.fsm.pending_steps.push_back(Continuation::Persisted {
                    number: msg.ready_number,
                    raft_db: msg.raft_db,
                    at: 0,
                });
            }
            PeerMsg::SnapshotApplied(applied) => self.on_snapshot_applied(applied),
            PeerMsg::Significant(msg) => self.on_significant(msg),
            PeerMsg::Casual(msg) => self.on_casual(msg),
            PeerMsg::Destroy { to_peer_id } => {
                if to_peer_id == self.fsm.peer.peer_id() {
                    self.start_destroy();
                }
            }
            PeerMsg::Start | PeerMsg::Noop | PeerMsg::Persisted(_) | PeerMsg::ApplyDestroyed => {}
        }
    }

    fn on_significant(&mut self, msg: SignificantMsg) {
        let group = &mut self.fsm.peer.raft_group;
        match msg {
            SignificantMsg::SnapshotStatus { to_peer_id, status } => {
                group.report_snapshot(to_peer_id, status)
            }
            SignificantMsg::Unreachable { to_peer_id } => group.report_unreachable(to_peer_id),
            SignificantMsg::StoreUnreachable { store_id } => {
                if let Some(peer) = self.fsm.peer.region().find_peer(store_id).map(|p| p.id) {
                    self.fsm.peer.raft_group.report_unreachable(peer);
                }
            }
            // The receiver may be gone.
            SignificantMsg::QueryMeta(tx) => drop(tx.send(self.fsm.peer.region_meta(self.ctx.store_id))),
        }
    }

    fn on_casual(&mut self, msg: CasualMessage) {
        match msg {
            CasualMessage::TransferLeader { to } => {
                if let Err(err) = self.transfer_leader(&to) {
                    log::info!("region {}: {err}", self.fsm.region_id());
                }
            }
            CasualMessage::LocksProposed { to, term, ok } => self.on_locks_proposed(&to, term, ok),
            CasualMessage::SplitRegion { region_epoch, peer, split_keys, callback } => {
                self.on_split_request(&region_epoch, peer, split_keys, callback);
            }
            CasualMessage::ForceCompactRaftLogs => self.on_raft_log_gc(true),
            CasualMessage::RenewLease => self.fsm.peer.try_renew_leader_lease(),
            CasualMessage::PublishProbe => self.fsm.peer.publish_probe(self.ctx.store_id, true),
            // The followers' responses make Raft retry the snapshot.
            CasualMessage::SnapshotGenerated => self.fsm.peer.raft_group.ping(),
            CasualMessage::ComputeHashResult { index, hash } => self.on_hash_computed(index, hash),
            CasualMessage::Campaign(CampaignType::ForceLeader) => {
                if let Err(err) = self.fsm.peer.raft_group.campaign() {
                    log::info!("region {}: cannot campaign: {err}", self.fsm.region_id());
                }
            }
            CasualMessage::Campaign(CampaignType::UnsafeSplitCampaign) => self.fsm.peer.maybe_campaign(),
        }
    }

    /// Takes a Ready; returns false if there is none to take now.
    fn collect_ready(&mut self) -> bool {
        let peer = &mut self.fsm.peer;
        let waits = self.fsm.destroying.is_some()
            || peer.storage().is_applying_snapshot()
            || peer.must_wait_for_apply();
        if self.fsm.stopped || waits {
            return false;
        }
        self.schedule_gen_snapshot();
        let peer = &mut self.fsm.peer;
        if !peer.raft_group.has_ready() {
            return false;
        }
        let ready = Box::new(peer.raft_group.ready());
        self.fsm.pending_steps.push_back(Continuation::Ready { ready, at: 0 });
        true
    }

    /// Schedules the snapshot that Raft requested while it created messages.
    fn schedule_gen_snapshot(&mut self) {
        if let Some(task) = self.fsm.peer.storage().take_gen_snap_task() {
            let msg = crate::store::fsm::apply::ApplyMsg::GenSnapshot(task);
            self.ctx.apply_router.schedule(self.fsm.region_id(), msg);
        }
    }

    fn run_continuation(&mut self, continuation: Continuation) -> Flow {
        let region = self.fsm.region_id();
        match continuation {
            Continuation::Step(msg) => return self.run_step(msg),
            Continuation::Proposed { req, term, index } => {
                let voters = self.fsm.peer.voters();
                if gate!(
                    self,
                    RAFT_PROPOSE,
                    req,
                    region = region,
                    term = term,
                    index = index,
                    voters = voters
                ) {
                    return Flow::Park(Continuation::Proposed { req, term, index });
                }
            }
            Continuation::ReadIndexProposed { req, read_id } => {
                let term = self.fsm.peer.term();
                let voters = self.fsm.peer.voters();
                if gate!(
                    self,
                    READ_INDEX_PROPOSE,
                    req,
                    region = region,
                    term = term,
                    read_id = read_id,
                    voters = voters
                ) {
                    return Flow::Park(Continuation::ReadIndexProposed { req, read_id });
                }
            }
            Continuation::Ready { ready, at } => return self.run_ready(ready, at),
            Continuation::Committed { entries, at, part } => return self.run_committed(entries, at, part),
            Continuation::Persisted { number, raft_db, at } => {
                return self.run_persisted(number, raft_db, at);
            }
            Continuation::ReadConfirmed(read) => {
                let (req, id, applied) = (read.req, read.read_id(), self.fsm.peer.storage().applied_index());
                if gate!(self, READ_INDEX_CONFIRM, req, region = region, read_id = id, applied = applied) {
                    return Flow::Park(Continuation::ReadConfirmed(read));
                }
                self.fsm.peer.answer_read(*read);
            }
        }
        Flow::Done
    }

    fn run_step(&mut self, msg: Box<raft::eraftpb::Message>) -> Flow {
        let region = self.fsm.region_id();
        match msg.get_msg_type() {
            MessageType::MsgAppend => {
                if let (Some(first), Some(last)) = (msg.entries.first(), msg.entries.last()) {
                    let run = Run { region, term: last.term, first: first.index, last: last.index };
                    if gate_run!(self, FOLLOWER_RECEIVE, run) {
                        return Flow::Park(Continuation::Step(msg));
                    }
                }
            }
            MessageType::MsgHeartbeat if !msg.context.is_empty() => {
                let id = read_id(&msg.context);
                let req = tracepoints::session::joined_read(id);
                if gate!(self, READ_INDEX_HEARTBEAT, req, region = region, term = msg.term, read_id = id) {
                    return Flow::Park(Continuation::Step(msg));
                }
            }
            _ => {}
        }
        self.step(*msg);
        Flow::Done
    }

    fn run_ready(&mut self, ready: Box<raft::Ready>, mut at: usize) -> Flow {
        let region = self.fsm.region_id();
        let leader = self.fsm.peer.is_leader();
        while let Some(run) = nth_run(region, ready.entries(), at) {
            let held =
                if leader { gate_run!(self, RAFT_READY, run) } else { gate_run!(self, FOLLOWER_APPEND, run) };
            if held {
                return Flow::Park(Continuation::Ready { ready, at });
            }
            at += 1;
        }
        let outcome = self.fsm.peer.handle_raft_ready_append(self.ctx, *ready);
        if !outcome.committed.is_empty() {
            let entries = outcome.committed;
            self.fsm.pending_steps.push_back(Continuation::Committed { entries, at: 0, part: 0 });
        }
        if let Some(number) = outcome.persisted {
            // Nothing was written.
            self.on_persisted(number, RaftDbTimes::default());
        }
        self.collect_reads();
        Flow::Done
    }

    /// `part` counts what has passed of the run `at`: `raft_commit`, and then each step inside of it.
    fn run_committed(&mut self, entries: Vec<raft::eraftpb::Entry>, mut at: usize, mut part: usize) -> Flow {
        let region = self.fsm.region_id();
        while let Some(run) = nth_run(region, &entries, at) {
            if part == 0 {
                if self.parks_at_commit(run, &entries) {
                    return Flow::Park(Continuation::Committed { entries, at, part });
                }
                part = 1;
            }
            if self.parks_inside_of_commit(run, &mut part) {
                return Flow::Park(Continuation::Committed { entries, at, part });
            }
            (at, part) = (at + 1, 0);
        }
        self.fsm.peer.schedule_apply(self.ctx, entries);
        Flow::Done
    }

    fn parks_at_commit(&mut self, run: Run, entries: &[raft::eraftpb::Entry]) -> bool {
        let req = run.joined();
        let stamped = !self.fsm.gate.resumes_with(tracepoints::stage::RAFT_COMMIT, req);
        let parks = gate_run!(self, RAFT_COMMIT, run);
        if stamped {
            let leads = self.fsm.peer.is_leader();
            tracepoints::facts!(req, facts::committed(run, entries, leads));
            if leads {
                tracepoints::facts!(req, facts::quorum(&self.fsm.peer, run.last));
            }
        }
        parks
    }

    /// Passes the steps inside of `raft_commit`, from `part` on. Only a stepped request has them.
    fn parks_inside_of_commit(&mut self, run: Run, part: &mut usize) -> bool {
        let req = run.joined();
        if !req.stepped() {
            return false;
        }
        let parts = commit_parts(&self.fsm.peer);
        while let Some(next) = parts.get(*part - 1) {
            let stamped = !self.fsm.gate.resumes_with(next.stage(), req);
            let (region, term) = (run.region, run.term);
            let parks = match *next {
                CommitPart::Matched { store, matched, .. } => gate!(
                    self,
                    RAFT_COMMIT_MATCHED,
                    req,
                    region = region,
                    term = term,
                    store = store,
                    matched = matched
                ),
                CommitPart::Quorum { index } => {
                    gate!(self, RAFT_COMMIT_QUORUM, req, region = region, term = term, quorum = index)
                }
                CommitPart::Entry { .. } => gate_run!(self, RAFT_COMMIT_ENTRY, run),
            };
            if stamped {
                tracepoints::facts!(req, next.facts(run));
            }
            if parks {
                return true;
            }
            *part += 1;
        }
        false
    }

    /// `at` counts the runs of all Readies up to this number.
    fn run_persisted(&mut self, number: u64, raft_db: RaftDbTimes, mut at: usize) -> Flow {
        let readies = self.fsm.peer.unpersisted.iter().filter(|r| r.number <= number);
        let runs: Vec<Run> = readies.flat_map(|r| r.runs.iter().copied()).collect();
        while let Some(&run) = runs.get(at) {
            if gate_run!(self, RAFT_PERSISTED, run) {
                return Flow::Park(Continuation::Persisted { number, raft_db, at });
            }
            at += 1;
        }
        let before = self.fsm.peer.raft_group.raft.raft_log.committed;
        self.on_persisted(number, raft_db);
        if self.fsm.peer.is_leader() {
            for run in runs {
                tracepoints::facts!(
                    run.joined(),
                    facts::persisted(&self.fsm.peer, self.ctx.store_id, before, run.last)
                );
            }
        }
        Flow::Done
    }

    fn on_persisted(&mut self, number: u64, raft_db: RaftDbTimes) {
        let Some(key) = self.fsm.peer.on_persist_ready(self.ctx, number, raft_db) else { return };
        // The snapshot's states are on disk: its data may now replace the old data.
        let region = (**self.fsm.peer.region()).clone();
        self.ctx.region_scheduler.schedule(RegionTask::Apply { key, region });
    }

    /// Queues the reads that can be answered now.
    pub(super) fn collect_reads(&mut self) {
        while let Some(read) = self.fsm.peer.next_ready_read() {
            self.fsm.pending_steps.push_back(Continuation::ReadConfirmed(Box::new(read)));
        }
    }
}
