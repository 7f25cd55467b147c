//! Handles messages from other peers: checks the addressee and steps Raft. Mirrors `on_raft_message`.
use kvproto::{metapb, raft_serverpb::RaftMessage};
use raft::eraftpb::{Message, MessageType};
use raft_log_engine::convert;
use tracepoints::field::{self, Vote};

use super::{Continuation, run::PeerFsmDelegate};
use crate::{
    Error, Result,
    store::{
        peer::{facts, is_initial_msg, vote},
        read_index_context::ReadIndexContext,
        read_queue::read_id,
        snap::SnapKey,
        transport::Transport,
    },
};

/// Context of a vote request after a leader transfer.
const CAMPAIGN_TRANSFER: &[u8] = b"CampaignTransfer";

pub(crate) fn msg_type(msg: &RaftMessage) -> MessageType {
    let number = msg.message.as_ref().map_or(-1, |m| m.msg_type);
    protobuf::ProtobufEnum::from_i32(number).unwrap_or(MessageType::MsgHup)
}

/// Whether a message on the wire is a vote request or the first heartbeat.
pub(crate) fn is_initial(msg: &RaftMessage) -> bool {
    msg.message.as_ref().is_some_and(|m| is_initial_msg(msg_type(msg), m.commit))
}

/// Creates the reply that a peer no longer belongs to its region. TiKV: `handle_stale_msg`.
pub(crate) fn tombstone_reply(msg: &RaftMessage, epoch: metapb::RegionEpoch) -> RaftMessage {
    RaftMessage {
        region_id: msg.region_id,
        from_peer: msg.to_peer,
        to_peer: msg.from_peer,
        region_epoch: Some(epoch),
        is_tombstone: true,
        ..Default::default()
    }
}

