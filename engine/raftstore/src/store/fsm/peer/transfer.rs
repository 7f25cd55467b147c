//! Transfers the leadership: first the pessimistic locks in memory go into the log. Mirrors `on_transfer_leader_msg`.
use engine_rocks::CF_LOCK;
use kvproto::{
    metapb,
    raft_cmdpb::{CmdType, PutRequest, RaftCmdRequest, RaftRequestHeader, Request},
};
use tikv_kv::LocksStatus;
use tracepoints::EngineClock;

use super::run::PeerFsmDelegate;
use crate::{
    Result,
    store::{msg::CasualMessage, transport::Transport},
};

impl<T: Transport> PeerFsmDelegate<'_, T> {
    /// Begins a transfer. With locks in memory it waits until the mailbox has no earlier write.
    ///
    /// # Errors
    /// The reason why the peer cannot become leader now.
    pub(super) fn transfer_leader(&mut self, to: &metapb::Peer) -> Result<()> {
        let peer = &mut self.fsm.peer;
        peer.check_transfer_leader(&self.ctx.config, to)?;
        if to.id == peer.peer_id() {
            return Ok(());
        }
        if !self.propose_locks_before_transfer_leader() {
            self.fsm.peer.raft_group.transfer_leader(to.id);
            return Ok(());
        }
        // A write that removes a lock may wait in the mailbox. Raft refuses proposals from now on, and the lock would
        // be lost: so the transfer begins after these writes.
        let term = self.fsm.peer.term();
        self.ctx.router.send_casual_msg(self.fsm.region_id(), CasualMessage::LocksProposed { to: *to, term })
    }

    pub(super) fn on_locks_proposed(&mut self, to: &metapb::Peer, term: u64) {
        let peer = &mut self.fsm.peer;
        if peer.term() != term {
            return;
        }
        match peer.check_transfer_leader(&self.ctx.config, to) {
            Ok(()) => peer.raft_group.transfer_leader(to.id),
            Err(err) => log::info!("region {}: {err}", peer.region_id),
        }
    }

    /// Stops new locks in memory, and proposes those that no write on its way removes. Returns whether the table has
    /// locks. TiKV: `propose_locks_before_transfer_leader`.
    fn propose_locks_before_transfer_leader(&mut self) -> bool {
        let peer = &mut self.fsm.peer;
        let mut locks = peer.txn_ext.pessimistic_locks.write();
        let any = !locks.is_empty();
        if locks.status != LocksStatus::Normal {
            // A repeated transfer: the locks are in the log already.
            return any;
        }
        locks.status = LocksStatus::TransferringLeader;
        drop(locks);
        let mut requests = Vec::new();
        peer.transferring_since = Some(EngineClock::now());
        for (key, lock) in peer.txn_ext.pessimistic_locks.read().remaining() {
            let put = PutRequest {
                cf: CF_LOCK.into(),
                key: key.as_encoded().clone(),
                value: lock.to_lock().to_bytes(),
            };
            requests.push(Request { cmd_type: CmdType::Put as i32, put: Some(put), ..Default::default() });
        }
        if requests.is_empty() {
            return any;
        }
        log::info!("region {}: proposing {} locks before the transfer", peer.region_id, requests.len());
        let header = RaftRequestHeader {
            region_id: peer.region_id,
            peer: Some(peer.peer),
            region_epoch: Some(peer.region().epoch()),
            ..Default::default()
        };
        self.propose_admin(RaftCmdRequest { header: Some(header), requests, ..Default::default() });
        true
    }

    /// Accepts locks in memory again after a transfer that came to nothing. TiKV: `on_reactivate_memory_lock_tick`.
    pub(super) fn reactivate_memory_locks(&mut self) {
        let (peer, config) = (&mut self.fsm.peer, &self.ctx.config);
        let Some(since) = peer.transferring_since else { return };
        let timeout =
            config.reactive_memory_lock_tick_interval.0 * config.reactive_memory_lock_timeout_tick as u32;
        let transferring = peer.raft_group.raft.lead_transferee.is_some();
        if peer.is_leader() && (transferring || since.elapsed() < timeout) {
            return;
        }
        peer.transferring_since = None;
        let mut locks = peer.txn_ext.pessimistic_locks.write();
        if peer.raft_group.raft.state == raft::StateRole::Leader
            && locks.status == LocksStatus::TransferringLeader
        {
            locks.status = LocksStatus::Normal;
        }
    }
}
