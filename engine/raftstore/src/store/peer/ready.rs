//! Processes a Ready: messages to send, data to write, entries to apply.
//! Mirrors `Peer::handle_raft_ready_append`.
use kvproto::raft_serverpb::{RaftMessage, RaftSnapshotData};
use prost::Message as _;
use raft::{
    Ready, SnapshotStatus,
    eraftpb::{Entry, Message, MessageType},
};
use raft_log_engine::convert;
use tracepoints::{EngineClock, clock::EngineInstant};

use super::{Peer, Unpersisted, propose::is_split};
use crate::{
    Result,
    store::{
        async_io::WriteTask,
        fsm::{
            apply::{Apply, ApplyMsg},
            store::PollContext,
        },
        run::{Run, runs, stamp_run},
        snap::SnapKey,
        transport::Transport,
        write_tracker::{RaftDbTimes, WriteTracker},
    },
};

/// Remaining work of a Ready.
#[derive(Default)]
pub struct ReadyOutcome {
    /// Committed entries to apply.
    pub committed: Vec<Entry>,
    /// Number of a Ready without data to write: it counts as persisted at once.
    pub persisted: Option<u64>,
}

/// Whether a message may create a missing peer. TiKV: `util::is_initial_msg`.
pub fn is_initial_msg(msg_type: MessageType, commit: u64) -> bool {
    matches!(msg_type, MessageType::MsgRequestVote | MessageType::MsgRequestPreVote)
        // The leader has no position for the peer, which is probably new.
        || (msg_type == MessageType::MsgHeartbeat && commit == 0)
}

impl Peer {
    /// Processes a Ready; until it returns, Raft must not be stepped. TiKV: `handle_raft_ready_append`.
    pub fn handle_raft_ready_append<T: Transport>(
        &mut self,
        ctx: &mut PollContext<T>,
        mut ready: Ready,
    ) -> ReadyOutcome {
        if let Some(ss) = ready.ss() {
            let role = ss.raft_state;
            self.on_role_changed(ctx, role);
            if self.is_leader() {
                self.heartbeat_pd(ctx);
            }
        }
        let mut outcome = ReadyOutcome { committed: ready.take_committed_entries(), persisted: None };
        self.send_ready_messages(ctx, &mut ready);
        let read_states = ready.take_read_states();
        if !read_states.is_empty() {
            self.confirm_reads(read_states);
        }

        let number = ready.number();
        let mut task = WriteTask::new(self.region_id, self.peer_id(), number);
        let snapshot = match self.collect_changes(&mut ready, &mut task) {
            Ok(snapshot) => snapshot,
            Err(err) => {
                ctx.router.stop_store(&format!("region {}: cannot process a Ready: {err}", self.region_id));
                None
            }
        };
        let runs = runs(self.region_id, &task.entries).collect();
        let has_data = task.has_data();
        self.track_entries(&task.entries, |tracker, now| tracker.on_queued(now));
        let messages = ready.take_persisted_messages();
        self.unpersisted.push_back(Unpersisted { number, runs, messages, snapshot, has_data });
        self.raft_group.advance_append_async(ready);
        if has_data {
            ctx.write_senders.send(task);
        } else if self.unpersisted.len() == 1 {
            outcome.persisted = Some(number);
        }
        outcome
    }

    /// Sends a leader's messages, before its own disk has the entries.
    fn send_ready_messages<T: Transport>(&mut self, ctx: &mut PollContext<T>, ready: &mut Ready) {
        let messages = ready.take_messages();
        let sends_entries = messages.iter().any(|m| !m.entries.is_empty());
        if sends_entries {
            for run in runs(self.region_id, ready.entries()) {
                stamp_run!(stamp, RAFT_SEND, run);
                self.publish_at_stamp(ctx.store_id, run.joined());
            }
        }
        // Stamped before: a follower may receive the entries at once.
        self.send_raft_messages(ctx, messages);
    }

    fn collect_changes(&mut self, ready: &mut Ready, task: &mut WriteTask) -> Result<Option<SnapKey>> {
        let mut changed = false;
        // A peer created by an early message has no log. If its vote were persisted, a later split would
        // mistake it for the new region's Raft state.
        let has_log = self.storage().raft_state().last_index > 0 || !ready.snapshot().is_empty();
        if let Some(hs) = ready.hs().filter(|_| has_log) {
            self.storage_mut().set_hard_state(hs);
            changed = true;
        }
        let mut key = None;
        if !ready.snapshot().is_empty() {
            let data = RaftSnapshotData::decode(&ready.snapshot().data[..])?;
            let region = data.region.unwrap_or_default();
            key = Some(SnapKey::from_region_snap(self.region_id, ready.snapshot()));
            self.storage_mut().apply_snapshot(ready.snapshot(), region, task)?;
            self.last_applying_idx = self.storage().truncated_index();
            changed = true;
        }
        let entries = ready.take_entries();
        if !entries.is_empty() {
            self.raft_log_size_hint += entries.iter().map(|entry| entry.data.len() as u64).sum::<u64>();
            self.storage_mut().append(entries, task);
            changed = true;
        }
        if changed {
            task.raft_state = Some(*self.storage().raft_state());
        }
        Ok(key)
    }

