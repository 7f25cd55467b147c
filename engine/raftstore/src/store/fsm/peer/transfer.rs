//! Transfers the leadership: first the pessimistic locks in memory go into the log. Mirrors `on_transfer_leader_msg`.
use engine_rocks::CF_LOCK;
use kvproto::{
    metapb,
    raft_cmdpb::{CmdType, PutRequest, RaftCmdRequest, RaftRequestHeader, Request},
};
use tikv_kv::LocksStatus;
use tracepoints::{EngineClock, Req};
use txn_types::{Key, PessimisticLock};

use super::run::PeerFsmDelegate;
use crate::{
    Result,
    store::{
        callback::Callback,
        msg::{CasualMessage, RaftCommand},
        transport::Transport,
    },
};

impl<T: Transport> PeerFsmDelegate<'_, T> {
    /// Begins a transfer. If the peer has locks in memory, the transfer waits until the locks are applied, and
    /// until the mailbox has no earlier write.
    ///
    /// # Errors
    /// The reason why the peer cannot become leader now.
    pub(super) fn transfer_leader(&mut self, to: &metapb::Peer) -> Result<()> {
        let peer = &mut self.fsm.peer;
        peer.check_transfer_leader(&self.ctx.config, to)?;
        if to.id == peer.peer_id() {
            return Ok(());
        }
        let term = peer.term();
        if peer.pending_transfer == Some(term) {
            // The earlier transfer continues once the locks are applied; a second one now would lose the locks.
            self.renew_transfer();
            return Ok(());
        }
        self.stop_memory_locks();
        self.write_locks_then_transfer(to);
        Ok(())
    }

    /// Continues a transfer: the locks are applied, unless `ok` is false.
    pub(super) fn on_locks_proposed(&mut self, to: &metapb::Peer, term: u64, ok: bool) {
        let peer = &mut self.fsm.peer;
        if peer.term() != term {
            return;
        }
        peer.pending_transfer = None;
        if !ok {
            return self.accept_memory_locks();
        }
        let status = peer.txn_ext.pessimistic_locks.read().status;
        let begun = match status {
            // The transfer took too long, and the table may have new locks.
            LocksStatus::Normal => self.transfer_leader(to),
            _ => {
                peer.check_transfer_leader(&self.ctx.config, to).map(|()| self.write_locks_then_transfer(to))
            }
        };
        if let Err(err) = begun {
            log::info!("region {}: {err}", self.fsm.region_id());
        }
    }

    /// Stops new locks in memory.
    fn stop_memory_locks(&mut self) {
        let peer = &mut self.fsm.peer;
        // Under one guard: a write that marks a lock is in the mailbox before the guard is free.
        let mut locks = peer.txn_ext.pessimistic_locks.write();
        if locks.status == LocksStatus::Normal {
            locks.begin_transfer();
        }
        if locks.status == LocksStatus::TransferringLeader {
            peer.transferring_since = Some(EngineClock::now());
        }
    }

    /// Begins the transfer if the log has all locks; Raft refuses proposals from then on. Otherwise writes the locks
    /// first. If a write in the mailbox removes a lock, checks again after that write: if the write is refused, its
    /// lock stays and must be written.
    fn write_locks_then_transfer(&mut self, to: &metapb::Peer) {
        let peer = &mut self.fsm.peer;
        let (region_id, term) = (peer.region_id, peer.term());
        let (locks, again) = peer.txn_ext.pessimistic_locks.write().take_unproposed();
        if locks.is_empty() && !again {
            return peer.raft_group.transfer_leader(to.id);
        }
        peer.pending_transfer = Some(term);
        if !locks.is_empty() {
            let requests = locks.iter().map(put_lock).collect();
            return self.propose_locks_before_transfer_leader(*to, requests);
        }
        let checked = CasualMessage::LocksProposed { to: *to, term, ok: true };
        if let Err(e) = self.ctx.router.send_casual_msg(region_id, checked) {
            log::info!("region {region_id}: no leader transfer: {e}");
            self.fsm.peer.pending_transfer = None;
        }
    }

    /// Writes the locks through Raft; the transfer continues once they are applied. TiKV:
    /// `propose_locks_before_transfer_leader`.
    fn propose_locks_before_transfer_leader(&mut self, to: metapb::Peer, requests: Vec<Request>) {
        let peer = &mut self.fsm.peer;
        let (region_id, term) = (peer.region_id, peer.term());
        log::info!("region {region_id}: proposing {} locks before the transfer", requests.len());
        let header = RaftRequestHeader {
            region_id,
            peer: Some(peer.peer),
            region_epoch: Some(peer.region().epoch()),
            ..Default::default()
        };
        let router = self.ctx.router.clone();
        let callback = Callback::write(Box::new(move |answer| {
            let ok = answer.error().is_none();
            // A region that is gone transfers no leadership.
            let _ = router.send_casual_msg(region_id, CasualMessage::LocksProposed { to, term, ok });
        }));
        self.on_raft_command(RaftCommand {
            send_time: EngineClock::now(),
            request: RaftCmdRequest { header: Some(header), requests, ..Default::default() },
            callback,
            req: Req::NONE,
            deadline: None,
        });
    }

    /// Postpones the end of a transfer that a client repeats.
    fn renew_transfer(&mut self) {
        let peer = &mut self.fsm.peer;
        if peer.txn_ext.pessimistic_locks.read().status == LocksStatus::TransferringLeader {
            peer.transferring_since = Some(EngineClock::now());
        }
    }

    /// Accepts locks in memory again, since the transfer was refused.
    fn accept_memory_locks(&mut self) {
        let peer = &mut self.fsm.peer;
        peer.transferring_since = None;
        let mut locks = peer.txn_ext.pessimistic_locks.write();
        if locks.status == LocksStatus::TransferringLeader {
            locks.status = LocksStatus::Normal;
        }
    }

    /// Accepts locks in memory again after a transfer that failed. TiKV: `on_reactivate_memory_lock_tick`.
    pub(super) fn reactivate_memory_locks(&mut self) {
        let (peer, config) = (&mut self.fsm.peer, &self.ctx.config);
        let Some(since) = peer.transferring_since else { return };
        if !peer.is_leader() {
            peer.transferring_since = None;
            return;
        }
        let timeout =
            config.reactive_memory_lock_tick_interval.0 * config.reactive_memory_lock_timeout_tick as u32;
        let transferring = peer.raft_group.raft.lead_transferee.is_some();
        if !transferring && since.elapsed() >= timeout {
            self.accept_memory_locks();
        }
    }
}

fn put_lock((key, lock): &(Key, PessimisticLock)) -> Request {
    let (key, value) = (key.as_encoded().clone(), lock.to_lock().to_bytes());
    Request {
        cmd_type: CmdType::Put as i32,
        put: Some(PutRequest { cf: CF_LOCK.into(), key, value }),
        ..Default::default()
    }
}
