//! Consistency checks: every peer hashes its data at the same entry; the log carries the leader's hash.
//! Mirrors `on_ready_compute_hash`, `on_hash_computed`, `on_ready_verify_hash`.
use kvproto::raft_cmdpb::{AdminCmdType, AdminRequest, RaftCmdRequest, RaftRequestHeader, VerifyHashRequest};

use super::run::PeerFsmDelegate;
use crate::store::{peer::ConsistencyVerdict, transport::Transport};

impl<T: Transport> PeerFsmDelegate<'_, T> {
    /// Handles the hash of the data as of entry `index` from the worker.
    pub(super) fn on_hash_computed(&mut self, index: u64, hash: Vec<u8>) {
        let peer = &mut self.fsm.peer;
        if peer.is_leader() {
            let verify = VerifyHashRequest { index, hash: hash.clone(), ..Default::default() };
            let request = RaftCmdRequest {
                header: Some(RaftRequestHeader {
                    region_id: peer.region_id,
                    peer: Some(peer.peer),
                    region_epoch: Some(peer.region().epoch()),
                    term: peer.term(),
                    ..Default::default()
                }),
                admin_request: Some(AdminRequest {
                    cmd_type: AdminCmdType::VerifyHash as i32,
                    verify_hash: Some(verify),
                    ..Default::default()
                }),
                ..Default::default()
            };
            self.propose_admin(request);
        }
        let verdict = self.fsm.peer.consistency.computed(index, hash);
        self.on_verdict(verdict);
    }

    /// Handles the leader's hash once it is applied.
    pub(super) fn on_verify_hash(&mut self, index: u64, hash: Vec<u8>) {
        let verdict = self.fsm.peer.consistency.expect(index, hash);
        self.on_verdict(verdict);
    }

    /// Reports the result. If the hashes differ, TiKV panics; here the peer logs an error and continues.
    fn on_verdict(&self, verdict: Option<ConsistencyVerdict>) {
        let (region, store) = (self.fsm.region_id(), self.ctx.store_id);
        match verdict {
            Some(ConsistencyVerdict { index, matches: true }) => {
                log::info!(
                    "region {region}: consistency check at entry {index}: the data matches the leader's"
                );
            }
            Some(ConsistencyVerdict { index, matches: false }) => log::error!(
                "region {region}: consistency check at entry {index}: the data of store {store} DIFFERS from the leader's; \
                 run `tikv-ctl diff` to list the keys, then remove the peer so that PD adds a new one"
            ),
            None => {}
        }
    }
}