    /// Handles persisted Readies up to this one. Returns the key of a snapshot whose data may now be applied.
    ///
    /// TiKV: `on_persist_ready`.
    pub fn on_persist_ready<T: Transport>(
        &mut self,
        ctx: &mut PollContext<T>,
        number: u64,
        raft_db: RaftDbTimes,
    ) -> Option<SnapKey> {
        let (mut last, mut snapshot, now) = (None, None, EngineClock::now());
        while let Some(front) = self.unpersisted.front() {
            if front.number > number && front.has_data {
                break;
            }
            let Some(ready) = self.unpersisted.pop_front() else { break };
            last = Some(ready.number);
            snapshot = ready.snapshot.or(snapshot);
            for run in &ready.runs {
                self.proposals.track(*run, |tracker| tracker.on_persisted(now, raft_db));
            }
            self.send_persisted_messages(ctx, ready.messages, &ready.runs);
        }
        if let Some(last) = last {
            self.raft_group.on_persist_ready(last);
        }
        snapshot
    }

    /// Sends a follower's acknowledgements, now that the entries are durable.
    fn send_persisted_messages<T: Transport>(
        &mut self,
        ctx: &mut PollContext<T>,
        messages: Vec<Message>,
        runs: &[Run],
    ) {
        let acks = messages.iter().any(|m| m.get_msg_type() == MessageType::MsgAppendResponse && !m.reject);
        if acks {
            for run in runs {
                stamp_run!(stamp, FOLLOWER_ACK, *run);
                self.publish_at_stamp(ctx.store_id, run.joined());
            }
        }
        self.send_raft_messages(ctx, messages);
    }

    /// Notes a point in time of the proposals of these entries.
    fn track_entries(&mut self, entries: &[Entry], note: impl Fn(&mut WriteTracker, EngineInstant)) {
        if self.proposals.is_empty() {
            return;
        }
        let now = EngineClock::now();
        runs(self.region_id, entries).for_each(|run| self.proposals.track(run, |tracker| note(tracker, now)));
    }

    /// Sends messages to other peers. TiKV: `send_raft_messages`.
    pub fn send_raft_messages<T: Transport>(&mut self, ctx: &mut PollContext<T>, messages: Vec<Message>) {
        for msg in messages {
            self.track_entries(&msg.entries, |tracker, now| tracker.on_sent(now));
            let (to, msg_type) = (msg.to, msg.get_msg_type());
            if msg_type == MessageType::MsgTimeoutNow {
                // From here on the target may be elected at once.
                self.leader_lease.suspect(EngineClock::now());
            }
            let Some(wire) = self.wrap_message(msg) else { continue };
            if let Err(err) = ctx.trans.send(wire) {
                log::debug!("region {}: dropped {msg_type:?} to peer {to}: {err}", self.region_id);
                // Use the mailbox: Raft must not be stepped while a Ready is out.
                let _ = ctx.router.report_unreachable(self.region_id, to);
                if msg_type == MessageType::MsgSnapshot {
                    let _ = ctx.router.report_snapshot_status(self.region_id, to, SnapshotStatus::Failure);
                }
            }
        }
    }

    fn wrap_message(&self, msg: Message) -> Option<RaftMessage> {
        let Some(to_peer) = self.find_peer(msg.to) else {
            log::debug!(
                "region {}: dropped a message to peer {}, which the region does not have",
                self.region_id,
                msg.to
            );
            return None;
        };
        let region = self.region();
        let mut wire = RaftMessage {
            region_id: self.region_id,
            from_peer: Some(self.peer),
            to_peer: Some(to_peer),
            region_epoch: region.region_epoch,
            ..Default::default()
        };
        // Lets the other store distinguish a new peer from one that a split is about to create.
        if self.is_initialized() && is_initial_msg(msg.get_msg_type(), msg.commit) {
            wire.start_key = region.start_key.clone();
            wire.end_key = region.end_key.clone();
        }
        wire.message = Some(convert::message_from_raft(msg));
        Some(wire)
    }

    /// Passes committed entries to the apply FSM. TiKV: `handle_raft_committed_entries`.
    pub fn schedule_apply<T: Transport>(&mut self, ctx: &mut PollContext<T>, entries: Vec<Entry>) {
        let Some(last) = entries.last() else { return };
        let (index, term) = (last.index, last.term);
        self.renew_lease_by_commit(&entries);
        self.last_applying_idx = index;
        if let Some(split) = entries.iter().rev().find(|e| is_split(e)) {
            self.last_committed_split_idx = split.index;
        }
        let mut proposals = self.proposals.take_until(term, index);
        let now = EngineClock::now();
        proposals.iter_mut().for_each(|p| p.tracker.on_committed(now));
        let apply = Apply {
            peer_id: self.peer_id(),
            term: self.term(),
            commit_index: index,
            commit_term: term,
            proposals,
            entries,
        };
        ctx.apply_router.schedule(self.region_id, ApplyMsg::Apply(apply));
    }

    /// Renews the lease: a quorum acknowledged the entries after they were proposed.
    fn renew_lease_by_commit(&mut self, entries: &[Entry]) {
        if !self.is_leader() {
            return;
        }
        let term = self.term();
        if let Some((led_term, at)) = self.became_leader
            && led_term == term
            && entries.iter().any(|e| e.term == term)
        {
            self.became_leader = None;
            self.maybe_renew_leader_lease(at);
        }
        let proposed = entries.iter().rev().find_map(|e| self.proposals.find_propose_time(e.term, e.index));
        if let Some(at) = proposed {
            self.maybe_renew_leader_lease(at);
        }
    }
}