impl<T: Transport> PeerFsmDelegate<'_, T> {
    pub(super) fn on_raft_message(&mut self, msg: RaftMessage) -> Result<()> {
        let (Some(from), Some(to)) = (msg.from_peer, msg.to_peer) else {
            return Err(Error::other("expected a message with from_peer and to_peer, found one without"));
        };
        if to.store_id != self.ctx.store_id {
            return Err(Error::StoreNotMatch { to_store_id: to.store_id, my_store_id: self.ctx.store_id });
        }
        if msg.is_tombstone {
            self.on_gc_peer_msg(&msg, &to);
            return Ok(());
        }
        if !self.check_msg(&msg, &from, &to) {
            return Ok(());
        }
        let Some(wire) = &msg.message else { return Ok(()) };
        if let Some(snapshot) = wire.snapshot.as_ref().filter(|_| msg_type(&msg) == MessageType::MsgSnapshot)
        {
            self.check_snapshot(&to, snapshot)?;
        }
        self.fsm.peer.remember_peer(from);
        let raft_msg = msg.message.unwrap_or_default();
        let raft_msg = convert::message_to_raft(raft_msg).map_err(|e| Error::other(e.to_string()))?;
        if self.must_not_vote_yet(&raft_msg) {
            return Ok(());
        }
        self.fsm.pending_steps.push_back(Continuation::Step(Box::new(raft_msg)));
        Ok(())
    }

    /// Whether the message comes from a member and addresses this peer. TiKV: `check_msg`.
    fn check_msg(&mut self, msg: &RaftMessage, from: &metapb::Peer, to: &metapb::Peer) -> bool {
        let (region, epoch) = (self.fsm.peer.region().clone(), msg.region_epoch.unwrap_or_default());
        let stale_sender = epoch.is_stale(&region.epoch()) && region.find_peer(from.store_id).is_none();
        if stale_sender && self.fsm.peer.is_initialized() {
            // The sender was removed while it was unreachable and does not know it yet: reply.
            if is_initial(msg) {
                let _ = self.ctx.trans.send(tombstone_reply(msg, region.epoch()));
            }
            return false;
        }
        let me = self.fsm.peer.peer_id();
        if to.id < me {
            log::debug!(
                "region {}: ignored a message for peer {}, which peer {me} replaced",
                region.id,
                to.id
            );
            return false;
        }
        if to.id > me {
            // This peer was removed and another one added; the next message creates that one.
            log::info!("region {}: peer {me} leaves, peer {} replaces it", region.id, to.id);
            self.start_destroy();
            return false;
        }
        true
    }

    /// Handles another store's report that this peer is no longer a member. TiKV: `handle_gc_peer_msg`.
    fn on_gc_peer_msg(&mut self, msg: &RaftMessage, to: &metapb::Peer) {
        let theirs = msg.region_epoch.unwrap_or_default();
        let ours = self.fsm.peer.region().epoch();
        if to.id == self.fsm.peer.peer_id() && ours.is_stale(&theirs) {
            log::info!("region {}: peer {} was removed from the region", msg.region_id, to.id);
            self.start_destroy();
        }
    }

    /// Checks that a snapshot is for this peer, is complete, and overlaps no other region.
    /// TiKV: `check_snapshot`.
    fn check_snapshot(&mut self, to: &metapb::Peer, snapshot: &kvproto::eraftpb::Snapshot) -> Result<()> {
        let (key, data) = SnapKey::from_wire(snapshot)?;
        let region = data.region.unwrap_or_default();
        if !region.peers.iter().any(|p| p.id == to.id) {
            return Err(Error::other(format!("snapshot {key} does not list peer {} as a member", to.id)));
        }
        let mut meta = self.ctx.store_meta.lock();
        let other = meta.overlapping(&region).or_else(|| meta.overlapping_pending(&region));
        if let Some(other) = other {
            return Err(Error::other(format!("snapshot {key} overlaps region {}", other.id)));
        }
        if !self.ctx.snap_mgr.has_received(&key) {
            return Err(Error::other(format!("the files of snapshot {key} were not received")));
        }
        meta.add_pending_snapshot(region);
        Ok(())
    }

    /// Soon after a start, a lease that this peer helped to renew may be valid.
    /// TiKV: `allow_unsafe_vote_after_start`.
    fn must_not_vote_yet(&self, msg: &Message) -> bool {
        let votes =
            matches!(msg.get_msg_type(), MessageType::MsgRequestVote | MessageType::MsgRequestPreVote);
        votes
            && !self.ctx.config.allow_unsafe_vote_after_start
            && msg.context != CAMPAIGN_TRANSFER
            && self.fsm.peer.started_within(self.ctx.config.raft_store_max_leader_lease())
    }

    /// Lets a leader record a replica's read and check for locks in memory. TiKV: `on_step_read_index`.
    fn observe_read_index(&self, msg: &mut Message) -> Result<()> {
        let asks = msg.get_msg_type() == MessageType::MsgReadIndex && self.fsm.peer.is_leader();
        let Some(entry) = msg.entries.first_mut().filter(|_| asks) else { return Ok(()) };
        let mut context = ReadIndexContext::parse(&entry.data)?;
        if let Some(request) = context.request.take() {
            context.locked = self.ctx.read_index_observer.on_step(&request, self.fsm.peer.region());
            entry.data = context.to_bytes().into();
        }
        Ok(())
    }

    pub(super) fn step(&mut self, mut msg: Message) {
        if let Err(err) = self.observe_read_index(&mut msg) {
            return log::warn!("region {}: dropped a read index: {err}", self.fsm.region_id());
        }
        let (region, from, kind) = (self.fsm.region_id(), msg.from, msg.get_msg_type());
        self.fsm.peer.record_heartbeat(from);
        if kind == MessageType::MsgHeartbeatResponse && !msg.context.is_empty() {
            let id = read_id(&msg.context);
            let req = tracepoints::session::joined_read(id);
            let sender = self.fsm.peer.region().find_peer_by_id(from);
            let from = sender.map_or(0, |p| field::from(p.store_id, vote(p)));
            tracepoints::stamp!(READ_INDEX_ACK, req, region = region, read_id = id, from = from);
            self.fsm.peer.publish_at_stamp(self.ctx.store_id, req);
        }
        let acks = kind == MessageType::MsgAppendResponse && !msg.reject;
        let before = self.matched(from);
        let committed = self.fsm.peer.raft_group.raft.raft_log.committed;
        if let Err(err) = self.fsm.peer.raft_group.step(msg) {
            log::debug!("region {region}: {kind:?} from peer {from}: {err}");
        }
        // Raft ignored an outdated snapshot; its range is free again.
        if kind == MessageType::MsgSnapshot && self.fsm.peer.raft_group.snap().is_none() {
            self.ctx.store_meta.lock().remove_pending_snapshot(region);
        }
        let after = self.matched(from);
        if acks && after > before {
            self.stamp_acks(from, before + 1, after, committed);
        }
        // The peer needs no snapshot any more: report it now, since PD adds one peer at a time.
        // TiKV: `any_new_peer_catch_up`.
        let truncated = self.fsm.peer.storage().truncated_index();
        if before < truncated && after >= truncated {
            self.fsm.peer.heartbeat_pd(self.ctx);
        }
    }

    fn matched(&self, peer: u64) -> u64 {
        self.fsm.peer.raft_group.raft.prs().get(peer).map_or(0, |p| p.matched)
    }

    /// Stamps the acknowledged entries. Of several terms, only the newest and the oldest are stamped.
    fn stamp_acks(&mut self, from: u64, first: u64, last: u64, committed_before: u64) {
        let region = self.fsm.region_id();
        let sender = self.fsm.peer.region().find_peer_by_id(from);
        let (store, vote) = sender.map_or((0, Vote::Both), |p| (p.store_id, vote(p)));
        let from = field::from_count(store, vote, last + 1 - first);
        let log = &self.fsm.peer.raft_group.raft.raft_log;
        let committed = log.committed;
        let (old, new) = (log.term(first).unwrap_or(0), log.term(last).unwrap_or(0));
        let terms = if old == new || old == 0 { [Some(new), None] } else { [Some(old), Some(new)] };
        for term in terms.into_iter().flatten() {
            let req = tracepoints::session::joined(region, term, first, last);
            tracepoints::stamp!(RAFT_ACK, req, region = region, term = term, last = last, from_count = from);
            self.fsm.peer.publish_at_stamp(self.ctx.store_id, req);
            tracepoints::facts!(req, {
                let quorum = facts::quorum(&self.fsm.peer, last);
                facts::acknowledged(quorum, store, committed_before, committed, last)
            });
        }
    }
}
